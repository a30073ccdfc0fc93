"""The numbers that the paper prints for linear probing (Tables 1 and 4), as far as they survive, and its counts.

The text that we work from was extracted from a web page, and the extraction emptied most cells of these tables. What
stands in `paper.csv` was read there; every other cell of the grid is `lost`, never filled from elsewhere. Percent.

Why four of ST-MEM's numbers have inferred columns: its row of Table 1 kept four values without their places. MERIT's
row lacks exactly four (all of form, and F1 of rhythm), which Table 4 gives; each of ST-MEM's four, in order, exceeds
MERIT's there, and the paper says that MERIT is second best wherever it is not best. So each column kept its best.
"""

from __future__ import annotations

import csv
import functools
from pathlib import Path
from typing import NamedTuple

TASKS = ("superclass", "subclass", "form", "rhythm", "all", "csn", "cpsc2018")
METRICS = ("auroc", "f1", "accuracy")
ROWS = {
    1: ("ecg-fm", "st-mem", "merl", "esi", "d-beta", "qoq", "ecg-chat", "merit"),
    4: ("mse", "ib", "cma", "merit"),
}
"""Rows of Tables 1 and 4, by our names."""

ROW_LABELS = {"merit": "paper: MERIT", "st-mem": "paper: ST-MEM"}
"""The rows of which a number survives, as our tables write them."""


class Published(NamedTuple):
    """One cell: value in percent or None, `printed`, `column inferred` or `lost`, and the place in the paper."""

    value: float | None
    status: str
    source: str


class Count(NamedTuple):
    """A count that a publisher or the paper states."""

    what: str
    number: int
    source: str


COUNTS = {
    "mimic-iv-ecg": (
        Count("recordings with a report", 800_035, "paper, A.1"),
        Count("patients", 161_352, "paper, A.1"),
        Count("recordings after cleaning", 761_139, "paper, A.1"),
        Count("of these for training", 745_916, "paper, A.1"),
        Count("of these for validation", 15_223, "paper, A.1"),
    ),
    "ptb-xl": (
        Count("recordings", 21_837, "paper, A.2.1"),
        Count("patients", 18_885, "paper, A.2.1"),
        Count("recordings of version 1.0.3", 21_799, "the publisher's table"),
    ),
    "cpsc2018": (Count("recordings", 6_877, "paper, A.2.1"),),
    "csn": (
        Count("recordings", 45_152, "paper, A.2.1"),
        Count("recordings with one of the 38 labels", 23_026, "paper, A.2.1"),
    ),
}
"""The version that the paper cites (1.0.3) holds fewer PTB-XL recordings than the number it prints (that of 1.0.1)."""


def number(table: int, row: str, task: str, metric: str) -> Published:
    """One cell of Table 1 or 4. Raises KeyError for a cell that the paper does not have."""
    if row not in ROWS[table] or task not in TASKS or metric not in METRICS:
        raise KeyError(f"Table {table} of the paper has no cell {row} / {task} / {metric}")
    return _surviving().get((table, row, task, metric), Published(None, "lost", f"Table {table}"))


def best_known(row: str, task: str, metric: str) -> Published:
    """The cell of Table 1, or of Table 4 where Table 1's is lost: both report the same linear probing."""
    cells = [number(table, row, task, metric) for table in ROWS if row in ROWS[table]]
    return next((cell for cell in cells if cell.value is not None), cells[0])


def survival() -> dict[int, tuple[int, int]]:
    """Table -> (cells that survive, cells that it had)."""
    kept = [key[0] for key in _surviving()]
    return {table: (kept.count(table), len(rows) * len(TASKS) * len(METRICS)) for table, rows in ROWS.items()}


@functools.cache
def _surviving() -> dict[tuple[int, str, str, str], Published]:
    with Path(__file__).with_name("paper.csv").open(newline="", encoding="utf-8") as file:
        return {
            (int(line["table"]), line["row"], line["task"], line["metric"]): Published(
                float(line["value"]), line["status"], line["source"]
            )
            for line in csv.DictReader(file)
        }
