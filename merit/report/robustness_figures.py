"""Robustness as a page shows it: a panel a corruption, pictures of what was done, tables (`pipeline.robustness`).

Results with a reason in place of numbers are named, not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from merit.report import tables
from merit.report.figures import Drawing, distinct, nothing
from merit.report.prose import Html, fixed, listing
from merit.report.style import look, task_label
from merit.report.tables import interval

Result = Mapping[str, Any]
CLEAN = "clean"


class Kind(NamedTuple):
    """How one corruption is written."""

    title: str
    unit: str
    """What its levels are."""
    none: str
    """Its level where nothing is wrong."""
    text: str
    """One strength of it, the level in place of the braces."""
    ordered: bool = True
    """Whether a line may join its levels."""


KINDS = {
    "lost": Kind("leads lost", "of the 8 independent leads", "0", "{} of 8 leads lost"),
    "kept": Kind("only some leads", "leads that are left", "all", "{} alone", ordered=False),
    "swap": Kind("electrodes exchanged", "which two", "none", "{} exchanged", ordered=False),
    "gain": Kind("gain", "factor on all leads", "1", "gain × {}"),
    "gain_error": Kind("gain errors lead by lead", "sd of a lead's log gain", "0", "gain errors, sd {}"),
    "duration": Kind("shorter recording", "seconds left", "10", "{} s long"),
    "hum_50": Kind("mains hum, 50 Hz", "amplitude, mV", "0", "50 Hz hum, {} mV"),
    "hum_60": Kind("mains hum, 60 Hz", "amplitude, mV", "0", "60 Hz hum, {} mV"),
    "wander": Kind("baseline wander", "rms, mV", "0", "wander, {} mV"),
    "white": Kind("white noise", "signal to noise, dB", "none", "white noise at {} dB"),
    "muscle": Kind("muscle noise", "signal to noise, dB", "none", "muscle noise at {} dB"),
    "rate": Kind("lower sampling rate", "Hz", "own", "sampled at {} Hz"),
}
"""Kind -> words; the order of the panels."""
NAMES = {
    "limb": "limb leads", "I": "lead I", "arms": "both arms", "RA-LL": "right arm and leg",
    "LA-LL": "left arm and leg", "V1-V3": "V1 and V3",
}  # fmt: skip
"""Level that is a name -> how it is written."""
WIDTH = 2.7
"""Of a panel, inches: two beside each other can be read on a phone."""
SIGNAL = ("lost", "kept", "swap", "gain", "gain_error", "duration")
"""Kinds that take away or rescale; the others add, or blur."""
ADDED = tuple(kind for kind in KINDS if kind not in SIGNAL)


def written(kind: str, level: float | str) -> str:
    """A strength in a few words: `4 of 8 leads lost`."""
    return KINDS[kind].text.format(NAMES.get(str(level), level))


def found(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """The values of those results that have numbers, a class to score among them."""
    values = [one["values"] for one in results]
    return [one for one in values if "reason" not in one and one["auroc"]["value"] is not None]


def encoders(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names in the order of the results."""
    return list(dict.fromkeys(one["encoder"] for one in values))


def clean(values: Sequence[Mapping[str, Any]], encoder: str) -> Mapping[str, Any]:
    """An encoder's values with nothing wrong."""
    return next(one for one in values if one["encoder"] == encoder and one["kind"] == CLEAN)


def corrupted(
    values: Sequence[Mapping[str, Any]], encoder: str | None = None, kind: str | None = None
) -> list[Mapping[str, Any]]:
    """The values of corrupted recordings, of one encoder or kind."""
    return [
        one for one in values
        if one["kind"] != CLEAN and encoder in (None, one["encoder"]) and kind in (None, one["kind"])
    ]  # fmt: skip


