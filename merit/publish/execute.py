"""Run one notebook with papermill, strictly: parameters checked first, the output in place only when every cell ran.

Papermill alone logs unknown parameters, and says `completed` when the kernel was killed; hence the checks around it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from merit import runs
from merit.profiles import resolve, run_name, settings_of
from merit.publish import parameters, record
from merit.report.prose import PROVENANCE_MIME
from merit.threads import usable_cores


class NotebookFailed(RuntimeError):
    """A notebook did not run to its end; the message names it, the cell, the error, and the partial notebook."""


def execute(
    source: Path, out: Path, given: Mapping[str, Any], *, root: Path | None = None, key: str = "", quiet: bool = False
) -> Path:
    """Run the notebook `source` with the parameters `given` and write it, with outputs, to `out`.

    Runs in `root`, which is where `artifacts/` lies (default: this checkout). `key` is stored with the output and tells
    later whether it is up to date. One process makes `out` while others wait; what has the same key by then stays.
    quiet: without its stages' progress bars on a terminal. ValueError before anything runs where a parameter is wrong,
    NotebookFailed where a cell or the kernel fails: `out` is then as it was before, and the partial run lies beside it
    as `*.failed.ipynb`.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of `x: str | None`, which it cannot read
    source, out, root = Path(source), Path(out), Path(root or runs.home())
    known = parameters.declared(source)
    values = {name: value for name, value in parameters.check(given, known).items() if value != known[name].default}
    every = {**{name: parameter.default for name, parameter in known.items()}, **values}
    settings = settings_of(resolve(every["profile"], every.get("settings", ""))) if "profile" in every else ""
    failed = out.with_suffix(".failed.ipynb")
    with runs.claimed(out), runs.written(out) as partial:
        if key and record.of_notebook(out).get("key") == key:
            return out
        started = time.monotonic()
        notebook = _run(source, partial, failed, values, root, quiet)
        about = {
            "notebook": source.stem,
            "parameters": every,
            "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "python": platform.python_version(),
            "source": hashlib.sha256(source.read_bytes()).hexdigest()[:12],
            "commit": runs.commit() or "unknown",
            "given": values,
            "settings": settings,
            "key": key,
            "seconds": round(time.monotonic() - started, 1),
        }
        for name in ("input_path", "output_path"):  # machine paths, and different at every run
            notebook["metadata"].get("papermill", {}).pop(name, None)
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):  # device and inputs, by the notebook's provenance line; no page's
                about |= output.get("data", {}).pop(PROVENANCE_MIME, {})
            if cell["cell_type"] == "code":
                cell["outputs"] = [output for output in cell["outputs"] if not _is_progress(output)]
        notebook["metadata"]["merit"] = about
        about["digest"] = runs.digest(notebook)
        partial.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    failed.unlink(missing_ok=True)
    return out


def _run(source: Path, partial: Path, failed: Path, values: Mapping, root: Path, quiet: bool) -> dict[str, Any]:
    """The executed notebook, which papermill writes to `partial` cell by cell."""
    import papermill

    try:
        with _kernel_environment(root):
            papermill.execute_notebook(
                str(source),
                str(partial),
                parameters=values,
                cwd=str(root),
                progress_bar=False,
                start_timeout=120,
                stderr_file=sys.stderr if sys.stderr.isatty() and not quiet else None,
            )
        notebook = json.loads(partial.read_text(encoding="utf-8"))
        _require_complete(notebook)
        return notebook
    except BaseException as error:  # a dead kernel raises its own class; an interrupt must not leave a half notebook
        if partial.exists():
            os.replace(partial, failed)
        if not isinstance(error, Exception):
            logging.disable()  # asyncio would name each task that nobody waits for any more
            raise
        if getattr(error, "ename", "") == runs.DiskFull.__name__:
            raise runs.DiskFull(error.evalue) from error
        where = f" in cell {error.cell_index}" if hasattr(error, "cell_index") else ""
        what = f"{error.ename}: {error.evalue}" if hasattr(error, "ename") else f"{type(error).__name__}: {error}"
        rest = f"; as far as it came: {failed}" if failed.exists() else ""
        raise NotebookFailed(f"{source} failed{where}: {' '.join(what.split())}{rest}") from error


