"""Run one notebook with papermill, strictly, and read what runs left in writing: records, budgets, differences.

Parameters are checked first, and the output is in place only when every cell ran. Papermill alone logs unknown
parameters, and says `completed` when the kernel was killed; hence the checks around it.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import multiprocessing
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from merit import runs, scores
from merit.config import resolve, run_name, settings_of
from merit.parallel import usable_cores
from merit.publish import parameters
from merit.report.prose import PROVENANCE_MIME


class NotebookFailed(RuntimeError):
    """A notebook did not run to its end; the message names it, the cell, the error, and the partial notebook."""


def execute(source: Path, out: Path, given: Mapping[str, Any], *, root: Path | None = None, key: str = "") -> Path:
    """Run the notebook `source` with the parameters `given` and write it, with outputs, to `out`.

    Runs in `root`, which is where `artifacts/` lies (default: this checkout). `key` is stored with the output and tells
    later whether it is up to date. One process makes `out` while others wait; what has the same key by then stays.
    ValueError before anything runs where a parameter is wrong, NotebookFailed where a cell or the kernel fails: `out`
    is then as it was before, and the partial run lies beside it as `*.failed.ipynb`.
    """
    source, out, root = Path(source), Path(out), Path(root or runs.home())
    known = parameters.declared(source)
    values = {name: value for name, value in parameters.check(given, known).items() if value != known[name].default}
    every = {**{name: parameter.default for name, parameter in known.items()}, **values}
    settings = settings_of(resolve(every["profile"], every.get("settings", ""))) if "profile" in every else ""
    failed = out.with_suffix(".failed.ipynb")
    with runs.claimed(out), runs.written(out) as partial:
        if key and of_notebook(out).get("key") == key:
            return out
        import papermill

        started = time.monotonic()
        bars = sys.stderr.isatty() and multiprocessing.parent_process() is None  # others' progress bars would mix in
        logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of `x: str | None`, which it cannot read
        try:
            with _kernel_environment(root):
                papermill.execute_notebook(
                    str(source), str(partial), parameters=values, cwd=str(root), progress_bar=False, start_timeout=120,
                    stderr_file=sys.stderr if bars else None,
                )  # fmt: skip
            notebook = json.loads(partial.read_text(encoding="utf-8"))
            # After a kernel was killed papermill may call the rest `completed` without a count.
            for number, cell in enumerate(notebook["cells"]):
                if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
                    continue
                if cell.get("execution_count") is None:
                    raise RuntimeError(f"cell {number} did not run: the kernel ended before it (killed, no memory)")
                if any(output["output_type"] == "error" for output in cell["outputs"]):
                    raise RuntimeError(f"cell {number} ended in an error")
        except BaseException as error:  # a dead kernel has its own class; an interrupt must not leave half a notebook
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

        # -- the record of the run, in the notebook's metadata
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
            shown = []
            for output in cell.get("outputs", []):  # device and inputs, by the notebook's provenance line; no page's
                about |= output.get("data", {}).pop(PROVENANCE_MIME, {})
                text = "".join(output.get("text", ""))
                progress = output.get("name") == "stderr" and ("\r" in text or not text.strip())
                shown += [] if progress else [output]
            if cell["cell_type"] == "code":
                cell["outputs"] = shown
        notebook["metadata"]["merit"] = about
        about["digest"] = runs.digest(notebook)
        partial.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    failed.unlink(missing_ok=True)
    return out


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
            "OPENBLAS_NUM_THREADS": "1",  # see merit.parallel
        }
        quiet = Path(scratch, "profile_default", "ipython_kernel_config.py")
        quiet.parent.mkdir()
        quiet.write_text(  # else each kernel warns that it speaks TCP, and, when it is ended, of tasks that were not
            "import logging\nlogging.getLogger('asyncio').setLevel(99)\nc.IPKernelApp.log_level = 50\n"
        )
        before = dict(os.environ)
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name in wanted:
                os.environ.pop(name)
                os.environ.update({name: before[name]} if name in before else {})


def run_named(name: str, given: Mapping[str, Any], common: Mapping[str, Any], root: Path) -> Path:
    """Run `book/<name>.ipynb` again with other parameters and return the output, named after what was changed.

    common: profile, data, device and settings. It lies in `artifacts/<workspace>/notebooks/variants`, beside what the
    book shows, and leaves that alone. ValueError for a notebook that does not exist (with those that do) and for wrong
    parameters.
    """
    source = source_of(name, root)
    known = parameters.declared(source)
    values = {**common, **parameters.check(given, known)}
    settings = common["settings"]
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


# -- what earlier runs left in writing ---------------------------------------------------------------------------------


def pages(toc: Path) -> list[str]:
    """The pages that a `_toc.yml` names, in order, the root first, as written there (no extension)."""

    def files(node: object) -> list[str]:
        if isinstance(node, dict):
            here = [str(node[name]) for name in ("root", "file") if name in node]
            return here + [page for value in node.values() for page in files(value)]
        return [page for value in node for page in files(value)] if isinstance(node, list) else []

    return files(yaml.safe_load(toc.read_text()))


def of_notebook(executed: Path) -> dict[str, Any]:
    """The record that the runner wrote into a notebook's metadata; empty where there is none, and for a notebook that
    is not as the runner wrote it, which is then run again.
    """
    try:
        notebook = json.loads(executed.read_text(encoding="utf-8"))
        record = notebook["metadata"]["merit"]
        there = record.pop("digest")
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {**record, "digest": there} if runs.digest(notebook) == there else {}


def notebooks(profile: str, data: str | None, settings: str = "") -> list[dict[str, Any]]:
    """The records of the book's notebooks that have run, in the order of the table of contents."""
    folder = runs.home() / "artifacts" / run_name(resolve(profile, settings), data) / "notebooks"
    every = (of_notebook(folder / f"{Path(page).name}.ipynb") for page in pages(runs.home() / "_toc.yml"))
    return [record for record in every if record]


