"""A verdict on each claim, and below it what a run says that cannot give one.

A *verdict* needs real recordings, the paper's profile, five pretraining seeds (or rotations of a cross-fitted
pretraining) and every row that the claim speaks of. Then it is *supported* where the whole 95 % interval over seeds
lies above the claim's threshold, in every cell (each must hold, so none is corrected for their number), and reaches the
stated amount; else *not supported*, and the reason says whether an interval lies wholly below (at a level corrected for
the number of cells) or merely includes it. One comparison that is contradicted decides a claim about all of them, so
missing rows do not keep it from being *not supported*.

Any other run is *consistent* or *inconsistent* with the claim by its point values, means over whatever seeds it has.
Intervals over seeds hold patients and published encoders fixed: they say what another pretraining would change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from merit.report.claims import Claim
from merit.report.evidence import Evidence
from merit.report.prose import listing

SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
CONSISTENT, INCONSISTENT = "consistent", "inconsistent"
NOT_MEASURED = "not measured"
OUTCOMES = (SUPPORTED, NOT_SUPPORTED, CONSISTENT, INCONSISTENT, NOT_MEASURED)
"""The first two are verdicts."""
SEEDS_NEEDED = 5
LEVEL = 0.95


class Interval(NamedTuple):
    """Mean over pretraining seeds with Student's interval; low and high None for a single seed."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Reading:
    """What one run says on a claim, and what keeps it from a verdict."""

    evidence: Evidence
    values: dict[str, list[float]]
    """Cell -> a number for each pretraining seed."""
    obstacles: tuple[str, ...]
    """Why it is not the paper's experiment, or too little of it."""
    missing: tuple[str, ...] = ()
    """Rows and columns that the claim speaks of and the run does not have."""
    outcome: str = NOT_MEASURED
    why: str = ""

    @property
    def cells(self) -> dict[str, Interval]:
        """Cell -> mean over seeds and its interval."""
        return self.at(LEVEL)

    def at(self, level: float) -> dict[str, Interval]:
        """The same at another level of confidence."""
        return {label: interval(values, level) for label, values in self.values.items()}

    @property
    def least(self) -> tuple[str, Interval] | None:
        """The cell on which the claim hangs: the one with the smallest mean."""
        return min(self.cells.items(), key=lambda item: item[1].mean) if self.cells else None


@dataclass(frozen=True)
class Verdict:
    """The outcome for a claim, why, and all readings it rests on, the decisive one first."""

    claim: Claim
    verdict: str
    """One of `OUTCOMES`."""
    why: str
    readings: tuple[Reading, ...]


def interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean ± Student's t times the standard error, for one value a seed. Raises ValueError for none."""
    n = len(values)
    if not n:
        raise ValueError("interval: expected at least one value, one a seed; got none")
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, 1)
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(stdtrit(n - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - half, mean + half, n)


def judge_all(claims: Iterable[Claim], evidence: Sequence[Evidence]) -> list[Verdict]:
    """A verdict on each claim."""
    return [judge(claim, evidence) for claim in claims]


def judge(claim: Claim, evidence: Sequence[Evidence]) -> Verdict:
    """The outcome by the run that can say most: real recordings first, then the fewest obstacles, then the first."""
    at_stage = [one for one in evidence if one.stage == claim.stage and (claim.peers or one.group is None)]
    readings = [one for one in (read(claim, run) for run in at_stage) if one.values]
    readings.sort(key=lambda one: (one.evidence.synthetic, len(one.obstacles) + bool(one.missing)))
    if not readings:
        return Verdict(claim, NOT_MEASURED, ": ".join(["nothing was measured here", *_lacking(claim, at_stage)]), ())
    return Verdict(claim, readings[0].outcome, readings[0].why, tuple(readings))


def _lacking(claim: Claim, at_stage: Sequence[Evidence]) -> list[str]:
    """Why a stage that was run has nothing on a claim: the reasons of its rows, else what the claim needs; or [].

    Reasons of published encoders are long, and all say that weights are missing: those are named alone.
    """
    reasons = dict.fromkeys(reason for one in at_stage for reason in one.reasons)
    missing = dict.fromkeys(name for one in at_stage for name in claim.measure(one).missing)
    if reasons and not claim.peers:
        return ["; ".join(reasons)]
    return [f"without {listing(missing)}"] if missing else []


def read(claim: Claim, evidence: Evidence) -> Reading:
    """The cells of a claim in one run, the outcome by them, and every reason against a verdict from it."""
    measured = claim.measure(evidence)
    seeds = min(map(len, measured.cells.values()), default=0)
    obstacles = [
        ("synthetic recordings", evidence.synthetic),
        (f"{evidence.profile} profile", evidence.profile != "paper"),
        (f"{seeds} of {SEEDS_NEEDED} seeds or rotations", seeds < SEEDS_NEEDED),
    ]
    found = (*(reason for reason, applies in obstacles if applies), *evidence.caveats)
    reading = Reading(evidence, measured.cells, found, measured.missing)
    return replace(reading, **dict(zip(("outcome", "why"), _decide(claim, reading)))) if measured.cells else reading


def _decide(claim: Claim, reading: Reading) -> tuple[str, str]:
    """Verdict and reason for a reading that can give one; else whether its point values agree with the claim."""
    cells, bar = reading.cells, f"{claim.threshold:g} {claim.unit}" if claim.threshold else "zero"
    digits = claim.digits
    without = [f"without {listing(reading.missing)}"] if reading.missing else []
    highs = [one.high for one in cells.values() if one.high is not None]  # of one seed alone, the amount is not asked
    reaches = claim.reach is None or not highs or round(min(highs), digits) >= claim.reach
    if not reading.obstacles:
        strict = reading.at(1 - (1 - LEVEL) / len(cells))
        below = sum(round(one.high, digits) < claim.threshold for one in strict.values())
        if below and (claim.every or not without):
            return NOT_SUPPORTED, f"contradicted: the interval lies below {bar}{_of(below, cells)}"
        if not without:
            if short := sum(round(one.low, digits) <= claim.threshold for one in cells.values()):
                return NOT_SUPPORTED, f"not shown: the interval does not lie above {bar}{_of(short, cells)}"
            if not reaches:
                return NOT_SUPPORTED, f"above {bar}, but the interval ends below {claim.reach:g} {claim.unit}"
            return SUPPORTED, f"the interval lies above {bar}{_of(len(cells), cells)}"
    against = "; ".join([*reading.obstacles, *without])
    if failed := sum(round(one.mean, digits) <= claim.threshold for one in cells.values()):
        return INCONSISTENT, f"not above {bar}{_of(failed, cells)}; no verdict: {against}"
    if not reaches:
        short = f"above {bar}, but the interval ends below {claim.reach:g} {claim.unit}"
        return INCONSISTENT, f"{short}; no verdict: {against}"
    return CONSISTENT, f"above {bar}{_of(len(cells), cells)}; no verdict: {against}"


def _of(count: int, cells: dict[str, Interval]) -> str:
    """In how many comparisons, where there are several."""
    return f" in {count} of {len(cells)} comparisons" if len(cells) > 1 else ""