@contextlib.contextmanager
def _kernel_environment(root: Path) -> Iterator[None]:
    """What the kernel inherits: this environment's kernel, no personal start-up files, fixed hashing, as many threads
    as this process may use."""
    with tempfile.TemporaryDirectory(prefix="merit-kernel-") as scratch:
        wanted = {
            "MERIT_HOME": str(root.resolve()),
            "PYTHONHASHSEED": "0",
            "IPYTHONDIR": scratch,
            "JUPYTER_PREFER_ENV_PATH": "1",
            "JUPYTER_PLATFORM_DIRS": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(usable_cores()),
            "OPENBLAS_NUM_THREADS": "1",  # see merit.threads
        }
        quiet = Path(scratch, "profile_default", "ipython_kernel_config.py")
        quiet.parent.mkdir()
        quiet.write_text(  # else each kernel warns that it speaks TCP, and, when it is ended, of tasks that were not
            "import logging\nlogging.getLogger('asyncio').setLevel(99)\nc.IPKernelApp.log_level = 50\n"
        )
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _require_complete(notebook: Mapping[str, Any]) -> None:
    """Every code cell ran: after a kernel was killed papermill may call the rest `completed` without a count."""
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
            continue
        if cell.get("execution_count") is None:
            raise RuntimeError(f"cell {number} did not run: the kernel ended before it (killed, or out of memory)")
        if any(output["output_type"] == "error" for output in cell["outputs"]):
            raise RuntimeError(f"cell {number} ended in an error")


def _is_progress(output: Mapping[str, Any]) -> bool:
    """Whether an output is (part of) a progress bar, which was for the terminal."""
    text = "".join(output.get("text", ""))
    return output.get("name") == "stderr" and ("\r" in text or not text.strip())


def run_named(
    name: str,
    given: Mapping[str, Any],
    *,
    profile: str = "demo",
    data: str | None = None,
    device: str = "auto",
    settings: str = "",
    root: Path = Path("."),
) -> Path:
    """Run `book/<name>.ipynb` again with other parameters and return the output, named after what was changed.

    It lies in `artifacts/<workspace>/notebooks/variants`, beside what the book shows, and leaves that alone.
    ValueError for a notebook that does not exist (with those that do) and for wrong parameters.
    """
    source = source_of(name, root)
    known = parameters.declared(source)
    common = {"profile": profile, "data": data, "device": device, "settings": settings}
    values = {**common, **parameters.check(given, known)}
    if settings and values["settings"] != settings:
        raise ValueError(f"settings: expected once; got {settings!r} and, as a parameter, {values['settings']!r}")
    workspace = run_name(resolve(values["profile"], values["settings"]), values["data"])
    values = {key: value for key, value in values.items() if key in known}
    out = root / "artifacts" / workspace / "notebooks" / "variants" / f"{variant_name(name, given)}.ipynb"
    return execute(source, out, values, root=root)


def source_of(name: str, root: Path) -> Path:
    """The notebook of that name in `book`; a ValueError lists them."""
    there = {path.stem: path for path in sorted((root / "book").glob("*.ipynb"))}
    if name not in there:
        raise ValueError(f"name: expected a notebook of {root / 'book'}, {', '.join(there)}; got {name!r}")
    return there[name]


def variant_name(name: str, given: Mapping[str, Any]) -> str:
    """A file name that says what was changed: `table1_linear_probe--tasks=form`; long ones end in a digest."""
    changes = "--".join(f"{key}={value}" for key, value in sorted(given.items()))
    text = re.sub(r"[^\w.,=+-]+", "-", changes)
    if len(text) > 80 or text != changes:
        text = f"{text[:70]}-{hashlib.sha256(changes.encode()).hexdigest()[:8]}"
    return f"{name}--{text}" if changes else name
