"""Code that comes with a model is never run, and nobody is asked whether it should be."""

from __future__ import annotations

import ast
import json
import shutil
import time
from pathlib import Path

import pytest

from merit import runs
from merit.config import GenerationConfig, TextConfig
from merit.encoders import published
from merit.evaluate.generation import scores
from merit.evaluate.generation.language_model import load_language_model
from merit.model.text import TextEncoder, train_text_encoder

AUTO = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoModelForCausalLM": "evil.Model"}
EVIL = "from pathlib import Path\nPath(__file__).with_name('it-ran').touch()\nraise SystemExit('ran')\n"
LOADERS = {
    "text encoder": lambda folder: TextEncoder(folder, TextConfig()),
    "language model": lambda folder: load_language_model(folder, GenerationConfig()),
    "BERTScore": lambda folder: scores.bert_scores(["sinus rhythm"], ["sinus rhythm"], folder, None),
    "BERT of a peer": published.read_folder,
    "tokenizer of a peer": lambda folder: published.read_folder(folder, with_config=False),
}


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Path:
    size = TextConfig(width=16, depth=1, heads=2, vocabulary=100, updates=1, batch=2, max_tokens=8)
    return train_text_encoder(["sinus rhythm"], size, tmp_path_factory.mktemp("text") / "bert", progress=False)


@pytest.fixture(params=["model", "tokenizer"])
def evil(request, honest, tmp_path) -> Path:
    """The folder of a model whose configuration, or whose tokenizer's, names code beside it."""
    folder = shutil.copytree(honest, tmp_path / "evil")
    (folder / "evil.py").write_text(EVIL)
    if request.param == "model":
        path, changes = folder / "config.json", {"model_type": "evil", "auto_map": AUTO}
    else:
        path = folder / "tokenizer_config.json"
        changes = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize("loader", LOADERS)
def test_a_model_that_asks_to_run_its_own_code_is_not_run_and_no_question_is_asked(evil, loader, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    began, said = time.perf_counter(), ""
    try:
        LOADERS[loader](evil)
    except (OSError, ValueError) as error:
        said = str(error)
    assert "\n" not in said
    assert time.perf_counter() - began < 10
    assert not (evil / "it-ran").exists()


def test_every_load_by_name_or_folder_says_that_no_code_is_trusted():
    for path in sorted(runs.PACKAGE_ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("Auto"):
                said = {word.arg: ast.unparse(word.value) for word in node.keywords}
                by_loading = said.get(None, "").startswith("loading(")  # which says so
                assert by_loading or said.get("trust_remote_code") == "False", f"{path}:{node.lineno}"
