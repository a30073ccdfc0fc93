"""The book's own Sphinx extensions, which are no package: the footer, the first page's box, what needs no network."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

ROOT = Path(__file__).parents[2]


def extension(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


footer, front, offline = map(extension, ("footer", "front", "offline"))
RECORD = {
    "notebook": "n", "given": {"tasks": "<script>'", "profile": "smoke"}, "seconds": 3.2,
    "parameters": {"tasks": "<script>'"}, "finished": "now", "commit": "c", "source": "s", "python": "3",
}  # fmt: skip
PICTURE = {"data": {"image/png": "x", "text/csv": ["x,y\n", "1,2\n"]}}
PLAIN = {"data": {"text/plain": "no figure"}}


def test_figures_data_is_written_in_the_order_of_the_page_and_the_footer_escapes_whatever_a_parameter_holds(tmp_path):
    other = {"data": {"text/csv": "a\n0\n"}}
    cells = [{"outputs": [PICTURE, PLAIN]}, {}, {"outputs": [{"text": "said"}, other]}]
    assert footer.write_data({"cells": cells}, tmp_path / "d", "page") == ["page-1.csv", "page-2.csv"]
    assert [(tmp_path / "d" / f"page-{n}.csv").read_text() for n in (1, 2)] == ["x,y\n1,2\n", "a\n0\n"]
    assert footer.write_data({"cells": [{"outputs": [PLAIN]}]}, tmp_path / "none", "page") == []
    assert not (tmp_path / "none").exists()
    text = footer.footer(RECORD, ["../d/n-1.csv", "../d/n-2.csv"], "../s/n.ipynb")
    assert "<script>" not in text
    links = ['<a href="../d/n-2.csv" download>2</a>', '<a href="../s/n.ipynb" download>as it was executed</a>']
    assert [said for said in (*links, "make notebook NB=n PROFILE=smoke P=", "3 s") if said not in text] == []
    assert "download" not in footer.footer(RECORD)


def test_a_page_gets_the_footer_of_its_notebook_and_others_none(tmp_path):
    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"metadata": {"merit": RECORD}, "cells": [{"outputs": [PICTURE]}]}))
    env = SimpleNamespace(doc2path=lambda name: str(tmp_path / name))
    app = SimpleNamespace(env=env, outdir=str(tmp_path / "html"))
    context = {"body": "<p>b</p>", "sourcename": "book/n.ipynb", "pathto": lambda name, resource: f"../{name}"}
    footer.add_footer(app, "n.ipynb", "page.html", context, doctree=object())
    assert context["body"].startswith("<p>b</p><dl")
    for path in ("../_downloads/n-1.csv", "../_sources/book/n.ipynb"):
        assert path in context["body"]
    assert (tmp_path / "html" / "_downloads" / "n-1.csv").exists()
    for page, doctree in (("a.md", object()), ("n.ipynb", None)):
        context["body"] = "b"
        footer.add_footer(app, page, "page.html", context, doctree)
        assert context["body"] == "b"


def test_the_box_of_the_claims_page_fills_its_place_and_other_pages_are_left_alone(tmp_path):
    outputs = [{"data": {"text/html": ["<dl>", "box</dl>"]}}]
    cells = [{"id": "other", "outputs": [{"data": {"text/html": "no"}}]}, {"id": front.CELL, "outputs": outputs}]
    (tmp_path / "book").mkdir()
    assert front.box(tmp_path / "book" / "claims.ipynb") == ""
    (tmp_path / "book" / "claims.ipynb").write_text(json.dumps({"cells": cells}))
    app = SimpleNamespace(srcdir=str(tmp_path))
    first, other = {"body": f"a{front.PLACE}b"}, {"body": "a"}
    for name, context in (("book/intro", first), ("book/other", other), ("genindex", {})):
        front.fill(app, name, "page.html", context, None)
    assert (first["body"], other["body"]) == ("a<dl>box</dl>b", "a")
    assert (ROOT / "book" / "intro.md").read_text(encoding="utf-8").count(front.PLACE) == 1
    committed = json.loads((ROOT / "book" / "claims.ipynb").read_text(encoding="utf-8"))["cells"]
    assert [cell["id"] for cell in committed].count(front.CELL) == 1


def test_pages_ask_for_no_thebe_and_no_fonts_before_they_need_them(tmp_path):
    def script(name, **attributes):
        return SimpleNamespace(filename=name, attributes=attributes)

    scripts = [script(None, body="const THEBE_JS_URL = 'https://unpkg.com'"), script("sphinx-thebe.js"), "plain.js"]
    context = {"script_files": [*scripts, script("doctools.js"), script(None, body="let x = 1")], "default_mode": ""}
    offline.tidy(None, "page", "page.html", context, None)
    assert [getattr(one, "filename", one) for one in context["script_files"]] == ["plain.js", "doctools.js", None]
    assert context["default_mode"] == "auto"
    sheet = '<link rel="stylesheet" href="a.css" />'
    hint = '<link rel="preload" as="font" type="font/woff2" crossorigin href="a.woff2" />'
    (tmp_path / "a.html").write_text(f"{hint}\n{sheet}\n{hint}")
    offline.drop_font_hints(SimpleNamespace(outdir=tmp_path), None)
    assert (tmp_path / "a.html").read_text() == f"{sheet}\n"
