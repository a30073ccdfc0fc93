"""The whole book: execute the notebooks whose inputs changed, stage, render, say where it is.

Nothing heavy is imported before something has to run, so that a second `make book` returns at once.
"""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merit import pool, runs
from merit.data.store import SOURCES
from merit.encoders import registry
from merit.profiles import resolve, run_name
from merit.publish import parameters, record
from merit.threads import usable_cores

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


def build_book(
    profile: str = "demo",
    data: str | None = None,
    device: str = "auto",
    root: Path | str = ".",
    *,
    settings: str = "",
    quiet: bool = False,
) -> Path:
    """Build the book of a profile on `data` (a folder; default: synthetic hospitals) and return its first page.

    settings: what is changed of the profile (`profiles.resolve`); such a book lies beside the profile's own. Prints a
    line per notebook that runs, with its seconds against the committed budget. Two builds in one folder make each
    notebook, and the pages, once. NotebookFailed where a notebook fails, BuildFailed where a page gives a warning.
    """
    root = Path(root).resolve()
    workspace = run_name(resolve(profile, settings), data)
    executed, built = root / "artifacts" / workspace / "notebooks", root / "_build" / workspace
    log = (lambda *_: None) if quiet else lambda text: print(text, flush=True)
    started = time.monotonic()
    run_notebooks(root, executed, {"profile": profile, "data": data, "device": device, "settings": settings}, log)
    html, page = built / "html", built / "html" / "book" / "intro.html"
    with runs.claimed(built):
        if stage(root, executed, built / "src"):
            (html / runs.SUMS).unlink(missing_ok=True)
        elif _rendered(html):
            log(f"nothing to do; the book is at {page}")
            return page
        seconds = render(built)
        runs.seal(html)  # all pages, without a warning
    report(log, "rendering", seconds, record.budget(profile, root))
    log(f"{'together':<28}{time.monotonic() - started:8.1f} s")
    log(f"the book is at {page}")
    return page


# -- which notebooks run, in which order, and how many at a time ------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One notebook with what it is given; `key` stands for everything that its outputs depend on."""

    source: Path
    out: Path
    given: dict[str, Any]
    root: Path
    key: str

    @property
    def name(self) -> str:
        """The notebook's name without ending."""
        return self.source.stem

    def is_due(self) -> bool:
        """Whether there is no output, or one from other inputs."""
        return record.of_notebook(self.out).get("key") != self.key


def run_notebooks(
    root: Path, executed: Path, common: dict, log: Callable[[str], None] = print, side_by_side: int | None = None
) -> list[str]:
    """Execute each notebook of `_toc.yml` that is not up to date under `executed`; returns the names of those.

    side_by_side: how many at a time once data and encoders are there; default: one per core, at most four. What two of
    them need is made by one while the other waits (`runs.claimed`). NotebookFailed; what runs beside it ends.
    """
    names = [Path(page).name for page in record.pages(root / "_toc.yml") if (root / f"{page}.ipynb").exists()]
    os.environ["MERIT_BUILD"] = f"{os.getpid()} {time.time_ns()}"  # notebooks find what was looked at by one of them
    surroundings = _surroundings(root, common["data"], executed.parent / "stores" / SOURCES)
    allowed = record.budget(common["profile"], root)

    def planned(name: str, surroundings: Any) -> Run:
        source = root / "book" / f"{name}.ipynb"
        cells = json.loads(source.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]  # prose needs no run
        given = {key: value for key, value in common.items() if key in parameters.declared(source)}
        beside = root / "artifacts" / ALSO_READS.get(name, "none")
        also = runs.file_digest(beside if beside.is_file() else None)
        key = runs.digest([code, imported_source(code), given, surroundings, also])
        return Run(source, executed / f"{name}.ipynb", given, root, key)

    every = [planned(name, surroundings) for name in names if name != LAST]
    due = [run for run in every if run.is_due()]
    many = [run for run in due if run.name not in ALONE]
    # The longest first, so that the cores end together.
    many.sort(key=lambda run: (run.name in READS_OTHERS, -allowed.get(run.name, 0.0)))
    ran = []
    for run in due:
        if run.name in ALONE:
            ran += _finish([run], 1, allowed, log)
    ran += _finish(many, side_by_side or min(usable_cores(), SIDE_BY_SIDE), allowed, log)
    if LAST in names:
        left = [[run.name, run.key, record.of_notebook(run.out).get("digest")] for run in every]
        last = planned(LAST, [surroundings, left])
        ran += _finish([last] if last.is_due() else [], 1, allowed, log)
    return ran


