"""What the paper says about Figure 3 as sentences that read our numbers (`pipeline.information`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from merit.report.information_figures import ESTIMATORS, SCOPES, found
from merit.report.numerals import fixed
from merit.report.prose import listing
from merit.report.style import look

Result = Mapping[str, Any]
Z = 1.959964
STRENGTHS = {"cma": 0.0, "ib-0.1": 0.1, "ib": 0.5, "ib-1": 1.0}
"""Weight of the bottleneck's term, by encoder."""
LABELS = {"gaussian": "Gaussian", "ksg": "KSG, corrected", "ksg_plain": "KSG as it is", "info_nce": "InfoNCE"}


def older(files: Sequence[Mapping[str, Any]]) -> str:
    """That committed numbers are older than the canonical directions, where they are; "" where none is.

    files: as `reference.load` gives them; a row that says nothing of votes is older.
    """
    if all("no_vote" in row or "reason" in row for file in files for row in file["results"]):
        return ""
    return (
        "These numbers are older than the present estimators: mutual information was looked for along directions of "
        "most variance, where louder directions of one side can hide it. Compare them with nothing above."
    )


def difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """a − b with a 95 % interval, paired by the halves of the patients; None where either has no interval."""
    if len(a["draws"]) != len(b["draws"]) or len(a["draws"]) < 2:
        return None
    value = a["value"] - b["value"]
    half = Z * float(np.std(np.array(a["draws"]) - np.array(b["draws"]), ddof=1))
    return value, value - half, value + half


def broader(results: Sequence[Result], scope: str) -> str:
    """The paper: ECG embeddings span a broader region that largely encompasses the text embeddings."""
    lines = []
    for one in found(results, scope):
        numbers = one["geometry"]
        g = {name: number["value"] for name, number in numbers.items()}
        if None in g.values():
            continue
        wider, fuller = g["ecg_spread"] > g["text_spread"], g["ecg_rank"] > g["text_rank"]
        region = {2: "broader by both", 1: "broader by one of the two", 0: "broader by neither"}[wider + fuller]
        lines.append(
            f"- {look(one['encoder']).label}: variance {g['ecg_spread']:.3f} (ECG) against {g['text_spread']:.3f} "
            f"(text), effective rank {g['ecg_rank']:.1f} against {g['text_rank']:.1f}: {region}. Most texts inside the "
            f"ECG cloud: {_most(numbers['text_in_ecg'])}; once the centroids are moved together: "
            f"{_most(numbers['text_in_ecg_centred'])}."
        )
    about = f"“A broader region that largely encompasses the text”, {SCOPES[scope]}"
    note = (
        "The radius reaches the tenth neighbour, so the share depends on the number of pairs: compare within one set "
        "only."
    )
    return f"{about}:\n\n" + "\n".join(lines or ["- –"]) + (f"\n\n{note}" if lines else "")


def _most(share: Mapping[str, Any]) -> str:
    """Whether a share is above one half by its whole interval: `yes, 90 % [80, 100]`, no, or undecided."""
    value, low, high = share["value"], share["low"], share["high"]
    if low is None:
        return f"undecided, {100 * value:.0f} % (no interval)"
    word = "yes" if low > 0.5 else "no" if high < 0.5 else "undecided"
    return f"{word}, {100 * value:.0f} % [{fixed(100 * low, 0)}, {100 * high:.0f}]"


def larger_region(results: Sequence[Result], scope: str, first: str = "merit") -> str:
    """The paper: MERIT retains a larger region of ECG-specific information than CMA and IB."""
    names = {
        "encoder_rank": "effective rank before projection", "ecg_rank": "effective rank in the shared space",
        "ecg_spread": "variance in the shared space", "ecg_outside_text": "share outside the text's span",
    }  # fmt: skip
    lines = [_compared(results, scope, "geometry", names, first), _without_learning(results, scope, first)]
    return f"“Retains a larger region than CMA and IB”, {SCOPES[scope]}:\n\n" + "\n".join(filter(None, lines))


