"""The whole book: execute the notebooks whose inputs changed, stage, render, say where it is.

Nothing heavy is imported before something has to run, so that a second `make book` returns at once.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from merit import runs
from merit.publish import parameters as declarations
from merit.publish import record
from merit.publish import stage as staging

LAST = "provenance"
"""The notebook that reads what the others left behind, and so runs after them."""


class BuildFailed(RuntimeError):
    """The pages do not render cleanly; the message is one line, the renderer's output stands above it."""


def build_book(
    profile: str = "demo", data: str | None = None, device: str = "auto", root: Path | str = ".", *, quiet: bool = False
) -> Path:
    """Build the book of a profile on `data` (a folder; default: synthetic hospitals) and return its first page.

    Prints a line per notebook that runs, with its seconds against the committed budget. Raises NotebookFailed where a
    notebook fails and BuildFailed where a page gives a warning.
    """
    root = Path(root).resolve()
    workspace = runs.workspace_name(profile, data)
    executed, built = root / "artifacts" / workspace / "notebooks", root / "_build" / workspace
    say = (lambda *_: None) if quiet else lambda text: print(text, flush=True)
    started = time.monotonic()
    ran = run_notebooks(root, executed, {"profile": profile, "data": data, "device": device}, say)
    changed = staging.stage(root, executed, built / "src")
    page, rendered = built / "html" / "book" / "intro.html", built / "rendered.txt"
    if changed:
        rendered.unlink(missing_ok=True)
    if not (ran or changed) and page.exists() and rendered.exists():
        say(f"nothing to do; the book is at {page}")
        return page
    seconds = render(built)
    runs.write_text(rendered, "all pages, without a warning\n")
    _report(say, "rendering", seconds, record.budget(profile, root))
    say(f"{'together':<28}{time.monotonic() - started:8.1f} s")
    say(f"the book is at {page}")
    return page


def run_notebooks(root: Path, executed: Path, common: dict, say=print) -> list[str]:
    """Execute each notebook of `_toc.yml` that is not up to date under `executed`; returns the names of those."""
    names = [Path(page).name for page in staging.pages(root / "_toc.yml") if (root / f"{page}.ipynb").exists()]
    names.sort(key=lambda name: name == LAST)
    surroundings = _surroundings(root, common["data"])
    allowed, ran, keys = record.budget(common["profile"], root), [], []
    for name in names:
        source = root / "book" / f"{name}.ipynb"
        code = _code(source)
        given = {key: value for key, value in common.items() if key in declarations.declared(source)}
        key = runs.digest([code, _source(code), given, surroundings, keys if name == LAST else None])
        if record.of_notebook(executed / f"{name}.ipynb").get("key") != key:
            from merit.publish.execute import execute

            say(f"{name:<28} running ...")
            started = time.monotonic()
            execute(source, executed / f"{name}.ipynb", given, root=root, key=key)
            _report(say, name, time.monotonic() - started, allowed)
            ran.append(name)
        keys.append((name, key, (executed / f"{name}.ipynb").stat().st_mtime_ns))
    return ran


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
    done = subprocess.run(
        [*command, "--path-output", str(scratch)],
        cwd=built / "src", env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    html = scratch / "_build" / "html"
    if done.returncode or not html.exists():
        print(done.stdout[-8000:], file=sys.stderr)
        warnings = [line for line in done.stdout.splitlines() if "WARNING" in line or "ERROR" in line]
        first = f"; the first: {warnings[0]}" if warnings else ""
        raise BuildFailed(f"jupyter-book ended with {done.returncode} and {len(warnings)} warnings{first}")
    if (built / "html").exists():
        shutil.rmtree(built / "html")
    os.replace(html, built / "html")
    return time.monotonic() - started


def _report(say, name: str, seconds: float, allowed: dict[str, float]) -> None:
    budgeted = f"   budget {allowed[name]:5.0f} s" if name in allowed else ""
    over = "   OVER BUDGET" if seconds > allowed.get(name, seconds) else ""
    say(f"{name:<28}{seconds:8.1f} s{budgeted}{over}")


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


def _surroundings(root: Path, data: str | None) -> str:
    """What all notebooks depend on besides code: versions, the package's tables, committed references, the data."""
    files = [
        path
        for folder in (runs.PACKAGE_ROOT, root / "book" / "reference")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".json", ".txt")
    ]
    tables = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return runs.digest([tables, (root / "requirements.txt").read_text(), sys.version, _data_fingerprint(data)])


def _data_fingerprint(data: str | None) -> dict[str, str]:
    if data is None:
        return {}
    from merit.data.cohorts.registry import find_cohorts, open_cohort

    return {name: open_cohort(name, folder).fingerprint() for name, folder in sorted(find_cohorts(data).items())}
