"""What a claim is, and the ways in which claims are read from results; the claims themselves are in `claim_list`.

A rule gives cells: label -> one number for each pretraining seed (differences are paired by seed). The claim holds
where every cell exceeds `threshold`, and the least of them reaches `reach` where an amount is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from merit.report import paper
from merit.report.evidence import PAIRS, Evidence
from merit.report.paper_checks import cell_label, row_label

OURS = ("cma", "ib", "mse", "random")
"""What MERIT is held against while no peer is there: our own ablations, and an encoder that learnt nothing."""

PROBED = tuple((task, metric) for task in paper.TASKS for metric in paper.METRICS)


class Measured(NamedTuple):
    """What one run says on a claim."""

    cells: dict[str, list[float]]
    """Label -> a number for each pretraining seed."""
    missing: tuple[str, ...] = ()
    """What the claim speaks of and the run does not have."""


class Printed(NamedTuple):
    """What the paper's own surviving numbers say: whether the claim holds in them (None: they are lost), and why."""

    holds: bool | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper."""

    id: str
    title: str
    text: str
    """In our own words."""
    place: str
    stage: str
    """The stage whose results it is read from."""
    printed: Callable[[], Printed]
    measure: Callable[[Evidence], Measured] = lambda evidence: Measured({})
    threshold: float = 0.0
    reach: float | None = None
    unit: str = "points"
    each: str = "a column and a rival that must be beaten"
    """What one comparison is, where the claim is read from several."""
    waits_for: str = ""
    """A chapter that does not exist yet and without which nothing can be measured."""


def margins(
    evidence: Evidence, cells: Iterable[tuple[str, str]], others: Sequence[str], *, first: str = "merit", place: int = 1
) -> Measured:
    """How far `first` is above each other encoder that it must beat to be at least `place`-th of each column.

    With place 1, that is all of them; with place 2, all but the best one. An encoder or a column without numbers is
    named as missing.
    """
    found: dict[str, list[float]] = {}
    missing: dict[str, None] = {}
    for task, metric in cells:
        name, there = cell_label(task, metric), {}
        for other in others:
            if differences := paired(evidence, first, other, task, metric):
                there[other] = differences
            elif not any(key[0] == other for key in evidence.scores):
                missing[row_label(other)] = None
            else:
                missing[name] = None
        beaten = sorted(there, key=lambda other: sum(there[other]) / len(there[other]))[place - 1 :]
        found |= {f"{name}, over {row_label(other)}": there[other] for other in beaten}
    return Measured(found, tuple(missing))


def paired(evidence: Evidence, first: str, other: str, task: str, metric: str) -> list[float]:
    """first − other for each pretraining seed that both have; an encoder with a single number stands for all seeds."""
    a, b = (evidence.scores.get((name, task, metric), {}) for name in (first, other))
    if len(b) == 1 and other in (*paper.PEERS, "medtvt-r1"):
        b = dict.fromkeys(a, next(iter(b.values())))
    return [a[seed] - b[seed] for seed in sorted(a) if seed in b]


def share_ahead(evidence: Evidence, cells: Sequence[tuple[str, str]], first: str, second: str) -> Measured:
    """For each seed, in which share of the columns (0 to 100 %) `first` is above `second`."""
    differences = {cell_label(*cell): paired(evidence, first, second, *cell) for cell in cells}
    there = [one for one in differences.values() if one]
    missing = tuple(name for name, one in differences.items() if not one)
    if not there or len({len(one) for one in there}) > 1:
        return Measured({}, missing)
    ahead = [100 * sum(one[k] > 0 for one in there) / len(there) for k in range(len(there[0]))]
    return Measured({f"columns with {row_label(first)} above {row_label(second)}": ahead}, missing)


def over_peers(
    cells: Sequence[tuple[str, str]], peers: Sequence[str], place: int = 1, ours: Sequence[str] = OURS
) -> Callable[[Evidence], Measured]:
    """MERIT against the peers; where none is there, against our own encoders, and the peers are missing."""

    def measure(evidence: Evidence) -> Measured:
        found = margins(evidence, cells, peers, place=place)
        if found.cells:
            return found
        instead = margins(evidence, cells, ours, place=place)
        return Measured(instead.cells, ("the peers", *instead.missing))

    return measure


def differences(
    evidence: Evidence,
    metrics: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    *,
    task: str = PAIRS,
    scale: float = 1.0,
) -> Measured:
    """First encoder minus second for each pair, by each metric (name -> label)."""
    found = {
        f"{label}, {row_label(first)} minus {row_label(second)}": paired(evidence, first, second, task, metric)
        for metric, label in metrics.items()
        for first, second in pairs
    }
    missing = tuple(label for label, values in found.items() if not values)
    return Measured({label: [scale * v for v in values] for label, values in found.items() if values}, missing)