def _without_learning(results: Sequence[Result], scope: str, first: str) -> str:
    """The random encoder's region, and whether it is larger than that of `first`; "" where it was not measured."""
    by_name = {one["encoder"]: one["geometry"] for one in found(results, scope)}
    if "random" not in by_name:
        return ""
    g, larger = by_name["random"], []
    names = {"encoder_rank": "rank", "ecg_outside_text": "share"}
    for name, label in names.items():
        above = difference(g[name], by_name[first][name]) if first in by_name else None
        if above is not None and above[1] > 0:
            larger.append(label)
    text = (
        f"- {look('random').label}, which has learnt nothing: effective rank before projection "
        f"{_value(g['encoder_rank'], 2)}, share outside the text's span {_value(g['ecg_outside_text'], 3)}"
    )
    if not larger:
        return f"{text}."
    verb = "exceed" if len(larger) > 1 else "exceeds"
    return (
        f"{text}. Its {listing(larger)} {verb} {look(first).label}'s: a large region alone is no sign of information."
    )


def _value(number: Mapping[str, Any], digits: int) -> str:
    if number["value"] is None:
        return "–"
    text = fixed(number["value"], digits)
    if number["low"] is None:
        return text
    return f"{text} [{fixed(number['low'], digits)}, {fixed(number['high'], digits)}]"


def more_information(results: Sequence[Result], scope: str, first: str = "merit") -> str:
    """The paper: higher mutual information between ECG and text embeddings. Estimators without a vote are named."""
    lines = _compared(results, scope, "estimates", ESTIMATORS, first, unit=" nats")
    silent = [
        f"- {ESTIMATORS[name]} has no vote on {look(one['encoder']).label}: {reason}."
        for one in found(results, scope) for name, reason in one["no_vote"].items()
    ]  # fmt: skip
    return f"“Higher mutual information between ECG and text”, {SCOPES[scope]}:\n\n" + "\n".join([lines, *silent])


def _compared(
    results: Sequence[Result], scope: str, part: str, names: Mapping[str, str], first: str, unit: str = ""
) -> str:
    by_name = {one["encoder"]: one for one in found(results, scope)}
    lines = []
    for other in by_name:
        if first not in by_name or other in (first, "random"):
            continue
        texts, signs = [], []
        for name, label in names.items():
            if part == "estimates" and any(name in by_name[one]["no_vote"] for one in (first, other)):
                continue
            found_here = difference(by_name[first][part][name], by_name[other][part][name])
            if found_here is not None:
                digits = 3 if part == "geometry" and "rank" not in name else 2
                texts.append(f"{label} {_signed(found_here, digits, unit)}")
                signs.append(_sign(found_here))
        if signs:
            tally = f"above zero in {signs.count(1)} of {len(signs)}, below in {signs.count(-1)}, "
            tally += f"undecided in {signs.count(0)}"
            lines.append(f"- {look(first).label} minus {look(other).label}: {'; '.join(texts)} (interval {tally}).")
    return "\n".join(lines) or f"- not both of {look(first).label} and another objective were measured."


def _signed(one: tuple[float, float, float], digits: int, unit: str = "") -> str:
    """`+0.12 nats [−0.01, +0.25]`."""
    value, low, high = (fixed(number, digits, sign=True) for number in one)
    return f"{value}{unit} [{low}, {high}]"


def _sign(one: tuple[float, float, float]) -> int:
    """1 or −1 where the whole interval lies above or below zero, else 0."""
    return 1 if one[1] > 0 else -1 if one[2] < 0 else 0


def compression(results: Sequence[Result], scope: str) -> str:
    """The paper: IB compresses more as its strength increases."""
    present = sorted((one for one in found(results, scope) if one["encoder"] in STRENGTHS),
                     key=lambda one: STRENGTHS[one["encoder"]])  # fmt: skip
    if len(present) < 2:
        return f"Compression by the bottleneck, {SCOPES[scope]}: fewer than two strengths were measured."
    rows = [[one["geometry"][name] for one in present] for name in ("encoder_rank", "ecg_spread")]
    ranks, spreads = ([number["value"] for number in row] for row in rows)
    shown = listing(f"{look(one['encoder']).label} {rank:.2f} and {spread:.3f}"
                    for one, rank, spread in zip(present, ranks, spreads))  # fmt: skip
    if len(present) == 2:
        step = _one_step(f"{look(present[1]['encoder']).label} minus {look(present[0]['encoder']).label}", rows)
    else:
        falling = all(a > b for row in (ranks, spreads) for a, b in pairwise(row))
        step = "Both fall at every step." if falling else "They do not both fall at every step."
        step += " Other strengths are measured by `make reference`." if len(present) < len(STRENGTHS) else ""
    return (
        f"“IB compresses as the bottleneck grows stronger”, {SCOPES[scope]}: effective rank before projection and "
        f"variance in the shared space, by rising strength (CMA is strength 0): {shown}. {step}"
    )


