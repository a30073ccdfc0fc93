"""LUDB's manual marks, lead by lead, as `Marks`: what measurements are compared with.

Legend: L leads, B beats.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from merit.data.recording import LEADS
from merit.data.wfdb_io import read_annotation
from merit.evaluate.kept.marks import Marks

FS_HZ = 500.0
"""LUDB's rate."""
SAME_BEAT_S = 0.2
"""QRS marks of two leads that lie closer are of one beat."""
WAVE_REACH_S = 0.5
"""A P wave this long before a QRS, at most, belongs to it; for T see `_waves`."""


class Wave(NamedTuple):
    """A wave as marked in one lead, seconds."""

    kind: str
    """p, N (QRS) or t."""
    on_s: float
    peak_s: float
    off_s: float


def record_names(root: Path) -> list[str]:
    """Records of LUDB under `root`, in order of their numbers."""
    return sorted((path.stem for path in (root / "data").glob("[!.]*.hea")), key=int)


def marks(root: Path, name: str) -> Marks:
    """What the cardiologists marked in all leads of a record; beats are those with a QRS in at least one lead."""
    by_lead = [list(_waves(*read_annotation(str(root / "data"), name, lead.lower()))) for lead in LEADS]
    peaks = np.sort([wave.peak_s for waves in by_lead for wave in waves if wave.kind == "N"])
    if not len(peaks):
        return Marks.none()
    beats = np.split(peaks, np.flatnonzero(np.diff(peaks) > SAME_BEAT_S) + 1)
    r_s = np.array([np.median(beat) for beat in beats])
    rows = [_row(waves, r_s) for waves in by_lead]
    return Marks(r_s, *(np.array([row[k] for row in rows]) for k in range(4)))


def _waves(samples: np.ndarray, symbols: list[str]) -> Iterator[Wave]:
    """The waves of one lead. A wave is a peak with an opening bracket before it and a closing one after, NaN if not."""
    for k, kind in enumerate(symbols):
        if kind in ("p", "N", "t"):
            before = samples[k - 1] if k and symbols[k - 1] == "(" else np.nan
            after = samples[k + 1] if k + 1 < len(symbols) and symbols[k + 1] == ")" else np.nan
            yield Wave(kind, before / FS_HZ, samples[k] / FS_HZ, after / FS_HZ)


def _row(waves: list[Wave], r_s: np.ndarray) -> np.ndarray:
    """[4, B]: begin of P, begin and end of QRS, end of T of one lead, for every beat."""
    row = np.full((4, len(r_s)), np.nan)
    for wave in waves:
        if wave.kind == "N":
            k = int(np.abs(r_s - wave.peak_s).argmin())
            row[1:3, k] = wave.on_s, wave.off_s
        elif wave.kind == "p":
            k = int(np.searchsorted(r_s, wave.peak_s))
            if k < len(r_s) and r_s[k] - wave.peak_s <= WAVE_REACH_S:
                row[0, k] = wave.on_s
        else:
            k = int(np.searchsorted(r_s, wave.peak_s)) - 1
            if k >= 0 and wave.peak_s - r_s[k] <= WAVE_REACH_S:
                row[3, k] = wave.off_s
    return row
