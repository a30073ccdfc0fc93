"""Figure 3: estimates of mutual information under their ceilings, the shared space as a picture, its geometry in words.

All take results as `pipeline.information` gives them; those with a reason in place of numbers are named, not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from merit.report import tables
from merit.report.figures import PANEL_HEIGHT, PANEL_WIDTH, Drawing, distinct, nothing
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import COHORT_LABELS, look

Result = Mapping[str, Any]
ESTIMATORS = {"info_nce": "InfoNCE, same critic", "ksg": "nearest neighbours (KSG)", "gaussian": "Gaussian (canonical)"}
SCOPES = {"unseen": "unseen patients", "validation": "validation patients"}
HEADS = {
    "info_nce": "InfoNCE", "ksg": "KSG", "gaussian": "Gaussian", "ecg_rank": "ECG rank", "encoder_rank": "encoder rank",
    "ecg_outside_text": "outside",
}  # fmt: skip
"""Measure -> head of its column in the table over seeds."""
TEXT_COLOUR = "#222222"
QUANTITIES = {
    "gap": "modality gap: distance of centroids",
    "relative_gap": "gap / distance from own centroid",
    "ecg_spread": "variance of the ECG embeddings",
    "text_spread": "variance of the text embeddings",
    "encoder_rank": "effective rank: ECG before projection",
    "ecg_rank": "effective rank: ECG",
    "text_rank": "effective rank: text",
    "ecg_span": "directions that hold 99 %: ECG",
    "text_span": "directions that hold 99 %: text",
    "ecg_outside_text": "ECG variance outside the text's span, %",
    "text_outside_ecg": "text variance outside the ECG's span, %",
    "text_in_ecg": "texts inside the ECG cloud, %",
    "ecg_in_text": "ECGs inside the text cloud, %",
    "text_in_ecg_centred": "texts inside, centroids moved together, %",
    "ecg_in_text_centred": "ECGs inside, centroids moved together, %",
}
"""Name of a number -> how the table writes it."""


def found(results: Sequence[Result], scope: str | None = None) -> list[Mapping[str, Any]]:
    """The values of those results that have numbers."""
    values = [one["values"] for one in results]
    return [one for one in values if "reason" not in one and scope in (None, one["scope"])]


def measured(results: Sequence[Result]) -> list[str]:
    """The sets of pairs that have numbers, unseen first."""
    there = {one["scope"] for one in found(results)}
    return [scope for scope in SCOPES if scope in there]


def missing(results: Sequence[Result]) -> str:
    """Which sets of pairs or encoders have no numbers, and why; or that none is missing."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in (result["values"] for result in results):
        if "reason" in one:
            reasons.setdefault((one["scope"], one["reason"]), []).append(look(one["encoder"]).label)
    lines = [f"- {SCOPES[s]}, {listing(names)}: not measured, {reason}" for (s, reason), names in reasons.items()]
    return "\n".join(lines) or "Every encoder was measured on both sets of pairs."


def pairs(results: Sequence[Result]) -> Html:
    """A row a set of pairs: cohort, pairs, distinct reports, how many are used, and the ceilings that follow."""
    rows = {}
    for one in found(results):
        rows[SCOPES[one["scope"]]] = {
            "data set": COHORT_LABELS.get(one["cohort"], one["cohort"]),
            "pairs": f"{one['n_pairs']:,}",
            "distinct reports": f"{one['n_reports']:,}",
            "used, one a report": f"{one['n']:,}",
            "patients": f"{one['n_patients']:,}",
            "entropy of the reports, nats": f"{one['entropy']:.2f}",
            "log of the pairs used, nats": f"{one['log_n']:.2f}",
        }
    return tables.mapping(rows, "information-pairs") if rows else Html("")


