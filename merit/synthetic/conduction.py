"""Findings of conduction and of enlarged chambers."""

from __future__ import annotations

import numpy as np

from merit.synthetic.findings import (
    Case,
    direction,
    discordant,
    effect,
    qrs_size,
    scale_qrs,
    set_axis,
    stretch,
    t_away,
)
from merit.synthetic.physiology import wave


def _narrow_size(case: Case) -> float:
    """Size of the main force of a narrow QRS, mV; of whatever QRS there is after a left bundle branch block."""
    qrs = case.conducted.qrs
    return float(np.clip(qrs["r2"].size if "r2" in qrs else qrs_size(case.conducted), 0.6, 2.0))


@effect("LAFB")
def left_anterior_fascicle(case: Case, s: float) -> None:
    """Left anterior fascicular block: the axis turns left and up, qR in aVL and rS in the inferior leads."""
    one = case.conducted
    set_axis(one, case.vary(-52, 8, -75, -36))
    size = _narrow_size(case)
    one.qrs["q"].vector = size * np.array([-0.16, 0.30, 0.10])
    one.qrs["s1"].vector = one.qrs["s1"].vector + size * np.array([0.10, -0.32, 0.0])
    stretch(one, 1.08)


@effect("LPFB")
def left_posterior_fascicle(case: Case, s: float) -> None:
    one = case.conducted
    size = _narrow_size(case)
    set_axis(one, case.vary(112, 9, 98, 135))
    one.qrs["q"].vector = size * np.array([0.26, -0.26, 0.08])
    stretch(one, 1.06)


@effect("ALS")
def axis_left(case: Case, s: float) -> None:
    set_axis(case.conducted, case.vary(-42, 9, -75, -28))


@effect("ARS")
def axis_right(case: Case, s: float) -> None:
    set_axis(case.conducted, case.vary(109, 10, 93, 140))


def _turn_horizontal(case: Case, degrees: float) -> None:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    for w in case.conducted.qrs.values():
        x, y, z = w.vector
        w.vector = np.array([c * x - s * z, y, s * x + c * z])


@effect("CCR")
def counterclockwise(case: Case, s: float) -> None:
    """Early transition: R exceeds S already in V2."""
    _turn_horizontal(case, 32 * s)


@effect("CR")
def clockwise(case: Case, s: float) -> None:
    """Late transition: S exceeds R beyond V4."""
    _turn_horizontal(case, -30 * s)


@effect("IRBBB")
def incomplete_right(case: Case, s: float) -> None:
    size = _narrow_size(case)
    late = case.conducted.j_ms() + 1
    case.conducted.qrs["late"] = wave(late, 8, 9, -0.22 * size * s, -0.05 * size, 0.34 * size * s)
    case.conducted.qrs["s1"].vector = case.conducted.qrs["s1"].vector * 0.7


@effect("CRBBB", "RBBB")
def right_bundle(case: Case, s: float) -> None:
    """Complete right bundle branch block: QRS of 120 ms or more, rsR' in V1, a broad S in I and V6."""
    one, size = case.conducted, _narrow_size(case)
    w = case.vary(1.04, 0.1, 0.88, 1.35)
    late = case.rng.normal(0, 0.12, 3) + (-0.66, 0.02, 0.80)
    one.qrs["s1"].vector = one.qrs["s1"].vector * 0.3
    one.qrs["r2"].vector = one.qrs["r2"].vector * (0.9, 1.0, 0.75)
    one.qrs["s2"].vector = one.qrs["s2"].vector * 0.4
    one.qrs["late1"] = wave(43 * w, 11 * w, 15 * w, *(0.74 * size * late))
    one.qrs["late2"] = wave(68 * w, 14 * w, 15 * w, *(0.46 * size * late))
    away = direction(-0.55, 0, 0.85)
    t_away(one, away, 1.5, 0.22 * size)
    one.add_st(-0.05 * size * away)
    one.extra_qt_ms += 18


@effect("CLBBB", "LBBB")
def left_bundle(case: Case, s: float) -> None:
    """Complete left bundle branch block: a broad notched R in I, V5 and V6, a deep S in V1, discordant ST and T."""
    one = case.conducted
    size = np.clip(1.15 * _narrow_size(case), 0.8, 2.0) * case.vary(1.0, 0.12, 0.75, 1.3)
    w = case.vary(1.07, 0.08, 0.92, 1.3)
    up = case.rng.normal(0.05, 0.3)
    turn = case.rng.normal(0, 0.08, (4, 3))
    parts = (
        (-38, 12, 12, 0.42, (0.60, 0.35 + up, -0.15 + 0.35 * case.rng.random())),
        (-12, 14, 15, 0.82, (0.66, 0.20 + up, -1.36)),
        (26, 16, 17, 0.90, (0.72, 0.03 + up, -1.58)),
        (60, 14, 16, 0.42, (0.78, -0.12 + up, -0.85)),
    )
    one.qrs = {
        f"l{k}": wave(at * w, rise * w, fall * w, *(part * size * (np.array(v) + turn[k])))
        for k, (at, rise, fall, part, v) in enumerate(parts)
    }
    discordant(one, 0.38, 0.09)
    one.extra_qt_ms += 30


@effect("ILBBB")
def incomplete_left(case: Case, s: float) -> None:
    """Incomplete left bundle branch block: the same direction, a QRS below 120 ms."""
    one, size = case.conducted, _narrow_size(case)
    one.qrs["q"].vector = size * np.array([0.12, 0.05, 0.06])
    one.qrs["r1"].vector = one.qrs["r1"].vector * (1.0, 1.0, 0.3)
    one.qrs["r2"].vector = one.qrs["r2"].vector + size * np.array([0.12, 0, -0.18])
    stretch(one, 1.22)
    t_away(one, direction(1, 0.2, -0.4), 0.9)


