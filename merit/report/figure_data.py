"""The numbers of a figure as a table, read off its axes: what a reader gets who wants to draw it otherwise.

A row a point: panel, series, x and y in the units of the axes, ends of its interval where one is drawn, and the name of
the nearest tick where an axis has names. A series is called by its artist's `gid`, else its label, else by what has the
same colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

from merit.report.style import LOOKS, PEER_LOOKS

COLUMNS = ("panel", "series", "x", "x_low", "x_high", "x_name", "y", "y_low", "y_high", "y_name")

Row = dict[str, Any]


def csv(table: pd.DataFrame) -> str:
    """A table as text, six digits a number: the same numbers give the same bytes."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def read(figure: Figure) -> pd.DataFrame:
    """All points of a figure's visible panels; columns without any entry are left out. No row: nothing is drawn."""
    named = _legend(figure)
    rows = [row for number, axis in enumerate(_panels(figure), start=1) for row in _panel(axis, number, named)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).replace("", np.nan)
    return frame.dropna(axis="columns", how="all")


def _panels(figure: Figure) -> list[Axes]:
    return [axis for axis in figure.axes if axis.get_visible() and axis.has_data()]


def _panel(axis: Axes, number: int, named: Callable[[Any], str]) -> Iterator[Row]:
    """The rows of one panel: bars, points with intervals, then lines and clouds that belong to neither."""
    titles = (*(axis.get_title(loc) for loc in ("center", "left", "right")), axis.get_xlabel())
    panel = " ".join(next((title for title in titles if title), str(number)).split())
    names = _tick_names(axis.xaxis), _tick_names(axis.yaxis)
    taken: set[int] = set()
    for row in (*_held(axis, named, taken), *_lines(axis, named, taken), *_clouds(axis, named)):
        found = {f"{way}_name": name(row.get(way)) for way, name in zip("xy", names)}
        yield {"panel": panel, **row, **found}


def _held(axis: Axes, named: Callable[[Any], str], taken: set[int]) -> Iterator[Row]:
    """Bars, and points with intervals; `taken` gets the lines that they consist of."""
    for one in axis.containers:
        if isinstance(one, BarContainer):
            for bar in one.patches:
                x, y, width, height = bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()
                lying = one.orientation == "horizontal"
                place = {"x": x + width, "y": y + height / 2} if lying else {"x": x + width / 2, "y": y + height}
                yield {"series": named(one) or named(bar), **place}
        elif isinstance(one, ErrorbarContainer):
            line, caps, bars = one.lines
            taken |= {id(part) for part in (line, *caps)}
            ends = [bar.get_segments() for bar in bars]
            ways = [way for way, there in (("x", one.has_xerr), ("y", one.has_yerr)) if there]
            for k, (x, y) in enumerate(zip(*(_numbers(values) for values in line.get_data(orig=False)))):
                row: Row = {"series": named(one) or named(line), "x": x, "y": y}
                for way, segments in zip(ways, ends):
                    pair = np.asarray(segments[k])[:, "xy".index(way)]
                    row |= {f"{way}_low": pair.min(), f"{way}_high": pair.max()}
                yield row


def _lines(axis: Axes, named: Callable[[Any], str], taken: set[int]) -> Iterator[Row]:
    """Lines and markers; of one that goes right across the panel only where it stands."""
    for line in axis.lines:
        in_x, in_y = line.get_transform().contains_branch_seperately(axis.transData)
        if id(line) in taken or not line.get_visible() or not (in_x or in_y):
            continue
        points = list(zip(*(_numbers(values) for values in line.get_data(orig=False))))
        for x, y in points if in_x and in_y else points[:1]:
            if np.isfinite(y if in_y else x):
                yield {"series": named(line), **({"x": x} if in_x else {}), **({"y": y} if in_y else {})}


def _clouds(axis: Axes, named: Callable[[Any], str]) -> Iterator[Row]:
    for cloud in axis.collections:
        if isinstance(cloud, PathCollection):
            for x, y in np.ma.filled(cloud.get_offsets(), np.nan):
                yield {"series": named(cloud), "x": x, "y": y}


def _numbers(values: Any) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)


def _tick_names(axis: Axis) -> Callable[[float | None], str]:
    """Place on an axis -> the name of the nearest tick, where ticks have names and one is near."""
    form, place = axis.get_major_formatter(), axis.get_major_locator()
    fixed = isinstance(form, (FixedFormatter, FuncFormatter)) and isinstance(place, FixedLocator)
    names = {float(at): " ".join(form(at, k).split()) for k, at in enumerate(place.locs)} if fixed else {}
    if all(_is_number(name) for name in names.values()):
        return lambda value: ""
    near = 0.5 * np.diff(sorted(names)).min() if len(names) > 1 else 0.5

    def name(value: float | None) -> str:
        """The name at a place, or nothing."""
        if value is None:
            return ""
        nearest = min(names, key=lambda at: abs(at - value))
        return names[nearest] if abs(nearest - value) <= near else ""

    return name


def _is_number(text: str) -> bool:
    return not text.strip("+-−.0123456789e")


def _legend(figure: Figure) -> Callable[[Any], str]:
    """Artist -> name of its series."""
    known = {one.colour.lower(): one.label for one in (*PEER_LOOKS.values(), *LOOKS.values())}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            known.setdefault(_colour(handle), label)

    def named(artist: Any) -> str:
        """Its own name, or that of what has its colour."""
        inner = artist.lines[0] if isinstance(artist, ErrorbarContainer) else artist
        own = getattr(inner, "get_gid", lambda: None)() or str(artist.get_label() or "")
        if own and not own.startswith("_"):
            return own
        return "" if isinstance(artist, (BarContainer, ErrorbarContainer)) else known.get(_colour(artist), "")

    return named


def _colour(artist: Any) -> str:
    """The colour of an artist as `#rrggbb`; empty where it has none or several."""
    if isinstance(artist, ErrorbarContainer):
        artist = artist.lines[0]
    if isinstance(artist, BarContainer):
        artist = artist.patches[0] if artist.patches else None
    if isinstance(artist, Line2D):
        return to_hex(artist.get_color()).lower() if artist.get_color() != "none" else ""
    colours = artist.get_facecolor() if hasattr(artist, "get_facecolor") else ()
    colours = np.atleast_2d(np.asarray(colours, dtype=float))
    return to_hex(colours[0]).lower() if colours.shape == (1, 4) else ""
