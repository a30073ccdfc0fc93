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
from merit.report.style import OURS

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
    measure: Callable[[Evidence], Measured]
    trained: tuple[str, ...] = ("merit",)
    """Encoders of ours that have to be pretrained for it."""
    peers: tuple[str, ...] = ()
    """Published encoders that it speaks of: it is read from runs that hold them, or their methods at equal budget."""
    threshold: float = 0.0
    reach: float | None = None
    """An amount that the paper states: the interval has to reach it, not to exceed it."""
    more: bool = False
    """Whether the paper says "more than" that amount."""
    unit: str = "points"
    each: str = "a column and a rival that must be beaten"
    """What one comparison is, where the claim is read from several."""
    every: bool = True
    """Whether one comparison that fails makes the claim fail, whatever else is missing; not so for a share of all."""

    @property
    def digits(self) -> int:
        """Decimals of its numbers as they are printed, and judged: no verdict contradicts what stands beside it."""
        return 0 if self.unit == "%" else 2


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
            elif not evidence.has(other):
                missing[row_label(other)] = None
            else:
                missing[name] = None
        beaten = sorted(there, key=lambda other: sum(there[other]) / len(there[other]))[place - 1 :]
        found |= {f"{name}, over {row_label(other)}": there[other] for other in beaten}
    return Measured(found, tuple(missing))


def paired(evidence: Evidence, first: str, other: str, task: str, metric: str) -> list[float]:
    """first − other for each pretraining seed that both have; an encoder with a single number stands for all seeds."""
    a, b = (evidence.scores.get((name, task, metric), {}) for name in (first, other))
    if len(b) == 1 and other in (*paper.PEERS, "medtvt-r1"):  # its weights are published: there is no other seed
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
    cells: Sequence[tuple[str, str]], peers: Sequence[str], place: int = 1
) -> Callable[[Evidence], Measured]:
    """MERIT against the published encoders, or in a run at equal budget against those peers' methods that it has.

    Never against our own ablations: they are no earlier method.
    """

    def measure(evidence: Evidence) -> Measured:
        rivals = [name for name in OURS if evidence.has(name)] if evidence.budgeted else peers
        return margins(evidence, cells, rivals, place=place)

    return measure


def averaged(
    cells: Sequence[tuple[str, str]], measure: Callable[[Evidence], Measured]
) -> Callable[[Evidence], Measured]:
    """The mean over all cells for each rival of a measure by columns; a rival that lacks one is missing."""

    def mean(evidence: Evidence) -> Measured:
        found, by_rival = measure(evidence), {}
        for label, values in found.cells.items():
            by_rival.setdefault(label.rpartition(", over ")[2], []).append(values)
        whole = {name: columns for name, columns in by_rival.items() if len(columns) == len(cells)}
        means = {
            f"mean of {len(cells)} columns, over {name}": [sum(of_seed) / len(cells) for of_seed in zip(*columns)]
            for name, columns in whole.items()
        }
        lacking = [name for name in by_rival if name not in whole]
        return Measured(means, tuple(dict.fromkeys([*found.missing, *lacking])))

    return mean


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
