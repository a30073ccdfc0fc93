"""What decoders put where patches were hidden: one recording lead by lead, errors over many, and sentences on both."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from merit.intervals import side_of_zero
from merit.report import tables
from merit.report.diagram import INK, QUIET, WIDTH
from merit.report.figures import Drawing
from merit.report.numerals import fixed
from merit.report.prose import Html, listing, literal
from merit.report.style import COHORT_LABELS, Look, look

BASELINES = {
    "instant": Look("other leads, linear map", "#6A3D9A", "v", (0, (4, 1))),
    "interpolation": Look("straight line in time", "#8A8A8A", "+", "--"),
    "mean": Look("mean of the recording", "#B0B0B0", "|", ":"),
}
"""What needs no network, as `pipeline.reconstructions` names it."""
SHADE = "#E9E9E9"


def recording(values: Mapping[str, Any], seconds: float = 5.0) -> Drawing:
    """A panel a decoder, and one of the linear map: the recording, hidden patches shaded, what was put there over it.

    values: of the result `reconstruction`. seconds: how much of the recording, from its start.
    """
    if "reason" in values:
        return _nothing(values["reason"])
    example = values["example"]
    names = [*values["decoders"], "instant"]
    figure = Drawing(figsize=(WIDTH, 0.45 + 1.85 * len(names)), layout="constrained")
    lines = _zero_lines(example, names, round(seconds * example["fs_hz"]))
    for axis, name in zip(figure.subplots(len(names), 1, sharex=True, squeeze=False).flat, names):
        _panel(axis, example, name, lines)
    _scale_bar(axis, example, lines)
    axis.set_xlabel("seconds")
    figure.table = _drawn(example, names, lines.shown)
    return figure


def _drawn(example: Mapping[str, Any], names: Sequence[str], shown: int) -> pd.DataFrame:
    """The picture's numbers: a row a lead and sample, with what each decoder put where it was hidden; mV."""
    signal = np.array(example["target"], dtype=float)[:, :shown] / 100
    hidden = _hidden(example)[:, :shown]
    columns = {
        "lead": np.repeat(example["leads"], signal.shape[1]),
        "seconds": np.tile(np.arange(signal.shape[1]) / example["fs_hz"], len(signal)),
        "signal_mv": signal.ravel() * example["unit_mv"],
        "hidden": hidden.ravel().astype(int),
    }
    filled = {_look(name).label: np.where(hidden, _filled(example, name, shown), np.nan).ravel() for name in names}
    return pd.DataFrame(columns | {name: values * example["unit_mv"] for name, values in filled.items()})


class Lines(NamedTuple):
    """Where the leads are drawn, in the signal's unit, the same in every panel."""

    shown: int
    """Samples, from the start."""
    zero: np.ndarray
    """Height of each lead's zero."""
    low: np.ndarray
    """Lower edge of each lead's strip."""
    high: np.ndarray
    """Upper edge of each lead's strip."""


def _zero_lines(example: Mapping[str, Any], names: Sequence[str], shown: int) -> Lines:
    """A strip a lead, one below another, each as high as what is drawn in it, a flat lead a quarter of the highest."""
    signal = np.array(example["target"], dtype=float)[:, :shown] / 100
    hidden = _hidden(example)[:, :shown]
    every = np.stack([signal, *(np.where(hidden, _filled(example, name, shown), signal) for name in names)])
    low, high = every.min((0, 2)), every.max((0, 2))
    lack = np.maximum(0, 0.25 * (high - low).max() - (high - low)) / 2
    pad = 0.06 * (high - low).max() + 1e-6
    low, high = low - lack - pad, high + lack + pad
    top = -np.concatenate([[0.0], np.cumsum(high - low)[:-1]])
    return Lines(shown, top - high, top - high + low, top)


