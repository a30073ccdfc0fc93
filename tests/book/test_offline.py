"""What the pages must not ask for when they are read from the disk."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture
def offline(extension):
    return extension("offline")


def test_thebe_goes_and_other_scripts_stay(offline):
    def script(name, **attributes):
        return SimpleNamespace(filename=name, attributes=attributes)

    scripts = [script(None, body="const THEBE_JS_URL = 'https://unpkg.com'"), script("sphinx-thebe.js"), "plain.js"]
    context = {"script_files": [*scripts, script("doctools.js"), script(None, body="let x = 1")], "default_mode": ""}
    offline.tidy(None, "page", "page.html", context, None)
    assert [getattr(one, "filename", one) for one in context["script_files"]] == ["plain.js", "doctools.js", None]
    assert context["default_mode"] == "auto"


def test_font_hints_go_and_style_sheets_stay(offline, tmp_path):
    sheet = '<link rel="stylesheet" href="a.css" />'
    hint = '<link rel="preload" as="font" type="font/woff2" crossorigin href="a.woff2" />'
    (tmp_path / "book").mkdir()
    page = tmp_path / "book" / "a.html"
    page.write_text(f"{hint}\n{sheet}\n{hint}")
    offline.drop_font_hints(SimpleNamespace(outdir=tmp_path), None)
    assert page.read_text() == f"{sheet}\n"
