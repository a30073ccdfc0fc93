"""The hidden truth of a recording: intervals, axis and amplitudes measured on its noise-free beat, and its rhythm.

Nobody who trains on the recordings sees these; they measure what a representation keeps. NaN where there is no such
thing (PR without a conducted P wave).
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from merit.data.recording import LEADS
from merit.synthetic.cases import ventricular_rr
from merit.synthetic.findings import Case
from merit.synthetic.leads import EIGHT_TO_TWELVE
from merit.synthetic.physiology import Template, pack_atrial, pack_ventricular
from merit.synthetic.rhythm import Events

GRID_S = np.arange(-0.15, 0.75, 0.002, dtype=np.float32)
"""Times from R at which a beat is measured."""
CONDUCTED_BASES = frozenset({"sinus", "wandering", "atrial"})


def gaussians(template: Template, t_s: np.ndarray) -> np.ndarray:
    """The template's waves at unit amplitude at times [T] (seconds): [K, T]."""
    distance = t_s - template.at_s[:, None]
    width = np.where(distance < 0, template.rise_s[:, None], template.fall_s[:, None])
    return np.exp(-0.5 * (distance / width) ** 2)


def extent(signal: np.ndarray, t_s: np.ndarray, share: float) -> tuple[float, float]:
    """First and last time at which the size over leads exceeds `share` of its maximum."""
    size = np.sqrt((signal**2).mean(0))
    above = np.flatnonzero(size > share * size.max())
    return float(t_s[above[0]]), float(t_s[above[-1]])


def measure(case: Case, events: Events, duration_s: float) -> dict[str, float]:
    """All continuous truth of a recording, one flat dict; `r_mv_V5` and the like for each lead."""
    values = _rhythm(events, duration_s)
    heart = case.heart
    name = Counter(name for _, name in events.ventricular).most_common(1)[0][0]
    rr = 60 / values["heart_rate_bpm"]
    t = GRID_S
    template = pack_ventricular(heart, name, rr)
    waves, n_qrs = gaussians(template, t), template.n_qrs
    qrs = template.amplitude[:, :n_qrs] @ waves[:n_qrs]
    late = template.amplitude[:, n_qrs:] @ waves[n_qrs:]
    begin, end = extent(qrs, t, 0.05)
    t_end = (heart.complexes[name].onset_ms() + float(heart.qt_ms(rr)) + heart.complexes[name].extra_qt_ms) / 1000
    values |= {"qrs_ms": 1000 * (end - begin), "qt_ms": 1000 * (t_end - begin), "pr_ms": np.nan, "p_ms": np.nan}
    if case.plan.base in CONDUCTED_BASES and any(kind == "P" for _, kind in events.atrial):
        atrial = pack_atrial(heart, "P")
        p_begin, p_end = extent(atrial.amplitude @ gaussians(atrial, t), t, 0.10)
        values["p_ms"] = 1000 * (p_end - p_begin)
        to_r_ms = heart.p_extent_ms("P")[0] + heart.pr_ms - heart.complexes["N"].onset_ms()
        values["pr_ms"] = to_r_ms + 1000 * (begin - p_begin)
    twelve, late = EIGHT_TO_TWELVE @ (qrs + late), EIGHT_TO_TWELVE @ late
    inside, after = (t >= begin) & (t <= end), (t > end + 0.06) & (t < t_end)
    area = (EIGHT_TO_TWELVE @ qrs).sum(1)
    values["axis_deg"] = float(np.degrees(np.arctan2(area[5] * 2 / np.sqrt(3), area[0])))
    st = twelve[:, np.argmin(np.abs(t - end - 0.06))]
    late = late[:, after]
    peak = late[np.arange(12), np.abs(late).argmax(1)]
    for k, lead in enumerate(LEADS):
        values[f"r_mv_{lead}"] = max(float(twelve[k, inside].max()), 0.0)
        values[f"s_mv_{lead}"] = min(float(twelve[k, inside].min()), 0.0)
        values[f"t_mv_{lead}"], values[f"st_mv_{lead}"] = float(peak[k]), float(st[k])
    return values


def _rhythm(events: Events, duration_s: float) -> dict[str, float]:
    times, _ = ventricular_rr(events, 1.0)
    rr = np.diff(times[(times >= 0) & (times <= duration_s)])
    if len(rr) < 2:
        rr = np.diff(times)
    return {
        "heart_rate_bpm": float(60 / rr.mean()),
        "rr_sd_ms": float(1000 * rr.std()),
        "rr_rmssd_ms": float(1000 * np.sqrt((np.diff(rr) ** 2).mean())) if len(rr) > 1 else 0.0,
    }
