"""Twelve leads drawn as a cardiologist is used to them: on millimetre paper, 25 mm/s and 10 mm/mV."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from merit.report.show import Drawing

LEAD_NAMES = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LAYOUTS = {"3x4": (3, 4), "6x2": (6, 2), "12x1": (12, 1)}
"""Rows and columns; leads run down the columns."""

MM_PER_S, MM_PER_MV = 25.0, 10.0
ROW_MM = {"3x4": 26.0, "6x2": 20.0, "12x1": 16.0}
MARGIN_MM = 5.0
PULSE_S = 0.2
"""Length of the calibration pulse of 1 mV at the left of each row."""
FINE, COARSE, INK = "#f6cfcf", "#e79c9c", "#101010"
MM_PER_INCH = 25.4


def draw_ecg(
    signal_mv: np.ndarray,
    fs_hz: float,
    *,
    title: str = "",
    layout: str = "3x4",
    figure: Figure | None = None,
    seconds: float = 10.0,
) -> Figure:
    """Draw one recording on ECG paper; the figure's size in inches makes a millimetre of paper a millimetre.

    signal_mv: [12, T] in the order I, II, III, aVR, aVL, aVF, V1..V6, mV. layout: "3x4" and "6x2" show consecutive
    stretches of the recording from column to column, with lead II as rhythm strip below; "12x1" shows all of it.
    figure: drawn into if given (its size is set). seconds: how much is shown; a shorter recording leaves paper empty.
    """
    signal_mv = np.asarray(signal_mv, dtype=float)
    if signal_mv.ndim != 2 or signal_mv.shape[0] != len(LEAD_NAMES):
        raise ValueError(f"signal_mv has shape {signal_mv.shape}, expected (12, T)")
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; known: {sorted(LAYOUTS)}")
    rows, columns = LAYOUTS[layout]
    strip = columns > 1
    height_mm = ROW_MM[layout] * (rows + strip) + 2 * MARGIN_MM
    width_mm = MM_PER_S * (seconds + PULSE_S + 0.2) + 2 * MARGIN_MM
    figure = Drawing() if figure is None else figure
    axes = _paper(figure, np.ceil(width_mm / 5) * 5, np.ceil(height_mm / 5) * 5, title)
    column_s = seconds / columns
    for k, name in enumerate(LEAD_NAMES):
        column, row = divmod(k, rows)
        _trace(
            axes, signal_mv[k], fs_hz, column * column_s, column_s, _middle(row, layout, height_mm), name, column > 0
        )
    if strip:
        _trace(axes, signal_mv[1], fs_hz, 0.0, seconds, _middle(rows, layout, height_mm), "II", False)
    for row in range(rows + strip):
        _calibration(axes, _middle(row, layout, height_mm))
    axes.text(MARGIN_MM, 1.2, "25 mm/s   10 mm/mV", fontsize=6.5, color=INK)
    if isinstance(figure, Drawing):
        figure.table = _table(signal_mv[:, : round(seconds * fs_hz)], fs_hz)
    return figure


def _table(signal_mv: np.ndarray, fs_hz: float) -> pd.DataFrame:
    """The recording itself: seconds, and each lead in mV to the microvolt."""
    seconds = np.arange(signal_mv.shape[1]) / fs_hz
    return pd.DataFrame({"seconds": seconds, **dict(zip(LEAD_NAMES, signal_mv.round(3)))})


def _middle(row: int, layout: str, height_mm: float) -> float:
    """Height of a row's zero line, on a coarse grid line where rows are far enough apart."""
    return float(np.round(height_mm - MARGIN_MM - ROW_MM[layout] * (row + 0.55)))


def _paper(figure: Figure, width_mm: float, height_mm: float, title: str) -> Axes:
    """Axes in millimetres over the whole figure, with the grid."""
    head_mm = 6.0 if title else 0.0
    figure.set_size_inches(width_mm / MM_PER_INCH, (height_mm + head_mm) / MM_PER_INCH)
    figure.set_facecolor("white")
    axes = figure.add_axes((0, 0, 1, height_mm / (height_mm + head_mm)))
    axes.set(xlim=(0, width_mm), ylim=(0, height_mm), xticks=[], yticks=[], facecolor="#fffafa")
    for spine in axes.spines.values():
        spine.set_color(COARSE)
    for step, colour, thickness in ((1.0, FINE, 0.35), (5.0, COARSE, 0.6)):
        upright = [((x, 0), (x, height_mm)) for x in np.arange(0, width_mm + step, step)]
        level = [((0, y), (width_mm, y)) for y in np.arange(0, height_mm + step, step)]
        axes.add_collection(LineCollection(upright + level, colors=colour, linewidths=thickness, zorder=0))
    if title:
        figure.text(
            MARGIN_MM / width_mm, 1 - 4.4 / (height_mm + head_mm), title, fontsize=8.5, color=INK, parse_math=False
        )
    return axes


def _trace(axes: Axes, lead_mv: np.ndarray, fs_hz: float, start_s: float, length_s: float,
           middle_mm: float, name: str, separated: bool) -> None:  # fmt: skip
    """One lead between two moments, its name above its beginning and under the trace, which nothing may cover."""
    first, last = round(start_s * fs_hz), round((start_s + length_s) * fs_hz)
    piece = lead_mv[first:last]
    left_mm = MARGIN_MM + MM_PER_S * (PULSE_S + 0.2 + start_s)
    x = left_mm + MM_PER_S * np.arange(len(piece)) / fs_hz
    axes.plot(x, middle_mm + MM_PER_MV * piece, color=INK, linewidth=0.65, solid_joinstyle="round", zorder=2)
    if separated:
        axes.plot([left_mm, left_mm], [middle_mm - 2, middle_mm + 2], color=INK, linewidth=0.6, zorder=2)
    axes.text(left_mm + 1, middle_mm + 6.2, name, fontsize=7, color=INK, weight="bold", zorder=1,
              bbox={"facecolor": "#fffafa", "edgecolor": "none", "pad": 0.4, "alpha": 0.75})  # fmt: skip


def _calibration(axes: Axes, middle_mm: float) -> None:
    """The pulse of 1 mV and 0.2 s."""
    x = MARGIN_MM + MM_PER_S * np.array([0.0, 0.04, 0.04, 0.04 + PULSE_S, 0.04 + PULSE_S, 0.1 + PULSE_S])
    y = middle_mm + MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])
    axes.plot(x, y, color=INK, linewidth=0.65, zorder=2)
