"""Pages joined for printing: links within, unique places, and what is said where something lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from merit.publish import pdf


@pytest.fixture
def root(tmp_path) -> Path:
    """A built book of two pages."""
    (tmp_path / "_toc.yml").write_text("root: book/intro\nchapters: [{file: book/other}]\n")
    folder = tmp_path / "_build" / "smoke" / "html" / "book"
    folder.mkdir(parents=True)
    shell = "<html><head><link href='../a.css'></head><body><nav>menu</nav><article class='bd-article'>{}</article>"
    first = (
        "<h1 id='top'>A<a class='headerlink' href='#top'>#</a></h1><a href='other.html#top'>b</a><a href='#top'>up</a>"
    )
    other = (
        "<h1 id='top'>B</h1><a href='intro.html'>a</a><a href='../_sources/book/other.ipynb'>n</a>"
        "<a href='https://arxiv.org/x'>x</a><details class='hide'><pre>code</pre></details><script>1</script>"
    )
    (folder / "intro.html").write_text(shell.format(first))
    (folder / "other.html").write_text(shell.format(other))
    return tmp_path


def test_links_between_pages_become_links_within(root):
    whole = pdf.joined(root / "_build" / "smoke" / "html" / "book", ["intro", "other"])
    for there in ('href="#other--top"', 'href="#intro--top"', 'href="#intro"', 'id="other--top"', 'id="intro"'):
        assert there in whole
    for left in ('href="../_sources/book/other.ipynb"', 'href="https://arxiv.org/x"', "../a.css", 'data-theme="light"'):
        assert left in whole
    for gone in ("menu", "headerlink", "<pre>", "<script>1"):
        assert gone not in whole


def test_the_file_is_put_in_place_and_the_joined_page_removed(root, monkeypatch, capsys):
    monkeypatch.setattr(pdf, "_print", lambda chromium, source, out: out.write_bytes(source.read_bytes()[:10]))
    out = pdf.make_pdf("smoke", None, root, chromium=__file__)
    assert out == root / "_build" / "smoke" / "merit.pdf"
    assert out.exists()
    assert not (root / "_build" / "smoke" / "html" / "book" / pdf.JOINED).exists()
    assert "merit.pdf" in capsys.readouterr().out


def test_what_lacks_is_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="make book first"):
        pdf.make_pdf("demo", None, root, chromium=__file__)
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        pdf.make_pdf("smoke", None, root, chromium=str(tmp_path / "none"))


def test_a_browser_that_prints_nothing_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="printed nothing"):
        pdf._print("/bin/false", tmp_path / "a.html", tmp_path / "a.pdf")