def budget(profile: str, root: Path | None = None) -> dict[str, float]:
    """Seconds that each step of a profile may take on two cores, from the committed `book/budget.csv`."""
    with ((root or runs.home()) / "book" / "budget.csv").open(newline="", encoding="utf-8") as file:
        return {row["step"]: float(row["seconds"]) for row in csv.DictReader(file) if row["profile"] == profile}


def compare(a: Path, b: Path) -> str:
    """Lines that say what differs between two executed notebooks, parameters first, then inputs, then the numbers of
    the results that they rest on; "nothing differs" where nothing does.
    """
    sides: dict[str, list[dict[str, Any]]] = {"parameter": [], "input": [], "number": []}
    for path in (a, b):
        if not (record := of_notebook(path)):
            raise ValueError(
                f"{path}: expected an executed notebook (see artifacts/<run>/notebooks); there is no record of a run"
            )
        inputs = {item["what"]: str(item.get("id")) for item in record.get("inputs", [])}
        named, numbers = {key: what for what, key in inputs.items()}, {}
        run = next(folder for folder in path.resolve().parents if folder.name == "notebooks").parent
        for file in sorted((run / "results").glob("*.json")):
            result = runs.read_result(file)
            if result is None or result["id"] not in named:
                continue
            for row in scores.unpack(result["values"]["scores"]):
                if row.get("value") is not None and row.get("class") in (None, "macro"):  # classes would be hundreds
                    about = [named[result["id"]], *(text for text in row.values() if isinstance(text, str))]
                    numbers[" ".join(about)] = row["value"]
        for kind, found in zip(sides, (record["parameters"], inputs, numbers)):
            sides[kind].append(found)

    def shown(values: Mapping[str, Any], name: str) -> str:
        value = values.get(name, "–")
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    lines = [
        f"{kind} {name}: {shown(left, name)} | {shown(right, name)}"
        for kind, (left, right) in sides.items()
        for name in sorted(set(left) | set(right))
        if left.get(name) != right.get(name)
    ]
    return "\n".join([f"A {a}", f"B {b}", *(lines or ["nothing differs"])])
