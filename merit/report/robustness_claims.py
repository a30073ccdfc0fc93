"""Sentences on robustness that read their numbers (`pipeline.robustness`): who loses least, and what that means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from merit.intervals import around, told_apart
from merit.report.prose import fixed, listing
from merit.report.robustness_figures import KINDS, clean, corrupted, encoders, found, kinds, written
from merit.report.style import look
from merit.report.tables import interval

Result = Mapping[str, Any]
CHANCE = 0.5
NONE = "No corruption was scored."


def overall(results: Sequence[Result]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Encoder -> clean, change, left and share, each value, low, high: means over the strengths of a kind, then kinds.

    change: corrupted less clean; left: corrupted; share: what is lost of what the clean level has above chance, None
    where its interval reaches chance. All from the same resamples of patients.
    """
    values = found(results)
    if not corrupted(values):
        return {}
    rows = {}
    for encoder in encoders(values):
        base, after = _drawn(clean(values, encoder)), _mean_of_kinds(values, encoder)
        level, above = around(base[0], base[1:], share=True), base - CHANCE
        if (level["low"] or 0) <= CHANCE:  # no share of what cannot be told from nothing
            above = np.full_like(base, np.nan)
        share = np.divide(base - after, above, out=np.full_like(base, np.nan), where=above > 0)
        rows[encoder] = {
            "clean": level, "change": _triple(after - base), "left": around(after[0], after[1:], share=True),
            "share": _triple(share),
        }  # fmt: skip
    return rows


def _drawn(one: Mapping[str, Any]) -> np.ndarray:
    """The value, then its resamples; [1 + R], NaN where a resample has none."""
    return np.array([one["auroc"]["value"], *one["resamples"]], dtype=float)


def _mean_of_kinds(values: Sequence[Mapping[str, Any]], encoder: str, over: Sequence[str] | None = None) -> np.ndarray:
    """[1 + R]: each kind counts once, however many strengths it has."""
    by_kind = [
        np.mean([_drawn(one) for one in corrupted(values, encoder, kind)], axis=0) for kind in over or kinds(values)
    ]
    return np.mean(by_kind, axis=0)


def _triple(drawn: np.ndarray) -> dict[str, float | None]:
    """value, low, high from a value and its resamples."""
    return around(drawn[0], drawn[1:])


def _points(triple: Mapping[str, float | None]) -> str:
    return interval(triple, sign=True).replace("\n", " ") + " points"


def least(results: Sequence[Result]) -> str:
    """Which encoder loses least on average, against the next and the random one, paired by patients."""
    values, rows = found(results), overall(results)
    if not rows:
        return NONE
    falling = sorted(rows, key=lambda name: -rows[name]["change"]["value"])
    first, n = falling[0], len(kinds(values))
    text = (
        f"On average over {n} kind{'s' * (n > 1)} of corruption (each counts once, whatever its strengths) "
        f"{look(first).label} is hurt least: {_points(rows[first]['change'])}"
    )
    rivals = [name for name in dict.fromkeys([*falling[1:2], "random"]) if name in rows and name != first]
    changes = {name: _mean_of_kinds(values, name) - _drawn(clean(values, name)) for name in (first, *rivals)}
    gaps = [_triple(changes[first] - changes[name]) for name in rivals]
    parts = [
        f"{look(name).label} {_points(rows[name]['change'])}, a difference of {_points(gap)}, "
        f"{'beyond' if side else 'within'} sampling error"
        for name, gap, side in zip(rivals, gaps, told_apart(gaps))
    ]
    text = f"{text}; {'; '.join(parts)}." if parts else f"{text}."
    if all(row["share"]["value"] is None for row in rows.values()):
        text += " No clean level can be told from chance: nobody has anything to lose, and this order means nothing."
    return text


def less_to_lose(results: Sequence[Result]) -> str:
    """Whether the random encoder loses less because it has less, as points and as a share of what is above chance."""
    rows = overall(results)
    trained = [name for name in rows if name != "random"]
    if "random" not in rows or not trained:
        return "The random encoder, or one to compare it with, was not scored."
    best = max(trained, key=lambda name: rows[name]["clean"]["value"])
    own, other = rows["random"], rows[best]
    fewer = own["change"]["value"] > other["change"]["value"]
    text = (
        f"The random encoder starts at {_level(own['clean'])} and loses {'fewer' if fewer else 'more'} points than "
        f"{look(best).label}, the highest when clean ({_level(other['clean'])})."
    )
    if None not in (own["share"]["value"], other["share"]["value"]) and min(_base(own), _base(other)) > CHANCE:
        smaller = own["share"]["value"] < other["share"]["value"]
        shares = f"{_percent(own['share'])} against {_percent(other['share'])}"
        if fewer and not smaller:
            text += f" It has less to lose: of what lies above chance it loses no smaller share, {shares}."
        else:
            text += f" Of what lies above chance it loses a {'smaller' if smaller else 'larger'} share, {shares}."
    return f"{text} {_by_kind(found(results), best)} {_still_above(results)}"