def _one_step(label: str, rows: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """What two strengths say: the paired differences where there are draws, and whether both point one way."""
    paired = [difference(b, a) for a, b in rows]
    if None in paired:
        signs, shown = {int(np.sign(b["value"] - a["value"])) for a, b in rows}, "No paired intervals"
    else:
        signs = {_sign(one) for one in paired}
        shown = f"{label}: {_signed(paired[0], 2)} and {_signed(paired[1], 3)}"
    word = {(1,): "higher", (-1,): "lower"}.get(tuple(signs), "not ordered")
    both = "the two measures are not ordered" if word == "not ordered" else f"both are {word}"
    return f"{shown}: {both} with the bottleneck (one step; `make reference` measures others)."


def accuracy(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far the estimators are from the truth where it is known, and whether InfoNCE kept under its ceiling."""
    gaussians = [row for row in rows if row["shape"] == "gaussian" and not any(row["private"])]
    most, weak = max(row["n"] for row in gaussians), min(row["truth"] for row in rows if row["truth"] > 0)
    large = [row for row in gaussians if row["n"] == most and row["truth"] <= 2]
    bounds = [row for row in rows if row["ceiling"] is not None]
    kept = all(row["estimate"] <= row["ceiling"] for row in bounds)
    parts = [
        f"Largest error on Gaussians with N = {most:,}, up to {max(row['width'] for row in large)} dimensions a side "
        f"and 2 nats: {_errors(large)} nats.",
        f"With every N and up to {max(row['width'] for row in gaussians)} dimensions a side, at a truth of {weak:g} "
        f"nat{'s' * (weak != 1)}: {_errors([row for row in gaussians if row['truth'] == weak])} nats; at any truth: "
        f"{_errors(gaussians)} nats.",
        f"InfoNCE {'never exceeds' if kept else 'EXCEEDS'} log K in {len(bounds)} checks.",
        _too_low([row for row in rows if row["shape"] == "cubed" and row["truth"] > 0]),
        _private([row for row in rows if any(row["private"]) and row["estimator"] != "ksg_plain"]),
    ]
    return " ".join(part for part in parts if part)


def _private(rows: Sequence[Mapping[str, Any]]) -> str:
    """The largest error of each estimator beside louder private directions, and how often one had no vote."""
    if not rows:
        return ""
    silent = [row for row in rows if row["no_vote"]]
    voting = [row for row in rows if not row["no_vote"]]
    text = f"With private directions of either side that are louder than what is shared: {_errors(voting)} nats"
    if silent:
        names = {LABELS[row["estimator"]]: None for row in silent}
        text += f", without {listing(names)} where no vote is given ({len(silent)} of {len(rows)} estimates)"
    return f"{text}."


def _errors(rows: Sequence[Mapping[str, Any]]) -> str:
    """The largest error of each estimator that is there."""
    errors = {
        label: [abs(row["estimate"] - row["truth"]) for row in rows if row["estimator"] == name]
        for name, label in LABELS.items()
    }
    return listing(f"{label} {max(one):.3f}" for label, one in errors.items() if one)


def _too_low(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which estimators are too low at every truth on pairs that are not Gaussian, and by how much; what others do."""
    low, others = [], []
    for name, label in LABELS.items():
        errors = [row["estimate"] - row["truth"] for row in rows if row["estimator"] == name]
        if errors and max(errors) < 0:
            low.append(f"{label} (by {fixed(-max(errors), 2)} to {fixed(-min(errors), 2)} nats)")
        elif errors:
            others.append(f"{label} (errors from {fixed(min(errors), 2, True)} to {fixed(max(errors), 2, True)} nats)")
    parts = [f"too low at every truth above 0 are {listing(low)}"] if low else []
    parts += [f"not always too low: {listing(others)}"] if others else []
    return f"On non-Gaussian (cubed) pairs: {'; '.join(parts)}." if parts else ""
