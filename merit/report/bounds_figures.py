"""The page `bounds`: InfoNCE under its ceiling, the decoder's bound, data processing, the sweep of the target's scale.

All take the values of the stages of `pipeline.bounds`; colours tell curves apart, and so do markers and lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from merit.report import tables
from merit.report.figures import PANEL_HEIGHT, PANEL_WIDTH, Drawing, distinct, nothing
from merit.report.numerals import fixed
from merit.report.prose import Html
from merit.report.style import TASK_LABELS

Values = Mapping[str, Any]
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7A7A7A"
CRITICS = {
    "best": ("the best critic that there is", BLUE, "o", "-"),
    "tuned": ("cosine, best temperature", GREEN, "^", "-."),
    "model": ("cosine, the model's temperature", ORANGE, "s", "--"),
}
"""Critic -> label, colour, marker, line."""
DECODERS = {1.0: ("the best mean", BLUE, "-"), 0.5: ("half of it", ORANGE, "--"), 0.0: ("mean 0", GREY, ":")}
"""Factor on the best prediction -> label, colour, line."""
WAYS = {
    "start": ("at the start", BLUE, "o", "-"),
    "trained": ("after a few updates at that scale", GREEN, "^", "-."),
    "target alone": ("at the start, decoder's output not scaled", ORANGE, "s", "--"),
}
"""Way of measuring -> label, colour, marker, line."""
SCALINGS = {"minmax": "min–max", "mv": "millivolts", "zscore": "z-score"}


def contrastive(values: Values) -> Drawing:
    """A panel a truth: the bound by batch size for each critic, under log B; the truth, and the paper's batch."""
    truths = list(dict.fromkeys(row["truth"] for row in values["rows"]))
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 0.95 * PANEL_HEIGHT * -(-len(truths) // 2) + 0.9), layout="constrained")
    axes = list(figure.subplots(-(-len(truths) // 2), 2, squeeze=False, sharex=True).flat)
    for axis, truth in zip(axes, truths):
        _under_ceiling(axis, [row for row in values["rows"] if row["truth"] == truth], values["paper_batch"])
    for place in (0, 1):
        axes[-1 - place].set_xlabel("batch size B")
    figure.legend(*distinct(list(figure.axes)), loc="outside lower center", ncols=2)
    return figure


def _under_ceiling(axis: Axes, rows: Sequence[Values], paper_batch: int) -> None:
    truth = rows[0]["truth"]
    sizes = sorted({row["batch"] for row in rows})
    axis.fill_between(sizes, np.log(sizes), 99, color="#888888", alpha=0.18, linewidth=0)
    axis.plot(sizes, np.log(sizes), color="#333333", linewidth=1.2, label="ceiling log B (grey: out of reach)")
    axis.axhline(truth, color="#B00000", linestyle=(0, (6, 2)), linewidth=1.1, label="true mutual information")
    axis.axvline(paper_batch, color="#555555", linestyle=":", linewidth=1.1, label=f"the paper's batch, {paper_batch}")
    for name, (label, colour, marker, line) in CRITICS.items():
        own = [row for row in rows if row["critic"] == name]
        value = np.array([row["value"] for row in own])
        spread = [value - [row["low"] for row in own], [row["high"] for row in own] - value]
        axis.errorbar(
            [row["batch"] for row in own], value, yerr=np.maximum(spread, 0), color=colour, marker=marker,
            linestyle=line, markersize=3.5, linewidth=1.2, elinewidth=0.8, label=label,
        )  # fmt: skip
    lowest = min(0.0, *(row["low"] for row in rows))
    axis.set(xscale="log", ylim=(1.1 * lowest - 0.1, 1.15 * max(truth, max(row["high"] for row in rows)) + 0.2))
    axis.set_xticks([2, 8, 32, 128, 512])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    axis.set_title(f"true information: {truth:g} nat{'s' * (truth != 1)}")
    if axis.get_subplotspec().is_first_col():
        axis.set_ylabel("bound, nats")


def decoder(values: Values) -> Drawing:
    """The bound over the decoder's variance for each mean, with the truth, the best variance and that of weight one."""
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 1.5 * PANEL_HEIGHT), layout="constrained")
    axis = figure.subplots()
    d, entropy = values["d"], values["entropy"]
    variance = np.geomspace(0.1, 4 * d, 200)
    for row in values["rows"]:
        label, colour, line = DECODERS[row["factor"]]
        if row["kind"] == "best":
            curve = entropy - d * row["error"] / (2 * variance) - 0.5 * d * np.log(2 * np.pi * variance)
            axis.plot(variance, curve, color=colour, linestyle=line, label=f"decoder with {label}")
        drawn = row["measured"]
        spread = [[drawn["value"] - drawn["low"]], [drawn["high"] - drawn["value"]]]
        axis.errorbar(
            row["variance"], drawn["value"], yerr=spread, color=colour, marker="o" if row["kind"] == "best" else "D",
            markersize=5, linestyle="none", elinewidth=1.1,
        )  # fmt: skip
    axis.plot([], [], "o", color="#555555", label="drawn, at the best variance, v = error")
    axis.plot([], [], "D", color="#555555", label="drawn, at the variance of weight one, v = d / 2")
    axis.axhline(values["information"], color="#B00000", linestyle=(0, (6, 2)), linewidth=1.1, label="truth")
    axis.axhline(entropy, color="#333333", linewidth=1, linestyle=(0, (1, 2)), label="entropy h of what is hidden")
    axis.axhline(0, color="#333333", linewidth=0.8)
    axis.set(xscale="log", xlim=(variance[0], variance[-1]), ylim=(-3.2 * d / 1.5, entropy + 4))
    axis.set(xlabel="decoder's variance v (target of variance 1)", ylabel="bound, nats")
    low = 1e-9  # matplotlib tries 0 as well
    turned = (lambda v: np.sqrt(d / (2 * np.maximum(v, low))), lambda s: d / (2 * np.maximum(s, low) ** 2))
    same = axis.secondary_xaxis("top", functions=turned)
    same.set_xlabel("scale s of the target that stands for it")
    same.set_xticks([10, 5, 3, 2, 1, 0.5])
    same.minorticks_off()
    for one in (axis.xaxis, same.xaxis):
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(*distinct([axis]), loc="outside lower center", ncols=2)
    return figure


def decoders(values: Values) -> Html:
    """A row a decoder: error, variance, bound, gap and their sum, which is the truth; the bound from drawn signals."""
    rows = {"true posterior": {
        "error": "–", "variance": "full", "bound": fixed(values["information"], 2), "gap": fixed(0.0, 2),
        "bound + gap": fixed(values["information"], 2), "bound, drawn": "–",
    }}  # fmt: skip
    for row in values["rows"]:
        drawn = row["measured"]
        rows[f"{DECODERS[row['factor']][0]}, {row['kind']}{' variance' * (row['kind'] == 'best')}"] = {
            "error": fixed(row["error"], 3), "variance": fixed(row["variance"], 2), "bound": fixed(row["bound"], 2),
            "gap": fixed(row["gap"], 2), "bound + gap": fixed(row["bound"] + row["gap"], 2),
            "bound, drawn": f"{fixed(drawn['value'], 2)}\n[{fixed(drawn['low'], 2)}, {fixed(drawn['high'], 2)}]",
        }  # fmt: skip
    return tables.mapping(rows, "bounds-decoders")


def processing(values: Values) -> Drawing:
    """Both sides of the inequality on discrete and Gaussian chains, and information against the embedding's noise."""
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 2 * PANEL_HEIGHT + 0.9), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    kinds = (("discrete", "discrete chains, exact sums"), ("gaussian", "Gaussian chains, by formula"))
    for place, (kind, title) in enumerate(kinds):
        axis = figure.add_subplot(grid[0, place])
        first, both = (np.array([row[name] for row in values[kind]]) for name in ("first", "both"))
        top = 1.05 * first.max()
        axis.fill_between([0, top], [0, top], [top, top], color="#888888", alpha=0.18, linewidth=0)
        axis.plot([0, top], [0, top], color="#333333", linewidth=1)
        axis.plot(first, both, "o", color=BLUE if place == 0 else ORANGE, markersize=3.5, alpha=0.6, markeredgewidth=0)
        axis.set(title=title, xlim=(0, top), ylim=(0, top), xlabel="I(X; Y), nats")
        axis.set_ylabel("I(X; Z), nats" if place == 0 else "")
    axis, found = figure.add_subplot(grid[1, :]), values["resolutions"]
    curves = (
        ("copy", "I(x; one sample of x + noise)", BLUE, "o", "-"),
        ("whole", "I(hidden; all of the visible part + noise)", GREEN, "^", "-."),
        ("one", "I(hidden; one number of the visible part + noise)", ORANGE, "s", "--"),
    )
    for name, label, colour, marker, line in curves:
        axis.plot(found["noises"], found[name], color=colour, marker=marker, markevery=5, markersize=4, linestyle=line,
                  label=label)  # fmt: skip
    axis.axhline(found["ceiling"], color="#B00000", linestyle=(0, (6, 2)), linewidth=1.1, label="I(hidden; visible)")
    axis.set(xscale="log", xlabel="sd of the noise that is added to the embedding", ylabel="nats")
    axis.invert_xaxis()
    figure.legend(*distinct([axis]), loc="outside lower center", ncols=1)
    return figure


def gradients(values: Values) -> Drawing:
    """Norm of the masked error's gradient on the encoder over InfoNCE's, by the target's scale; both axes in powers."""
    if "reason" in values:
        return nothing("nothing was measured")
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 1.45 * PANEL_HEIGHT), layout="constrained")
    axis = figure.subplots()
    for way, (label, colour, marker, line) in WAYS.items():
        own = [row for row in values["gradients"] if row["way"] == way]
        ratio = np.array([row["ratio"] for row in own])
        spread = [ratio - [row["low"] for row in own], [row["high"] for row in own] - ratio]
        axis.errorbar(
            [row["scale"] for row in own], ratio, yerr=np.maximum(spread, 0), color=colour, marker=marker,
            linestyle=line, markersize=5, elinewidth=1, label=label,
        )  # fmt: skip
    axis.axhline(1, color="#333333", linewidth=0.9, label="both terms pull alike")
    axis.set(xscale="log", yscale="log")
    for how, label in SCALINGS.items():
        where = values["spreads"][how]["value"]
        axis.axvline(where, color="#888888", linestyle=":", linewidth=1.1)
        axis.annotate(label, (where, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right",
                      fontsize=8, color="#555555")  # fmt: skip
    axis.set(xlabel="scale s of the target", ylabel="gradient of the masked error\nover that of InfoNCE")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(*distinct([axis]), loc="outside lower center", ncols=2)
    return figure


def short_runs(values: Values) -> Drawing:
    """Three panels over the target's scale: held-out InfoNCE, held-out masked error, probing; grey: random network."""
    if "reason" in values:
        return nothing("nothing was trained")
    panels = {"info_nce": "InfoNCE, nats", "masked_mse": "masked error", "auroc": "macro AUROC, percent"}
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 2 * PANEL_HEIGHT), layout="constrained")
    *axes, spare = figure.subplots(2, 2).flat
    spare.set_visible(False)
    for axis, (name, label) in zip(axes, panels.items()):
        unit = 100 if name == "auroc" else 1
        own = [row for row in values["runs"] if row["name"] != "random" and name in row]
        if not own:
            axis.text(0.5, 0.5, "not probed", ha="center", va="center", transform=axis.transAxes)
            axis.set(xticks=[], yticks=[], title=label)
            continue
        scales, means = [float(row["name"]) for row in own], [unit * row[name]["value"] for row in own]
        axis.plot(scales, means, color=BLUE, marker="o", markersize=5, label="mean over seeds")
        for seed in range(len(own[0][name]["each"])):
            each = [unit * row[name]["each"][seed] for row in own]
            axis.plot(scales, each, "_", color="#333333", markersize=8, label="one seed")
        _random_band(axis, values, name, unit)
        axis.set(xscale="log", title=label, xlabel="scale s of the target")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    figure.legend(*distinct(axes), loc="center", bbox_to_anchor=(0.76, 0.25))
    return figure


