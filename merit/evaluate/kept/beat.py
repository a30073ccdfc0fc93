"""The typical beat of a recording and what is read off it: axis, and the size of its waves in every lead.

Legend: L leads, T samples, B beats, W samples of the beat.
"""

from __future__ import annotations

import numpy as np

from merit.data.recording import LEADS
from merit.evaluate.kept.marks import Marks, over_beats, over_sources

BEFORE_S, AFTER_S = 0.25, 0.6
"""Reach of a beat around its mark."""
LEVEL_S = 0.02
"""Stretch before QRS whose mean is zero volts."""
AFTER_J_S = 0.06
"""Where ST is read, and from where T is looked for, after the end of QRS (as in `synthetic.truth`)."""
QRS_REACH_S = 0.15
"""Farthest that QRS reaches from the mark of its beat, either way."""
QRS_SHARE = 0.2
"""Share of its peak above which the speed of voltage is that of QRS. Of 5, 10, 15, 20 and 25 %, tried on LUDB, the one
that agrees best with manual marks; 15 and 25 % agree nearly as well."""
REST_SHARE = 0.2
"""Share of the samples, the slowest, whose median speed is that of noise."""
WAVES = ("r", "s", "t", "st")
NOTHING = {"axis_deg": np.nan} | {f"{wave}_mv_{lead}": np.nan for wave in WAVES for lead in LEADS}


def typical_beat(signal: np.ndarray, r_s: np.ndarray, fs_hz: float) -> np.ndarray | None:
    """float64 [L, W]: the median over beats of signal [L, T] from `BEFORE_S` before each; None without whole beats."""
    before, after = round(BEFORE_S * fs_hz), round(AFTER_S * fs_hz)
    at = np.rint(r_s * fs_hz).astype(int)
    at = at[(at >= before) & (at + after <= signal.shape[1])]
    if not len(at):
        return None
    places = at[:, None] + np.arange(-before, after)
    return np.median(signal[:, places].astype(np.float64), axis=1)


def qrs_extent(beat: np.ndarray | None, fs_hz: float) -> tuple[float, float]:
    """Begin and end of QRS in seconds from the mark, of a typical beat [L, W]; NaN for None or a flat one.

    First and last time within `QRS_REACH_S` at which the speed of voltage over leads (root of the sum of squares) lies
    more than `QRS_SHARE` of the way from noise to its peak.
    """
    if beat is None:
        return np.nan, np.nan
    t = np.arange(beat.shape[1]) / fs_hz - round(BEFORE_S * fs_hz) / fs_hz
    speed = np.sqrt((np.gradient(beat, axis=1) ** 2).sum(axis=0))[np.abs(t) < QRS_REACH_S]
    rest = np.median(np.sort(speed)[: max(1, round(REST_SHARE * len(speed)))])
    above = np.flatnonzero(speed > rest + QRS_SHARE * (speed.max() - rest))
    if not len(above):
        return np.nan, np.nan
    first = t[np.abs(t) < QRS_REACH_S][0]
    return float(first + above[0] / fs_hz), float(first + above[-1] / fs_hz)


def voltages(signal_mv: np.ndarray, fs_hz: float, marks: Marks) -> dict[str, float]:
    """axis_deg, and r, s, t and st of every lead in the unit of signal_mv [L, T], named as in `synthetic.truth`.

    The axis is that of the area of QRS in I and aVF. NaN where marks are missing.
    """
    begin, end = over_sources(marks.qrs_on_s), over_sources(marks.qrs_off_s)
    on_s, off_s = over_beats(begin - marks.r_s), over_beats(end - marks.r_s)
    t_end_s = over_beats(over_sources(marks.t_off_s) - marks.r_s)
    beat = typical_beat(signal_mv, marks.r_s, fs_hz) if np.isfinite(on_s + off_s) else None
    if beat is None:
        return dict(NOTHING)
    t = np.arange(beat.shape[1]) / fs_hz - round(BEFORE_S * fs_hz) / fs_hz
    level = (t >= on_s - LEVEL_S) & (t < on_s)
    inside, late = (t >= on_s) & (t <= off_s), (t > off_s + AFTER_J_S) & (t < t_end_s)
    if not level.any() or not inside.any():
        return dict(NOTHING)
    beat = beat - beat[:, level].mean(axis=1, keepdims=True)
    return {"axis_deg": _axis(beat[:, inside].sum(axis=1))} | _waves(beat, t, inside, late, off_s + AFTER_J_S)


def _axis(area: np.ndarray) -> float:
    """Degrees from the areas [L] of QRS; aVF is drawn smaller than I by √3 / 2. NaN where neither lead has any."""
    x, y = area[LEADS.index("I")], area[LEADS.index("aVF")] * 2 / np.sqrt(3)
    return float(np.degrees(np.arctan2(y, x))) if x or y else np.nan


def _waves(beat: np.ndarray, t: np.ndarray, inside: np.ndarray, late: np.ndarray, st_s: float) -> dict[str, float]:
    found = {}
    after = beat[:, late]
    for k, lead in enumerate(LEADS):
        found[f"r_mv_{lead}"] = max(float(beat[k, inside].max()), 0.0)
        found[f"s_mv_{lead}"] = min(float(beat[k, inside].min()), 0.0)
        found[f"t_mv_{lead}"] = float(after[k, np.abs(after[k]).argmax()]) if late.any() else np.nan
        found[f"st_mv_{lead}"] = float(beat[k, np.argmin(np.abs(t - st_s))])
    return found
