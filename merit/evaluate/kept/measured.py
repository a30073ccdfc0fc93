"""Known factors of real recordings, measured: what `synthetic.truth` writes of made ones, by delineation.

Legend: N recordings, L leads, T samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit.evaluate.kept.beat import voltages
from merit.evaluate.kept.delineation import delineate
from merit.evaluate.kept.marks import intervals
from merit.pool import ordered_map

CHUNK = 16
"""Recordings handed to a process at once."""


def measure_one(signal_mv: np.ndarray, fs_hz: float) -> dict[str, float]:
    """The columns that `evaluate.kept.factors` reads, of one recording [L, T]; NaN: not measured. n_beats beside."""
    marks = delineate(signal_mv, fs_hz)
    return {"n_beats": float(len(marks.r_s))} | intervals(marks) | voltages(signal_mv, fs_hz, marks)


def measure_all(signal_uv: np.ndarray, fs_hz: float, workers: int, progress: bool = True) -> pd.DataFrame:
    """A row a recording of signal_uv int16 [N, L, T], in `workers` processes."""
    rows: list[dict[str, float]] = []
    with tqdm(total=len(signal_uv), desc="delineating", unit="rec", disable=not progress, mininterval=1.0) as bar:
        for found in ordered_map(partial(_chunk, fs_hz=fs_hz), _chunks(signal_uv), workers):
            rows += found
            bar.update(len(found))
    return pd.DataFrame(rows)


def _chunks(signal_uv: np.ndarray) -> Iterator[np.ndarray]:
    return (np.array(signal_uv[start : start + CHUNK]) for start in range(0, len(signal_uv), CHUNK))


def _chunk(signal_uv: np.ndarray, fs_hz: float) -> list[dict[str, float]]:
    return [measure_one(one / 1000.0, fs_hz) for one in signal_uv]
