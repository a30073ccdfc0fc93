"""How well measured factors agree with manual marks: the ceiling for anybody who predicts the measured ones.

A measurement that does not agree with the truth cannot be predicted from it either. R² is that of the regression of the
measured on the manual value (ordinary least squares; of an angle by its cosine and sine), so neither an offset nor a
scale counts against it: a decoder would learn both. Legend: N recordings, K numbers of a factor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from merit.evaluate.bootstrap import weights_of
from merit.evaluate.kept.factors import LEAST_MS
from merit.evaluate.kept.measure import number

FEWEST = 10
"""Recordings with both values under which nothing is said."""
COLUMNS = {
    "heart_rate": "heart_rate_bpm",
    "pr": "pr_ms",
    "qrs": "qrs_ms",
    "qt": "qt_ms",
    "axis": "axis_deg",
    "variability": "rr_rmssd_ms",
}
"""Factor -> its column, of those that marks give without a voltage scale."""
UNITS = {"heart_rate": "bpm", "axis": "°", "variability": "log ms"}
"""Unit of bias and spread where it is not ms."""


def agreement(measured: pd.DataFrame, manual: pd.DataFrame, n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """A row a factor: n, bias and sd of measured minus manual and R², each with a 95 % interval over recordings.

    Both frames have a row a recording, in one order. n_manual: with a manual value; n_without: without; n_invented: of
    these, with a measured one.
    """
    picks = [np.flatnonzero(column) for column in weights_of(np.arange(len(manual)), n_resamples, seed).T]
    return [_row(name, *(_values(frame, name) for frame in (measured, manual)), picks) for name in COLUMNS]


def _values(frame: pd.DataFrame, name: str) -> np.ndarray:
    values = frame[COLUMNS[name]].to_numpy(np.float64)
    return np.log(np.maximum(values, LEAST_MS)) if name == "variability" else values


def _row(name: str, measured: np.ndarray, manual: np.ndarray, picks: list[np.ndarray]) -> dict[str, Any]:
    there, both = np.isfinite(manual), np.isfinite(manual) & np.isfinite(measured)
    counts = {
        "n": int(both.sum()), "n_manual": int(there.sum()), "n_without": int((~there).sum()),
        "n_invented": int((~there & np.isfinite(measured)).sum()),
    }  # fmt: skip
    enough = counts["n"] >= FEWEST
    drawn = [_numbers(name, measured[pick[both[pick]]], manual[pick[both[pick]]]) for pick in picks if enough]
    numbers = {key: number(np.array([one[key] for one in drawn] or [np.nan])) for key in ("bias", "sd", "r2")}
    return {"factor": name, "unit": UNITS.get(name, "ms"), **counts, **numbers}


def _numbers(name: str, measured: np.ndarray, manual: np.ndarray) -> Mapping[str, float]:
    difference = measured - manual
    if name == "axis":
        difference = (difference + 180) % 360 - 180
        measured, manual = (np.column_stack([np.cos(a), np.sin(a)]) for a in map(np.radians, (measured, manual)))
    return {"bias": difference.mean(), "sd": difference.std(), "r2": explained(measured, manual)}


def explained(measured: np.ndarray, manual: np.ndarray) -> float:
    """R² of measured [N] or [N, K] regressed on manual; NaN where one of them does not vary."""
    y, x = (a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(axis=0) for a in (measured, manual))
    if not (y**2).sum() > 0 or not (x**2).sum() > 0:
        return np.nan
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - (left**2).sum() / (y**2).sum())
