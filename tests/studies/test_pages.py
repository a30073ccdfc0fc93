"""Encoders that a reader names on a page and whose weights are not there: one line on the page, never a traceback."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from merit.publish import parameters
from merit.studies import Workspace

ROOT = Path(__file__).parents[2]
PAGES = [path for path in sorted((ROOT / "book").glob("*.ipynb")) if "encoders" in parameters.declared(path)]
WITHOUT_WEIGHTS = re.compile("no weights in weights/merl|weights are not at hand.*MERL")
EXTRA = {"tasks": "superclass", "scopes": "unseen", "corruptions": "lost:1", "test_pairs": 2, "peers": "none"}
"""Other parameters, so that a page takes seconds."""


def shown(value: object) -> str:
    """What a cell shows, as text; "" for nothing."""
    if value is None:
        return ""
    for form in ("_repr_html_", "_repr_markdown_"):
        if hasattr(value, form) and (text := getattr(value, form)()):
            return text
    if hasattr(value, "_repr_mimebundle_"):
        return json.dumps(value._repr_mimebundle_())
    return str(getattr(value, "text", value))


@pytest.fixture
def page(workspace, monkeypatch, tmp_path):
    """All that a notebook shows with these parameters on the small workspace, run cell by cell in this process."""
    monkeypatch.setattr(Workspace, "open", lambda *_, **__: workspace)
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("MERIT_ENCODER", raising=False)

    def run(path: Path, **given: object) -> str:
        known, said = parameters.declared(path), []
        space = {name: one.default for name, one in known.items()} | {k: v for k, v in given.items() if k in known}
        space["display"] = lambda *values: said.extend(map(shown, values))
        with mpl.rc_context({"backend": "agg"}):
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
                    tree = ast.parse("".join(cell["source"]))
                    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
                    exec(compile(tree, str(path), "exec"), space)
                    if last is not None:
                        said.append(shown(eval(compile(ast.Expression(last.value), str(path), "eval"), space)))
            plt.close("all")
        return "\n".join(said)

    return run


BESIDE = pytest.param("merit,cma,st-mem,merl", marks=pytest.mark.slow, id="beside others")


@pytest.mark.parametrize("encoders", ["merl", BESIDE])
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_an_encoder_without_weights_is_a_line(page, path, encoders):
    assert len(PAGES) > 5
    text = page(path, **EXTRA, encoders=encoders)
    assert WITHOUT_WEIGHTS.search(text)
    assert "Traceback" not in text