def kinds(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """The kinds that were tried, in the order of the panels."""
    tried = {one["kind"] for one in corrupted(values)}
    return [kind for kind in KINDS if kind in tried]


def missing(results: Sequence[Result]) -> str:
    """Why there are no numbers; or that there are."""
    reasons: dict[str, list[str]] = {}
    for one in (result["values"] for result in results):
        if "reason" in one:
            reasons.setdefault(one["reason"], []).append(look(one["encoder"]).label)
    lines = [f"- {listing(dict.fromkeys(names))}: not scored, {reason}" for reason, names in reasons.items()]
    overlap = [look(name).label for name in encoders([one for one in found(results) if one.get("overlap")])]
    if overlap:
        lines.append(f"- {listing(overlap)}: pretrained on this data set too, by those who published it.")
    return "\n".join(lines) or "Every encoder was scored."


def about(results: Sequence[Result]) -> Html:
    """What the numbers are over: recordings, patients, classes, rates of the files."""
    values = found(results)
    if not values:
        return Html("")
    one = next(value for value in values if value["kind"] == CLEAN)
    rates = ", ".join(f"{n:,} at {rate} Hz" for rate, n in one["source_fs_hz"].items())
    row = {
        "trained on": f"{one['n_train']:,} recordings",
        "scored": f"{one['n_records']:,} recordings",
        "of patients": f"{one['n_patients']:,}",
        "with": ", ".join(f"{name} ({n:,})" for name, n in one["classes"].items()),
        "not scored": ", ".join(one["unscored"]) or "none",
        "files": rates,
        "refused once corrupted": f"{max(v['n_refused'] for v in corrupted(values)):,}" if corrupted(values) else "0",
    }
    return tables.mapping({task_label(one["task"]): row}, "robustness-about")


def curves(results: Sequence[Result], shown: Sequence[str]) -> Drawing:
    """A panel a corruption of those shown: AUROC against strength, a line an encoder; clean at its place, hollow.

    Bars are the 95 % interval of the change from the same encoder's clean level, paired by patients.
    """
    values = found(results)
    panels = [kind for kind in kinds(values) if kind in shown]
    if not panels:
        return nothing("none of these corruptions was scored")
    rows = -(-len(panels) // 2)
    figure = Drawing(figsize=(2 * WIDTH, 2.2 * rows + 0.5), layout="constrained")
    figure.get_layout_engine().set(hspace=0.06)
    axes = list(figure.subplots(rows, 2, sharey=True, squeeze=False).flat)
    for axis, kind in zip(axes, panels):
        _panel(axis, values, kind)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[: len(panels) : 2]:
        axis.set_ylabel("macro AUROC, percent")
    handles, labels = distinct(axes[: len(panels)])
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.table = _points(values, panels)
    return figure


def _points(values: Sequence[Mapping[str, Any]], panels: Sequence[str]) -> pd.DataFrame:
    """The numbers of the curves, a row an encoder and strength, in percent."""
    rows = []
    for one in (one for kind in panels for one in corrupted(values, kind=kind)):
        row = {"panel": KINDS[one["kind"]].title, "series": look(one["encoder"]).label, "level": one["level"]}
        row |= {"clean": 100 * clean(values, one["encoder"])["auroc"]["value"], "auroc": 100 * one["auroc"]["value"]}
        ends = {
            f"change{name}": one["change"][end] for name, end in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        rows.append(row | {name: None if end is None else 100 * end for name, end in ends.items()})
    return pd.DataFrame(rows)


def _panel(axis: Axes, values: Sequence[Mapping[str, Any]], kind: str) -> None:
    places = _places(values, kind)
    names = encoders(values)
    for k, encoder in enumerate(names):
        style, base = look(encoder), clean(values, encoder)["auroc"]["value"]
        aside = 0.09 * (k - (len(names) - 1) / 2)
        own = {str(one["level"]): one for one in corrupted(values, encoder, kind)}
        x = [place + aside for place in range(len(places))]
        y = [100 * (base if level is None else own[level]["auroc"]["value"]) for level in places]
        bars = np.array([_bar(None if level is None else own[level], base) for level in places]).T
        line = style.line if KINDS[kind].ordered else "none"
        axis.axhline(100 * base, color=style.colour, linewidth=0.6, alpha=0.45)
        axis.errorbar(x, y, yerr=bars, color=style.colour, linestyle=line, linewidth=1.1, marker=style.marker,
                      markersize=4.5, elinewidth=0.8, label=style.label)  # fmt: skip
        at = places.index(None)
        if style.marker != "x":  # which has no inside
            axis.plot(x[at], y[at], style.marker, color=style.colour, markersize=4.5, markerfacecolor="white", zorder=4)
    ticks = [KINDS[kind].none if level is None else level for level in places]
    axis.set_xticks(range(len(places)), ticks)
    axis.set_xlim(-0.4, len(places) - 0.6)
    axis.set_title(KINDS[kind].title, fontsize=9.5)
    axis.set_xlabel(KINDS[kind].unit)


def _places(values: Sequence[Mapping[str, Any]], kind: str) -> list[str | None]:
    """Levels from left to right as text, None for clean: first, but for gain, where 1 lies between."""
    levels = list(dict.fromkeys(one["level"] for one in corrupted(values, kind=kind)))
    if kind != "gain":
        return [None, *map(str, levels)]
    falls = sum(level < 1 for level in levels)
    ordered: list[str | None] = [str(level) for level in sorted(levels)]
    return [*ordered[:falls], None, *ordered[falls:]]


def _bar(one: Mapping[str, Any] | None, base: float) -> tuple[float, float]:
    """Lengths below and above the value, percent; a bar has no negative length."""
    if one is None or one["change"]["low"] is None:
        return 0.0, 0.0
    value, change = one["auroc"]["value"] - base, one["change"]
    return max(0.0, 100 * (value - change["low"])), max(0.0, 100 * (change["high"] - value))


def pictures(shown: Mapping[str, Any]) -> Drawing:
    """A panel a corruption: lead II of one recording as the encoders see it, clean in grey behind it."""
    if "reason" in shown:
        return nothing("no recording to show")
    traces, fs_hz = shown["traces"], shown["fs_hz"]
    panels = [kind for kind in KINDS if kind in traces]
    rows = -(-len(panels) // 2)
    figure = Drawing(figsize=(2 * WIDTH, 1.2 * rows + 0.4), layout="constrained")
    axes = list(figure.subplots(rows, 2, sharex=True, squeeze=False).flat)
    for axis, kind in zip(axes, panels):
        for name, colour, width in ((CLEAN, "#A8A8A8", 1.6), (kind, "#000000", 0.8)):
            mv = np.array(traces[name]["uv"], dtype=float) / 1000
            axis.plot(np.arange(len(mv)) / fs_hz, mv, color=colour, linewidth=width)
        axis.set_title(written(kind, traces[kind]["level"]), fontsize=8.5)
        axis.set_ylabel("mV", fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis in axes[max(0, len(panels) - 2) : len(panels)]:
        axis.set_xlabel("seconds")
        axis.tick_params(labelbottom=True)
    columns = {written(kind, traces[kind]["level"]): traces[kind]["uv"] for kind in panels}
    figure.table = pd.DataFrame({f"{name}, uV": pd.Series(uv, dtype=float) for name, uv in columns.items()})
    figure.table.insert(0, "clean, uV", pd.Series(traces[CLEAN]["uv"], dtype=float))
    figure.table.insert(0, "seconds", np.arange(len(figure.table)) / fs_hz)
    return figure


def numbers(results: Sequence[Result]) -> Html:
    """A row a strength: what it does to the signal, then for each encoder the change in points with its interval."""
    values = found(results)
    rows: dict[str, dict[str, str]] = {"clean: AUROC": {"signal, mV": "0"}}
    for encoder in encoders(values):
        rows["clean: AUROC"][look(encoder).label] = interval(clean(values, encoder)["auroc"])
    for kind in kinds(values):
        for one in corrupted(values, kind=kind):
            row = rows.setdefault(written(kind, one["level"]), {})
            row.setdefault("signal, mV", fixed(one["seen_mv"], 3))
            row[look(one["encoder"]).label] = interval(one["change"], sign=True)
    return tables.mapping(rows, "robustness-numbers") if values else Html("")


def moved(results: Sequence[Result]) -> Html:
    """A row a kind at its strongest, a column an encoder: how far embeddings move, percent of the usual distance."""
    values = found(results)
    rows: dict[str, dict[str, str]] = {}
    for kind in kinds(values):
        last = corrupted(values, kind=kind)[-1]["level"]
        for one in corrupted(values, kind=kind):
            if one["level"] == last:
                row = rows.setdefault(written(kind, last), {})
                row[look(one["encoder"]).label] = interval(one["moved"])
    return tables.mapping(rows, "robustness-moved") if rows else Html("")


def summary(rows: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Html:
    """A row an encoder from `robustness_claims.overall`: clean, mean change, its share of what is above chance."""
    heads = {
        "clean": "clean AUROC", "change": "mean change, points", "left": "mean AUROC, corrupted",
        "share": "share lost of what is above 50, %",
    }  # fmt: skip
    shown = {
        look(encoder).label: {head: interval(row[key], sign=key == "change") for key, head in heads.items()}
        for encoder, row in rows.items()
    }
    frame = pd.DataFrame.from_dict(shown, orient="index")
    return tables.render(frame, "robustness-summary") if rows else Html("")
