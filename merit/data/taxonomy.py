"""Which labels a cohort knows, which classes a task scores, and the matrix that connects the two.

A record's labels are kept as its publisher wrote them; a task turns them into columns. The tables lie beside this
module (`ptb_xl_statements.csv`, `cpsc2018_classes.csv`, `csn_conditions.csv`). Legend: N records, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources

import numpy as np
import pandas as pd

TASK_COHORT = dict.fromkeys(("superclass", "subclass", "form", "rhythm", "all"), "ptb-xl") | {
    "cpsc2018": "cpsc2018",
    "csn": "csn",
    "csn_as_released": "csn",
}
"""The cohort that a task is scored on."""

TASKS = tuple(TASK_COHORT)


@cache
def _table(name: str) -> pd.DataFrame:
    """A table of this package, every cell text as written ("" stays "", "NA" stays "NA")."""
    with resources.files("merit.data").joinpath(name).open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def statements() -> pd.DataFrame:
    """The 71 statements of PTB-XL v1.0.3: code, description, diagnostic, form, rhythm (bool), superclass, subclass.

    Superclass and subclass are "" for statements that are not diagnostic. Rows are ordered by superclass, subclass,
    then form and rhythm, so that the classes of every task come in a clinically sensible, stable order.
    """
    table = _table("ptb_xl_statements.csv")
    return table.assign(**{name: table[name] == "1" for name in ("diagnostic", "form", "rhythm")})


def cpsc2018_classes() -> pd.DataFrame:
    """The nine classes of CPSC2018: number (in REFERENCE.csv), label, word and snomed (in headers), also, description.

    `also` holds further SNOMED codes of the same meaning that the challenges of 2020 and 2021 use, space-separated.
    """
    return _table("cpsc2018_classes.csv").copy()


def csn_conditions() -> pd.DataFrame:
    """The conditions of the Chapman-Shaoxing-Ningbo set: snomed, label, scored (one of the 38), description.

    One row per SNOMED code: where the publisher's table gives several acronyms for one code, the first one holds.
    """
    return _table("csn_conditions.csv").assign(scored=lambda table: table["scored"] == "1")


@cache
def csn_labels() -> dict[str, str]:
    """SNOMED code -> acronym, for the codes of the publisher's table."""
    return dict(zip(csn_conditions()["snomed"], csn_conditions()["label"]))


def classes(task: str) -> tuple[str, ...]:
    """Names of the classes of a task, in the order of the columns of `label_matrix`."""
    return tuple(dict.fromkeys(_label_to_class(task).values()))


def label_matrix(task: str, labels: Sequence[Collection[str]]) -> np.ndarray:
    """bool [N, C]: which classes of the task each record's labels imply. Other labels are ignored.

    Every statement counts whatever its likelihood (form and rhythm statements of PTB-XL are published with 0).
    """
    columns = {name: column for column, name in enumerate(classes(task))}
    mapping = _label_to_class(task)
    matrix = np.zeros((len(labels), len(columns)), dtype=bool)
    for row, names in enumerate(labels):
        if task == "csn_as_released":
            matrix[row] = [any(column in name for name in names) for column in columns]
        else:
            matrix[row, [columns[mapping[name]] for name in names if name in mapping]] = True
    return matrix


@cache
def _label_to_class(task: str) -> dict[str, str]:
    """Label -> class, in the order of the classes. "csn_as_released" only takes the class names from it."""
    if task not in TASK_COHORT:
        raise ValueError(f"unknown task {task!r}; known: {list(TASKS)}")
    if task == "cpsc2018":
        return {label: label for label in cpsc2018_classes()["label"]}
    if TASK_COHORT[task] == "csn":
        table = csn_conditions()
        return {label: label for label in table.loc[table["scored"], "label"]}
    table = statements()
    if task in ("superclass", "subclass"):
        table = table[table["diagnostic"]]
        return dict(zip(table["code"], table[task]))
    if task in ("form", "rhythm"):
        table = table[table[task]]
    return {code: code for code in table["code"]}
