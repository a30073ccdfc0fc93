"""What is kept over pretraining seeds, and as one thing of pretraining is turned: the bottleneck's strength, how much
reports leave out, and whose hearts were recorded. All from committed files (`report.reference`), nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from merit.report import reference, tables
from merit.report.ablation_tables import ordered
from merit.report.figures import PANEL_WIDTH, Drawing, distinct, nothing
from merit.report.kept_figures import found
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import look

File = Mapping[str, Any]
Row = Mapping[str, Any]
AXES = {
    "in_report_linear": "in the report:\nAUROC of its statements, %",
    "beyond_linear": "beyond the report:\npartial R² of what it never names, %",
}
"""Metric of a committed file -> the label of its axis."""
HEADS = {
    "in_report_linear": "in the report,\nlinear",
    "in_report_nonlinear": "in the report,\nnon-linear",
    "beyond_linear": "beyond it,\nlinear",
    "beyond_nonlinear": "beyond it,\nnon-linear",
    "beyond_text": "beyond its text embedding,\nlinear",
}
"""Metric -> the head of its column."""
READERS = ("merit", "cma")
"""Encoders whose pretraining reads reports, in the dial of what these leave out."""
HEARTS = {"real hearts": "real", "synthetic hearts": "synthetic"}


def files(stage: str, profile: str, synthetic: bool, folder: Path | None = None) -> list[File]:
    """The committed files of a stage (`reference.load`): the paper's encoders, then those of equal budget."""
    groups = (None, reference.EQUAL_BUDGET) if stage == "kept" else (None,)
    return [one for group in groups for one in reference.load(stage, profile, synthetic, folder, group)]


def thesis(profile: str, synthetic: bool, folder: Path | None = None) -> Drawing:
    """A panel a committed file, a mark an encoder: beyond the report against in the report, mean ± sd over seeds."""
    there = files("kept", profile, synthetic, folder)
    if not there:
        return nothing("no reference run is committed")
    figure = Drawing(figsize=(0.8 * PANEL_WIDTH * len(there) + 1, 1.25 * PANEL_WIDTH), layout="constrained")
    panels = figure.subplots(1, len(there), sharex=True, sharey=True, squeeze=False)[0]
    for axis, file in zip(panels, there):
        for name in ordered({row["encoder"] for row in file["over_seeds"]}):
            x, y = (_row(file, name, metric) for metric in AXES)
            if x is None or y is None:
                continue
            style = look(name)
            axis.errorbar(
                100 * x["mean"], 100 * y["mean"], xerr=_bar(file, x), yerr=_bar(file, y), color=style.colour,
                marker=style.marker, markersize=8, elinewidth=1.3, linestyle="none", label=style.label,
            )  # fmt: skip
        axis.set(title=_title(file), xlabel=AXES["in_report_linear"])
    panels[0].set_ylabel(AXES["beyond_linear"])
    panels[0].margins(0.12)
    figure.legend(*distinct(list(panels)), loc="outside lower center", ncols=4, columnspacing=1.0)
    return figure


def _title(file: File) -> str:
    which = "peers' objectives, equal budget" if reference.budgeted(file) else "the paper's objectives"
    return f"{which}\n{_seeds(file)}"


def _seeds(file: File) -> str:
    return f"{file['seeds']} pretraining seed{'s' * (file['seeds'] != 1)}"


def _row(file: File, encoder: str, metric: str, **where: Any) -> Row | None:
    """The mean over seeds of one encoder and metric."""
    wanted = {"encoder": encoder, "metric": metric, **where}
    return next((row for row in file["over_seeds"] if all(row.get(k) == v for k, v in wanted.items())), None)


def _bar(file: File, row: Row) -> list[list[float]]:
    """Lengths of an error bar in percent, [[down], [up]]: the sd over seeds; of a single seed its 95 % interval."""
    if row["sd"] is not None:
        return [[100 * row["sd"]], [100 * row["sd"]]]
    low, high = _interval(file, row)
    return [[100 * max(row["mean"] - low, 0)], [100 * max(high - row["mean"], 0)]]


def _interval(file: File, row: Row) -> tuple[float, float]:
    """Of the single seed that a row stands for: the 95 % interval from resampling patients."""
    where = {name: row[name] for name in ("encoder", "share", "hearts") if name in row}
    result = next(one for one in file["results"] if all(one.get(k) == v for k, v in where.items()))
    measure, _, decoder = row["metric"].rpartition("_")
    number = result["beyond_text"] if row["metric"] == "beyond_text" else result["summary"][decoder][measure]
    return number["low"], number["high"]


