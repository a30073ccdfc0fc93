"""The footer of an executed page and its downloads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

RECORD = {
    "notebook": "n", "given": {"tasks": "<script>'", "profile": "smoke"}, "seconds": 3.2,
    "parameters": {"tasks": "<script>'"}, "finished": "now", "commit": "c", "source": "s", "python": "3",
}  # fmt: skip
PICTURE = {"data": {"image/png": "x", "text/csv": ["x,y\n", "1,2\n"]}}
PLAIN = {"data": {"text/plain": "no figure"}}


@pytest.fixture
def footer(extension):
    return extension("footer")


def test_figures_data_is_written_in_the_order_of_the_page(footer, tmp_path):
    other = {"data": {"text/csv": "a\n0\n"}}
    cells = [{"outputs": [PICTURE, PLAIN]}, {}, {"outputs": [{"text": "said"}, other]}]
    assert footer.write_data({"cells": cells}, tmp_path / "d", "page") == ["page-1.csv", "page-2.csv"]
    assert (tmp_path / "d" / "page-1.csv").read_text() == "x,y\n1,2\n"
    assert (tmp_path / "d" / "page-2.csv").read_text() == "a\n0\n"
    assert footer.write_data({"cells": [{"outputs": [PLAIN]}]}, tmp_path / "none", "page") == []
    assert not (tmp_path / "none").exists()


def test_links_are_numbered_and_absent_where_there_is_nothing(footer):
    text = footer.footer(RECORD, ["../d/n-1.csv", "../d/n-2.csv"], "../s/n.ipynb")
    assert '<a href="../d/n-2.csv" download>2</a>' in text
    assert '<a href="../s/n.ipynb" download>as it was executed</a>' in text
    assert "download" not in footer.footer(RECORD)


def test_a_page_gets_the_footer_of_its_notebook_and_others_none(footer, tmp_path):
    import json

    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"metadata": {"merit": RECORD}, "cells": [{"outputs": [PICTURE]}]}))
    env = SimpleNamespace(doc2path=lambda name: str(tmp_path / name))
    app = SimpleNamespace(env=env, outdir=str(tmp_path / "html"))
    context = {"body": "<p>b</p>", "sourcename": "book/n.ipynb", "pathto": lambda name, resource: f"../{name}"}
    footer.add_footer(app, "n.ipynb", "page.html", context, doctree=object())
    assert context["body"].startswith("<p>b</p><dl")
    assert "<script>" not in context["body"]
    assert "../_downloads/n-1.csv" in context["body"]
    assert "../_sources/book/n.ipynb" in context["body"]
    assert (tmp_path / "html" / "_downloads" / "n-1.csv").exists()
    for page, doctree in (("a.md", object()), ("n.ipynb", None)):
        context["body"] = "b"
        footer.add_footer(app, page, "page.html", context, doctree)
        assert context["body"] == "b"
