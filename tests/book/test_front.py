"""The box of the first page gets from the claims page to its place."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def front(extension):
    return extension("front")


def test_the_place_is_filled_and_other_pages_are_left_alone(front, tmp_path):
    outputs = [{"data": {"text/html": ["<dl>", "box</dl>"]}}]
    cells = [{"id": "other", "outputs": [{"data": {"text/html": "no"}}]}, {"id": front.CELL, "outputs": outputs}]
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "claims.ipynb").write_text(json.dumps({"cells": cells}))
    app = SimpleNamespace(srcdir=str(tmp_path))
    first, other = {"body": f"a{front.PLACE}b"}, {"body": "a"}
    front.fill(app, "book/intro", "page.html", first, object())
    front.fill(app, "book/other", "page.html", other, object())
    front.fill(app, "genindex", "genindex.html", {}, None)
    assert (first["body"], other["body"]) == ("a<dl>box</dl>b", "a")


def test_a_book_without_the_claims_page_shows_no_box(front, tmp_path):
    assert front.box(tmp_path / "claims.ipynb") == ""


def test_the_committed_pages_have_the_place_and_the_cell(front):
    assert (ROOT / "book" / "intro.md").read_text(encoding="utf-8").count(front.PLACE) == 1
    cells = json.loads((ROOT / "book" / "claims.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["id"] for cell in cells].count(front.CELL) == 1
