"""Figure 4: the rhythms on the plane of UMAP, purity and silhouette beside it, and what they say of the paper's claims.

All take results as `pipeline.clusters` gives them; those with a reason in place of numbers are named, not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from merit.intervals import around, told_apart
from merit.report import tables
from merit.report.figures import PANEL_WIDTH, Drawing, distinct, nothing
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import look

Result = Mapping[str, Any]
COMMON = "SR"
"""Sinus rhythm: most recordings, drawn first and pale."""
RARE = "PACE"
"""The rhythm that the paper points out."""
LOOKS = {
    "SR": ("#CFCFCF", "o"), "SBRAD": ("#56B4E9", "v"), "STACH": ("#E69F00", "^"), "SARRH": ("#999933", "o"),
    "AFIB": ("#0072B2", "s"), "AFLT": ("#CC79A7", "D"), "SVARR": ("#882255", "v"), "SVTAC": ("#D55E00", ">"),
    "PSVT": ("#6F4E37", "<"), "PACE": ("#000000", "*"), "BIGU": ("#009E73", "P"), "TRIGU": ("#44AA99", "X"),
}  # fmt: skip
"""Rhythm -> colour (Okabe and Ito's, Tol's) and marker: shapes tell apart what colours may not."""
HEADS = {
    "encoder_purity": "purity", "encoder_silhouette": "silhouette", "umap_purity": "purity, plane",
    "umap_silhouette": "silhouette, plane",
}  # fmt: skip
"""Measure -> head of its column in the table over seeds."""
PANELS = {
    ("encoder", "purity"): "purity, encoder space",
    ("umap", "purity"): "purity, plane of UMAP",
    ("encoder", "silhouette"): "silhouette, encoder space",
    ("umap", "silhouette"): "silhouette, plane of UMAP",
}


def found(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """The values of those results that have numbers."""
    return [one["values"] for one in results if "reason" not in one["values"]]


def about(results: Sequence[Result], most: int) -> str:
    """How many recordings of which rhythms, what is drawn, what is not scored; or why nothing is there."""
    reasons = {one["values"]["reason"]: one["values"]["encoder"] for one in results if "reason" in one["values"]}
    lines = [f"- {look(name).label}: not drawn, {reason}" for reason, name in reasons.items()]
    values = found(results)
    if values:
        one = values[0]
        counts = dict(zip(one["classes"], one["n"]))
        held = [f"{name} ({n:,})" for name, n in counts.items() if n > most]
        none = [name for name, scored in zip(one["classes"], one["scored"]) if not scored]
        text = (
            f"{one['n_records']:,} recordings of {one['n_patients']:,} patients; {one['n_several']:,} have several "
            f"rhythms and count as the rarest. Recordings a rhythm: "
            f"{listing(f'{name} {n:,}' for name, n in counts.items())}."
        )
        text += f" Of {listing(held)} the picture shows {most:,}, drawn at random." if held else ""
        text += f" Not scored, for want of two patients: {listing(none)}." if none else ""
        lines.insert(0, text + ("\n" if lines else ""))
    return "\n".join(lines)


def picture(results: Sequence[Result], most: int = 400) -> Drawing:
    """A panel an encoder: UMAP points coloured by rhythm, of each at most `most`; the commonest first, pale."""
    values = found(results)
    if not values:
        return nothing("no recordings with a rhythm to draw")
    columns = min(3, len(values))
    rows = -(-len(values) // columns)
    figure = Drawing(figsize=(columns * PANEL_WIDTH, rows * PANEL_WIDTH + 0.8), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, one in zip(axes, values):
        _points(axis, one, most)
        axis.set(title=look(one["encoder"]).label, xticks=[], yticks=[])
        axis.set_aspect("equal", "datalim")
    for axis in axes[len(values) :]:
        axis.set_visible(False)
    handles, labels = distinct(axes[:1])
    figure.legend(handles, labels, loc="outside lower center", ncols=6, markerscale=1.4)
    return figure


def _points(axis: Axes, one: Mapping[str, Any], most: int) -> None:
    points, classes = np.array(one["points"]), np.array(one["point_class"])
    counts = np.array(one["n"])
    for c in np.argsort(-counts, kind="stable"):
        rows = np.flatnonzero(classes == c)
        if not len(rows):
            continue
        rows = np.sort(np.random.default_rng(int(c)).permutation(rows)[:most])
        name = one["classes"][c]
        colour, marker = LOOKS.get(name, ("#000000", "o"))
        size = 7 if marker == "*" else 2.5 if name == COMMON else 4
        axis.plot(*points[rows].T, marker, color=colour, markersize=size, alpha=0.9, markeredgewidth=0, label=name)


def table(results: Sequence[Result]) -> Html:
    """A row an encoder: purity and silhouette over all rhythms and of PACE, in both spaces, with 95 % intervals."""
    rows: dict[str, dict[str, str]] = {}
    for one in found(results):
        row = rows.setdefault(look(one["encoder"]).label, {})
        for (space, name), title in PANELS.items():
            row[f"{title}: macro"] = _text(one["spaces"][space][name]["macro"], "\n")
            row[f"{title}: {RARE}"] = _text(_of_class(one, space, name, RARE), "\n")
    return tables.mapping(rows, "rhythm-clusters") if rows else Html("")


def numbers(results: Sequence[Result]) -> Drawing:
    """Four panels: purity and silhouette by rhythm in both spaces, a marker an encoder, with intervals."""
    values = found(results)
    if not values:
        return nothing("no recordings with a rhythm to score")
    names = [name for name, scored in zip(values[0]["classes"], values[0]["scored"]) if scored]
    step = 0.8 / len(values)
    figure = Drawing(figsize=(2.3 * PANEL_WIDTH, 2 * (0.34 * len(names) + 1.0)), layout="constrained")
    figure.get_layout_engine().set(hspace=0.04)
    axes = figure.subplots(2, 2, sharey=True, squeeze=False)
    for axis, ((space, number), title) in zip(axes.flat, PANELS.items()):
        for place, one in enumerate(values):
            _dots(axis, one, space, number, names, step * (place - (len(values) - 1) / 2))
        if number == "purity":
            chance = dict(zip(values[0]["classes"], values[0]["chance"]))
            axis.plot([chance[n] for n in names], range(len(names)), "|", color="#444444", markersize=15,
                      markeredgewidth=1.6, label="by chance")  # fmt: skip
            axis.set_xlim(-0.03, 1.03)
        else:
            axis.axvline(0, color="#444444", linewidth=0.8)
            axis.locator_params(axis="x", nbins=6)
        axis.set_title(title)
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*distinct(list(axes.flat)), loc="outside lower center", ncols=6)
    return figure


def _dots(axis: Axes, one: Mapping[str, Any], space: str, number: str, names: Sequence[str], shift: float) -> None:
    style = look(one["encoder"])
    shown = [(place, _of_class(one, space, number, name)) for place, name in enumerate(names)]
    shown = [(place, n) for place, n in shown if n["value"] is not None]
    value, low, high = (np.array([n[key] for _, n in shown]) for key in ("value", "low", "high"))
    axis.errorbar(
        value, [place + shift for place, _ in shown], xerr=[np.maximum(value - low, 0), np.maximum(high - value, 0)],
        color=style.colour, marker=style.marker, markersize=3.5, elinewidth=0.8, linestyle="none", label=style.label,
    )  # fmt: skip


def reading(results: Sequence[Result]) -> str:
    """The paper's claims: more compact, better-separated clusters than CMA and IB; PACE more distinguishable."""
    by_name = {one["encoder"]: one for one in found(results)}
    lines, gaps = [], _gaps(by_name)
    sides = dict(zip(gaps, told_apart(list(gaps.values()), digits=2, unit=1)))
    for (space, number), title in PANELS.items() if by_name else ():
        order = sorted(by_name, key=lambda e: -_macro(by_name[e], space, number))
        shown = listing(f"{look(e).label} {fixed(_macro(by_name[e], space, number), 2)}" for e in order)
        own = [_in_words(gaps, sides, key) for key in gaps if key[:2] == (space, number)]
        lines.append(f"- Macro {title}, highest first: {shown}. {' '.join(own)}".rstrip())
    if by_name:
        lines += [_rare(by_name, number) for number in ("purity", "silhouette")]
        lines += [_below_zero(by_name), _invented(by_name)]
    return "\n".join(line for line in lines if line) or "Nothing could be scored."