def estimates(results: Sequence[Result]) -> Drawing:
    """A column an estimator: above the values with 95 % intervals, below the same values under their ceilings."""
    values = found(results)
    if not values:
        return nothing("no pairs to measure on")
    encoders = list(dict.fromkeys(one["encoder"] for one in values))
    scopes = [scope for scope in SCOPES if any(one["scope"] == scope for one in values)]
    figure = Drawing(figsize=(2.4 * PANEL_WIDTH, 0.45 * len(encoders) + 3.9), layout="constrained")
    figure.get_layout_engine().set(hspace=0.07)
    axes = figure.subplots(2, len(ESTIMATORS), squeeze=False, height_ratios=(len(encoders), 2.6))
    for column, (name, title) in enumerate(ESTIMATORS.items()):
        for one in values:
            _estimate(axes[0, column], one, name, encoders, scopes)
            _estimate(axes[1, column], one, name, encoders, scopes)
        axes[0, column].set(title=title, ylim=(len(encoders) - 0.5, -0.5))
        axes[0, column].axvline(0, color="#444444", linewidth=0.8)
        axes[0, column].locator_params(axis="x", nbins=4)
        axes[1, column].set(ylim=(len(encoders) - 0.5, -0.5), xlabel="mutual information, nats")
        for row in range(2):
            ticks = [look(e).label for e in encoders] if column == 0 else [""] * len(encoders)
            axes[row, column].set_yticks(range(len(encoders)), ticks)
        _ceilings(axes[1, column], next(one for one in values if one["scope"] == scopes[0]), name)
    for row in axes:
        low, high = min(a.get_xlim()[0] for a in row), max(a.get_xlim()[1] for a in row)
        for axis in row:
            axis.set_xlim(low, high)
    handles, labels = distinct(list(axes.flat))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _estimate(axis: Axes, one: Mapping[str, Any], name: str, encoders: Sequence[str], scopes: Sequence[str]) -> None:
    style, number = look(one["encoder"]), one["estimates"][name]
    place = encoders.index(one["encoder"]) + 0.26 * (scopes.index(one["scope"]) - (len(scopes) - 1) / 2)
    spread = None if number["low"] is None else [[number["value"] - number["low"]], [number["high"] - number["value"]]]
    main = one["scope"] == "unseen"
    axis.errorbar(
        number["value"], place, xerr=spread, color=style.colour, marker="o" if main else "s", markersize=5,
        elinewidth=1.2, markerfacecolor=style.colour if main else "white", linestyle="none",
        gid=f"{style.label}, {SCOPES[one['scope']]}",
    )  # fmt: skip
    axis.plot([], [], "o" if main else "s", color="#555555", markerfacecolor="#555555" if main else "white",
              label=f"{SCOPES[one['scope']]}, N = {one['n']:,}")  # fmt: skip


def _ceilings(axis: Axes, one: Mapping[str, Any], name: str) -> None:
    """Lines that no value can or should pass, of the first set of pairs."""
    if name in one["ceilings"]:
        axis.axvline(one["ceilings"][name], color="#B00000", linewidth=1.4, label="most that the estimator can give")
    axis.axvline(one["entropy"], color="#444444", linestyle="--", linewidth=1.2, label="entropy of the reports")
    axis.axvline(one["log_n"], color="#444444", linestyle=":", linewidth=1.4, label="log N")
    axis.set_xlim(-0.3, 1.08 * max(one["log_n"], one["entropy"], *one["ceilings"].values()))


