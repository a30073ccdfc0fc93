"""Table 5 of the paper as data: which classes of two data sets are taken for one another, and how they are merged.

A block of the table names the classes of its first space and, for each, codes of the other one. In either direction the
evaluation classes are those of the first space, the coarser side, that have a counterpart. A merged target label is
present where any of its codes is; a merged source score is the highest of its classes'. N records, K evaluation
classes, S classes of one side.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit.data import taxonomy

SPACES = ("superclass", "cpsc2018", "csn")
"""Category spaces, by the name of their task."""
DIRECTIONS = tuple(permutations(SPACES, 2))
"""(source, target), in the order of the paper's Table 7."""
COLUMNS = ("space", "class", "counterpart_space", "counterpart_codes")


@dataclass(frozen=True)
class Side:
    """One data set's share in an alignment."""

    space: str
    merged: dict[str, tuple[str, ...]]
    """Evaluation class -> the classes of this space that stand for it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the space, in the order of its task's columns."""
        return taxonomy.classes(self.space)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Classes without a counterpart."""
        used = {code for codes in self.merged.values() for code in codes}
        return tuple(name for name in self.classes if name not in used)

    def columns(self, name: str) -> list[int]:
        """Where the classes that stand for an evaluation class are among the space's."""
        return [self.classes.index(code) for code in self.merged[name]]

    def any_of(self, labels: np.ndarray) -> np.ndarray:
        """bool [N, K] from labels bool [N, S]: an evaluation class is present where any class of it is."""
        return np.stack([labels[:, self.columns(name)].any(axis=1) for name in self.merged], axis=1)

    def highest(self, scores: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(scores [N, K], reached bool [K]) from scores [N, S]: the highest score among the usable classes of each.

        usable: bool [S], False for a class that its head could not learn. An evaluation class with no usable one is not
        reached, and its scores are 0. The order of logits is that of probabilities, so either may come in.
        """
        merged = np.zeros((len(scores), len(self.merged)), dtype=scores.dtype)
        reached = np.zeros(len(self.merged), dtype=bool)
        for k, name in enumerate(self.merged):
            chosen = [column for column in self.columns(name) if usable[column]]
            if chosen:
                merged[:, k], reached[k] = scores[:, chosen].max(axis=1), True
        return merged, reached


@dataclass(frozen=True)
class Alignment:
    """A direction of transfer: both sides over the same evaluation classes."""

    source: Side
    target: Side

    @property
    def classes(self) -> tuple[str, ...]:
        """The evaluation classes."""
        return tuple(self.source.merged)

    def as_parameters(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """What it says, for a result's identity."""
        return {"source": self.source.merged, "target": self.target.merged}


def align(source: str, target: str, table: pd.DataFrame | None = None) -> Alignment:
    """The alignment of a direction by Table 5, or by a table as `read_table` gives it.

    ValueError, one line, for spaces that the table does not connect or that share no class.
    """
    table = read_table() if table is None else table
    for first, second in ((source, target), (target, source)):
        block = table[(table["space"] == first) & (table["counterpart_space"] == second)]
        if len(block):
            break
    else:
        known = ", ".join(f"{a} and {b}" for a, b in blocks(table))
        raise ValueError(f"alignment: expected two spaces that the table connects ({known}); got {source} and {target}")
    pairs = {row["class"]: tuple(row["counterpart_codes"].split()) for _, row in block.iterrows()}
    pairs = {name: codes for name, codes in pairs.items() if codes}
    if not pairs:
        raise ValueError(f"alignment: {source} and {target} have no class in common, so there is nothing to score")
    sides = {first: Side(first, {name: (name,) for name in pairs}), second: Side(second, pairs)}
    return Alignment(sides[source], sides[target])


def blocks(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(space, counterpart space) of each block, in the table's order."""
    return list(dict.fromkeys(zip(table["space"], table["counterpart_space"])))


def read_table(path: str | Path | None = None) -> pd.DataFrame:
    """Table 5, or a file of the same form: columns as COLUMNS, codes separated by spaces, none for no counterpart.

    ValueError, one line with file and row, for columns, spaces, classes or codes that are not known, for a class that a
    block has twice, and for two spaces that have a block each way.
    """
    where = resources.files("merit.evaluate").joinpath("label_alignment.csv") if path is None else Path(path)
    if not where.is_file():
        raise ValueError(f"alignment: expected a table with the columns {', '.join(COLUMNS)}; there is no file {where}")
    with where.open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise ValueError(
            f"{where}: expected the columns {', '.join(COLUMNS)}; got {', '.join(map(str, table.columns))}"
        )
    for row, line in enumerate(table.to_dict("records"), start=2):
        _check(line, f"{where}, line {row}")
    if len(table) != len(table[list(COLUMNS[:3])].drop_duplicates()):
        raise ValueError(f"{where}: expected each class once in a block; {_twice(table)} stands there twice")
    both = [pair for pair in blocks(table) if pair[::-1] in blocks(table)]
    if both:
        raise ValueError(f"{where}: expected one block for two spaces; {' and '.join(both[0])} have one each way")
    return table


def _check(line: dict[str, str], where: str) -> None:
    """Raise ValueError for a space, a class or a code that is not known."""
    for column in ("space", "counterpart_space"):
        if line[column] not in SPACES:
            raise ValueError(f"{where}: {column}: expected one of {', '.join(SPACES)}; got {line[column]!r}")
    sides = (("space", [line["class"]]), ("counterpart_space", line["counterpart_codes"].split()))
    for column, names in sides:
        known = taxonomy.classes(line[column])
        for name in names:
            if name not in known:
                raise ValueError(f"{where}: {line[column]} has no class {name!r}; known: {', '.join(known)}")


def _twice(table: pd.DataFrame) -> str:
    line = table[table.duplicated(list(COLUMNS[:3]))].iloc[0]
    return f"{line['class']} of {line['space']}"


def shared_codes(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Codes that stand for several classes of one block: space, counterpart_space, code, classes."""
    found = []
    for space, other in blocks(table):
        block = table[(table["space"] == space) & (table["counterpart_space"] == other)]
        users: dict[str, list[str]] = {}
        for name, codes in zip(block["class"], block["counterpart_codes"]):
            for code in codes.split():
                users.setdefault(code, []).append(name)
        found += [
            {"space": space, "counterpart_space": other, "code": code, "classes": names}
            for code, names in users.items()
            if len(names) > 1
        ]
    return found


def by_snomed(table: pd.DataFrame) -> list[dict[str, Any]]:
    """CPSC2018's classes with the CSN codes of the table, and the CSN labels that have the same SNOMED CT code.

    What the two publishers mean by a name can differ from the name: CSN's STE is no ST elevation, its STTU is.
    """
    alignment = align("cpsc2018", "csn", table)
    labels, descriptions = taxonomy.csn_labels(), dict(taxonomy.csn_conditions()[["label", "description"]].to_numpy())
    rows = []
    for line in taxonomy.cpsc2018_classes().to_dict("records"):
        codes = (line["snomed"], *line["also"].split())
        same = [labels[code] for code in codes if code in labels]
        given = list(alignment.target.merged.get(line["label"], ()))
        rows.append({
            "class": line["label"], "description": line["description"], "table": given, "same_code": same,
            "agree": set(same) == set(given), "descriptions": {one: descriptions[one] for one in (*given, *same)},
        })  # fmt: skip
    return rows


def company(labels: Sequence[Collection[str]], label: str, wanted: Collection[str] = ()) -> dict[str, int]:
    """How many records carry a label, how many of these nothing else, and how many one of `wanted` beside it."""
    carriers = [set(names) - {label} for names in labels if label in names]
    alone = sum(not rest for rest in carriers)
    return {"n": len(carriers), "alone": alone, "wanted": sum(bool(rest & set(wanted)) for rest in carriers)}
