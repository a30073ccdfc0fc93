"""The paper profile on a CPU: every page, from trees in the four published layouts. Minutes; run with -m slow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from merit.config import GenerationConfig, HospitalConfig, TextConfig

ROOT = Path(__file__).parents[2]
RECORDINGS = {"mimic-iv-ecg": 48, "ptb-xl": 60, "cpsc2018": 48, "csn": 48}


@pytest.fixture(scope="module")
def built(request, tmp_path_factory) -> Path:
    """The folder of a book made by `make book PROFILE=paper` with limits, BERT and Llama small and from folders."""
    if "slow" not in request.config.getoption("-m"):
        pytest.skip("takes minutes; run with -m slow")
    from merit.evaluate.generation.language_model import train_language_model
    from merit.model.text import train_text_encoder
    from merit.synthetic.hospitals import write_hospitals

    root = tmp_path_factory.mktemp("paper")
    write_hospitals(root / "data", HospitalConfig(recordings=RECORDINGS, min_positives=4), progress=False)
    size = TextConfig(width=48, depth=1, heads=2, updates=2, batch=8, max_tokens=128)
    small = GenerationConfig(
        lm_width=32, lm_depth=1, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=2, max_tokens=600
    )
    bert = train_text_encoder(["sinus rhythm, normal ecg"], size, root / "bert", progress=False)
    language_model = train_language_model(["Sinus rhythm."], small, root / "llama", progress=False)
    for name in ("_config.yml", "_toc.yml", "requirements.txt"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "book", root / "book")
    models = [f"TEXT={bert}", f"BERT={bert}", f"LM={language_model}"]
    settings = ["PROFILE=paper", f"DATA={root / 'data'}", *models, "LIMIT=40", "EPOCHS=1", "DEVICE=cpu"]
    call = ["make", "-C", str(ROOT), "book", *settings]
    environment = {**os.environ, "MERIT_HOME": str(root)}
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return root


@pytest.mark.slow
def test_every_page_is_there_and_says_what_it_is(built):
    pages = next((built / "_build").glob("paper-data-*-limit40-epochs1-set-*")) / "html" / "book"
    for source in (ROOT / "book").glob("*.ipynb"):
        text = (pages / f"{source.stem}.html").read_text(encoding="utf-8")
        assert f"NB={source.stem}" in text
        if source.stem not in ("provenance", "cost", "peers"):  # these show no number of the run's own
            assert "limit 40 and epochs 1" in text, source.stem


@pytest.mark.slow
def test_the_network_is_the_papers_and_the_text_encoder_the_given_one(built):
    folders = list((built / "artifacts").glob("paper-data-*-limit40/checkpoints/[a-z]*-seed0-*"))
    assert {folder.name.split("-")[0] for folder in folders} == {"merit", "cma", "ib", "mse"}
    for folder in folders:
        settings = json.loads((folder / "config.json").read_text())
        encoder = settings["model"]["encoder"]
        assert (encoder["width"], encoder["depth"], encoder["heads"], encoder["patch"]) == (192, 12, 3, 25)
        assert settings["model"]["text_width"] == 48
        assert settings["pretrain"]["batch"] == 10
