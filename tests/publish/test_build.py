"""What is run again and what is not; the renderer itself is run by the smoke book."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from merit import runs
from merit.publish import build, execute


def cell(kind: str, name: str, source: str, **more) -> dict:
    """A notebook cell."""
    return {"cell_type": kind, "id": name, "source": source, "metadata": more.pop("metadata", {})} | more


def write(path: Path, cells: list[dict], metadata: dict) -> None:
    """A notebook of these cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4}))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A book of two notebooks, one of them the last; executing one only writes down that it was."""
    for name, text in (("_toc.yml", "root: book/provenance\nchapters: [{file: book/n}]\n"), ("_config.yml", "")):
        (tmp_path / name).write_text(text)
    (tmp_path / "requirements.txt").write_text("numpy==1\n")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "budget.csv").write_text("step,profile,seconds\nn,demo,0\n")
    for name in ("n", "provenance"):
        parameters = cell("code", "p", 'profile: str = "demo"', metadata={"tags": ["parameters"]})
        write(tmp_path / "book" / f"{name}.ipynb", [cell("markdown", "t", "# T"), parameters], {})

    def run(source, out, given, *, root, key):
        out.parent.mkdir(parents=True, exist_ok=True)
        notebook = json.loads(source.read_text())
        notebook["metadata"] = {"merit": {"key": key, "given": dict(given)}}
        notebook["metadata"]["merit"]["digest"] = runs.digest(notebook)
        out.write_text(json.dumps(notebook))

    monkeypatch.setattr(execute, "execute", run)
    return tmp_path


def ran(root: Path, profile: str = "demo") -> list[str]:
    """The notebooks that a build runs."""
    common = {"profile": profile, "data": None, "device": "auto"}
    return build.run_notebooks(root, root / "artifacts" / profile, common, side_by_side=1)


def edit(root: Path, cell: int, text: str) -> None:
    """Another source in a cell of the notebook n."""
    path = root / "book" / "n.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][cell]["source"] = text
    path.write_text(json.dumps(notebook))


def test_what_changed_runs_once_with_the_last_notebook_last(root, capsys):
    assert ran(root) == ["n", "provenance"]
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("n ") and "budget" in line)
    assert line.endswith("OVER BUDGET")
    for path in (root / "artifacts").rglob("*"):  # as after a copy
        os.utime(path, (1, 1))
    assert ran(root) == []
    assert ran(root, "smoke") == ["n", "provenance"]
    done = json.loads((root / "artifacts" / "demo" / "n.ipynb").read_text())["metadata"]["merit"]
    assert done["given"] == {"profile": "demo"}, "no parameter that it does not declare"
    edit(root, 0, "# Other prose")
    assert ran(root) == []
    edit(root, 1, 'profile: str = "demo"  # a comment of a parameter is code')
    assert ran(root) == ["n", "provenance"]
    (root / "requirements.txt").write_text("numpy==2\n")
    assert ran(root) == ["n", "provenance"]


def test_tables_of_the_package_count_as_what_all_pages_depend_on():
    files = (path for path in runs.PACKAGE_ROOT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {path.suffix for path in files} - {".py", ".npz"} == set(runs.DATA_ENDINGS)


def test_what_a_notebook_imports_runs_it_again_and_other_modules_do_not():
    sources = build.imported_source(["from merit.report import paper"])
    assert {"merit.report.paper", "merit.config"} <= set(sources)
    assert not {"merit.report.show", "merit.publish.build"} & set(sources)
    assert "merit.report.prose" in build.imported_source(["from merit.report.show import render"])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"metadata": {}}', "the number"])
def test_a_notebook_that_is_not_as_it_was_executed_runs_again(root, content):
    ran(root)
    out = root / "artifacts" / "demo" / "n.ipynb"
    whole = out.read_text()
    out.write_text(whole.replace("# T", "# 0.99") if content == "the number" else content)
    assert ran(root) == ["n"], "and gives what it gave, so that what reads it has not changed"
    assert out.read_text() == whole


@pytest.fixture
def rendered(monkeypatch) -> list[Path]:
    """The folders that were rendered, into three files."""
    folders = []

    def render(built: Path) -> float:
        folders.append(built)
        for name in ("book/intro.html", "book/other.html", "_static/style.css"):
            path = built / "html" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"of {name}")
        return 0.0

    monkeypatch.setattr(build, "render", render)
    return folders


def test_what_changed_failed_or_is_not_as_it_was_rendered_is_rendered_again(root, rendered, monkeypatch, capsys):
    def pages() -> Path:
        return build.build_book("demo", None, "auto", root)

    def fail(built: Path) -> float:
        whole(built)
        raise build.BuildFailed("a warning")

    whole = build.render
    with monkeypatch.context() as failing:
        failing.setattr(build, "render", fail)
        for _ in range(2):
            with pytest.raises(build.BuildFailed):
                pages()
    assert "nothing to do" not in capsys.readouterr().out
    html = pages().parents[1]
    assert pages() == html / "book" / "intro.html"
    assert f"nothing to do; the book is at {pages()}" in capsys.readouterr().out
    assert rendered == [root / "_build" / "demo"] * 3
    for damage in (
        lambda: (root / "book" / "new.md").write_text("# New\n"),
        lambda: (html / "book/other.html").unlink(),
        lambda: shutil.rmtree(html / "_static"),
        lambda: (html / "book/other.html").write_text("an edited number"),
        lambda: (html / runs.SUMS).write_text(""),
    ):
        before = len(rendered)
        damage()
        assert pages() == pages()
        assert len(rendered) == before + 1


# -- staging: executed twins in place of sources, prose refreshed, what did not change left alone ----------------------

KEY = {"merit": {"key": "k"}}


@pytest.fixture
def staged(tmp_path) -> Path:
    """A book of one page and one notebook, executed."""
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text("title: t\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/a\nparts:\n- chapters:\n  - file: book/b\n    sections: [{file: book/c}]\n"
    )
    (tmp_path / "book" / "a.md").write_text("# A\n")
    source = cell("code", "p", "x: int = 1", metadata={"tags": ["parameters"]})
    write(tmp_path / "book" / "b.ipynb", [cell("markdown", "m", "new prose"), source], KEY)
    injected = cell("code", "i", "# Parameters\nx = 2", metadata={"tags": ["injected-parameters"]}, outputs=[])
    ran = cell("code", "p", "x: int = 1", metadata={"papermill": {}}, outputs=["shown"])
    write(tmp_path / "run" / "b.ipynb", [cell("markdown", "m", "old prose"), ran, injected], KEY)
    return tmp_path


def test_stage_takes_outputs_from_the_run_and_prose_from_the_source(staged):
    assert execute.pages(staged / "_toc.yml") == ["book/a", "book/b", "book/c"]
    build.stage(staged, staged / "run", staged / "out")
    book = json.loads((staged / "out" / "book" / "b.ipynb").read_text())
    assert [cell["source"] for cell in book["cells"]] == ["new prose", "x: int = 1", "# Parameters\nx = 2"]
    assert book["cells"][1]["outputs"] == ["shown"]
    assert book["cells"][1]["metadata"] == {"tags": ["parameters"]}
    assert "remove-cell" in book["cells"][2]["metadata"]["tags"]
    assert book["metadata"] == {"merit": {"key": "k"}}


def test_stage_leaves_what_did_not_change_and_removes_what_went(staged):
    assert build.stage(staged, staged / "run", staged / "out")
    for book in (staged / "book", staged / "out" / "book"):  # what Python leaves beside the extensions
        (book / "_ext" / "__pycache__").mkdir(parents=True)
        (book / "_ext" / "__pycache__" / "footer.cpython-311.pyc").write_bytes(b"compiled")
    assert build.stage(staged, staged / "run", staged / "out") == []
    (staged / "book" / "a.md").write_text("# Other\n")
    (staged / "out" / "book" / "old.md").write_text("# Old\n")
    assert {path.name for path in build.stage(staged, staged / "run", staged / "out")} == {"a.md", "old.md"}
    assert not (staged / "out" / "book" / "old.md").exists()
    assert len(list((staged / "out").rglob("*.pyc"))) == 1
    (staged / "run" / "b.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.ipynb has not been executed"):
        build.stage(staged, staged / "run", staged / "out")


# -- the PDF: links within, unique places ------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path) -> Path:
    """A built book of two pages."""
    (tmp_path / "_toc.yml").write_text("root: book/intro\nchapters: [{file: book/other}]\n")
    folder = tmp_path / "_build" / "smoke" / "html" / "book"
    folder.mkdir(parents=True)
    shell = "<html><head><link href='../a.css'></head><body><nav>menu</nav><article class='bd-article'>{}</article>"
    first = "<h1 id='top'>A<a class='headerlink' href='#top'>#</a></h1><a href='other.html#top'>b</a><a href='#top'>up"
    other = "<h1 id='top'>B</h1><a href='intro.html'>a</a><a href='../_sources/book/other.ipynb'>n</a>"
    other += "<a href='https://arxiv.org/x'>x</a><details class='hide'><pre>code</pre></details><script>1</script>"
    for name, text in (("intro", f"{first}</a>"), ("other", other)):
        (folder / f"{name}.html").write_text(shell.format(text))
    return tmp_path


def test_links_between_pages_become_links_within(built):
    whole = build.joined(built / "_build" / "smoke" / "html" / "book", ["intro", "other"])
    there = ['href="#other--top"', 'href="#intro--top"', 'href="#intro"', 'id="other--top"', 'id="intro"', "../a.css"]
    there += ['href="../_sources/book/other.ipynb"', 'href="https://arxiv.org/x"', 'data-theme="light"']
    assert [text for text in there if text not in whole] == []
    assert [text for text in ("menu", "headerlink", "<pre>", "<script>1") if text in whole] == []


PRINTS = """#!/bin/sh
for argument; do
  case "$argument" in
    --print-to-pdf=*) out="${argument#--print-to-pdf=}";;
    file:*) page="${argument#file://}";;
  esac
done
head -c 10 "$page" > "$out"
"""


def test_the_file_is_put_in_place_the_joined_page_removed_and_what_lacks_is_named(built, tmp_path, capsys):
    for profile, browser, kind, said in (
        ("demo", __file__, FileNotFoundError, "make book first"),
        ("smoke", "/no/browser", FileNotFoundError, "apt-get install chromium"),
        ("smoke", "/bin/false", RuntimeError, "printed nothing, exit status 1"),
    ):
        with pytest.raises(kind, match=said):
            build.make_pdf(profile, None, built, browser)
    assert not (built / "_build" / "smoke" / "merit.pdf").exists()
    browser = tmp_path / "chromium"
    browser.write_text(PRINTS)
    browser.chmod(0o755)
    out = build.make_pdf("smoke", None, built, str(browser))
    assert (out, out.read_text()) == (built / "_build" / "smoke" / "merit.pdf", "<html data")
    assert not (built / "_build" / "smoke" / "html" / "book" / build.JOINED).exists()
    assert "merit.pdf" in capsys.readouterr().out
