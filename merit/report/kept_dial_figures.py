"""What is kept over pretraining seeds, and as one thing of pretraining is turned: the bottleneck's strength, and how
much reports leave out. From committed files alone, nothing is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from merit.report import reference
from merit.report.ablation_tables import ordered
from merit.report.figures import PANEL_WIDTH, Drawing, distinct, nothing
from merit.report.kept_committed import AXES, READERS, File, Row, bar, by_share, files, row_of, seeds_text
from merit.report.kept_figures import found
from merit.report.style import look


def thesis(profile: str, synthetic: bool, folder: Path | None = None) -> Drawing:
    """A panel a committed file, a mark an encoder: beyond the report against in the report, mean ± sd over seeds."""
    there = files("kept", profile, synthetic, folder)
    if not there:
        return nothing("no reference run is committed")
    figure = Drawing(figsize=(0.8 * PANEL_WIDTH * len(there) + 1, 1.25 * PANEL_WIDTH), layout="constrained")
    panels = figure.subplots(1, len(there), sharex=True, sharey=True, squeeze=False)[0]
    for axis, file in zip(panels, there):
        for name in ordered({row["encoder"] for row in file["over_seeds"]}):
            x, y = (row_of(file, name, metric) for metric in AXES)
            if x is None or y is None:
                continue
            style = look(name)
            axis.errorbar(
                100 * x["mean"], 100 * y["mean"], xerr=bar(file, x), yerr=bar(file, y), color=style.colour,
                marker=style.marker, markersize=8, elinewidth=1.3, linestyle="none", label=style.label,
            )  # fmt: skip
        axis.set(title=_title(file), xlabel=AXES["in_report_linear"])
    panels[0].set_ylabel(AXES["beyond_linear"])
    panels[0].margins(0.12)
    figure.legend(*distinct(list(panels)), loc="outside lower center", ncols=4, columnspacing=1.0)
    return figure


def strengths(profile: str, synthetic: bool, folder: Path | None = None) -> Drawing:
    """A panel in the report, one beyond it: each against the bottleneck's strength, mean ± sd over seeds, percent."""
    there = [file for file in files("kept", profile, synthetic, folder) if not reference.budgeted(file)]
    if not there:
        return nothing("no reference run is committed")
    figure, panels = _pair()
    for axis, metric in zip(panels, AXES):
        names = [name for name in reference.STRENGTHS if row_of(there[0], name, metric)]
        rows = [row_of(there[0], name, metric) for name in names]
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
            rows = by_share(there[0], name, metric)
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


def _title(file: File) -> str:
    which = "peers' objectives, equal budget" if reference.budgeted(file) else "the paper's objectives"
    return f"{which}\n{seeds_text(file)}"


def _pair() -> tuple[Drawing, Sequence[Axes]]:
    figure = Drawing(figsize=(1.6 * PANEL_WIDTH, 1.15 * PANEL_WIDTH), layout="constrained")
    return figure, figure.subplots(1, 2)


def _curve(
    axis: Axes, file: File, places: Sequence[float] | range, rows: Sequence[Row], colour: str, marker: str, label: str
) -> None:  # fmt: skip
    bars = [bar(file, row) for row in rows]
    lengths = [[bar[side][0] for bar in bars] for side in (0, 1)]
    heights = [100 * row["mean"] for row in rows]
    axis.errorbar(list(places), heights, yerr=lengths, color=colour, marker=marker, label=label)


def _levels(axis: Axes, file: File, metric: str, names: Sequence[str]) -> None:
    """A level line for each encoder that does not depend on what is turned."""
    for name in names:
        row = row_of(file, name, metric)
        if row is not None:
            axis.axhline(100 * row["mean"], color=look(name).colour, linestyle=look(name).line, label=look(name).label)
