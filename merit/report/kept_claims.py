"""What the paper says about what is kept, as sentences that read our numbers (`pipeline.kept`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merit import intervals
from merit.report.kept_figures import DECODERS, FACTORS, cell, found
from merit.report.numerals import fixed
from merit.report.prose import listing
from merit.report.style import look

Result = Mapping[str, Any]
NOTHING = 0.02
"""Partial R² that counts as nothing when every interval ends below it."""
MEASURES = {"beyond": "beyond the report", "in_report": "in the report"}


def signs_of(differences: Sequence[tuple[float, float, float] | None]) -> list[int]:
    """`intervals.told_apart` for value, low and high of each; 0 where there is none."""
    return intervals.told_apart([dict(zip(("value", "low", "high"), one or (None,) * 3)) for one in differences])


def between(results: Sequence[Result], a: str, b: str, measure: str, decoder: str) -> tuple[float, float, float] | None:
    """The difference of two encoders in one of `MEASURES`; None where one was not measured."""
    by_name = {one["encoder"]: one["summary"][decoder][measure] for one in found(results)}
    return intervals.paired(by_name[a], by_name[b]) if a in by_name and b in by_name else None


def verdict(results: Sequence[Result]) -> str:
    """The paper's thesis in three parts, each with the differences that decide it, for both decoders."""
    parts = (
        ("Alignment alone keeps less of what reports never name than reconstruction alone", [("mse", "cma", "beyond")]),
        ("Reconstruction beside alignment gives some of it back", [("merit", "cma", "beyond")]),
        (
            "It does so without losing what the report says, of which it holds more than reconstruction alone",
            [("merit", "cma", "in_report"), ("merit", "mse", "in_report")],
        ),
    )
    every = [(a, b, measure, decoder) for _, wanted in parts for decoder in DECODERS for a, b, measure in wanted]
    found_of = {key: between(results, *key) for key in every}
    side = dict(zip(every, signs_of(list(found_of.values()))))
    lines = []
    for text, wanted in parts:
        signs, shown = [], []
        for decoder, name in DECODERS.items():
            for a, b, measure in wanted:
                one, sign = (of[a, b, measure, decoder] for of in (found_of, side))
                signs.append(None if one is None else 1 if sign >= 0 and _may_tie(b, measure) else sign)
                if one is not None:
                    shown.append(f"{look(a).label} − {look(b).label} {MEASURES[measure]}, {name}: {signed(one)}")
        lines.append(f"- {text}: **{_word(signs)}**{'. ' + '; '.join(shown) if shown else ''}.")
    head = "What the paper's thesis predicts, and what is seen (points, 95 % intervals; what counts is beyond sampling "
    return f"{head}error, corrected for all of them by Holm):\n\n" + "\n".join(lines)


def _may_tie(other: str, measure: str) -> bool:
    """Against CMA nothing more is asked in the report than to lose nothing."""
    return other == "cma" and measure == "in_report"


def _word(signs: Sequence[int | None]) -> str:
    if not signs or None in signs:
        return "not measured"
    if set(signs) == {1}:
        return "seen"
    if set(signs) == {-1}:
        return "the opposite is seen"
    return "not shown" if -1 not in signs else "seen in part, contradicted in part" if 1 in signs else "not shown"


def signed(one: tuple[float, float, float]) -> str:
    """`+5.8 [+4.6, +7.1]`, points."""
    value, low, high = (fixed(100 * number, 1, sign=True) for number in one)
    return f"{value} [{low}, {high}]"


def headline(results: Sequence[Result]) -> str:
    """The order of the encoders beyond the report, and where the random one stands, in one paragraph."""
    values = sorted(found(results), key=lambda one: -one["summary"]["linear"]["beyond"]["value"])
    if not values:
        return "Nothing was measured, so there is nothing to read."
    shown = listing(f"{look(one['encoder']).label} {_inline(one['summary']['linear']['beyond'])}" for one in values)
    text = f"Mean partial R² beyond the report, linear decoder, percent: {shown}."
    if any(one["encoder"] == "random" for one in values):
        above, level = [], []
        trained = [one["encoder"] for one in values if one["encoder"] != "random"]
        for name, side in zip(
            trained, signs_of([between(results, name, "random", "beyond", "linear") for name in trained])
        ):
            (above if side > 0 else level).append(look(name).label)
        text += f" Above an encoder that has learnt nothing: {listing(above) or 'none'}"
        text += f"; not above it: {listing(level)}." if level else "."
    return text


def _inline(number: Mapping[str, Any]) -> str:
    return cell(number).replace("\n", " ")