def _hidden(example: Mapping[str, Any]) -> np.ndarray:
    """bool [lead, T], from the patches."""
    patches = np.array(example["hidden"], dtype=bool)
    return np.repeat(patches, len(example["target"][0]) // patches.shape[1], axis=1)


def _filled(example: Mapping[str, Any], name: str, shown: int) -> np.ndarray:
    return np.array(example["filled"][name], dtype=float)[:, :shown] / 100


def _panel(axis: Axes, example: Mapping[str, Any], name: str, lines: Lines) -> None:
    """All leads of the example on one scale; only where a patch is hidden is drawn what was put there."""
    signal = np.array(example["target"], dtype=float)[:, : lines.shown] / 100
    filled, hidden = _filled(example, name, lines.shown), _hidden(example)[:, : lines.shown]
    at, style = np.arange(signal.shape[1]) / example["fs_hz"], _look(name)
    # Objectives are told apart by their colour and panel; what is no network has its own dashes as well.
    line = {"linewidth": 1.6, "linestyle": style.line if name in BASELINES else "-", "zorder": 2}
    for k, zero in enumerate(lines.zero):
        axis.fill_between(
            at, lines.low[k], lines.high[k], where=_closed(hidden[k]), color=SHADE, linewidth=0, zorder=0
        )  # fmt: skip
        axis.plot(at, signal[k] + zero, color=INK, linewidth=0.7, zorder=3)
        axis.plot(at, np.where(hidden[k], filled[k], np.nan) + zero, color=style.colour, **line)
    axis.hlines(lines.low[:-1], 0, at[-1], color="white", linewidth=1.5, zorder=1)
    axis.set_yticks((lines.low + lines.high) / 2, example["leads"], weight="bold")
    axis.set(xlim=(0, at[-1]), ylim=(lines.low[-1], lines.high[0]))
    axis.set_title(f"{style.label}: masked error {example['errors'][name]:.2f}", fontsize=9, loc="left", pad=3)
    axis.grid(visible=False)
    axis.tick_params(axis="y", length=0)


def _scale_bar(axis: Axes, example: Mapping[str, Any], lines: Lines) -> None:
    """One millivolt, right of the lowest panel's lowest strips."""
    height, place = 1 / example["unit_mv"], 1.02
    share = height / (lines.high[0] - lines.low[-1])
    axis.plot([place, place], [0, share], color=INK, linewidth=1.6, transform=axis.transAxes, clip_on=False)
    axis.text(place + 0.015, share / 2, "1 mV", transform=axis.transAxes, va="center", fontsize=8)


def _closed(gone: np.ndarray) -> np.ndarray:
    """Hidden samples and the first one after each stretch, so that the shade reaches what follows."""
    after = np.zeros_like(gone)
    after[1:] = gone[:-1]
    return gone | after


def errors(values: Mapping[str, Any]) -> Drawing:
    """A row a way of filling: the masked error of every held-out recording, below it the quartiles as a bar
    and the median as a dot; a ring around the recording that is drawn.
    """
    if "reason" in values:
        return _nothing(values["reason"])
    names = [name for name in (*values["decoders"], *BASELINES) if name in values["errors"]]
    figure = Drawing(figsize=(WIDTH, 0.5 * len(names) + 0.75), layout="constrained")
    axis = figure.subplots()
    for row, name in enumerate(names):
        style, own, of = _look(name), np.array(values["errors"][name]), values["summary"][name]
        axis.plot(own, np.full(len(own), row), "|", color=style.colour, alpha=0.3, markersize=7, zorder=2)
        axis.plot([of["first"], of["third"]], [row + 0.24] * 2, color=style.colour, linewidth=4, zorder=2)
        axis.plot(of["median"], row + 0.24, marker="o", color="white", markeredgecolor=INK, markersize=5, zorder=3)
        drawn = values["example"]["errors"][name]
        axis.plot(drawn, row, "o", color="none", markeredgecolor=INK, markersize=8, zorder=4)
    axis.set_yticks(range(len(names)), [textwrap.fill(_look(name).label, 14) for name in names])
    axis.set(xscale="log", xlabel=f"masked error{_unit(values)}", ylim=(len(names) - 0.5, -0.5))
    ticks = [one for one in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if _inside(one, values["errors"])]
    axis.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axis.minorticks_off()
    axis.tick_params(axis="y", length=0)
    return figure


def _inside(tick: float, found: Mapping[str, Sequence[float]]) -> bool:
    every = np.concatenate([np.asarray(one) for one in found.values()])
    return every.min() / 1.5 <= tick <= every.max() * 1.2


def _unit(values: Mapping[str, Any]) -> str:
    return ", share of the recording's variance" if values["scaling"] == "zscore" else ""


def summary(values: Mapping[str, Any]) -> Html:
    """A row a way of filling: mean with its interval and quartiles over recordings, and the error of the one drawn."""
    if "reason" in values:
        return Html("")
    rows = {}
    for name in [*values["decoders"], *BASELINES]:
        of = values["summary"][name]
        rows[_look(name).label] = {
            "mean": f"{of['mean']:.3f} [{of['low']:.3f}, {of['high']:.3f}]",
            "median": f"{of['median']:.3f}",
            "quartiles": f"{of['first']:.3f} to {of['third']:.3f}",
            "the one drawn": f"{values['example']['errors'][name]:.3f}",
        }
    for name in values["without_decoder"]:
        rows[look(name).label] = {"mean": "no decoder"}
    return tables.mapping(rows, "reconstruction")


def chosen(values: Mapping[str, Any]) -> str:
    """Which recordings were filled, which one is drawn, and who cannot be."""
    if "reason" in values:
        return f"Nothing was reconstructed: {values['reason']}."
    example = values["example"]
    cohort = COHORT_LABELS.get(values["cohort"], values["cohort"])
    labels = f" (labels {listing(map(literal, example['labels']))})" if example["labels"] else ""
    text = (
        f"{100 * values['hidden_share']:.0f} % of the patches of {values['n_recordings']:,} recordings of {cohort} "
        "(one per patient) were hidden and filled. No encoder has seen these patients, and all fill the same patches. "
        "Drawn is recording "
        f"{literal(example['record_id'])}{labels}, the one at the median error of {look(values['decoders'][0]).label}."
    )
    if values["without_decoder"]:
        names = listing(look(name).label for name in values["without_decoder"])
        text += f" {names} {'have' if len(values['without_decoder']) > 1 else 'has'} no decoder: nothing to draw."
    return text


def compared(values: Mapping[str, Any]) -> str:
    """How the decoders compare with each other and with the linear map, over all recordings."""
    if "reason" in values:
        return ""
    instant = np.array(values["errors"]["instant"])
    parts = []
    for name in values["decoders"]:
        below = float((np.array(values["errors"][name]) < instant).mean())
        parts.append(f"{look(name).label} is below it on {100 * below:.0f} %")
    text = (
        "One linear map from whatever leads are visible at the same instant, fitted on the recordings that are "
        f"pretrained on, leaves {values['summary']['instant']['mean']:.3f} on average; of the recordings, "
        f"{listing(parts)}. A straight line between the visible samples of a lead leaves "
        f"{values['summary']['interpolation']['mean']:.3f}, the mean of the recording "
        f"{values['summary']['mean']['mean']:.3f}."
    )
    return text + (_paired(values["difference"]) if values["difference"] else "")


def _paired(of: Mapping[str, Any]) -> str:
    """How much more or less the first decoder leaves than the second on the same recordings, with the interval."""
    first, second = (look(name).label for name in of["of"])
    if max(abs(of["low"]), abs(of["high"])) < 0.0005:
        return f" On the same recordings {first} and {second} leave the same to three digits."
    side = "more" if of["mean"] > 0 else "less"
    clear = "" if side_of_zero(of, 3, 1) else "; the interval holds zero"
    interval = f"{fixed(of['low'], 3, sign=True)} to {fixed(of['high'], 3, sign=True)}"
    return (
        f" On the same recordings {first} leaves {abs(of['mean']):.3f} {side} than {second} on average (95 % interval "
        f"of the difference {interval} over patients, one pretraining seed{clear})."
    )


def _look(name: str) -> Look:
    return BASELINES.get(name) or look(name)


def _nothing(text: str) -> Drawing:
    """A small figure that says why there is nothing to draw."""
    figure = Drawing(figsize=(WIDTH, 0.6))
    figure.text(0.5, 0.5, text, ha="center", va="center", color=QUIET, wrap=True)
    return figure
