"""The numbers that the paper prints, as far as they survive: its tables, the gains of its text, counts and settings.

The paper reaches us as five texts taken from web pages. Only one of them (003) has the tables, and there most cells of
Tables 1, 3, 4, 6 and 8 are empty; the others (000, 001, 002, 004) hold the abstract, figure captions and references,
and no number that differs. `paper.csv` has what stands there, with its place; any other cell of a table's grid is
`lost`, never filled from elsewhere. Percent, unless a field says otherwise.

Shading (second best of a column) survives in Tables 2, 7 and 9; bold (best) survives nowhere.

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
TRANSFERS = (
    "superclass>cpsc2018", "superclass>csn", "cpsc2018>superclass", "cpsc2018>csn", "csn>superclass", "csn>cpsc2018",
)  # fmt: skip
"""The columns of Table 7, source > target: its upper header row is the source, the row below the target."""

TEXT_METRICS = ("bleu", "meteor", "rouge", "bertscore")
PEERS = ("ecg-fm", "st-mem", "merl", "esi", "d-beta", "qoq", "ecg-chat")
ABLATIONS = ("mse", "ib", "cma")


class Grid(NamedTuple):
    """One table: what it shows, its rows by our names, and its columns, a task and a metric each."""

    title: str
    rows: tuple[str, ...]
    tasks: tuple[str, ...] = TASKS
    metrics: tuple[str, ...] = METRICS


TABLES = {
    1: Grid("linear probing", (*PEERS, "merit")),
    2: Grid("zero-shot classification", ("merl", "esi", "d-beta", "ecg-chat", "merit")),
    3: Grid("text generation", ("medtvt-r1", "qoq", "ecg-chat", "merit"), ("generation",), TEXT_METRICS),
    4: Grid("ablations, linear probing", (*ABLATIONS, "merit")),
    6: Grid("linear probing, extended", (*PEERS, "merit")),
    7: Grid("distribution shift", (*PEERS, "merit"), TRANSFERS, ("auroc",)),
    8: Grid("ablations, linear probing, extended", (*ABLATIONS, "merit")),
    9: Grid("ablations, zero-shot classification", ("ib", "cma", "merit")),
}
"""Table 5 is the alignment of labels, without numbers. What survives of Table 7 does not name its metric: the paper's
other comparisons put AUC first, and its predecessor reports AUC for the same transfers, so it is taken for that. Tables
6 and 8 are probably Tables 1 and 4 with their spread."""

ROWS = {table: grid.rows for table, grid in TABLES.items()}
LINEAR_PROBE_TABLES = (1, 4, 6, 8)
"""Tables that report the same linear probing."""

ROW_LABELS = {
    "merit": "paper: MERIT", "st-mem": "paper: ST-MEM", "ecg-fm": "paper: ECG-FM", "merl": "paper: MERL",
    "esi": "paper: ESI", "d-beta": "paper: D-BETA", "qoq": "paper: QoQ", "ecg-chat": "paper: ECG-Chat",
    "medtvt-r1": "paper: MedTVT-R1", "cma": "paper: CMA", "ib": "paper: IB", "mse": "paper: MSE",
}  # fmt: skip
"""The paper's rows, as our tables write them."""


class Published(NamedTuple):
    """One cell: value in percent or None, its status, its place in the paper, and whether it is shaded.

    status: `printed`, `column inferred` or `lost`; `absent` for a row without linear probing (`best_known`).
    """

    value: float | None
    status: str
    source: str
    shaded: bool = False
    """Marked by the paper as second best of its column."""


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
    "medtvt-qa": (
        Count("questions for training", 8_331, "paper, A.2.1"),
        Count("questions for testing", 375, "paper, A.2.1"),
    ),
}
"""The version that the paper cites (1.0.3) holds fewer PTB-XL recordings than the number it prints (that of 1.0.1)."""


class Gain(NamedTuple):
    """An improvement that the abstract states over earlier methods, in points; `exceeds`: more than the amount."""

    setting: str
    task: str
    metric: str
    points: float
    exceeds: bool
    source: str


