"""Findings of ST, T, QT and U, and those that only describe a shape."""

from __future__ import annotations

import numpy as np

from merit.synthetic.findings import Case, direction, effect, qrs_size, scale_t, t_away
from merit.synthetic.physiology import wave
from merit.synthetic.territories import TERRITORY, infarct

LEFT = direction(0.85, 0.45, 0.15)
"""Where the leads look in which ST and T are usually judged: I, II, V4..V6."""


@effect("NDT")
def undiagnostic_t(case: Case, s: float) -> None:
    unit = direction(0.8, 0.4, case.rng.normal(0.2, 0.3))
    t_away(case.conducted, unit, 0.62 + 0.42 * s * case.rng.random(), 0.03 * s)


@effect("LOWT")
def low_t(case: Case, s: float) -> None:
    scale_t(case.conducted, float(np.clip(case.vary(0.26, 0.08, 0.1, 0.45) / s, 0.1, 0.5)))


@effect("NT_", "TAB_", "TWC")
def unspecific_t(case: Case, s: float) -> None:
    unit = direction(*(np.array([0.6, 0.4, 0.3]) + case.rng.normal(0, 0.35, 3)))
    t_away(case.conducted, unit, (0.8 + 0.5 * s * case.rng.random()), 0.05 * s)


@effect("INVT", "TWO")
def inverted_t(case: Case, s: float) -> None:
    unit = TERRITORY[str(case.rng.choice(["AL", "A", "IL", "L"]))]
    t_away(case.conducted, unit, 1.6 + 0.35 * s, 0.17 * s)


@effect("NST_", "STTC")
def unspecific_st(case: Case, s: float) -> None:
    case.conducted.add_st(-case.vary(0.05, 0.015, 0.02, 0.1) * s * LEFT, slope=case.rng.normal(0, 0.2))
    t_away(case.conducted, LEFT, 0.45 * s)


@effect("STD_", "STDD", "STD")
def st_depression(case: Case, s: float) -> None:
    unit = direction(*(LEFT + case.rng.normal(0, 0.2, 3)))
    case.conducted.add_st(-case.vary(0.11, 0.03, 0.05, 0.25) * s * unit, slope=case.rng.normal(-0.05, 0.15))
    t_away(case.conducted, unit, 0.35 * s)


@effect("STE_", "STE")
def st_elevation(case: Case, s: float) -> None:
    places = ("AS", "A", "AL", "I", "IL")
    unit = TERRITORY[places[case.rng.choice(5, p=(0.28, 0.3, 0.15, 0.17, 0.1))]]
    case.conducted.add_st(case.vary(0.17, 0.05, 0.08, 0.4) * s * unit, slope=0.25)
    case.conducted.t["t1"].vector = case.conducted.t["t1"].vector + 0.10 * s * unit


@effect("STTU")
def st_tilt(case: Case, s: float) -> None:
    """An ST segment that rises straight from J into T."""
    case.conducted.add_st(0.05 * s * LEFT, slope=1.6)
    case.conducted.t["t1"].rise_ms *= 1.35


@effect("ERV")
def early_repolarisation(case: Case, s: float) -> None:
    one = case.conducted
    unit = direction(0.75, 0.5, 0.45)
    one.qrs["j"] = wave(one.j_ms() + 2, 7, 11, *(0.20 * s * unit))
    one.add_st(case.vary(0.12, 0.03, 0.06, 0.22) * s * unit, slope=0.35)
    scale_t(one, 1.35)


@effect("DIG")
def digitalis(case: Case, s: float) -> None:
    """Scooped ST, flat T, short QT."""
    one = case.conducted
    one.add_st(-0.09 * s * qrs_size(one) * LEFT, slope=-0.35)
    scale_t(one, 0.5)
    one.extra_qt_ms -= 25 * s
    if case.heart.pr_ms < 190:
        case.heart.pr_ms += 15 * s


@effect("LNGQT", "QTIE")
def long_qt(case: Case, s: float) -> None:
    case.heart.qtc_ms = case.vary(470 + 22 * s, 18, 462, 590)
    for name in ("t1", "t2"):
        case.conducted.t[name].rise_ms *= 1.15


@effect("EL")
def electrolytes(case: Case, s: float) -> None:
    """High potassium (tall narrow T) or low potassium (flat T, tall U)."""
    one = case.conducted
    if case.rng.random() < 0.5:
        scale_t(one, 1.0 + 1.1 * s)
        for name in ("t1", "t2"):
            one.t[name].rise_ms, one.t[name].fall_ms = 0.55 * one.t[name].rise_ms, 0.7 * one.t[name].fall_ms
    else:
        scale_t(one, 0.35)
        u_wave(case, 1.2 * s)
        one.add_st(-0.05 * s * LEFT)


@effect("UW")
def u_wave(case: Case, s: float) -> None:
    case.conducted.t["u"].vector = case.vary(0.14, 0.03, 0.08, 0.25) * s * direction(0.5, 0.35, 0.8)


@effect("QWAVE", "AQW")
def q_waves(case: Case, s: float) -> None:
    if not {"dead", "l0"} & set(case.conducted.qrs):
        place = str(case.rng.choice(["I", "AS", "AL", "L", "IL"], p=(0.4, 0.2, 0.15, 0.15, 0.1)))
        infarct(case, place, 0.8 * s, 0.0, 0.0)


@effect("ABQRS")
def abnormal_qrs(case: Case, s: float) -> None:
    """A slur or notch in QRS, a poor R in the front leads, or both."""
    one = case.conducted
    size = qrs_size(one)
    one.qrs["slur"] = wave(case.rng.uniform(-14, 30), 6, 7, *(0.22 * s * size * case.rng.normal(0, 0.7, 3)))
    if "r1" in one.qrs and case.rng.random() < 0.5:
        one.qrs["r1"].vector = one.qrs["r1"].vector - s * size * np.array([0, 0, 0.20])


@effect("FQRS")
def fragmented(case: Case, s: float) -> None:
    abnormal_qrs(case, 1.3 * s)
