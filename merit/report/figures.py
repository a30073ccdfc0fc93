"""The book's figures: each takes tables of numbers and returns a figure. Colours as in `style.LOOKS`.

No pyplot: nothing global is drawn on, and a figure shows itself whatever the backend is.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from merit.report import figure_data
from merit.report.style import TERM_LABELS, look

PANEL_WIDTH, PANEL_HEIGHT = 3.4, 2.6  # inches
CSV_MIME = "text/csv"
OURS, REAL = "#4C78A8", "#D55E00"  # recordings here, and the real ones they are compared with


class Drawing(Figure):
    """A figure that Jupyter displays as a PNG, with its numbers beside it as CSV, which pages offer as a download."""

    table: pd.DataFrame | None = None
    """The numbers, where a function gives them better than they can be read off the axes."""

    def data(self) -> pd.DataFrame:
        """The figure's numbers: its own table, or what `figure_data.read` finds."""
        return figure_data.read(self) if self.table is None else self.table

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """As any figure's, with every text drawn as the characters that it is: an id may hold `$`. TeX stays where
        numbers need it, on logarithmic axes.
        """
        axes = [axis for one in self.axes for axis in (one.xaxis, one.yaxis)]
        of_powers = [axis for axis in axes if isinstance(axis.get_major_formatter(), LogFormatter)]
        powers = {id(text) for axis in of_powers for text in axis.get_ticklabels(which="both")}
        for text in self.findobj(Text):
            text.set_parse_math(id(text) in powers)
        super().savefig(*args, **kwargs)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        numbers = self.data()
        return {} if numbers.empty else {CSV_MIME: figure_data.csv(numbers)}

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", metadata={"Software": None}, bbox_inches="tight")
        return buffer.getvalue()


def histories(history: pd.DataFrame, bounds: Mapping[str, Any] | None = None) -> Drawing:
    """A panel a term of the loss: training faint, validation with markers, one colour an objective.

    history: long, columns objective, seed, update, epoch, split ("train" or "validation"), term, value; several
    seeds are averaged. bounds: lines in the panel of the masked error (as `Workspace.bounds` gives them).
    """
    terms = list(dict.fromkeys(history["term"]))
    if not terms:
        return nothing("nothing was pretrained")
    figure, axes = _panels(len(terms))
    for axis, term in zip(axes, terms):
        for objective, one in history[history["term"] == term].groupby("objective", sort=False):
            _curve(axis, str(objective), one)
        if term == "masked_mse":
            _bound_lines(axis, bounds or {})
        axis.set(title=TERM_LABELS.get(term, term), xlabel="update")
    handles, labels = distinct(axes)
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    figure.table = history
    return figure


def nothing(text: str) -> Drawing:
    """A small figure that says why there is nothing to draw."""
    figure = Drawing(figsize=(PANEL_WIDTH, 0.6))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def _curve(axis: Axes, objective: str, one: pd.DataFrame) -> None:
    style = look(objective)
    train, held_out = (
        one[one["split"] == split].groupby("update")["value"].mean() for split in ("train", "validation")
    )
    axis.plot(train.index, train, color=style.colour, linewidth=0.8, alpha=0.5)
    every = max(1, len(held_out) // 8)
    axis.plot(
        held_out.index, held_out, color=style.colour, linestyle=style.line, marker=style.marker, markevery=every,
        markersize=4, label=style.label,
    )  # fmt: skip


def _bound_lines(axis: Axes, bounds: Mapping[str, Any]) -> None:
    lines = {
        "linear_bound": ("linear map from what is visible", "--"),
        "three_lead_error": ("linear map from three whole leads", "-."),
        "noise_floor": ("noise floor", ":"),
    }
    for key, (label, dashes) in lines.items():
        if bounds.get(key) is not None:
            axis.axhline(bounds[key], color="#444444", linewidth=1, linestyle=dashes, label=label)
    axis.set_ylim(bottom=0)


def _panels(count: int, width: float = PANEL_WIDTH, height: float = PANEL_HEIGHT) -> tuple[Drawing, list[Axes]]:
    columns = 2 if count <= 4 else 3
    rows = -(-count // columns)
    figure = Drawing(figsize=(columns * width, rows * height + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, list(axes.flat[:count])


def distinct(axes: Sequence[Axes]) -> tuple[list, list[str]]:
    """Legend handles of all panels, each label once."""
    pairs = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    return list(pairs.values()), list(pairs)
