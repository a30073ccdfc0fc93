"""What earlier runs left in writing: the record in each executed notebook, what differs between two of them, and the
committed time budget.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from merit import runs
from merit.profiles import resolve, run_name


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


def notebooks(profile: str, data: str | None, settings: str = "", root: Path | None = None) -> list[dict[str, Any]]:
    """The records of the book's notebooks that have run, in the order of the table of contents."""
    root = root or runs.home()
    folder = root / "artifacts" / run_name(resolve(profile, settings), data) / "notebooks"
    every = (of_notebook(folder / f"{Path(page).name}.ipynb") for page in pages(root / "_toc.yml"))
    return [record for record in every if record]


def budget(profile: str, root: Path | None = None) -> dict[str, float]:
    """Seconds that each step of a profile may take on two cores, from the committed `book/budget.csv`."""
    with ((root or runs.home()) / "book" / "budget.csv").open(newline="", encoding="utf-8") as file:
        return {row["step"]: float(row["seconds"]) for row in csv.DictReader(file) if row["profile"] == profile}


def compare(a: Path, b: Path) -> str:
    """Lines that say what differs between two executed notebooks, parameters first, then inputs, then the numbers of
    the results that they rest on; "nothing differs" where nothing does.
    """
    records = []
    for path in (a, b):
        if not (record := of_notebook(path)):
            raise ValueError(
                f"{path}: expected an executed notebook (see artifacts/<run>/notebooks); there is no record of a run"
            )
        records.append(record)
    inputs = [{item["what"]: str(item.get("id")) for item in record.get("inputs", [])} for record in records]
    sides = {
        "parameter": [record["parameters"] for record in records],
        "input": inputs,
        "number": [_scores(path, set(known.values())) for path, known in zip((a, b), inputs)],
    }

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


def _scores(path: Path, ids: set[str]) -> dict[str, float]:
    """Encoder, task, variant and metric -> mean over folds, of the results of these ids."""
    folder = path.parent
    while folder.name != "notebooks":
        folder = folder.parent
    scores = {}
    for file in sorted((folder.parent / "results").glob("*.json")):
        result = runs.read_result(file)
        if result is not None and result["id"] in ids:
            values = result["values"]
            where = " ".join(str(values.get(k, "")) for k in ("encoder", "task", "variant")).strip() or result["stage"]
            scores |= {f"{where} {metric}": value for metric, value in values.get("mean", {}).items()}
    return scores