def _gaps(by_name: Mapping[str, Any], first: str = "merit") -> dict[tuple[str, str, str], dict[str, float | None]]:
    """(space, number, other encoder) -> the macro of `first` minus the other's, on the same patients."""
    found = {}
    for space, number in PANELS:
        for other in ("cma", "ib"):
            if first in by_name and other in by_name:
                a, b = (by_name[e]["spaces"][space][number]["macro"] for e in (first, other))
                drawn = np.array(a["resamples"]) - np.array(b["resamples"])
                found[space, number, other] = around(a["value"] - b["value"], drawn)
    return found


def _in_words(
    gaps: Mapping[tuple[str, str, str], Mapping[str, Any]], sides: Mapping[tuple[str, str, str], int],
    key: tuple[str, str, str], first: str = "merit",
) -> str:  # fmt: skip
    shown, low, high = (fixed(gaps[key][name], 2, sign=True) for name in ("value", "low", "high"))
    word = {1: "higher", -1: "lower", 0: "not told apart"}[sides[key]]
    return f"{look(first).label} minus {look(key[2]).label}: {shown} [{low}, {high}], {word}."


def _rare(by_name: Mapping[str, Any], number: str) -> str:
    """PACE in the encoder's space: every encoder's value and interval, chance, and whether MERIT's overlaps others'."""
    own = {encoder: _of_class(one, "encoder", number, RARE) for encoder, one in by_name.items()}
    own = {encoder: one for encoder, one in own.items() if one["value"] is not None}
    shown = [f"{look(encoder).label} {_text(one)}" for encoder, one in own.items()]
    one = next(iter(by_name.values()))
    chance = dict(zip(one["classes"], one["chance"])).get(RARE)
    by_chance = f" (by chance {chance:.3f})" if number == "purity" and chance is not None else ""
    return f"- {RARE}, {number} in the encoder's space{by_chance}: {'; '.join(shown)}.{_overlaps(own)}" if shown else (
        f"- {RARE}: fewer than two patients, not scored."
    )  # fmt: skip


