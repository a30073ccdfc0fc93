"""The book's figures: each takes tables of numbers and returns a figure. Colours as in `style.LOOKS`.

No pyplot: nothing global is drawn on, and a figure shows itself whatever the backend is.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

PANEL_WIDTH, PANEL_HEIGHT = 3.4, 2.6  # inches
CSV_MIME = "text/csv"
OURS, REAL = "#4C78A8", "#D55E00"  # recordings here, and the real ones they are compared with


class Drawing(Figure):
    """A figure that Jupyter displays as a PNG, with its numbers beside it as CSV, which pages offer as a download."""

    table: pd.DataFrame | None = None
    """The frame that is drawn; a diagram has none."""

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
        if self.table is None or self.table.empty:
            return {}
        return {CSV_MIME: self.table.to_csv(index=False, float_format="%.6g", lineterminator="\n")}

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", metadata={"Software": None}, bbox_inches="tight")
        return buffer.getvalue()


def nothing(text: str) -> Drawing:
    """A small figure that says why there is nothing to draw."""
    figure = Drawing(figsize=(PANEL_WIDTH, 0.6))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def distinct(axes: Sequence[Axes]) -> tuple[list, list[str]]:
    """Legend handles of all panels, each label once."""
    pairs = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    return list(pairs.values()), list(pairs)