GAINS = (
    Gain("linear probing", "all", "f1", 3.0, True, "abstract (000, 001, 002, 004)"),
    Gain("linear probing", "subclass", "f1", 5.0, True, "abstract (000, 001, 002, 004)"),
    Gain("zero-shot", "subclass", "auroc", 2.66, False, "abstract (000, 001, 002, 004)"),
    Gain("zero-shot", "subclass", "f1", 2.11, False, "abstract (000, 001, 002, 004)"),
)
"""The list of contributions (003) repeats these sentences with the numbers lost."""


class Setting(NamedTuple):
    """A setting that the paper states; value None where the number is lost or was never given."""

    stage: str
    what: str
    value: float | str | None
    source: str


SETTINGS = (
    Setting("recordings", "leads", 12, "A.1"),
    Setting("recordings", "length, s", 10, "A.1"),
    Setting("recordings", "rate of the files, Hz", 500, "A.1"),
    Setting("recordings", "rate used, Hz", 100, "A.1"),
    Setting("pretraining", "optimiser", "AdamW", "A.1"),
    Setting("pretraining", "step size", None, "A.1, lost"),
    Setting("pretraining", "weight decay", None, "A.1, lost"),
    Setting("pretraining", "epochs", 200, "A.1"),
    Setting("pretraining", "schedule", "cosine", "A.1"),
    Setting("pretraining", "batch", 128, "A.1"),
    Setting("pretraining", "bottleneck strength", None, "Eq. 9, never given"),
    Setting("pretraining", "mask ratio", None, "Section 3.3, never given"),
    Setting("pretraining", "temperature", None, "Eq. 3, never given"),
    Setting("pretraining", "scale of the target", None, "Eq. 5, never given"),
    Setting("pretraining", "device", "one NVIDIA H100-80GB", "A.1"),
    Setting("linear probing", "optimiser", "AdamW", "A.2.2"),
    Setting("linear probing", "step size", 0.001, "A.2.2"),
    Setting("linear probing", "batch", 64, "A.2.2"),
    Setting("linear probing", "epochs", 100, "A.2.2"),
    Setting("linear probing", "folds", 10, "A.2.2"),
    Setting("linear probing", "threshold of F1", None, "A.2.2, never given"),
    Setting("generation", "optimiser", "AdamW", "A.2.2"),
    Setting("generation", "first step size", None, "A.2.2, lost"),
    Setting("generation", "last step size", None, "A.2.2, lost"),
    Setting("generation", "weight decay", None, "A.2.2, lost"),
    Setting("generation", "epochs", 20, "A.2.2"),
    Setting("generation", "batch", 16, "A.2.2"),
    Setting("generation", "longest sequence, tokens", 600, "A.2.2"),
    Setting("generation", "rank of LoRA", None, "A.2.2, never given"),
)


def number(table: int, row: str, task: str, metric: str) -> Published:
    """One cell of Tables 1 to 4 or 6 to 9. Raises KeyError for a table or a cell that the paper does not have."""
    if table not in TABLES:
        raise KeyError(f"the paper has no Table {table} with numbers: expected one of {', '.join(map(str, TABLES))}")
    grid = TABLES[table]
    if row not in grid.rows or task not in grid.tasks or metric not in grid.metrics:
        raise KeyError(f"Table {table} of the paper has no cell {row} / {task} / {metric}")
    return _surviving().get((table, row, task, metric), Published(None, "lost", f"Table {table}"))


def best_known(row: str, task: str, metric: str) -> Published:
    """The cell of Table 1, or of Table 4 where Table 1's is lost: both report the same linear probing."""
    cells = [number(table, row, task, metric) for table in LINEAR_PROBE_TABLES if row in ROWS[table]]
    cells = cells or [Published(None, "absent", "no linear probing of this row")]
    return next((cell for cell in cells if cell.value is not None), cells[0])


def survival() -> dict[int, tuple[int, int]]:
    """Table -> (cells that survive, cells that it had)."""
    kept = [key[0] for key in _surviving()]
    return {
        table: (kept.count(table), len(grid.rows) * len(grid.tasks) * len(grid.metrics))
        for table, grid in TABLES.items()
    }


@functools.cache
def _surviving() -> dict[tuple[int, str, str, str], Published]:
    with Path(__file__).with_name("paper.csv").open(newline="", encoding="utf-8") as file:
        return {
            (int(line["table"]), line["row"], line["task"], line["metric"]): Published(
                float(line["value"]), line["status"], line["source"], line["mark"] == "second best"
            )
            for line in csv.DictReader(file)
        }
