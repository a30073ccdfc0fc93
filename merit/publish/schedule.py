"""Which notebooks run, in which order, and how many at a time."""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merit import pool, runs
from merit.baselines import others
from merit.data.store import SOURCES
from merit.publish import parameters as declarations
from merit.publish import record
from merit.publish.stage import pages
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
    root: Path, executed: Path, common: dict, say: Callable[[str], None] = print, side_by_side: int | None = None
) -> list[str]:
    """Execute each notebook of `_toc.yml` that is not up to date under `executed`; returns the names of those.

    side_by_side: how many at a time once data and encoders are there; default: one a core, at most four. What two of
    them need is made by one while the other waits (`runs.claimed`). Raises NotebookFailed; what runs beside it ends.
    """
    names = [Path(page).name for page in pages(root / "_toc.yml") if (root / f"{page}.ipynb").exists()]
    os.environ["MERIT_BUILD"] = f"{os.getpid()} {time.time_ns()}"  # notebooks find what was looked at by one of them
    kept = executed.parent / "stores" / SOURCES
    surroundings, allowed = _surroundings(root, common["data"], kept), record.budget(common["profile"], root)
    every = [_run(name, root, executed, common, surroundings) for name in names if name != LAST]
    due = [run for run in every if run.is_due()]
    others = [run for run in due if run.name not in ALONE]
    # The longest first, so that the cores end together.
    others.sort(key=lambda run: (run.name in READS_OTHERS, -allowed.get(run.name, 0.0)))
    ran = []
    for run in due:
        if run.name in ALONE:
            ran += _finish([run], 1, allowed, say)
    ran += _finish(others, side_by_side or min(usable_cores(), SIDE_BY_SIDE), allowed, say)
    if LAST in names:
        left = [[run.name, run.key, record.of_notebook(run.out).get("digest")] for run in every]
        last = _run(LAST, root, executed, common, [surroundings, left])
        ran += _finish([last] if last.is_due() else [], 1, allowed, say)
    return ran


def report(say: Callable[[str], None], name: str, seconds: float, allowed: dict[str, float]) -> None:
    """A line with a step's seconds beside what the committed budget allows it."""
    budgeted = f"   budget {allowed[name]:5.0f} s" if name in allowed else ""
    over = "   OVER BUDGET" if seconds > allowed.get(name, seconds) else ""
    say(f"{name:<28}{seconds:8.1f} s{budgeted}{over}")


def _finish(due: Sequence[Run], workers: int, allowed: dict[str, float], say: Callable[[str], None]) -> list[str]:
    workers, names = min(workers, len(due)), []
    if workers > 1:
        say(f"{len(due)} notebooks, {workers} at a time ...")
    elif due:
        say(f"{due[0].name:<28} running ...")
    for name, seconds in pool.as_done(_execute, due, workers):
        report(say, name, seconds, allowed)
        names.append(name)
    return names


def _execute(run: Run) -> tuple[str, float]:
    from merit.publish.execute import execute

    started = time.monotonic()
    beside_others = multiprocessing.parent_process() is not None  # whose progress bars would mix with this one's
    execute(run.source, run.out, run.given, root=run.root, key=run.key, quiet=beside_others)
    return run.name, time.monotonic() - started


def _run(name: str, root: Path, executed: Path, common: dict, surroundings: Any) -> Run:
    source = root / "book" / f"{name}.ipynb"
    code = _code(source)
    given = {key: value for key, value in common.items() if key in declarations.declared(source)}
    beside = root / "artifacts" / ALSO_READS.get(name, "none")
    key = runs.digest(
        [code, _source(code), given, surroundings, runs.file_digest(beside if beside.is_file() else None)]
    )
    return Run(source, executed / f"{name}.ipynb", given, root, key)


def _code(notebook: Path) -> list[str]:
    """The code of a notebook; prose and captions are refreshed when staging and need no run."""
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def _source(code: list[str]) -> dict[str, str]:
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
    outside, tables, data.
    """
    files = [
        path
        for folder in (runs.PACKAGE_ROOT, root / "book" / "reference")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".json", ".txt")
    ]
    tables = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    pinned = (root / "requirements.txt").read_text()
    return runs.digest([tables, others.surroundings(), pinned, sys.version, _data_fingerprint(data, kept)])


def _data_fingerprint(data: str | None, kept: Path) -> dict[str, str]:
    if data is None:
        return {}
    from merit.data.cohorts import find_cohorts, open_cohort

    kept.parent.mkdir(parents=True, exist_ok=True)
    return {name: open_cohort(name, folder).fingerprint(kept) for name, folder in sorted(find_cohorts(data).items())}