def report(log: Callable[[str], None], name: str, seconds: float, allowed: dict[str, float]) -> None:
    """A line with a step's seconds beside what the committed budget allows it."""
    budgeted = f"   budget {allowed[name]:5.0f} s" if name in allowed else ""
    over = "   OVER BUDGET" if seconds > allowed.get(name, seconds) else ""
    log(f"{name:<28}{seconds:8.1f} s{budgeted}{over}")


def _finish(due: Sequence[Run], workers: int, allowed: dict[str, float], log: Callable[[str], None]) -> list[str]:
    workers, names = min(workers, len(due)), []
    if workers > 1:
        log(f"{len(due)} notebooks, {workers} at a time ...")
    elif due:
        log(f"{due[0].name:<28} running ...")
    for name, seconds in pool.as_done(_execute, due, workers):
        report(log, name, seconds, allowed)
        names.append(name)
    return names


def _execute(run: Run) -> tuple[str, float]:
    from merit.publish.execute import execute

    started = time.monotonic()
    beside_others = multiprocessing.parent_process() is not None  # whose progress bars would mix with this one's
    execute(run.source, run.out, run.given, root=run.root, key=run.key, quiet=beside_others)
    return run.name, time.monotonic() - started


def imported_source(code: list[str]) -> dict[str, str]:
    """Module -> digest of its code, for all of this package that a notebook's cells import, at whatever depth.

    Settings and profiles too, which results take as parameters but a notebook reaches only by name.
    """
    named = [f"merit.{name}" for name in ("config", "profiles", "runs")]
    found = {name: runs.parsed(runs.module_file(name))[0] for name in named}
    for node in ast.walk(ast.parse("\n".join(code))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "merit":
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= runs.source_closure(name for name in names if runs.module_file(name))
    return found


def _surroundings(root: Path, data: str | None, kept: Path) -> str:
    """What all notebooks depend on besides code and the settings that name their folder: versions, encoders from
    outside, tables, data (whose fingerprints stand in `kept`).
    """
    files = [
        path
        for folder in (runs.PACKAGE_ROOT, root / "book" / "reference")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".json", ".txt", ".toml", ".mplstyle")
    ]
    tables = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    fingerprints: dict[str, str] = {}
    if data is not None:
        from merit.data.cohorts import find_cohorts, open_cohort

        kept.parent.mkdir(parents=True, exist_ok=True)
        there = sorted(find_cohorts(data).items())
        fingerprints = {name: open_cohort(name, folder).fingerprint(kept) for name, folder in there}
    pinned = (root / "requirements.txt").read_text()
    return runs.digest([tables, registry.surroundings(), pinned, sys.version, fingerprints])


# -- what jupyter-book builds from: the committed pages, with each notebook replaced by its executed twin -------------


def stage(root: Path, executed: Path, target: Path) -> list[Path]:
    """Bring `target` to what the book at `root` now is, notebooks taken from the folder `executed`.

    Files whose content did not change are left alone, files that are no longer there are removed. Returns what was
    written or removed; FileNotFoundError for a notebook that was not executed.
    """

    def skipped(path: Path, root: Path) -> bool:
        return bool(SKIPPED & set(path.relative_to(root).parts))

    wanted = {target / name: (root / name).read_bytes() for name in ("_config.yml", "_toc.yml")}
    for path in sorted((root / "book").rglob("*")):
        if path.is_file() and not skipped(path, root):
            notebook = path.suffix == ".ipynb"
            content = refreshed(path, executed / path.name) if notebook else path.read_bytes()
            wanted[target / path.relative_to(root)] = content
    there = (path for path in target.rglob("*") if path.is_file()) if target.exists() else ()
    changed = [path for path in there if path not in wanted and not skipped(path, target)]
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


# -- rendering --------------------------------------------------------------------------------------------------------


def _rendered(html: Path) -> bool:
    """Whether all pages, and what they need, are there as they were rendered."""
    try:
        return runs.sealed(html) and bool(runs.check(html))
    except runs.Damaged:
        return False


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
