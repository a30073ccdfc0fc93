"""The whole book: execute the notebooks whose inputs changed, stage, render, say where it is.

Nothing heavy is imported before something has to run, so that a second `make book` returns at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from merit import runs
from merit.profiles import resolve, run_name
from merit.publish import record, schedule
from merit.publish import stage as staging


class BuildFailed(RuntimeError):
    """The pages do not render cleanly; the message is one line, the renderer's output stands above it."""


def build_book(
    profile: str = "demo", data: str | None = None, device: str = "auto", root: Path | str = ".", *,
    settings: str = "", quiet: bool = False,
) -> Path:  # fmt: skip
    """Build the book of a profile on `data` (a folder; default: synthetic hospitals) and return its first page.

    settings: what is changed of the profile (`profiles.resolve`); such a book lies beside the profile's own.

    Prints a line per notebook that runs, with its seconds against the committed budget. Two builds in one folder make
    each notebook, and the pages, once. Raises NotebookFailed where a notebook fails and BuildFailed where a page gives
    a warning.
    """
    root = Path(root).resolve()
    workspace = run_name(resolve(profile, settings), data)
    executed, built = root / "artifacts" / workspace / "notebooks", root / "_build" / workspace
    say = (lambda *_: None) if quiet else lambda text: print(text, flush=True)
    started = time.monotonic()
    common = {"profile": profile, "data": data, "device": device, "settings": settings}
    schedule.run_notebooks(root, executed, common, say)
    page = built / "html" / "book" / "intro.html"
    with runs.claimed(built):
        changed = staging.stage(root, executed, built / "src")
        if changed:
            (built / "html" / runs.SUMS).unlink(missing_ok=True)
        elif _rendered(built / "html"):
            say(f"nothing to do; the book is at {page}")
            return page
        seconds = render(built)
        runs.seal(built / "html")  # all pages, without a warning
    schedule.report(say, "rendering", seconds, record.budget(profile, root))
    say(f"{'together':<28}{time.monotonic() - started:8.1f} s")
    say(f"the book is at {page}")
    return page


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
    command = [
        sys.executable,
        "-c",
        "from jupyter_book.cli.main import main; main()",
        "build",
        ".",
        "--all",
        "-W",
        "-n",
        "--keep-going",
    ]
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    runs.remove(scratch)
    try:
        with runs.written(built / "html") as temporary:
            done = subprocess.run(
                [*command, "--path-output", str(scratch)], cwd=built / "src", env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            html = scratch / "_build" / "html"
            if done.returncode or not html.exists():
                warnings = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
                first = f"; the first: {warnings[0]}" if warnings else ""
                failure = f"jupyter-book ended with {done.returncode} and {len(warnings)} warnings{first}"
                raise BuildFailed(failure) from RuntimeError(done.stdout)
            os.replace(html, temporary)
    except BuildFailed as error:
        print(str(error.__cause__)[-8000:], file=sys.stderr)
        raise
    finally:
        runs.remove(scratch)
    return time.monotonic() - started
