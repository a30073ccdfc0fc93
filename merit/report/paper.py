"""The numbers that the paper prints, as far as they survive: its tables, the gains of its text, counts and settings.

The paper reaches us as five texts taken from web pages. Only one of them (003) has the tables, and there most cells of
Tables 1, 3, 4, 6 and 8 are empty; the others (000, 001, 002, 004) hold the abstract, figure captions and references,
and no number that differs. `paper_numbers.csv` has what stands there, with its place; any other cell of a table's grid
is `lost`, never filled from elsewhere. Percent, unless a field says otherwise.

Shading (second best of a column) survives in Tables 2, 7 and 9; bold (best) survives nowhere.

Why four of ST-MEM's numbers have inferred columns: its row of Table 1 kept four values without their places. MERIT's
row lacks exactly four (all of form, and F1 of rhythm), which Table 4 gives; each of ST-MEM's four, in order, exceeds
MERIT's there, and the paper says that MERIT is second best wherever it is not best. So each column kept its best.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import pandas as pd

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

ROW_LABELS = {
    "merit": "MERIT", "st-mem": "ST-MEM", "ecg-fm": "ECG-FM", "merl": "MERL", "esi": "ESI", "d-beta": "D-BETA",
    "qoq": "QoQ", "ecg-chat": "ECG-Chat", "medtvt-r1": "MedTVT-R1", "cma": "CMA", "ib": "IB", "mse": "MSE",
}  # fmt: skip
"""The paper's rows, as sentences write them; in tables "paper: " stands before."""

PROBING_GAINS = {"all": 3.0, "subclass": 5.0}
ZERO_SHOT_GAINS = {"auroc": 2.66, "f1": 2.11}
"""Points above earlier methods that the abstract states (000, 001, 002, 004): F1 of linear probing by task, more than
so many; subclass zero-shot by metric. The list of contributions (003) repeats these sentences with the numbers lost."""


@functools.cache
def read(name: str) -> pd.DataFrame:
    """What the paper prints, a row each: `numbers` of its tables, `counts` (publishers' too), and `settings`.

    A setting without a value is lost or was never given; `ours` is what this book takes, to be filled from a profile.
    """
    return pd.read_csv(
        Path(__file__).with_name(f"paper_{name}.csv"), dtype={"value": float if name == "numbers" else str}
    )


def cells(table: int) -> pd.DataFrame:
    """Every cell of Tables 1 to 4 or 6 to 9: row, task, metric, value in percent (NaN: lost), status, source, mark.

    status: `printed`, `column inferred` or `lost`. mark: `second best` where the paper shades. Raises KeyError for
    another table.
    """
    if table not in TABLES:
        raise KeyError(f"the paper has no Table {table} with numbers: expected one of {', '.join(map(str, TABLES))}")
    grid = TABLES[table]
    every = pd.MultiIndex.from_product([grid.rows, grid.tasks, grid.metrics], names=["row", "task", "metric"])
    numbers = read("numbers")
    there = numbers[numbers["table"] == table].drop(columns="table")
    found = every.to_frame(index=False).merge(there, how="left")
    return found.fillna({"status": "lost", "source": f"Table {table}", "mark": ""})


def grid(table: int) -> pd.DataFrame:
    """The values of a table, percent: a row per method, a column per task and metric, in the paper's order."""
    of = TABLES[table]
    values = cells(table).set_index(["row", "task", "metric"])["value"].unstack(["task", "metric"])
    return values.reindex(index=of.rows, columns=pd.MultiIndex.from_product([of.tasks, of.metrics]))


def ranks(table: int) -> pd.DataFrame:
    """`grid` as ranks within each column of which every cell survives; 1: the best; equal numbers share the better."""
    return grid(table).dropna(axis="columns").rank(ascending=False, method="min").astype(int)


def leads(table: int, row: str = "merit") -> pd.Series:
    """How far a row is above the best of the others, points, in each column of which every cell survives."""
    complete = grid(table).dropna(axis="columns")
    return (complete.loc[row] - complete.drop(row).max()).round(2)
