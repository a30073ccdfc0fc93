"""The whole book: execute the notebooks whose inputs changed, stage, render, say where it is; and print it to a PDF.

Nothing heavy is imported before something has to run, so that a second `make book` returns at once.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urldefrag

from merit import parallel, runs
from merit.config import resolve, run_name
from merit.data.store import SOURCES
from merit.encoders import registry
from merit.publish import parameters
from merit.publish.execute import budget, of_notebook, pages

ALONE = ("cohorts", "pretraining")
"""Notebooks that keep every core busy and make what all others read: these run first, one after another."""
SIDE_BY_SIDE = 4
"""Notebooks at a time at most, however many cores there are: each has threads of its own and may hold an encoder."""
READS_OTHERS = ("claims",)
"""Notebooks that show the results of others and would wait for them: these begin last."""
ALSO_READS = {"cost": "bench.json"}
"""Notebook -> a file in artifacts/ that it shows beside its results, if it is there."""
LAST = "provenance"
"""The notebook that reads what the others left behind, and so runs after them."""
SKIPPED = {"__pycache__", ".ipynb_checkpoints", "reference"}
"""Folders that are no part of the book; rendering leaves Python's cache of our extensions in the target too."""


class BuildFailed(RuntimeError):
    """The pages do not render cleanly; the message is one line, the renderer's output stands above it."""


def build_book(profile: str, data: str | None, device: str, root: Path, settings: str = "") -> Path:
    """Build the book of a profile on `data` (a folder; None: synthetic hospitals) and return its first page.

    settings: what is changed of the profile (`config.resolve`); such a book lies beside the profile's own. Prints a
    line per notebook that runs, with its seconds against the committed budget. Two builds in one folder make each
    notebook, and the pages, once. NotebookFailed where a notebook fails, BuildFailed where a page gives a warning.
    """
    root = root.resolve()
    workspace = run_name(resolve(profile, settings), data)
    executed, built = root / "artifacts" / workspace / "notebooks", root / "_build" / workspace
    started = time.monotonic()
    run_notebooks(root, executed, {"profile": profile, "data": data, "device": device, "settings": settings})
    html, page = built / "html", built / "html" / "book" / "intro.html"
    with runs.claimed(built):
        whole = False
        if stage(root, executed, built / "src"):
            (html / runs.SUMS).unlink(missing_ok=True)
        with contextlib.suppress(runs.Damaged):  # where a page, or what one needs, is not as it was rendered
            whole = bool(runs.check(html))
        if whole:
            _say(f"nothing to do; the book is at {page}")
            return page
        seconds = render(built)
        runs.seal(html)  # all pages, without a warning
    _say_seconds("rendering", seconds, budget(profile, root))
    _say(f"{'together':<28}{time.monotonic() - started:8.1f} s")
    _say(f"the book is at {page}")
    return page


def _say(text: str) -> None:
    print(text, flush=True)


def _say_seconds(name: str, seconds: float, allowed: dict[str, float]) -> None:
    """A line with a step's seconds beside what the committed budget allows it."""
    budgeted = f"   budget {allowed[name]:5.0f} s" if name in allowed else ""
    over = "   OVER BUDGET" if seconds > allowed.get(name, seconds) else ""
    _say(f"{name:<28}{seconds:8.1f} s{budgeted}{over}")


# -- which notebooks run, in which order, and how many at a time ------------------------------------------------------


class Run(NamedTuple):
    """One notebook with what it is given; `key` stands for everything that its outputs depend on."""

    source: Path
    out: Path
    given: dict[str, Any]
    root: Path
    key: str


