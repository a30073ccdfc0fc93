"""The claims page: what is claimed and whether the paper's own numbers bear it out, our values, verdicts, oddities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from merit.report import paper, paper_checks, tables
from merit.report.claim_rules import Claim
from merit.report.prose import Html, listing
from merit.report.verdicts import NOT_SUPPORTED, NOT_TESTABLE, SUPPORTED, Interval, Reading, Verdict

HOLDS = {True: "holds", False: "does not hold", None: "cannot be checked"}


def claimed(claims: Iterable[Claim]) -> Html:
    """A row a claim: what it says, where, and what the paper's own surviving numbers say of it."""
    rows = {}
    for claim in claims:
        printed = claim.printed()
        rows[claim.id] = {
            "claim": f"{claim.text} ({claim.place})",
            "in its own numbers": f"{HOLDS[printed.holds]}: {printed.text.removeprefix('lost: ')}",
        }
    return tables.mapping(rows, "claimed")


def verdicts(judged: Iterable[Verdict]) -> Html:
    """A row a claim: the verdict, our value in each run with its interval over seeds, and why."""
    rows = {
        one.claim.id: {
            "claim": one.claim.title,
            "verdict": one.verdict,
            "our value": "\n".join(reading_text(one.claim, reading) for reading in one.readings) or "–",
            "why": one.why,
        }
        for one in judged
    }
    return tables.mapping(rows, "verdicts")


def reading_text(claim: Claim, reading: Reading) -> str:
    """One run's value: of the cell on which the claim hangs, and in how many cells the mean over seeds is above."""
    least = reading.least
    if least is None:
        return f"{reading.evidence.label()}: –"
    label, value = least
    seeds = f"{value.n} seed{'s' * (value.n > 1)}"
    above = sum(one.mean > claim.threshold for one in reading.cells.values())
    bar = f"above {claim.threshold:g} {claim.unit}" if claim.threshold else "above zero"
    n = len(reading.cells)
    many = f"point value {bar} in {above} of {n} comparisons ({claim.each}); least " if n > 1 else ""
    return f"{reading.evidence.label()}, {seeds}: {many}{number_text(value, claim.unit)} ({label})"


def number_text(value: Interval, unit: str) -> str:
    """`+1.24 [0.31, 2.17] points`; shares carry no sign."""
    share = unit == "%"
    text = f"{value.mean:.0f}" if share else f"{value.mean:+.2f}"
    if value.low is not None:
        ends = (max(0, value.low), min(100, value.high)) if share else (value.low, value.high)
        text += " [{:.{d}f}, {:.{d}f}]".format(*ends, d=0 if share else 2)
    return f"{text} {unit}".replace("-", "−")


def summary(judged: Sequence[Verdict]) -> str:
    """How many claims have which verdict, and how many the paper's own numbers settle."""
    counts = Counter(one.verdict for one in judged)
    ours = listing(f"{counts[name]} {name}" for name in (SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE))
    holds = Counter(one.claim.printed().holds for one in judged)
    return (
        f"Of {len(judged)} claims: {ours}. In the paper's own surviving numbers {holds[True]} hold, {holds[False]} "
        f"do{'es' * (holds[False] == 1)} not, and {holds[None]} cannot be checked, since their numbers are lost "
        "or were never given."
    )


def survival() -> Html:
    """A row a table: what it shows, and how many of its cells survive in the texts that we have."""
    rows = {
        f"Table {table}": {"shows": paper.TABLES[table].title, "cells": f"{had}", "survive": f"{kept}"}
        for table, (kept, had) in paper.survival().items()
    }
    return tables.mapping(rows, "survival")


def oddities() -> Html:
    """A row for each thing in the paper's numbers that does not fit another, with its evidence."""
    found = enumerate(paper_checks.oddities().items(), start=1)
    return tables.mapping({str(k): {"what": what, "evidence": text} for k, (what, text) in found}, "oddities")
