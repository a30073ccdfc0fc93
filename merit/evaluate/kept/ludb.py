"""The ceiling of measured factors: LUDB's recordings delineated, against the marks that cardiologists set by hand.

LUDB (Kalyakulina et al. 2020) is read in raw units: the gains in its headers differ from lead to lead, while raw units
satisfy I + III = II. So an axis can be compared and a voltage cannot. Legend: N recordings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit.data.preprocess import fix_length, repair_gaps, resample
from merit.data.wfdb_io import read_raw
from merit.evaluate.kept import manual
from merit.evaluate.kept.agreement import agreement
from merit.evaluate.kept.beat import voltages
from merit.evaluate.kept.delineation import delineate
from merit.evaluate.kept.marks import Marks, intervals
from merit.pool import ordered_map

MARGIN_S = 0.2
"""Manual marks leave out the first and last beats: measured are those between the outermost marks, this much added."""
DURATION_S = 10.0


class Way(NamedTuple):
    """How marks are made: at which rate, by which of the library's methods, and whose QRS it is."""

    fs_hz: float
    method: str = "prominence"
    own_qrs: bool = True


WAYS = (Way(100.0), Way(500.0), Way(100.0, own_qrs=False))
"""What is measured on real recordings; at LUDB's own rate; and with the library's own marks of QRS."""


def rows(
    root: Path, ways: Sequence[Way] = WAYS, *, n_resamples: int, seed: int, workers: int, progress: bool = True
) -> list[dict[str, Any]]:
    """`agreement.agreement` of every way, a row a factor and way: factor, fs_hz, method, own_qrs, n, bias, sd, r2 …"""
    names = manual.record_names(root)
    found: list[dict[str, Any]] = []
    for way in ways:
        pairs = []
        with tqdm(total=len(names), desc=f"LUDB at {way.fs_hz:g} Hz", unit="rec", disable=not progress) as bar:
            for pair in ordered_map(partial(_both, root=root, way=way), names, workers):
                pairs.append(pair)
                bar.update()
        measured, by_hand = (pd.DataFrame(side) for side in zip(*pairs))
        found += [way._asdict() | row for row in agreement(measured, by_hand, n_resamples, seed)]
    return found


def _both(name: str, root: Path, way: Way) -> tuple[dict[str, float], dict[str, float]]:
    """Measured and manual factors of one record, over the same beats."""
    raw = read_raw(str(root / "data"), name)
    by_hand = manual.marks(root, name)
    signal = _as_stored(raw, way.fs_hz)
    found = delineate(signal, way.fs_hz, way.method, way.own_qrs)
    if len(by_hand.r_s):
        found = found.within(by_hand.r_s[0] - MARGIN_S, by_hand.r_s[-1] + MARGIN_S)
    return _factors(found, signal, way.fs_hz), _factors(by_hand, raw, manual.FS_HZ)


def _as_stored(raw: np.ndarray, fs_hz: float) -> np.ndarray:
    """As `data.ingest` does to a recording before it is stored."""
    return fix_length(resample(repair_gaps(raw)[0], manual.FS_HZ, fs_hz), round(DURATION_S * fs_hz))


def _factors(marks: Marks, signal: np.ndarray, fs_hz: float) -> dict[str, float]:
    return intervals(marks) | {"axis_deg": voltages(signal, fs_hz, marks)["axis_deg"]}


def files(root: Path) -> Iterator[Path]:
    """What the ceiling depends on."""
    for name in manual.record_names(root):
        yield from sorted((root / "data").glob(f"{name}.*"))