def run_notebooks(root: Path, executed: Path, common: dict[str, Any], side_by_side: int | None = None) -> list[str]:
    """Execute each notebook of `_toc.yml` that is not up to date under `executed`; returns the names of those.

    side_by_side: how many at a time once data and encoders are there; default: one per core, at most four. What two of
    them need is made by one while the other waits (`runs.claimed`). NotebookFailed; what runs beside it ends.
    """
    names = [Path(page).name for page in pages(root / "_toc.yml") if (root / f"{page}.ipynb").exists()]
    os.environ["MERIT_BUILD"] = f"{os.getpid()} {time.time_ns()}"  # notebooks find what was looked at by one of them
    allowed = budget(common["profile"], root)

    # -- what all depend on besides code and the settings that name their folder: versions, encoders from outside,
    #    tables, and the data's fingerprints
    folders = (runs.PACKAGE_ROOT, root / "book" / "reference")
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in runs.DATA_ENDINGS]
    tables = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    fingerprints: dict[str, str] = {}
    if common["data"] is not None:
        from merit.data.cohorts import find_cohorts, open_cohort

        known = executed.parent / "stores" / SOURCES
        known.parent.mkdir(parents=True, exist_ok=True)
        there = sorted(find_cohorts(common["data"]).items())
        fingerprints = {name: open_cohort(name, folder).fingerprint(known) for name, folder in there}
    pinned = (root / "requirements.txt").read_text()
    surroundings = runs.digest([tables, registry.surroundings(), pinned, sys.version, fingerprints])

    def planned(name: str, surroundings: Any) -> Run:
        source = root / "book" / f"{name}.ipynb"
        cells = json.loads(source.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]  # prose needs no run
        given = {key: value for key, value in common.items() if key in parameters.declared(source)}
        beside = root / "artifacts" / ALSO_READS.get(name, "none")
        also = runs.file_digest(beside if beside.is_file() else None)
        key = runs.digest([code, imported_source(code), given, surroundings, also])
        return Run(source, executed / f"{name}.ipynb", given, root, key)

    ran: list[str] = []

    def finish(wanted: Sequence[Run], workers: int) -> None:
        due = [run for run in wanted if of_notebook(run.out).get("key") != run.key]
        workers = min(workers, len(due))
        if workers > 1:
            _say(f"{len(due)} notebooks, {workers} at a time ...")
        elif due:
            _say(f"{due[0].source.stem:<28} running ...")
        for name, seconds in parallel.as_done(_execute, due, workers):
            _say_seconds(name, seconds, allowed)
            ran.append(name)

    every = {name: planned(name, surroundings) for name in names if name != LAST}
    for name in ALONE:
        finish([every[name]] if name in every else [], 1)
    # The longest first, so that the cores end together.
    many = sorted(every.keys() - set(ALONE), key=lambda name: (name in READS_OTHERS, -allowed.get(name, 0.0), name))
    finish([every[name] for name in many], side_by_side or min(parallel.usable_cores(), SIDE_BY_SIDE))
    if LAST in names:
        left = [[name, run.key, of_notebook(run.out).get("digest")] for name, run in every.items()]
        finish([planned(LAST, [surroundings, left])], 1)
    return ran


def _execute(run: Run) -> tuple[str, float]:
    from merit.publish.execute import execute

    started = time.monotonic()
    execute(run.source, run.out, run.given, root=run.root, key=run.key)
    return run.source.stem, time.monotonic() - started


