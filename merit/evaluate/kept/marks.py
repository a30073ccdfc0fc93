"""Marks of beats, by a library or by hand: where P begins, where QRS begins and ends, where T ends; and what follows.

Both kinds go through the same functions, so that two sets differ by the marks alone. Times are seconds; NaN: not
marked. Legend: B beats, S sources of marks (leads, or one signal made of them).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np

FEWEST_BEATS = 2
"""Beats with a mark under which nothing follows from it."""
SHARE = 0.5
"""Share of the beats that must have a mark: a P wave that half of the beats lack is none that PR can be said of."""
STEADY_PR_MS = 10.0
"""Median deviation of PR from its median, over beats, above which it is not measured: what conducts keeps its time,
and what a delineator takes for P where there is none does not. Of 10 and 20 ms, tried on LUDB, 10 invents fewer."""
CONCEIVABLE_MS = {"pr": (60.0, 450.0), "qrs": (40.0, 250.0), "qt": (180.0, 700.0)}
"""Outside these a delineation has failed."""


@dataclass(frozen=True)
class Marks:
    """Marks of one recording."""

    r_s: np.ndarray
    """float64 [B]: the beats, ascending."""
    p_on_s: np.ndarray
    """float64 [S, B], as are all below."""
    qrs_on_s: np.ndarray
    qrs_off_s: np.ndarray
    t_off_s: np.ndarray

    @classmethod
    def none(cls) -> Self:
        """Of a recording that nothing was found in."""
        empty = np.zeros((1, 0))
        return cls(np.zeros(0), empty, empty, empty, empty)

    def within(self, start_s: float, end_s: float) -> Self:
        """The marks of the beats of this span."""
        there = (self.r_s >= start_s) & (self.r_s <= end_s)
        return type(self)(
            self.r_s[there], self.p_on_s[:, there], self.qrs_on_s[:, there], self.qrs_off_s[:, there],
            self.t_off_s[:, there],
        )  # fmt: skip


def over_sources(times_s: np.ndarray) -> np.ndarray:
    """[S, B] -> [B]: the median of the sources that have a mark."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of beats that no source marks: NaN is meant
        return np.nanmedian(times_s, axis=0)


def over_beats(values: np.ndarray) -> float:
    """[B] -> their median; NaN where fewer than `SHARE` of the beats, or `FEWEST_BEATS`, have one."""
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) >= max(FEWEST_BEATS, SHARE * len(values)) else np.nan


def intervals(marks: Marks) -> dict[str, float]:
    """pr_ms, qrs_ms, qt_ms, heart_rate_bpm and rr_rmssd_ms as `synthetic.truth` names them; NaN: not measured.

    Each is the median over beats of the difference of two marks, each mark the median over sources.
    """
    begin, end = over_sources(marks.qrs_on_s), over_sources(marks.qrs_off_s)
    p_ms = 1000 * (begin - over_sources(marks.p_on_s))
    found = {
        "pr": over_beats(p_ms),
        "qrs": over_beats(1000 * (end - begin)),
        "qt": over_beats(1000 * (over_sources(marks.t_off_s) - begin)),
    }
    if over_beats(np.abs(p_ms - found["pr"])) > STEADY_PR_MS:
        found["pr"] = np.nan
    for name, (low, high) in CONCEIVABLE_MS.items():
        if not low <= found[name] <= high:
            found[name] = np.nan
    return {f"{name}_ms": value for name, value in found.items()} | rhythm(marks.r_s)


def rhythm(r_s: np.ndarray) -> dict[str, float]:
    """heart_rate_bpm from the mean distance of beats [B], rr_rmssd_ms from their successive differences."""
    rr = np.diff(r_s)
    return {
        "heart_rate_bpm": float(60 / rr.mean()) if len(rr) >= FEWEST_BEATS else np.nan,
        "rr_rmssd_ms": float(1000 * np.sqrt((np.diff(rr) ** 2).mean())) if len(rr) > FEWEST_BEATS else np.nan,
    }
