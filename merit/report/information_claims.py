"""What the paper says about Figure 3 as sentences that read our numbers (`pipeline.information`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from merit.report.information_figures import ESTIMATORS, SCOPES, found
from merit.report.prose import listing
from merit.report.style import look

Result = Mapping[str, Any]
Z = 1.959964


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
        g = {name: number["value"] for name, number in one["geometry"].items()}
        if None in g.values():
            continue
        wider, fuller = g["ecg_spread"] > g["text_spread"], g["ecg_rank"] > g["text_rank"]
        region = {2: "broader by both", 1: "broader by one of the two", 0: "broader by neither"}[wider + fuller]
        holds = "encompasses most texts" if g["text_in_ecg"] > 0.5 else "does not encompass most texts"
        moved = "does" if g["text_in_ecg_centred"] > 0.5 else "does not"
        lines.append(
            f"- {look(one['encoder']).label}: variance {g['ecg_spread']:.3f} (ECG) against {g['text_spread']:.3f} "
            f"(text), effective rank {g['ecg_rank']:.1f} against {g['text_rank']:.1f}: {region}. The ECG cloud "
            f"{holds} ({100 * g['text_in_ecg']:.0f} %), and {moved} once the centroids are moved together "
            f"({100 * g['text_in_ecg_centred']:.0f} %)."
        )
    return f"“A broader region that largely encompasses the text”, {SCOPES[scope]}:\n\n" + "\n".join(lines or ["- –"])


def larger_region(results: Sequence[Result], scope: str, first: str = "merit") -> str:
    """The paper: MERIT retains a larger region of ECG-specific information than CMA and IB."""
    names = {
        "encoder_rank": "effective rank before projection", "ecg_rank": "effective rank in the shared space",
        "ecg_spread": "variance in the shared space", "ecg_outside_text": "share outside the text's span",
    }  # fmt: skip
    lines = _compared(results, scope, "geometry", names, first)
    return f"“Retains a larger region than CMA and IB”, {SCOPES[scope]}:\n\n{lines}"


def more_information(results: Sequence[Result], scope: str, first: str = "merit") -> str:
    """The paper: higher mutual information between ECG and text embeddings."""
    lines = _compared(results, scope, "estimates", ESTIMATORS, first, unit=" nats")
    return f"“Higher mutual information between ECG and text”, {SCOPES[scope]}:\n\n{lines}"


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
            found_here = difference(by_name[first][part][name], by_name[other][part][name])
            if found_here is not None:
                value, low, high = found_here
                d = 3 if part == "geometry" and "rank" not in name else 2
                texts.append(f"{label} {value:+.{d}f}{unit} [{low:+.{d}f}, {high:+.{d}f}]")
                signs.append(1 if low > 0 else -1 if high < 0 else 0)
        if signs:
            tally = f"{signs.count(1)} of {len(signs)} above zero, {signs.count(-1)} below, {signs.count(0)} undecided"
            lines.append(f"- {look(first).label} less {look(other).label}: {'; '.join(texts)} ({tally}).")
    return "\n".join(lines) or f"- not both of {look(first).label} and another objective were measured."


def compression(results: Sequence[Result], scope: str) -> str:
    """The paper: IB compresses more as its strength increases."""
    strengths = {"cma": 0.0, "ib-0.1": 0.1, "ib": 0.5, "ib-1": 1.0}
    present = sorted((one for one in found(results, scope) if one["encoder"] in strengths),
                     key=lambda one: strengths[one["encoder"]])  # fmt: skip
    if len(present) < 2:
        return f"Compression by the bottleneck, {SCOPES[scope]}: fewer than two strengths were measured."
    ranks = [one["geometry"]["encoder_rank"]["value"] for one in present]
    spreads = [one["geometry"]["ecg_spread"]["value"] for one in present]
    shown = listing(f"{look(one['encoder']).label} {rank:.2f} and {spread:.3f}"
                    for one, rank, spread in zip(present, ranks, spreads))  # fmt: skip
    falling = all(a > b for row in (ranks, spreads) for a, b in pairwise(row))
    few = " Other strengths are measured by `make reference`." if len(present) < 4 else ""
    return (
        f"“IB compresses as the bottleneck grows stronger”, {SCOPES[scope]}: effective rank before projection and "
        f"variance in the shared space, by rising strength (CMA is strength 0): {shown}. "
        f"{'Both fall at every step.' if falling else 'They do not both fall at every step.'}{few}"
    )


def accuracy(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far the estimators are from the truth where it is known, and whether InfoNCE kept under its ceiling."""
    gaussians = [row for row in rows if row["shape"] == "gaussian"]
    most = max(row["n"] for row in gaussians)
    names = {"gaussian": "Gaussian", "ksg": "KSG, corrected", "ksg_plain": "KSG as it is"}
    parts = []
    for name, label in names.items():
        errors = [abs(row["estimate"] - row["truth"]) for row in gaussians
                  if (row["estimator"], row["n"]) == (name, most) and row["truth"] <= 2]  # fmt: skip
        parts.append(f"{label} {max(errors):.3f}")
    bounds = [row for row in rows if row["ceiling"] is not None]
    kept = all(row["estimate"] <= row["ceiling"] for row in bounds)
    cubed = [row for row in rows if row["shape"] == "cubed" and row["estimator"] != "ksg_plain"]
    worst = max(cubed, key=lambda row: abs(row["estimate"] - row["truth"]), default=None)
    text = (
        f"Largest error on Gaussians with N = {most:,}, up to 4 dimensions a side and 2 nats: {listing(parts)} nats. "
        f"InfoNCE {'never exceeds' if kept else 'EXCEEDS'} log K in {len(bounds)} checks."
    )
    if worst:
        label = {**names, "info_nce": "InfoNCE"}[worst["estimator"]]
        text += (
            f" Farthest off where pairs are not Gaussian: {label}, {worst['estimate']:.2f} for a truth of "
            f"{worst['truth']:.0f} nats."
        )
    return text