def imported_source(code: list[str]) -> dict[str, str]:
    """Module -> digest of its code, for all of this package that a notebook's cells import, at whatever depth.

    Settings too, which results take as parameters but a notebook reaches only by name.
    """
    found = {name: runs.parsed(runs.module_file(name))[0] for name in ("merit.config", "merit.runs")}
    for node in ast.walk(ast.parse("\n".join(code))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "merit":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= runs.source_closure(name for name in names if runs.module_file(name))
    return found


# -- what jupyter-book builds from: the committed pages, with each notebook replaced by its executed twin -------------


def stage(root: Path, executed: Path, target: Path) -> list[Path]:
    """Bring `target` to what the book at `root` now is, notebooks taken from the folder `executed`.

    Files whose content did not change are left alone, files that are no longer there are removed. Returns what was
    written or removed; FileNotFoundError for a notebook that was not executed.
    """

    def files(folder: Path) -> list[Path]:
        there = sorted(folder.rglob("*")) if folder.exists() else []
        return [path for path in there if path.is_file() and not SKIPPED & set(path.relative_to(folder).parts)]

    wanted = {target / name: (root / name).read_bytes() for name in ("_config.yml", "_toc.yml")}
    for path in files(root / "book"):
        notebook = path.suffix == ".ipynb"
        content = refreshed(path, executed / path.name) if notebook else path.read_bytes()
        wanted[target / path.relative_to(root)] = content
    changed = [path for path in files(target) if path not in wanted]
    for path in changed:
        path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            with runs.written(path) as temporary:
                temporary.write_bytes(content)
            changed.append(path)
    return changed


def refreshed(source: Path, executed: Path) -> bytes:
    """The executed notebook with the prose, captions and tags of its source as they are now: editing those re-runs
    nothing. Papermill's cell of parameters is out of sight: the footer of the page says the same."""
    if not executed.exists():
        raise FileNotFoundError(f"{source.name} has not been executed: no {executed}")
    now, ran = json.loads(source.read_text()), json.loads(executed.read_text())
    outputs = {cell.get("id"): cell for cell in ran["cells"]}
    injected = [cell for cell in ran["cells"] if "injected-parameters" in cell["metadata"].get("tags", [])]
    cells = []
    for cell in now["cells"]:
        if cell["cell_type"] == "code":
            cell = {**outputs[cell["id"]], "metadata": cell["metadata"]}
        cells.append(cell)
        if "parameters" in cell["metadata"].get("tags", []):
            cells += [{**given, "metadata": {"tags": ["injected-parameters", "remove-cell"]}} for given in injected]
    return (json.dumps({**ran, "cells": cells}, indent=1, ensure_ascii=False) + "\n").encode()


def render(built: Path) -> float:
    """Run jupyter-book on `built/src`, strictly, and move the pages to `built/html`; returns the seconds it took."""
    started = time.monotonic()
    scratch = built / "sphinx"
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["--all", "-W", "-n", "--keep-going", "--path-output", str(scratch)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    runs.remove(scratch)
    try:
        with runs.written(built / "html") as temporary:
            done = subprocess.run(command, cwd=built / "src", env=environment, check=False, **output)
            html = scratch / "_build" / "html"
            if done.returncode or not html.exists():
                warnings = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
                first = f"; the first: {warnings[0]}" if warnings else ""
                failure = f"jupyter-book ended with {done.returncode} and {len(warnings)} warnings{first}"
                raise BuildFailed(failure) from RuntimeError(done.stdout)  # which may tell of a full disk
            os.replace(html, temporary)
    except BuildFailed as error:
        print(str(error.__cause__)[-8000:], file=sys.stderr)
        raise
    finally:
        runs.remove(scratch)
    return time.monotonic() - started


# -- the whole book as one PDF: the built pages joined, printed by the system's Chromium without network ---------------

JOINED = "merit-print.html"
PATIENCE_S = 600
DROPPED = "script, a.headerlink, details.hide, button, .merit-front-here"
"""What paper has no use for; the code of each cell is in the notebook, which the HTML pages offer."""
OPTIONS = """--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --disable-background-networking
--disable-component-update --virtual-time-budget=60000 --no-pdf-header-footer"""
"""The browser sets all formulas and prints, without a network or a profile of anybody's."""
STYLE = """
@page { size: A4; margin: 16mm 14mm; }
body { background: white; }
.bd-content { display: block !important; }
article.merit-chapter { break-before: page; max-width: none; font-size: 9.5pt; line-height: 1.4; }
article.merit-chapter h1 { font-size: 20pt; }
article.merit-chapter h2 { font-size: 14pt; margin-top: 1.2rem; }
article.merit-chapter img { max-height: 150mm; width: auto; max-width: 100%; }
article.merit-chapter:first-of-type { break-before: auto; }
article.merit-chapter :is(figure, img, pre, .admonition, tr) { break-inside: avoid; }
article.merit-chapter h1, article.merit-chapter h2 { break-after: avoid; }
.merit-scroll, .pst-scrollable-table-container { overflow: visible !important; background: none !important; }
.merit-table tbody th { position: static !important; }
"""

FIT = """
addEventListener("load", () => {
  const narrow = (node, inner) => {
    if (inner && inner.scrollWidth > node.clientWidth) inner.style.zoom = node.clientWidth / inner.scrollWidth;
  };
  for (const box of document.querySelectorAll(".merit-scroll, .pst-scrollable-table-container"))
    narrow(box, box.querySelector("table"));
});
"""
"""What scrolls on a screen is made to fit on paper."""


def make_pdf(profile: str, data: str | None, root: Path, chromium: str, settings: str = "") -> Path:
    """Print the book that `make book` built to `_build/<workspace>/merit.pdf` and return where it is.

    Raises FileNotFoundError where there is no book or no browser, RuntimeError where the browser prints nothing.
    """
    root = root.resolve()
    built = root / "_build" / run_name(resolve(profile, settings), data)
    folder, out = built / "html" / "book", built / "merit.pdf"
    if not (folder / "intro.html").exists():
        raise FileNotFoundError(f"{folder}: expected the built pages; make book first, with the same settings")
    if not Path(chromium).exists():
        raise FileNotFoundError(f"no browser at {chromium}: apt-get install chromium, or make pdf CHROMIUM=path")
    source = folder / JOINED
    with runs.claimed(built), tempfile.TemporaryDirectory(prefix="merit-chromium-") as scratch:
        try:
            source.write_text(joined(folder, [Path(page).name for page in pages(root / "_toc.yml")]), encoding="utf-8")
            with runs.written(out) as temporary:
                offline = ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={scratch}"]
                command = [chromium, *OPTIONS.split(), *offline, f"--print-to-pdf={temporary}", source.as_uri()]
                done = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
                if done.returncode or not temporary.exists():
                    said = f"exit status {done.returncode}: {done.stderr.strip()[-300:]}"
                    raise RuntimeError(f"{chromium} printed nothing, {said}")
        finally:
            source.unlink(missing_ok=True)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return out


def joined(folder: Path, names: list[str]) -> str:
    """One page with the articles of all: links between pages become links within it, ids unique by the page's name."""
    from bs4 import BeautifulSoup

    every = [BeautifulSoup((folder / f"{name}.html").read_text(encoding="utf-8"), "html.parser") for name in names]
    whole, chapters = every[0], []
    for page, name in zip(every, names):
        article = page.select_one("article.bd-article").extract()
        for tag in article.select(DROPPED):
            tag.decompose()
        for tag in article.select("[id]"):
            tag["id"] = f"{name}--{tag['id']}"
        for link in article.select("a[href]"):
            address, place = urldefrag(link["href"])
            target = Path(address).stem if address else name
            if target in names and Path(address).suffix in ("", ".html") and "/" not in address:
                link["href"] = f"#{target}--{place}" if place else f"#{target}"
        article["id"], article["class"] = name, "bd-article merit-chapter"
        chapters.append(article)
    for tag, text in (("style", STYLE), ("script", FIT)):
        whole.head.append(whole.new_tag(tag))
        whole.head.contents[-1].string = text
    whole.html["data-theme"] = whole.html["data-mode"] = "light"
    whole.body.clear()
    content = whole.new_tag("div", attrs={"class": "bd-content"})
    content.extend(chapters)
    whole.body.append(content)
    return str(whole)
