"""What is drawn rather than plotted: boxes and arrows in inches, and twelve leads on a cardiologist's paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text

from merit.report.show import ENCODERS, Drawing

# -- boxes and arrows; text sizes that a phone still shows ------------------------------------------------------------

WIDTH = 4.8
"""Inches: on a phone's 390 pixels, 8 points are then nine pixels high."""
TITLE_SIZE, TEXT_SIZE = 8.6, 7.8  # points
LINE = 0.145  # inches between two lines of text
INK, QUIET, FROZEN = "#1A1A1A", "#555555", "#6B6B6B"
SHARED, RECONSTRUCTION, ALIGNMENT = ENCODERS["colour"][["merit", "mse", "cma"]]
"""Colour of what both branches use, and of each branch: those of the objectives that have only that one."""
EDGE = 0.08  # inches left free at the sheet's sides


class Box(NamedTuple):
    """A drawn box: its left, bottom, width and height in inches."""

    left: float
    bottom: float
    width: float
    height: float

    def top(self) -> tuple[float, float]:
        """The middle of the upper edge."""
        return self.left + self.width / 2, self.bottom + self.height

    def foot(self) -> tuple[float, float]:
        """The middle of the lower edge."""
        return self.left + self.width / 2, self.bottom


class Diagram:
    """A white sheet of WIDTH by `height` inches; everything is placed in inches from its lower left corner."""

    def __init__(self, height: float) -> None:
        self.figure = Drawing(figsize=(WIDTH, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, WIDTH), ylim=(0, height))
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
        tint = tuple(1 - 0.13 * (1 - np.array(to_rgb(colour))))
        patch = FancyBboxPatch(
            (place.left, place.bottom), place.width, place.height, boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=fill or tint, edgecolor=colour, linewidth=1.2,
            linestyle=(0, (3, 2)) if dashed else "-", zorder=2,
        )  # fmt: skip
        self.axes.add_patch(patch)
        # Title and lines, the text as a whole in the middle unless a place is given.
        middle = place.left + place.width / 2
        y = place.bottom + place.height / 2 + LINE * len(lines) / 2 if at is None else at
        texts = [self.text((middle, y), title, size=TITLE_SIZE, bold=True)]
        texts += [self.text((middle, y - LINE * (k + 1) - 0.01), line) for k, line in enumerate(lines)]
        self.boxed.append((place, texts))
        return place

    def text(
        self, at: tuple[float, float], text: str, *, size: float = TEXT_SIZE, bold: bool = False,
        align: str = "center", colour: str = INK,
    ) -> Text:  # fmt: skip
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