def known(rows: Sequence[Mapping[str, Any]]) -> Drawing:
    """A panel a kind of pairs: estimates against the known truth; the diagonal is right. rows: `against_truth`'s,
    of which those with private directions stand in a table (`private`).
    """
    frame = pd.DataFrame([row for row in rows if not any(row["private"])])
    kinds = list(dict.fromkeys(zip(frame["shape"], frame["width"])))
    few = int(frame["n"].min())
    figure = Drawing(figsize=(2.2 * PANEL_WIDTH, 2 * PANEL_HEIGHT + 1.0), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06)
    axes = figure.subplots(2, 2, sharex=True, sharey=True, squeeze=False).flat
    styles = {
        "gaussian": ("Gaussian", "#0072B2", "o", "-"), "ksg": ("KSG, corrected", "#D55E00", "s", "-"),
        "ksg_plain": ("KSG as it is", "#D55E00", "", ":"), "info_nce": ("InfoNCE", "#009E73", "^", "-"),
    }  # fmt: skip
    for axis, (shape, width) in zip(axes, kinds):
        of_kind = frame[(frame["shape"] == shape) & (frame["width"] == width)]
        top = frame["truth"].max()
        axis.plot([0, top], [0, top], color="#888888", linewidth=0.9, label="truth")
        for (estimator, n), own in of_kind.groupby(["estimator", "n"], sort=False):
            label, colour, marker, line = styles[estimator]
            hollow = {} if n == few else {"markerfacecolor": "white", "linewidth": 0.8}
            axis.plot(own["truth"], own["estimate"], color=colour, linestyle=line, marker=marker, markersize=5,
                      label=f"{label}, N = {n:,}", **hollow)  # fmt: skip
        bound = of_kind["ceiling"].max()
        if np.isfinite(bound):
            axis.axhline(bound, color="#009E73", linestyle="--", linewidth=1, label="ceiling of InfoNCE, log K")
        name = "Gaussians" if shape == "gaussian" else "cubed Gaussians"
        axis.set(title=f"{name}, {width} dimensions a side")
        if axis.get_subplotspec().is_last_row():
            axis.set_xlabel("true mutual information, nats")
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel("estimate, nats")
    handles, labels = distinct(list(figure.axes))
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def private(rows: Sequence[Mapping[str, Any]]) -> Html:
    """A row a kind of pairs with louder private directions, a column an estimator; in brackets what has no vote."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        if any(row["private"]) and row["estimator"] in ESTIMATORS:
            ecg, text = row["private"]
            label = f"{ecg} of the ECG's own, {text} of the text's; N = {row['n']:,}; truth {row['truth']:.2f}"
            found = fixed(row["estimate"], 2)
            cells.setdefault(label, {})[ESTIMATORS[row["estimator"]]] = f"({found})" if row["no_vote"] else found
    return tables.mapping(cells, "known-private") if cells else Html("")


def planes(results: Sequence[Result], scope: str = "unseen") -> Drawing:
    """A panel an encoder: ECG and text points on the first two principal components of both, the same axes in all."""
    values = found(results, scope)
    if not values:
        return nothing(f"no pairs of {SCOPES[scope]} to draw")
    columns = min(len(values), 2) if len(values) < 5 else 3
    rows = -(-len(values) // columns)
    figure = Drawing(figsize=(columns * 1.1 * PANEL_WIDTH, rows * 1.15 * PANEL_WIDTH + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for axis, one in zip(axes, values):
        style, picture = look(one["encoder"]), one["picture"]
        ecg, text = np.array(picture["ecg"]), np.array(picture["text"])
        axis.plot(*ecg.T, "o", color=style.colour, markersize=3, alpha=0.5, markeredgewidth=0, gid="ECG")
        axis.plot(*text.T, "x", color=TEXT_COLOUR, markersize=3, alpha=0.6, markeredgewidth=0.7, gid="text")
        share = 100 * sum(picture["explained"])
        axis.set_title(f"{style.label} ({share:.0f} % of the variance)")
        axis.set_aspect("equal", "box")
    for axis in list(axes)[len(values) :]:
        axis.set_visible(False)
    first = figure.axes[0]
    first.plot([], [], "o", color="#777777", markersize=5, label="ECG (coloured)")
    first.plot([], [], "x", color=TEXT_COLOUR, markersize=5, label="text")
    figure.legend(*distinct([first]), loc="outside lower center", ncols=2)
    return figure


def geometry(results: Sequence[Result], scope: str = "unseen") -> Html:
    """A row a quantity, a column an encoder, each with its 95 % interval."""
    values = found(results, scope)
    if not values:
        return Html("")
    rows: dict[str, dict[str, str]] = {}
    for name, label in QUANTITIES.items():
        rows[label] = {look(one["encoder"]).label: _cell(name, one["geometry"][name]) for one in values}
    return tables.mapping(rows, f"geometry-{scope}")


def information_table(results: Sequence[Result]) -> Html:
    """Estimates with intervals, without correction, with texts dealt out at random, and of what was planted."""
    rows: dict[str, dict[str, str]] = {}
    for one in found(results):
        for name, title in ESTIMATORS.items():
            label = f"{look(one['encoder']).label}, {SCOPES[one['scope']]}"
            plain, wrong = one["plain"].get(name), one["shuffled"].get(name)
            others = [f"{word} {fixed(v, 2)}" for word, v in (("plain", plain), ("shuffled", wrong)) if v is not None]
            if name in one["planted"]:
                others.append(f"of {fixed(one['planted']['truth'], 2)} planted {fixed(one['planted'][name], 2)}")
            more = f"\n({', '.join(others)})" if others else ""
            more += "\nno vote" if name in one["no_vote"] else ""
            rows.setdefault(label, {})[title] = _cell("nats", one["estimates"][name]) + more
    return tables.mapping(rows, "information") if rows else Html("")


def _cell(name: str, number: Mapping[str, Any]) -> str:
    if number["value"] is None:
        return "–"
    scale, digits = (100, 1) if "outside" in name or "_in_" in name else (1, 3) if "spread" in name else (1, 2)
    if name.endswith("_span"):
        return fixed(number["value"], 0)
    text = fixed(scale * number["value"], digits)
    if number["low"] is None:
        return text
    return f"{text}\n[{fixed(scale * number['low'], digits)}, {fixed(scale * number['high'], digits)}]"
