"""Boxes and arrows in inches, for figures that are drawn rather than plotted; text sizes that a phone still shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox

from merit.report.figures import Drawing

WIDTH = 4.8
"""Inches: on a phone's 390 pixels, 8 points are then nine pixels high."""
TITLE_SIZE, TEXT_SIZE = 8.6, 7.8  # points
LINE = 0.145  # inches between two lines of text
INK, QUIET = "#1A1A1A", "#555555"


class Box(NamedTuple):
    """A drawn box: its left, bottom, width and height in inches."""

    left: float
    bottom: float
    width: float
    height: float

    def top(self, share: float = 0.5) -> tuple[float, float]:
        """A point of the upper edge, `share` of the way from the left."""
        return self.left + share * self.width, self.bottom + self.height

    def foot(self, share: float = 0.5) -> tuple[float, float]:
        """A point of the lower edge."""
        return self.left + share * self.width, self.bottom

    def right(self, share: float = 0.5) -> tuple[float, float]:
        """A point of the right edge, `share` of the way from below."""
        return self.left + self.width, self.bottom + share * self.height


class Diagram:
    """A white sheet of WIDTH by `height` inches; everything is placed in inches from its lower left corner."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.figure = Drawing(figsize=(width, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()
        self.boxed: list[tuple[Box, list]] = []
        """Boxes with their texts, for whoever checks that they fit."""

    def __repr__(self) -> str:
        return "<Diagram>"

    def _repr_png_(self) -> bytes:
        return self.figure._repr_png_()

    def box(
        self,
        place: Box,
        title: str,
        lines: Sequence[str] = (),
        *,
        colour: str = INK,
        fill: str | None = None,
        dashed: bool = False,
        at: float | None = None,
    ) -> Box:
        """A rounded box with a bold title and lines below it, centred.

        fill: its ground; default: a pale tint of the edge's colour. dashed: frozen, or not there yet. at: height in
        inches of the title's middle; default: the text as a whole is in the middle of the box.
        """
        patch = FancyBboxPatch(
            (place.left, place.bottom), place.width, place.height, boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=tint(colour) if fill is None else fill, edgecolor=colour, linewidth=1.2,
            linestyle=(0, (3, 2)) if dashed else "-", zorder=2,
        )  # fmt: skip
        self.axes.add_patch(patch)
        middle = place.left + place.width / 2
        y = place.bottom + place.height / 2 + LINE * len(lines) / 2 if at is None else at
        texts = [self.text((middle, y), title, size=TITLE_SIZE, bold=True)]
        texts += [self.text((middle, y - LINE * (k + 1) - 0.01), line) for k, line in enumerate(lines)]
        self.boxed.append((place, texts))
        return place

    def text(
        self, at: tuple[float, float], text: str, *, size: float = TEXT_SIZE, bold: bool = False,
        align: str = "center", colour: str = INK,
    ):  # fmt: skip
        """A line of text whose middle is at `at`, centred or beginning or ending there (align)."""
        weight = "bold" if bold else "normal"
        drop = 0.36 * size / 72  # from the middle of a letter to the line it stands on, whatever hangs below that
        return self.axes.text(
            at[0], at[1] - drop, text, fontsize=size, weight=weight, ha=align, va="baseline", color=colour, zorder=4,
            parse_math=False,
        )  # fmt: skip

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], text: str = "", *, side: str = "right",
        colour: str = INK,
    ) -> None:  # fmt: skip
        """A straight arrow, with a text beside its middle: to the right or the left of it."""
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, linewidth=1.2, color=colour, shrinkA=1, shrinkB=1,
                zorder=3,
            )
        )  # fmt: skip
        if text:
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            align, x = ("left", x + 0.08) if side == "right" else ("right", x - 0.08)
            self.text((x, y), text, align=align, colour=QUIET)

    def overflowing(self) -> list[str]:
        """The texts that reach over the edge of their box; empty for a good drawing."""
        renderer = FigureCanvasAgg(self.figure).get_renderer()
        found = []
        for place, texts in self.boxed:
            corners = ((place.left, place.bottom), (place.left + place.width, place.bottom + place.height))
            inside = Bbox(self.axes.transData.transform(corners))
            for text in texts:
                extent = text.get_window_extent(renderer)
                if extent.x0 < inside.x0 or extent.x1 > inside.x1 or extent.y0 < inside.y0 or extent.y1 > inside.y1:
                    found.append(text.get_text())
        return found


def tint(colour: str, share: float = 0.13) -> str:
    """A colour mixed with white, as #rrggbb."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)


def times(shape: Sequence[int]) -> str:
    """`12 × 1,000`."""
    return " × ".join(f"{n:,}" for n in shape)


def short(number: float) -> str:
    """A count in three digits: `156 k`, `5.35 M`, `1.24 G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{number:,.0f}"


def counted(number: int, what: str) -> str:
    """`1 block`, `3 blocks`."""
    return f"{number} {what}{'s' * (number != 1)}"