@effect("IVCD", "IDC")
def intraventricular(case: Case, s: float) -> None:
    one = case.conducted
    stretch(one, case.vary(1.38, 0.07, 1.25, 1.6))
    end, size = one.j_ms(), _narrow_size(case)
    one.qrs["notch"] = wave(end - 12, 8, 10, *(0.24 * size * case.rng.normal(0, 0.7, 3)))
    t_away(one, direction(0.9, 0.4, 0), 0.4 * s)


@effect("WPW")
def preexcitation(case: Case, s: float) -> None:
    """Wolff-Parkinson-White: a short PR, a delta wave, a broad QRS with discordant repolarisation."""
    one, size = case.conducted, _narrow_size(case)
    pathways = ((-0.45, 0.45, 0.80), (0.75, -0.35, 0.45), (0.80, -0.55, -0.10), (0.70, 0.40, -0.45))
    unit = direction(*(np.array(pathways[case.rng.integers(4)]) + case.rng.normal(0, 0.1, 3)))
    amount = size * case.vary(0.62, 0.12, 0.35, 1.0) * s
    one.qrs["q"].vector = one.qrs["q"].vector * 0.1
    one.qrs["delta1"] = wave(-50, 12, 16, *(0.34 * amount * unit))
    one.qrs["delta2"] = wave(-27, 15, 16, *(0.85 * amount * unit))
    for name in ("r1", "r2"):
        one.qrs[name].vector = 0.8 * one.qrs[name].vector + 0.30 * amount * unit
    t_away(one, unit, 1.2, 0.08 * amount)
    case.heart.pr_ms = case.vary(102, 9, 82, 120)


@effect("1AVB", "LPR", "PRIE")
def slow_av_node(case: Case, s: float) -> None:
    if case.heart.pr_ms < 200:
        case.heart.pr_ms = case.vary(205 + 26 * s, 16, 199, 330)


def _enlarge(case: Case, name: str, factor: float) -> None:
    w = case.heart.p["P"][name]
    w.vector = w.vector * factor


@effect("LAO/LAE", "LAE")
def left_atrium(case: Case, s: float) -> None:
    p = case.heart.p["P"]
    p["la"].at_ms += 17 * s
    p["la"].vector = p["la"].vector * (1.15, 1.1, 1.0) + s * np.array([0.015, 0.01, -0.062])
    p["ra"].at_ms -= 6 * s


@effect("RAO/RAE", "RAH")
def right_atrium(case: Case, s: float) -> None:
    _enlarge(case, "ra", 1.0 + 1.5 * s)
    _enlarge(case, "la", 0.9)


@effect("PWC")
def p_change(case: Case, s: float) -> None:
    (left_atrium if case.rng.random() < 0.6 else right_atrium)(case, s)


@effect("LVH")
def left_hypertrophy(case: Case, s: float) -> None:
    """Left ventricular hypertrophy: tall R in V5 and V6, deep S in V1 and V2, sometimes with strain."""
    one = case.conducted
    wanted = case.vary(1.75, 0.22, 1.35, 2.4) * s**0.35 / _narrow_size(case)
    factor = max(wanted, 1.0 + 0.22 * s)
    for name in ("r2", "s1") if "r2" in one.qrs else tuple(one.qrs):
        one.qrs[name].vector = one.qrs[name].vector * factor * (1.08, 0.9, 1.12)
    stretch(one, 1.06)
    if case.rng.random() < 0.6:
        strain = direction(0.95, 0.25, -0.05)
        t_away(one, strain, 1.2 * s, 0.16 * s * qrs_size(one))
        one.add_st(-0.055 * s * qrs_size(one) * strain, slope=0.35)


@effect("VCLVH", "HVOLT")
def high_voltage(case: Case, s: float) -> None:
    if "LVH" not in case.findings:
        scale_qrs(case.conducted, 1.0 + case.vary(0.42, 0.1, 0.2, 0.7) * s)


@effect("LVOLT", "LVQRSAL")
def low_voltage(case: Case, s: float) -> None:
    scale_qrs(case.conducted, float(np.clip(case.vary(0.40, 0.06, 0.25, 0.5) / s, 0.25, 0.62)))


@effect("RVH")
def right_hypertrophy(case: Case, s: float) -> None:
    """Right ventricular hypertrophy: a tall R in V1, a deep S in V6, the axis to the right."""
    one, size = case.conducted, _narrow_size(case)
    set_axis(one, case.vary(112, 12, 92, 145))
    one.qrs["r1"].vector = one.qrs["r1"].vector + s * size * np.array([-0.22, 0.05, 0.55])
    one.qrs["s2"].vector = one.qrs["s2"].vector + s * size * np.array([-0.42, -0.02, 0.10])
    one.qrs["r2"].vector = one.qrs["r2"].vector * (0.8, 1.0, 0.45)
    t_away(one, direction(-0.5, 0.1, 0.85), 1.2 * s, 0.12 * s)


@effect("SEHYP")
def septal_hypertrophy(case: Case, s: float) -> None:
    one, size = case.conducted, _narrow_size(case)
    one.qrs["q"].vector = size * s * np.array([-0.52, -0.28, 0.42])
    one.qrs["r2"].vector = one.qrs["r2"].vector * 1.25
    t_away(one, direction(0.8, 0.3, 0.2), 0.7 * s)
