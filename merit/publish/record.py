"""What earlier runs left in writing: the record in each executed notebook, and the committed time budget."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from merit import runs
from merit.profiles import resolve, run_name
from merit.publish.stage import pages


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


def notebooks(
    profile: str, data: str | None, settings: str = "", root: Path | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """The records of the book's notebooks that have run, in the order of the table of contents."""
    root = root or runs.home()
    folder = root / "artifacts" / run_name(resolve(profile, settings), data) / "notebooks"
    found = (of_notebook(folder / f"{Path(page).name}.ipynb") for page in pages(root / "_toc.yml"))
    return [record for record in found if record]


def budget(profile: str, root: Path | None = None) -> dict[str, float]:
    """Seconds that each step of a profile may take on two cores, from the committed `book/budget.csv`."""
    with ((root or runs.home()) / "book" / "budget.csv").open(newline="", encoding="utf-8") as file:
        return {row["step"]: float(row["seconds"]) for row in csv.DictReader(file) if row["profile"] == profile}