def _by_kind(values: Sequence[Mapping[str, Any]], best: str) -> str:
    """Kinds under which the random encoder loses fewer points than another, or more, beyond sampling error."""
    gaps = []
    for kind in kinds(values):
        change = [_mean_of_kinds(values, name, [kind]) - _drawn(clean(values, name)) for name in ("random", best)]
        gaps.append(_triple(change[0] - change[1]))
    of: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for kind, side in zip(kinds(values), told_apart(gaps)):
        of[side].append(KINDS[kind].title)
    parts = [f"{word} points under {listing(of[side])}" for word, side in (("fewer", 1), ("more", -1)) if of[side]]
    return (
        "By kind, beyond sampling error (corrected for the number of kinds, Holm), it loses "
        f"{'; '.join(parts) or 'neither fewer nor more points'}."
    )


def _base(row: Mapping[str, Mapping[str, float | None]]) -> float:
    return row["clean"]["value"] or 0.0


def _level(triple: Mapping[str, float | None]) -> str:
    return interval(triple).replace("\n", " ")


def _percent(triple: Mapping[str, float | None]) -> str:
    """`12 % [5, 20]`."""
    if triple["low"] is None:
        return f"{fixed(100 * triple['value'], 0)} %"
    return f"{fixed(100 * triple['value'], 0)} % [{fixed(100 * triple['low'], 0)}, {fixed(100 * triple['high'], 0)}]"


def _still_above(results: Sequence[Result]) -> str:
    """At how many strengths each trained encoder still lies above the random one under the same corruption."""
    values = found(results)
    under = {one["variant"]: one["auroc"]["value"] for one in corrupted(values, "random")}
    counts = []
    for encoder in encoders(values):
        if encoder != "random":
            above = sum(one["auroc"]["value"] > under[one["variant"]] for one in corrupted(values, encoder))
            counts.append(f"{look(encoder).label} at {above}")
    return f"Of {len(under)} strengths, under the same corruption above {look('random').label}: {listing(counts)}."


def invariant(results: Sequence[Result]) -> str:
    """What scaling per recording takes out by construction, and what is left of it."""
    values = found(results)
    scaled = {one["encoder"] for one in values if one["kind"] == "clean" and one["scaling"] in ("zscore", "minmax")}
    own = [one for one in corrupted(values, kind="gain") if one["encoder"] in scaled]
    if not own:
        return "One gain for all leads was not tried on an encoder that scales each recording."
    largest = max((abs(one["change"]["value"]) for one in own), default=0.0)
    moved = max(one["moved"]["value"] or 0.0 for one in own)
    text = (
        f"By construction: {listing(look(name).label for name in encoders(own))} divide each recording by its own "
        f"scale, so one gain for all leads cannot matter. It changes AUROC by {fixed(100 * largest, 2)} points at most "
        f"and moves embeddings by {fixed(100 * moved, 2)} % of the distance between two recordings, which is what "
        "rounding to microvolts and clipping leave."
    )
    per_lead = corrupted(values, kind="gain_error")
    if per_lead:
        most = max(per_lead, key=lambda one: abs(one["change"]["value"]))
        text += (
            f" Gains that differ from lead to lead are not taken out: up to {_points(most['change'])} "
            f"({look(most['encoder']).label}, at {most['level']})."
        )
    return text


def through_the_filter(results: Sequence[Result]) -> str:
    """How much of the mains hum is left once a recording has come to the store's rate."""
    parts = []
    for kind in ("hum_50", "hum_60"):
        own = corrupted(found(results), kind=kind)
        if own:
            last = own[-1]
            sent, left = 1000 * last["level"] / np.sqrt(2), 1000 * last["seen_mv"]
            parts.append(f"of {last['level']:g} mV at {kind[-2:]} Hz ({sent:.0f} µV rms) {fixed(left, 1)} µV rms")
    if not parts:
        return "Mains hum was not tried."
    return f"What the filter before sampling leaves of the mains for an encoder to see: {listing(parts)}."


def worst(results: Sequence[Result]) -> str:
    """For each encoder the strength that costs most; then those that it is better under than clean."""
    values, lines = found(results), []
    for encoder in encoders(values):
        own = corrupted(values, encoder)
        if own:
            one = min(own, key=lambda one: one["change"]["value"])
            lines.append(
                f"- {look(encoder).label} suffers most with {written(one['kind'], one['level'])}: "
                f"{_points(one['change'])}, to {fixed(100 * one['auroc']['value'], 1)}."
            )
    better = [one for one in corrupted(values) if (one["change"]["low"] or 0) > 0]
    if better:
        shown = (
            f"{look(one['encoder']).label} with {written(one['kind'], one['level'])}, {_points(one['change'])}"
            for one in better
        )
        lines.append(
            f"- Better corrupted than clean, with the whole interval: {'; '.join(shown)}. Of {len(corrupted(values))} "
            "changes on this page some would be so by chance."
        )
    return "\n".join(lines) or NONE


def unaffected(results: Sequence[Result]) -> str:
    """Strengths at which some recordings, or all, are as they were: files already slower than the rate asked for."""
    values = found(results)
    lines = []
    for kind in kinds(values):
        first = encoders(values)[0]
        for one in corrupted(values, first, kind):
            n = clean(values, first)["n_records"]
            if one["n_changed"] < n:
                lines.append(f"{written(kind, one['level'])}: {one['n_changed']:,} of {n:,} changed")
    if not lines:
        return "Every strength changed every recording."
    return f"Recordings that a strength leaves as they were keep their embedding. {'; '.join(lines)}."