def _overlaps(own: Mapping[str, Mapping[str, Any]], first: str = "merit") -> str:
    """Whether the interval of `first` overlaps those of the others; one rhythm has no paired difference."""
    if first not in own or len(own) < 2:
        return ""
    meets: dict[bool, list[str]] = {True: [], False: []}
    for other, one in own.items():
        if other != first:
            apart = one["low"] > own[first]["high"] or one["high"] < own[first]["low"]
            meets[not apart].append(look(other).label)
    words = {True: "overlaps that of", False: "is apart from that of"}
    parts = [f"{words[met]} {listing(names)}" for met, names in meets.items() if names]
    return f" {look(first).label}'s interval {listing(parts)} (not paired)."


def _below_zero(by_name: Mapping[str, Any]) -> str:
    """A line where no macro silhouette reaches 0, in either space; else ""."""
    values = [_macro(one, space, "silhouette") for one in by_name.values() for space in ("encoder", "umap")]
    if max(values) >= 0:
        return ""
    return "- All macro silhouettes are below 0: on average, rhythms are not separate clusters."


def _macro(one: Mapping[str, Any], space: str, number: str) -> float:
    return one["spaces"][space][number]["macro"]["value"]


def _invented(by_name: Mapping[str, Any]) -> str:
    """How much the plane flatters: macro silhouette there minus that in the encoder's space."""
    parts = []
    for encoder, one in by_name.items():
        plane, space = (_macro(one, where, "silhouette") for where in ("umap", "encoder"))
        parts.append(f"{look(encoder).label} {fixed(plane - space, 2, sign=True)}")
    return f"- Macro silhouette in the plane minus that in the encoder's space: {listing(parts)}."


def _of_class(one: Mapping[str, Any], space: str, number: str, name: str) -> Mapping[str, Any]:
    if name not in one["classes"]:
        return {"value": None, "low": None, "high": None}
    return one["spaces"][space][number]["per_class"][one["classes"].index(name)]


def _text(number: Mapping[str, Any], before_interval: str = " ") -> str:
    if number["value"] is None:
        return "–"
    value, low, high = (fixed(number[key], 2) for key in ("value", "low", "high"))
    return f"{value}{before_interval}[{low}, {high}]"