def table(profile: str, synthetic: bool, folder: Path | None = None) -> Html:
    """A row an encoder of each committed file, a column a measure: mean ± sd over seeds, percent."""
    parts = Html("")
    for file in files("kept", profile, synthetic, folder):
        names = ordered({row["encoder"] for row in file["over_seeds"]})
        rows = {look(name).label: _cells(file, name) for name in names}
        name = f"kept-seeds-{'equal-budget' if reference.budgeted(file) else 'objectives'}"
        parts += reference.label(file) + tables.mapping(rows, name)
    return parts if parts.text else reference.absent("kept", synthetic)


def _cells(file: File, encoder: str, **where: Any) -> dict[str, str]:
    rows = {head: _row(file, encoder, metric, **where) for metric, head in HEADS.items()}
    return {head: "–" if row is None else _mean(file, row) for head, row in rows.items()}


def _mean(file: File, row: Row) -> str:
    """`23.3` and on a line of its own `±0.4` over seeds, or `[21.9, 24.7]` of a single one; percent."""
    if row["sd"] is not None:
        return f"{fixed(100 * row['mean'], 1)}\n±{fixed(100 * row['sd'], 1)}"
    low, high = (fixed(100 * end, 1) for end in _interval(file, row))
    return f"{fixed(100 * row['mean'], 1)}\n[{low}, {high}]"


def above_merit(profile: str, synthetic: bool, folder: Path | None = None) -> str:
    """Which encoders of an equal budget keep more than MERIT, by more than both spreads over seeds, as a sentence."""
    lines = []
    for file in filter(reference.budgeted, files("kept", profile, synthetic, folder)):
        names = ordered({row["encoder"] for row in file["over_seeds"]} - {"merit"})
        more = {metric: [name for name in names if _more(file, name, metric)] for metric in AXES}
        both = [look(name).label for name in names if all(name in found for found in more.values())]
        beyond = [look(name).label for name in more["beyond_linear"] if look(name).label not in both]
        if both:
            lines.append(f"More than MERIT, beyond the report and in it: **{listing(both)}**.")
        if beyond:
            lines.append(f"More than MERIT beyond the report, not in it: {listing(beyond)}.")
        if not both:
            lines.append("None of these encoders keeps more than MERIT both beyond the report and in it.")
        if "MERL, ours" in both:
            lines.append(
                "MERL's method differs from MERIT's in its network too (a ResNet18, and no reconstruction); none of "
                "these runs tells which of the two it is: at this size the network may weigh more than the objective."
            )
    return " ".join(lines)


def _more(file: File, encoder: str, metric: str) -> bool:
    """Whether an encoder's mean lies above MERIT's by more than both their bars."""
    one, merit = (_row(file, name, metric) for name in (encoder, "merit"))
    if one is None or merit is None:
        return False
    return 100 * (one["mean"] - merit["mean"]) > _bar(file, one)[0][0] + _bar(file, merit)[1][0]


def strengths(profile: str, synthetic: bool, folder: Path | None = None) -> Drawing:
    """A panel in the report, one beyond it: each against the bottleneck's strength, mean ± sd over seeds, percent."""
    there = [file for file in files("kept", profile, synthetic, folder) if not reference.budgeted(file)]
    if not there:
        return nothing("no reference run is committed")
    figure, panels = _pair()
    for axis, metric in zip(panels, AXES):
        names = [name for name in reference.STRENGTHS if _row(there[0], name, metric)]
        rows = [_row(there[0], name, metric) for name in names]
        style = look("ib")
        _curve(axis, there[0], range(len(rows)), rows, style.colour, style.marker, "IB at this strength")
        axis.set_xticks(range(len(names)), [reference.STRENGTHS[name] for name in names])
        axis.set(xlabel="bottleneck's strength β", ylabel=AXES[metric])
        _levels(axis, there[0], metric, ("merit", "mse", "random"))
    figure.legend(*distinct(list(panels)), loc="outside lower center", ncols=4)
    return figure


def left_out(
    profile: str, results: Sequence[Mapping[str, Any]], usual_share: float, folder: Path | None = None
) -> Drawing:
    """A panel in the report, one beyond it: each against the share of findings that reports leave out, percent.

    Curves are committed, mean ± sd over seeds; hollow marks are this run's results of `pipeline.kept`, at the share
    of its own hospitals, where it is of the same profile. Encoders that read no reports are level.
    """
    there = files("left_out", profile, True, folder)
    if not there:
        return nothing("no reference run is committed")
    same = there[0]["profile"] == profile
    live = {one["encoder"]: one["summary"]["linear"] for one in found(results) if same}
    figure, panels = _pair()
    for axis, metric in zip(panels, AXES):
        for name in READERS:
            rows = _by_share(there[0], name, metric)
            style = look(name)
            _curve(axis, there[0], [100 * row["share"] for row in rows], rows, style.colour, style.marker, style.label)
            if name in live:
                value = live[name][metric.removesuffix("_linear")]["value"]
                axis.plot(
                    100 * usual_share, 100 * value, marker=style.marker, markersize=12, markerfacecolor="none",
                    color=style.colour, linestyle="none", label=f"{style.label}, this run",
                )  # fmt: skip
        _levels(axis, there[0], metric, ("mse", "random"))
        axis.set(xlabel="findings that reports leave out, %", ylabel=AXES[metric])
    figure.legend(*distinct(list(panels)), loc="outside lower center", ncols=3)
    return figure