def short(number: float) -> str:
    """A count in three digits: `156 k`, `5.35 M`, `1.24 G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{number:,.0f}"


# -- ECG paper: 25 mm/s and 10 mm/mV ---------------------------------------------------------------------------------

LEAD_NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ROWS, COLUMNS, SECONDS = 3, 4, 10.0
"""Leads run down the columns, the recording from column to column; lead II as rhythm strip below."""
MM_PER_S, MM_PER_MV = 25.0, 10.0
ROW_MM, MARGIN_MM, HEAD_MM = 26.0, 5.0, 6.0
PULSE_S = 0.2
"""Length of the calibration pulse of 1 mV at the left of each row."""
FINE, COARSE, TRACE, GROUND = "#f6cfcf", "#e79c9c", "#101010", "#fffafa"
MM_PER_INCH = 25.4


def draw_ecg(signal_mv: np.ndarray, fs_hz: float, title: str) -> Drawing:
    """Draw ten seconds on ECG paper; the figure's size in inches makes a millimetre of paper a millimetre.

    signal_mv: [12, T] in the order I, II, III, aVR, aVL, aVF, V1..V6, mV; a shorter recording leaves paper empty. The
    figure carries the recording as its table: seconds, and each lead in mV to the microvolt.
    """
    signal_mv = np.asarray(signal_mv, dtype=float)
    if signal_mv.ndim != 2 or signal_mv.shape[0] != len(LEAD_NAMES):
        raise ValueError(f"signal_mv has shape {signal_mv.shape}, expected (12, T)")

    # Axes in millimetres over the whole figure below its title, with the grid.
    width_mm = np.ceil((MM_PER_S * (SECONDS + PULSE_S + 0.2) + 2 * MARGIN_MM) / 5) * 5
    whole_mm = ROW_MM * (ROWS + 1) + 2 * MARGIN_MM
    height_mm = np.ceil(whole_mm / 5) * 5
    figure = Drawing(figsize=(width_mm / MM_PER_INCH, (height_mm + HEAD_MM) / MM_PER_INCH), facecolor="white")
    axes = figure.add_axes((0, 0, 1, height_mm / (height_mm + HEAD_MM)))
    axes.set(xlim=(0, width_mm), ylim=(0, height_mm), xticks=[], yticks=[], facecolor=GROUND)
    for spine in axes.spines.values():
        spine.set_color(COARSE)
    for step, colour, thickness in ((1.0, FINE, 0.35), (5.0, COARSE, 0.6)):
        upright = [((x, 0), (x, height_mm)) for x in np.arange(0, width_mm + step, step)]
        level = [((0, y), (width_mm, y)) for y in np.arange(0, height_mm + step, step)]
        axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=thickness, zorder=0))
    head = 1 - 4.4 / (height_mm + HEAD_MM)
    figure.text(MARGIN_MM / width_mm, head, title, fontsize=8.5, color=TRACE, parse_math=False)

    # Each lead between two moments, its name above its beginning and under the trace, which nothing may cover.
    quarter_s = SECONDS / COLUMNS
    pieces = [(k, k % ROWS, k // ROWS * quarter_s, quarter_s) for k in range(len(LEAD_NAMES))]
    for k, row, start_s, length_s in [*pieces, (LEAD_NAMES.index("II"), ROWS, 0.0, SECONDS)]:
        middle_mm = np.round(whole_mm - MARGIN_MM - ROW_MM * (row + 0.55))  # on a line of the grid
        lead_mv = signal_mv[k, round(start_s * fs_hz) : round((start_s + length_s) * fs_hz)]
        left_mm = MARGIN_MM + MM_PER_S * (PULSE_S + 0.2 + start_s)
        x = left_mm + MM_PER_S * np.arange(len(lead_mv)) / fs_hz
        axes.plot(x, middle_mm + MM_PER_MV * lead_mv, color=TRACE, linewidth=0.65, solid_joinstyle="round", zorder=2)
        if start_s > 0:
            axes.plot([left_mm, left_mm], [middle_mm - 2, middle_mm + 2], color=TRACE, linewidth=0.6, zorder=2)
        else:  # the pulse of 1 mV and 0.2 s
            pulse = MARGIN_MM + MM_PER_S * np.array([0, 0.04, 0.04, 0.04 + PULSE_S, 0.04 + PULSE_S, 0.1 + PULSE_S])
            axes.plot(
                pulse, middle_mm + MM_PER_MV * np.array([0, 0, 1, 1, 0, 0]), color=TRACE, linewidth=0.65, zorder=2
            )
        axes.text(
            left_mm + 1, middle_mm + 6.2, LEAD_NAMES[k], fontsize=7, color=TRACE, weight="bold", zorder=1,
            bbox={"facecolor": GROUND, "edgecolor": "none", "pad": 0.4, "alpha": 0.75},
        )  # fmt: skip
    axes.text(MARGIN_MM, 1.2, "25 mm/s   10 mm/mV", fontsize=6.5, color=TRACE)

    shown = signal_mv[:, : round(SECONDS * fs_hz)]
    seconds = np.arange(shown.shape[1]) / fs_hz
    figure.table = pd.DataFrame({"seconds": seconds, **dict(zip(LEAD_NAMES, shown.round(3)))})
    return figure