def _random_band(axis: Axes, values: Values, name: str, unit: float) -> None:
    """The random network's mean and seeds where it is probed; its terms are far off, and stand in the table."""
    (random,) = [row for row in values["runs"] if row["name"] == "random"]
    if name == "auroc":
        axis.axhline(unit * random[name]["value"], color=GREY, linestyle="--", linewidth=1.2, label="random network")
        axis.axhspan(unit * min(random[name]["each"]), unit * max(random[name]["each"]), color=GREY, alpha=0.2)


def runs_table(values: Values) -> Html:
    """A row a scale and the random network: weight, the decoder's sd that it stands for, terms, and probing."""
    if "reason" in values:
        return Html("")
    rows = {}
    for row in values["runs"]:
        scale = None if row["name"] == "random" else float(row["name"])
        cells = {
            "weight s²": "–" if scale is None else f"{scale**2:,.12g}",
            "decoder's sd": "–" if scale is None else _short(np.sqrt(values["n_hidden_short"] / 2) / scale),
            "InfoNCE": _spread(row["info_nce"], 2), "masked error": _spread(row["masked_mse"], 2),
        }  # fmt: skip
        if "auroc" in row:
            score = row["auroc"]
            cells[f"AUROC, {TASK_LABELS['superclass']}"] = f"{_spread(score, 1, 100)}\n{_interval(score)}"
        rows["random network" if scale is None else f"s = {scale:g}"] = cells
    return tables.mapping(rows, "bounds-runs")


def _short(value: float) -> str:
    """About two digits, never in powers of ten."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _spread(one: Values, digits: int, unit: float = 1) -> str:
    text = fixed(unit * one["value"], digits)
    return text if one["sd"] is None else f"{text} ±{fixed(unit * one['sd'], digits)}"


def _interval(score: Values) -> str:
    return f"[{fixed(100 * score['low'], 1)}, {fixed(100 * score['high'], 1)}]"
