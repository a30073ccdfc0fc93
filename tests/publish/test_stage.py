"""Staging: executed twins in place of sources, prose refreshed, what did not change left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merit.publish import stage


def cell(kind: str, name: str, source: str, **more) -> dict:
    """A notebook cell."""
    return {"cell_type": kind, "id": name, "source": source, "metadata": more.pop("metadata", {})} | more


def write(path: Path, cells: list[dict]) -> None:
    """A notebook of these cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": {"merit": {"key": "k"}}, "nbformat": 4}))


@pytest.fixture
def root(tmp_path) -> Path:
    """A book of one page and one notebook, executed."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text("title: t\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/a\nparts:\n- chapters:\n  - file: book/b\n    sections: [{file: book/c}]\n"
    )
    (tmp_path / "book" / "a.md").write_text("# A\n")
    tags = {"tags": ["parameters"]}
    write(
        tmp_path / "book" / "b.ipynb",
        [cell("markdown", "m", "new prose"), cell("code", "p", "x: int = 1", metadata=tags)],
    )
    injected = cell("code", "i", "# Parameters\nx = 2", metadata={"tags": ["injected-parameters"]}, outputs=[])
    ran = cell("code", "p", "x: int = 1", metadata={"papermill": {}}, outputs=["shown"])
    write(tmp_path / "run" / "b.ipynb", [cell("markdown", "m", "old prose"), ran, injected])
    return tmp_path


def test_pages_reads_the_toc_in_order(root):
    assert stage.pages(root / "_toc.yml") == ["book/a", "book/b", "book/c"]


def test_stage_takes_outputs_from_the_run_and_prose_from_the_source(root):
    stage.stage(root, root / "run", root / "out")
    staged = json.loads((root / "out" / "book" / "b.ipynb").read_text())
    assert [one["source"] for one in staged["cells"]] == ["new prose", "x: int = 1", "# Parameters\nx = 2"]
    assert staged["cells"][1]["outputs"] == ["shown"]
    assert staged["cells"][1]["metadata"] == {"tags": ["parameters"]}
    assert "remove-cell" in staged["cells"][2]["metadata"]["tags"]
    assert staged["metadata"] == {"merit": {"key": "k"}}


def test_stage_leaves_what_did_not_change_and_removes_what_went(root):
    assert stage.stage(root, root / "run", root / "out")
    assert stage.stage(root, root / "run", root / "out") == []
    (root / "book" / "a.md").write_text("# Other\n")
    (root / "out" / "book" / "old.md").write_text("# Old\n")
    changed = stage.stage(root, root / "run", root / "out")
    assert {path.name for path in changed} == {"a.md", "old.md"}
    assert not (root / "out" / "book" / "old.md").exists()


def test_a_notebook_that_did_not_run_is_named(root):
    (root / "run" / "b.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.ipynb has not been executed"):
        stage.stage(root, root / "run", root / "out")


def test_what_python_left_beside_the_extensions_changes_nothing(root):
    stage.stage(root, root / "run", root / "out")
    for book in (root / "book", root / "out" / "book"):
        (book / "_ext" / "__pycache__").mkdir(parents=True)
        (book / "_ext" / "__pycache__" / "footer.cpython-311.pyc").write_bytes(b"compiled")
    assert stage.stage(root, root / "run", root / "out") == []
    assert len(list((root / "out").rglob("*.pyc"))) == 1
