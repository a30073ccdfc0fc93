"""The whole book in the smoke profile, as a reader without a network gets it. A minute; run with -m slow."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from merit.publish.build import build_book

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"""(?:<script[^>]*src|<link[^>]*href|<img[^>]*src)=["']https?://|@import|url\(["']?https?://""")


@pytest.fixture(scope="module")
def page(request, tmp_path_factory) -> Path:
    """The first page of a book built from nothing, in a folder of its own."""
    if "slow" not in request.config.getoption("-m"):
        pytest.skip("takes a minute; run with -m slow")
    root = tmp_path_factory.mktemp("book")
    for name in ("_config.yml", "_toc.yml", "requirements.txt"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "book", root / "book")
    return build_book("smoke", None, "cpu", root)


@pytest.mark.slow
def test_pages_fetch_nothing_and_bring_their_own_mathjax(page):
    html = page.parents[1]
    for one in html.rglob("*.html"):
        assert not FETCHED.search(one.read_text(encoding="utf-8")), one.name
    assert "mathjax/tex-svg.js" in (page.parent / "objective.html").read_text(encoding="utf-8")
    assert (html / "_static" / "mathjax" / "tex-svg.js").stat().st_size > 1_000_000


@pytest.mark.slow
def test_every_notebook_has_its_footer_and_says_that_it_is_synthetic(page):
    for source in (ROOT / "book").glob("*.ipynb"):
        text = (page.parent / f"{source.stem}.html").read_text(encoding="utf-8")
        assert f"make notebook NB={source.stem} PROFILE=smoke" in text
        if source.stem != "provenance":
            assert "Synthetic recordings" in text


@pytest.mark.slow
def test_nothing_changed_is_nothing_done(page, capsys):
    assert build_book("smoke", None, "cpu", page.parents[4]) == page
    assert "nothing to do" in capsys.readouterr().out