def compared(results: Sequence[Result], first: str = "merit") -> str:
    """`first` minus every other encoder: a line each, both measures, both decoders."""
    names = [one["encoder"] for one in found(results)]
    lines = []
    for other in names:
        if first not in names or other == first:
            continue
        texts = []
        for measure, label in MEASURES.items():
            both = [between(results, first, other, measure, decoder) for decoder in DECODERS]
            if None not in both:
                texts.append(f"{label} {signed(both[0])} linear, {signed(both[1])} non-linear")
        lines.append(f"- {look(first).label} minus {look(other).label}: {'; '.join(texts) or 'no interval'}.")
    return "\n".join(lines) or f"- Not both of {look(first).label} and another encoder were measured."


def by_factor(results: Sequence[Result], decoder: str = "linear", first: str = "merit") -> str:
    """In which factors `first` keeps more, or less, beyond the report than CMA and MSE: a line each."""
    by_name = {one["encoder"]: one["factors"] for one in found(results)}
    others = [other for other in ("cma", "mse") if {first, other} <= set(by_name)]
    every = [(other, name) for other in others for name in FACTORS if all(name in by_name[e] for e in (first, other))]
    pairs = [[by_name[encoder][name][decoder]["partial"] for encoder in (first, other)] for other, name in every]
    sides = dict(zip(every, signs_of([intervals.paired(*pair) for pair in pairs])))
    lines = []
    for other in others:
        signs: dict[int, list[str]] = {1: [], -1: [], 0: []}
        for (_, name), side in ((key, side) for key, side in sides.items() if key[0] == other):
            signs[side].append(FACTORS[name].rstrip("*"))
        lines.append(
            f"- {look(first).label} against {look(other).label}: more in {listing(signs[1]) or 'none'}; less in "
            f"{listing(signs[-1]) or 'none'}; undecided in {listing(signs[0]) or 'none'}."
        )
    return "\n".join(lines)


def limits(results: Sequence[Result]) -> str:
    """What is hardest to read, what nobody gives, and what reading non-linearly changes."""
    values = found(results)
    if not values:
        return ""
    names = [name for name in FACTORS if name in values[0]["factors"]]
    best = {name: max(values, key=lambda one: one["factors"][name]["linear"]["partial"]["value"]) for name in names}
    hardest = min(names, key=lambda name: best[name]["factors"][name]["linear"]["partial"]["value"])
    top = best[hardest]
    text = (
        f"Hardest to read beyond the report, by a linear decoder: {FACTORS[hardest].rstrip('*')}, at best "
        f"{_inline(top['factors'][hardest]['linear']['partial'])} percent ({look(top['encoder']).label})."
    )
    lost = [n for n in names if all(_top(one["factors"][n], d) < NOTHING for one in values for d in DECODERS)]
    if lost:
        told = listing(FACTORS[name].rstrip("*") for name in lost)
        text += (
            f" With either decoder, nobody gives **{told}**: every interval ends below {fixed(100 * NOTHING, 0)} "
            "percent. That is a limit of these small encoders or of the decoders, the same for all objectives."
        )
    gains = [
        one["summary"]["nonlinear"]["beyond"]["value"] - one["summary"]["linear"]["beyond"]["value"] for one in values
    ]
    low, high = fixed(100 * min(gains), 1, sign=True), fixed(100 * max(gains), 1, sign=True)
    return f"{text} Reading non-linearly changes the mean beyond the report by {low} to {high} points."


def _top(numbers: Mapping[str, Any], decoder: str) -> float:
    number = numbers[decoder]["partial"]
    return number["value"] if number["high"] is None else number["high"]


def silent(results: Sequence[Result], decoder: str = "linear") -> str:
    """For how many findings an embedding tells more than the report where the report does not state them."""
    lines = []
    for one in found(results):
        scored = {n: v for n, v in one["findings"].items() if "silent" in v[decoder] and "silent" in v["report"]}
        if not scored:
            continue
        better = [n for n, v in scored.items() if v[decoder]["silent"]["value"] > v["report"]["silent"]["value"]]
        clear = [n for n in better if scored[n][decoder]["silent"]["low"] > scored[n]["report"]["silent"]["high"]]
        lines.append(
            f"{look(one['encoder']).label} {len(better)} of {len(scored)} ({len(clear)} with intervals that lie apart)"
        )
    if not lines:
        return ""
    return "Findings that an embedding ranks better than the rest of a report that leaves them out: " + (
        "; ".join(lines) + "."
    )