def _by_share(file: File, encoder: str, metric: str) -> list[Row]:
    rows = [row for row in file["over_seeds"] if (row["encoder"], row["metric"]) == (encoder, metric)]
    return sorted(rows, key=lambda row: row["share"])


def _pair() -> tuple[Drawing, Sequence[Axes]]:
    figure = Drawing(figsize=(1.6 * PANEL_WIDTH, 1.15 * PANEL_WIDTH), layout="constrained")
    return figure, figure.subplots(1, 2)


def _curve(
    axis: Axes, file: File, places: Sequence[float] | range, rows: Sequence[Row], colour: str, marker: str, label: str
) -> None:  # fmt: skip
    bars = [_bar(file, row) for row in rows]
    lengths = [[bar[side][0] for bar in bars] for side in (0, 1)]
    heights = [100 * row["mean"] for row in rows]
    axis.errorbar(list(places), heights, yerr=lengths, color=colour, marker=marker, label=label)


def _levels(axis: Axes, file: File, metric: str, names: Sequence[str]) -> None:
    """A level line for each encoder that does not depend on what is turned."""
    for name in names:
        row = _row(file, name, metric)
        if row is not None:
            axis.axhline(100 * row["mean"], color=look(name).colour, linestyle=look(name).line, label=look(name).label)


def left_out_claim(profile: str, folder: Path | None = None) -> str:
    """What the dial does to what lies beyond the report, and to the gap between MERIT and CMA, as sentences."""
    lines = []
    for file in files("left_out", profile, True, folder):
        by_name = {name: _by_share(file, name, "beyond_linear") for name in READERS}
        if any(len(rows) < 2 for rows in by_name.values()):
            continue
        for name, rows in by_name.items():
            ends = [
                f"{_mean(file, row).replace(chr(10), ' ')} % at {100 * row['share']:.0f} %"
                for row in (rows[0], rows[-1])
            ]
            lines.append(f"{look(name).label} keeps {' and '.join(ends)} left out")
        gaps = [100 * (a["mean"] - b["mean"]) for a, b in zip(by_name["merit"], by_name["cma"])]
        shares = [f"{fixed(gap, 1, sign=True)} at {100 * row['share']:.0f} %" for gap, row in zip(gaps, by_name["cma"])]
        word = "grows" if gaps[-1] > gaps[0] else "does not grow"
        lines.append(f"MERIT − CMA {word} from the first to the last share: {listing(shares)}")
        lines[0] = f"{'mean of ' * (file['seeds'] > 1)}{_seeds(file)}: {lines[0]}"
    return f"Beyond the report (linear, mean partial R²), {'; '.join(lines)}." if lines else ""


def carried_over(profile: str, folder: Path | None = None) -> Html:
    """Real recordings: a row an encoder and kind of hearts that it was pretrained on, a column a measure."""
    parts = Html("")
    for file in files("carried_over", profile, False, folder):
        rows = {}
        for name in ordered({row["encoder"] for row in file["over_seeds"]}):
            for hearts, short in HEARTS.items():
                if _row(file, name, "beyond_linear", hearts=hearts):
                    label = look(name).label + ("" if name == "random" else f",\npretrained on {short} hearts")
                    rows[label] = _cells(file, name, hearts=hearts)
        parts += reference.label(file) + tables.mapping(rows, "kept-carried-over")
    return parts if parts.text else reference.absent("carried_over", False)


def carried_over_claim(profile: str, folder: Path | None = None) -> str:
    """Which encoders pretrained on synthetic hearts know more of real ones than the random encoder, as a sentence."""
    lines = []
    for file in files("carried_over", profile, False, folder):
        level = _row(file, "random", "beyond_linear")
        for name in ordered({row["encoder"] for row in file["over_seeds"]} - {"random"}):
            made, own = (
                _row(file, name, "beyond_linear", hearts=hearts) for hearts in ("synthetic hearts", "real hearts")
            )
            if made is None or own is None or level is None:
                continue
            gaps = [100 * (made["mean"] - other["mean"]) for other in (level, own)]
            lines.append(f"{look(name).label} {fixed(gaps[0], 1, sign=True)} and {fixed(gaps[1], 1, sign=True)}")
    if not lines:
        return ""
    return (
        "Beyond the report (linear), pretrained on synthetic hearts, in points against the random encoder and against "
        f"the same objective pretrained on real ones: {'; '.join(lines)}. These differences are not paired: read them "
        "with the intervals of the table above."
    )
