"""What each finding does to the heart and its rhythm: a registry of functions by the finding's code.

Codes are PTB-XL's statements, and the acronyms of the Chapman-Shaoxing-Ningbo set where PTB-XL has none. A function
takes the case (heart, rhythm plan, random generator) and the severity `s`: about 1, low in borderline cases. Findings
act in the order in which they stand here: conduction shapes QRS before an infarct cuts into it, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from merit.synthetic.heart import Complex, Heart, Wave, wave
from merit.synthetic.rhythm import Plan


@dataclass(slots=True)
class Case:
    """A recording in the making."""

    heart: Heart
    plan: Plan
    rng: np.random.Generator
    findings: frozenset[str]

    @property
    def conducted(self) -> Complex:
        """The complex of a conducted beat."""
        return self.heart.complexes["N"]

    def vary(self, mean: float, spread: float, low: float, high: float) -> float:
        """A normal random number, kept between `low` and `high`."""
        return float(np.clip(self.rng.normal(mean, spread), low, high))


Effect = Callable[[Case, float], None]
EFFECTS: dict[str, Effect] = {}
"""Finding -> what it does."""


def effect(*codes: str) -> Callable[[Effect], Effect]:
    """Register a function for one or several findings."""

    def register(function: Effect) -> Effect:
        for code in codes:
            EFFECTS[code] = function
        return function

    return register


def direction(*vector: float) -> np.ndarray:
    """Unit vector [3]."""
    v = np.array(vector, float)
    return v / np.sqrt(v @ v)


def qrs_size(beat: Complex) -> float:
    """Size of the main QRS forces, mV: what discordant and secondary changes scale with."""
    return float(np.clip(max(w.size for w in beat.qrs.values()), 0.5, 2.6))


def set_axis(beat: Complex, degrees: float) -> None:
    """Turn the main forces of QRS in the frontal plane so that their mean axis is `degrees` (0 left, 90 feet)."""
    total = sum(w.vector * (w.rise_ms + w.fall_ms) for w in beat.qrs.values())
    turn = np.deg2rad(degrees) - np.arctan2(total[1], total[0])
    c, s = np.cos(turn), np.sin(turn)
    for w in beat.qrs.values():
        w.vector = np.array([c * w.vector[0] - s * w.vector[1], s * w.vector[0] + c * w.vector[1], w.vector[2]])


def stretch(beat: Complex, factor: float) -> None:
    """Widen QRS about R."""
    for w in beat.qrs.values():
        w.at_ms, w.rise_ms, w.fall_ms = w.at_ms * factor, w.rise_ms * factor, w.fall_ms * factor


def scale_qrs(beat: Complex, factor: float) -> None:
    """Scale the voltage of QRS."""
    for w in beat.qrs.values():
        w.vector = w.vector * factor
        w.near = w.near * factor


def scale_t(beat: Complex, factor: float) -> None:
    """Scale the T wave (negative inverts it); the U wave stays."""
    for name in ("t1", "t2"):
        beat.t[name].vector = beat.t[name].vector * factor


def drop_along(vector: np.ndarray, unit: np.ndarray, share: float) -> np.ndarray:
    """`vector` less `share` of its positive component along `unit`."""
    return vector - share * max(float(vector @ unit), 0.0) * unit


def t_away(beat: Complex, unit: np.ndarray, share: float, extra_mv: float = 0.0) -> None:
    """Turn T away from a direction: share 1 flattens it there, 2 inverts it; `extra_mv` deepens it."""
    for name in ("t1", "t2"):
        w = beat.t[name]
        w.vector = drop_along(w.vector, unit, share) - 0.5 * extra_mv * unit


def discordant(beat: Complex, share: float, st_share: float) -> None:
    """ST and T opposite to the main forces, as after abnormal activation."""
    forces = sum(w.vector * (w.rise_ms + w.fall_ms) for w in beat.qrs.values())
    unit = forces / max(float(np.sqrt(forces @ forces)), 1e-6)
    size = qrs_size(beat)
    for name, part in (("t1", 0.55), ("t2", 0.6)):
        beat.t[name].vector = 0.25 * beat.t[name].vector - part * share * size * unit
    beat.add_st(-st_share * size * unit, slope=0.2)


def fallback_complex(heart: Heart, qrs: dict[str, Wave], share: float = 0.3, extra_qt_ms: float = 20.0) -> Complex:
    """A ventricular complex with this QRS and discordant repolarisation."""
    normal = heart.complexes["N"].t
    t = {k: Wave(w.at_ms, 1.15 * w.rise_ms, 1.15 * w.fall_ms, w.vector.copy()) for k, w in normal.items()}
    beat = Complex(qrs, {}, t, extra_qt_ms=extra_qt_ms)
    discordant(beat, share, 0.06)
    return beat


def ventricular_beat(case: Case, origin: np.ndarray, width: float, size: float) -> Complex:
    """A beat that starts in the ventricles and spreads along `origin` [3] (unit): broad, notched, T discordant."""
    wobble = case.rng.normal(0, 0.22, (3, 3))
    parts = ((-34, 15, 0.45), (-2, 20, 1.0), (32, 18, 0.55))
    qrs = {
        f"v{k}": wave(at * width, w * width, w * width, *(part * size * (origin + wobble[k])))
        for k, (at, w, part) in enumerate(parts)
    }
    return fallback_complex(case.heart, qrs, share=0.34, extra_qt_ms=35.0)


# Conduction and enlarged chambers


def _narrow_size(case: Case) -> float:
    """Size of the main force of a narrow QRS, mV; of whatever QRS there is after a left bundle branch block."""
    qrs = case.conducted.qrs
    return float(np.clip(qrs["r2"].size if "r2" in qrs else qrs_size(case.conducted), 0.6, 2.0))


@effect("LAFB")
def left_anterior_fascicle(case: Case, s: float) -> None:
    """Left anterior fascicular block: the axis turns left and up, qR in aVL and rS in the inferior leads."""
    beat = case.conducted
    set_axis(beat, case.vary(-52, 8, -75, -36))
    size = _narrow_size(case)
    beat.qrs["q"].vector = size * np.array([-0.16, 0.30, 0.10])
    beat.qrs["s1"].vector = beat.qrs["s1"].vector + size * np.array([0.10, -0.32, 0.0])
    stretch(beat, 1.08)


@effect("LPFB")
def left_posterior_fascicle(case: Case, s: float) -> None:
    beat = case.conducted
    size = _narrow_size(case)
    set_axis(beat, case.vary(112, 9, 98, 135))
    beat.qrs["q"].vector = size * np.array([0.26, -0.26, 0.08])
    stretch(beat, 1.06)


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


@effect("CRBBB")
def right_bundle(case: Case, s: float) -> None:
    """Complete right bundle branch block: QRS of 120 ms or more, rsR' in V1, a broad S in I and V6."""
    beat, size = case.conducted, _narrow_size(case)
    w = case.vary(1.04, 0.1, 0.88, 1.35)
    late = case.rng.normal(0, 0.12, 3) + (-0.66, 0.02, 0.80)
    beat.qrs["s1"].vector = beat.qrs["s1"].vector * 0.3
    beat.qrs["r2"].vector = beat.qrs["r2"].vector * (0.9, 1.0, 0.75)
    beat.qrs["s2"].vector = beat.qrs["s2"].vector * 0.4
    beat.qrs["late1"] = wave(43 * w, 11 * w, 15 * w, *(0.74 * size * late))
    beat.qrs["late2"] = wave(68 * w, 14 * w, 15 * w, *(0.46 * size * late))
    away = direction(-0.55, 0, 0.85)
    t_away(beat, away, 1.5, 0.22 * size)
    beat.add_st(-0.05 * size * away)
    beat.extra_qt_ms += 18


@effect("CLBBB")
def left_bundle(case: Case, s: float) -> None:
    """Complete left bundle branch block: a broad notched R in I, V5 and V6, a deep S in V1, discordant ST and T."""
    beat = case.conducted
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
    beat.qrs = {
        f"l{k}": wave(at * w, rise * w, fall * w, *(part * size * (np.array(v) + turn[k])))
        for k, (at, rise, fall, part, v) in enumerate(parts)
    }
    discordant(beat, 0.38, 0.09)
    beat.extra_qt_ms += 30


@effect("ILBBB")
def incomplete_left(case: Case, s: float) -> None:
    """Incomplete left bundle branch block: the same direction, a QRS below 120 ms."""
    beat, size = case.conducted, _narrow_size(case)
    beat.qrs["q"].vector = size * np.array([0.12, 0.05, 0.06])
    beat.qrs["r1"].vector = beat.qrs["r1"].vector * (1.0, 1.0, 0.3)
    beat.qrs["r2"].vector = beat.qrs["r2"].vector + size * np.array([0.12, 0, -0.18])
    stretch(beat, 1.22)
    t_away(beat, direction(1, 0.2, -0.4), 0.9)


@effect("IVCD")
def intraventricular(case: Case, s: float) -> None:
    beat = case.conducted
    stretch(beat, case.vary(1.38, 0.07, 1.25, 1.6))
    end, size = beat.j_ms(), _narrow_size(case)
    beat.qrs["notch"] = wave(end - 12, 8, 10, *(0.24 * size * case.rng.normal(0, 0.7, 3)))
    t_away(beat, direction(0.9, 0.4, 0), 0.4 * s)


@effect("WPW")
def preexcitation(case: Case, s: float) -> None:
    """Wolff-Parkinson-White: a short PR, a delta wave, a broad QRS with discordant repolarisation."""
    beat, size = case.conducted, _narrow_size(case)
    pathways = ((-0.45, 0.45, 0.80), (0.75, -0.35, 0.45), (0.80, -0.55, -0.10), (0.70, 0.40, -0.45))
    unit = direction(*(np.array(pathways[case.rng.integers(4)]) + case.rng.normal(0, 0.1, 3)))
    amount = size * case.vary(0.62, 0.12, 0.35, 1.0) * s
    beat.qrs["q"].vector = beat.qrs["q"].vector * 0.1
    beat.qrs["delta1"] = wave(-50, 12, 16, *(0.34 * amount * unit))
    beat.qrs["delta2"] = wave(-27, 15, 16, *(0.85 * amount * unit))
    for name in ("r1", "r2"):
        beat.qrs[name].vector = 0.8 * beat.qrs[name].vector + 0.30 * amount * unit
    t_away(beat, unit, 1.2, 0.08 * amount)
    case.heart.pr_ms = case.vary(102, 9, 82, 120)


@effect("1AVB", "LPR")
def slow_av_node(case: Case, s: float) -> None:
    if case.heart.pr_ms < 200:
        case.heart.pr_ms = case.vary(205 + 26 * s, 16, 199, 330)


@effect("LAO/LAE")
def left_atrium(case: Case, s: float) -> None:
    p = case.heart.p["P"]
    p["la"].at_ms += 17 * s
    p["la"].vector = p["la"].vector * (1.15, 1.1, 1.0) + s * np.array([0.015, 0.01, -0.062])
    p["ra"].at_ms -= 6 * s


@effect("RAO/RAE")
def right_atrium(case: Case, s: float) -> None:
    for name, factor in (("ra", 1.0 + 1.5 * s), ("la", 0.9)):
        p = case.heart.p["P"][name]
        p.vector = p.vector * factor


@effect("PWC")
def p_change(case: Case, s: float) -> None:
    (left_atrium if case.rng.random() < 0.6 else right_atrium)(case, s)


@effect("LVH")
def left_hypertrophy(case: Case, s: float) -> None:
    """Left ventricular hypertrophy: tall R in V5 and V6, deep S in V1 and V2, sometimes with strain."""
    beat = case.conducted
    wanted = case.vary(1.75, 0.22, 1.35, 2.4) * s**0.35 / _narrow_size(case)
    factor = max(wanted, 1.0 + 0.22 * s)
    for name in ("r2", "s1") if "r2" in beat.qrs else tuple(beat.qrs):
        beat.qrs[name].vector = beat.qrs[name].vector * factor * (1.08, 0.9, 1.12)
    stretch(beat, 1.06)
    if case.rng.random() < 0.6:
        strain = direction(0.95, 0.25, -0.05)
        t_away(beat, strain, 1.2 * s, 0.16 * s * qrs_size(beat))
        beat.add_st(-0.055 * s * qrs_size(beat) * strain, slope=0.35)


@effect("VCLVH", "HVOLT")
def high_voltage(case: Case, s: float) -> None:
    if "LVH" not in case.findings:
        scale_qrs(case.conducted, 1.0 + case.vary(0.42, 0.1, 0.2, 0.7) * s)


@effect("LVOLT")
def low_voltage(case: Case, s: float) -> None:
    scale_qrs(case.conducted, float(np.clip(case.vary(0.40, 0.06, 0.25, 0.5) / s, 0.25, 0.62)))


@effect("RVH")
def right_hypertrophy(case: Case, s: float) -> None:
    """Right ventricular hypertrophy: a tall R in V1, a deep S in V6, the axis to the right."""
    beat, size = case.conducted, _narrow_size(case)
    set_axis(beat, case.vary(112, 12, 92, 145))
    beat.qrs["r1"].vector = beat.qrs["r1"].vector + s * size * np.array([-0.22, 0.05, 0.55])
    beat.qrs["s2"].vector = beat.qrs["s2"].vector + s * size * np.array([-0.42, -0.02, 0.10])
    beat.qrs["r2"].vector = beat.qrs["r2"].vector * (0.8, 1.0, 0.45)
    t_away(beat, direction(-0.5, 0.1, 0.85), 1.2 * s, 0.12 * s)


@effect("SEHYP")
def septal_hypertrophy(case: Case, s: float) -> None:
    beat, size = case.conducted, _narrow_size(case)
    beat.qrs["q"].vector = size * s * np.array([-0.52, -0.28, 0.42])
    beat.qrs["r2"].vector = beat.qrs["r2"].vector * 1.25
    t_away(beat, direction(0.8, 0.3, 0.2), 0.7 * s)


# Territories: a territory is the direction of the heart vector that faces it. Dead muscle turns the first 40 ms of QRS
# away from it (Q waves), injury turns ST towards it (through the wall) or away from it (under the endocardium),
# ischaemia turns T away.

TERRITORY = {
    "AS": direction(-0.10, 0.00, 1.00),
    "A": direction(0.30, 0.05, 0.95),
    "AL": direction(0.80, -0.12, 0.62),
    "L": direction(1.00, -0.28, 0.02),
    "I": direction(-0.05, 1.00, -0.08),
    "IL": direction(0.62, 0.78, 0.02),
    "P": direction(0.05, 0.12, -1.00),
    "IP": direction(0.05, 0.75, -0.66),
    "IPL": direction(0.55, 0.60, -0.58),
}

CHEST = {
    "AS": (0.9, 1.0, 0.7, 0.2, 0.0, 0.0),
    "A": (0.2, 0.8, 1.0, 0.8, 0.2, 0.0),
    "AL": (0.0, 0.1, 0.5, 0.9, 1.0, 0.8),
    "L": (0.0, 0.0, 0.0, 0.2, 0.8, 1.0),
    "IL": (0.0, 0.0, 0.0, 0.1, 0.6, 0.9),
    "P": (-0.6, -0.6, -0.3, 0, 0, 0),
    "IPL": (-0.4, -0.4, -0.2, 0.0, 0.4, 0.7),
    "IP": (-0.4, -0.4, -0.2, 0, 0, 0),
    "I": (0, 0, 0, 0, 0, 0),
}
"""How close V1..V6 lie to each territory: their share of what no vector explains."""
INFARCTS = {f"{place}MI": place for place in ("I", "AS", "A", "AL", "L", "IL", "IP", "IPL", "P")}
ISCHAEMIAS = {"ISCAL": "AL", "ISCIN": "I", "ISCIL": "IL", "ISCAS": "AS", "ISCLA": "L", "ISCAN": "A"}
INJURIES = {"INJAS": "AS", "INJAL": "AL", "INJIN": "I", "INJLA": "L", "INJIL": "IL"}


def infarct(case: Case, place: str, s: float, acute: float, old_t: float) -> None:
    """Take the early forces that face a territory away; `acute` mV of ST towards it, T turned away by `old_t`."""
    beat, unit, chest = case.conducted, TERRITORY[place], np.array(CHEST[place])
    size = qrs_size(beat)
    broad = set(beat.qrs) & {"l0", "v0"}
    early = min(beat.qrs.values(), key=lambda w: w.at_ms).at_ms
    depth = (0.22 if broad else 0.46) * s * size
    beat.qrs["dead"] = Wave(early + 9.0, 12.0, 15.0, -depth * unit, -0.10 * s * chest)
    for name, share in (("q", 0.75), ("r1", 0.85), ("r2", 0.38), ("l0", 0.4), ("l1", 0.2)):
        if name in beat.qrs:
            beat.qrs[name].vector = drop_along(beat.qrs[name].vector, unit, min(share * s, 1.0))
    if acute:
        beat.add_st(acute * unit, slope=0.15)
        for w in beat.st.values():
            w.near = w.near + 0.25 * acute * chest
    if old_t:
        t_away(beat, unit, 1.0 + 0.7 * old_t, 0.10 * old_t * size)
        for name in ("t1", "t2"):
            beat.t[name].near = beat.t[name].near - 0.05 * old_t * chest


@effect(*INFARCTS)
def infarction(case: Case, s: float) -> None:
    place = next(INFARCTS[c] for c in INFARCTS if c in case.findings)
    acute = case.vary(0.17, 0.06, 0.05, 0.4) if case.rng.random() < 0.15 else 0.0
    infarct(case, place, s, acute, 0.6 * s if case.rng.random() < 0.6 else 0.0)


@effect("MI")
def some_infarction(case: Case, s: float) -> None:
    infarct(case, str(case.rng.choice(["I", "AS", "A", "AL", "IL"])), s, 0.12, 0.5)


@effect("ANEUR")
def aneurysm(case: Case, s: float) -> None:
    place = next((INFARCTS[c] for c in INFARCTS if c in case.findings), str(case.rng.choice(["A", "AS", "A", "I"])))
    infarct(case, place, 0.9 * s, case.vary(0.20, 0.05, 0.1, 0.35), 0.5)


def ischaemia(case: Case, place: str, st_mv: float, turn: float) -> None:
    """ST away from a territory by `st_mv`, T away from it (turn 1: inverted there)."""
    beat, unit, chest = case.conducted, TERRITORY[place], np.array(CHEST[place])
    beat.add_st(-st_mv * unit, slope=-0.1)
    for w in beat.st.values():
        w.near = w.near - 0.2 * st_mv * chest
    t_away(beat, unit, 1.0 + 0.7 * turn, 0.17 * turn)
    for name in ("t1", "t2"):
        beat.t[name].near = beat.t[name].near - 0.05 * turn * chest


@effect(*ISCHAEMIAS)
def local_ischaemia(case: Case, s: float) -> None:
    place = next(ISCHAEMIAS[c] for c in ISCHAEMIAS if c in case.findings)
    ischaemia(case, place, case.vary(0.05, 0.025, 0.0, 0.12) * s, s * case.vary(1.0, 0.25, 0.5, 1.6))


@effect("ISC_")
def some_ischaemia(case: Case, s: float) -> None:
    place = str(case.rng.choice(["AL", "L", "IL", "A", "I"], p=(0.35, 0.2, 0.2, 0.15, 0.1)))
    ischaemia(case, place, case.vary(0.07, 0.025, 0.02, 0.15) * s, 0.5 * s)


@effect(*INJURIES)
def injury(case: Case, s: float) -> None:
    """Subendocardial injury: horizontal ST depression over the territory, T little changed."""
    place = next(INJURIES[c] for c in INJURIES if c in case.findings)
    unit = TERRITORY[place]
    case.conducted.add_st(-case.vary(0.15, 0.04, 0.08, 0.3) * s * unit, slope=-0.15)
    for w in case.conducted.st.values():
        w.near = w.near - 0.04 * s * np.array(CHEST[place])
    t_away(case.conducted, unit, 0.5 * s)


# ST, T, QT and U, and what only describes a shape

LEFT = direction(0.85, 0.45, 0.15)
"""Where the leads look in which ST and T are usually judged: I, II, V4..V6."""


@effect("NDT")
def undiagnostic_t(case: Case, s: float) -> None:
    unit = direction(0.8, 0.4, case.rng.normal(0.2, 0.3))
    t_away(case.conducted, unit, 0.62 + 0.42 * s * case.rng.random(), 0.03 * s)


@effect("LOWT")
def low_t(case: Case, s: float) -> None:
    scale_t(case.conducted, float(np.clip(case.vary(0.26, 0.08, 0.1, 0.45) / s, 0.1, 0.5)))


@effect("NT_", "TAB_")
def unspecific_t(case: Case, s: float) -> None:
    unit = direction(*(np.array([0.6, 0.4, 0.3]) + case.rng.normal(0, 0.35, 3)))
    t_away(case.conducted, unit, (0.8 + 0.5 * s * case.rng.random()), 0.05 * s)


@effect("INVT")
def inverted_t(case: Case, s: float) -> None:
    unit = TERRITORY[str(case.rng.choice(["AL", "A", "IL", "L"]))]
    t_away(case.conducted, unit, 1.6 + 0.35 * s, 0.17 * s)


@effect("NST_")
def unspecific_st(case: Case, s: float) -> None:
    case.conducted.add_st(-case.vary(0.05, 0.015, 0.02, 0.1) * s * LEFT, slope=case.rng.normal(0, 0.2))
    t_away(case.conducted, LEFT, 0.45 * s)


@effect("STD_")
def st_depression(case: Case, s: float) -> None:
    unit = direction(*(LEFT + case.rng.normal(0, 0.2, 3)))
    case.conducted.add_st(-case.vary(0.11, 0.03, 0.05, 0.25) * s * unit, slope=case.rng.normal(-0.05, 0.15))
    t_away(case.conducted, unit, 0.35 * s)


@effect("STE_")
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
    beat = case.conducted
    unit = direction(0.75, 0.5, 0.45)
    beat.qrs["j"] = wave(beat.j_ms() + 2, 7, 11, *(0.20 * s * unit))
    beat.add_st(case.vary(0.12, 0.03, 0.06, 0.22) * s * unit, slope=0.35)
    scale_t(beat, 1.35)


@effect("DIG")
def digitalis(case: Case, s: float) -> None:
    """Scooped ST, flat T, short QT."""
    beat = case.conducted
    beat.add_st(-0.09 * s * qrs_size(beat) * LEFT, slope=-0.35)
    scale_t(beat, 0.5)
    beat.extra_qt_ms -= 25 * s
    if case.heart.pr_ms < 190:
        case.heart.pr_ms += 15 * s


@effect("LNGQT")
def long_qt(case: Case, s: float) -> None:
    case.heart.qtc_ms = case.vary(470 + 22 * s, 18, 462, 590)
    for name in ("t1", "t2"):
        case.conducted.t[name].rise_ms *= 1.15


@effect("EL")
def electrolytes(case: Case, s: float) -> None:
    """High potassium (tall narrow T) or low potassium (flat T, tall U)."""
    beat = case.conducted
    if case.rng.random() < 0.5:
        scale_t(beat, 1.0 + 1.1 * s)
        for name in ("t1", "t2"):
            beat.t[name].rise_ms, beat.t[name].fall_ms = 0.55 * beat.t[name].rise_ms, 0.7 * beat.t[name].fall_ms
    else:
        scale_t(beat, 0.35)
        u_wave(case, 1.2 * s)
        beat.add_st(-0.05 * s * LEFT)


@effect("UW")
def u_wave(case: Case, s: float) -> None:
    case.conducted.t["u"].vector = case.vary(0.14, 0.03, 0.08, 0.25) * s * direction(0.5, 0.35, 0.8)


@effect("QWAVE")
def q_waves(case: Case, s: float) -> None:
    if not {"dead", "l0"} & set(case.conducted.qrs):
        place = str(case.rng.choice(["I", "AS", "AL", "L", "IL"], p=(0.4, 0.2, 0.15, 0.15, 0.1)))
        infarct(case, place, 0.8 * s, 0.0, 0.0)


@effect("ABQRS")
def abnormal_qrs(case: Case, s: float) -> None:
    """A slur or notch in QRS, a poor R in the front leads, or both."""
    beat = case.conducted
    size = qrs_size(beat)
    beat.qrs["slur"] = wave(case.rng.uniform(-14, 30), 6, 7, *(0.22 * s * size * case.rng.normal(0, 0.7, 3)))
    if "r1" in beat.qrs and case.rng.random() < 0.5:
        beat.qrs["r1"].vector = beat.qrs["r1"].vector - s * size * np.array([0, 0, 0.20])


# When the heart beats, and from where


def _regular(codes: str, base: str, rate_bpm: tuple[float, float, float, float], **plan: float) -> None:
    """Register findings that set the base of the rhythm, its rate (as for `Case.vary`) and fields of the plan alone."""

    def act(case: Case, s: float) -> None:
        case.plan.base, case.plan.rate_bpm = base, case.vary(*rate_bpm)
        for name, value in plan.items():
            setattr(case.plan, name, value)

    effect(*codes.split())(act)


_regular("NORM SR", "sinus", (73, 10, 56, 97))
_regular("SBRAD", "sinus", (53, 4, 38, 60))
_regular("STACH", "sinus", (112, 11, 98, 152), breathing=0.012, scatter=0.006)
_regular("AT", "atrial", (134, 13, 108, 172), breathing=0.01, scatter=0.008)
_regular("SVARR", "wandering", (82, 14, 58, 118), scatter=0.05)


@effect("SARRH")
def arrhythmia(case: Case, s: float) -> None:
    case.plan.rate_bpm = case.vary(68, 9, 50, 92)
    case.plan.breathing, case.plan.scatter = 0.085 + 0.05 * s, 0.03


@effect("AFIB")
def fibrillation(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "fibrillation", case.vary(92, 24, 48, 165)
    case.plan.scatter = case.vary(0.21, 0.04, 0.12, 0.32)
    size_mv = float(np.clip(0.05 * np.exp(case.rng.normal(0, 0.55)), 0.012, 0.12))
    case.heart.atrial = {"fibrillation_mv": size_mv, "hz": case.vary(6.4, 0.8, 4.6, 8.5)}


@effect("AFLT")
def flutter(case: Case, s: float) -> None:
    case.plan.base, case.plan.flutter_hz = "flutter", case.vary(4.85, 0.4, 3.9, 5.7)
    patterns = ((2,), (4,), (3,), (2, 4), (2, 3, 4), (3, 4))
    case.plan.conduction = patterns[case.rng.choice(6, p=(0.3, 0.25, 0.08, 0.17, 0.12, 0.08))]
    case.heart.atrial = {"flutter_mv": case.vary(0.15, 0.04, 0.07, 0.28), "hz": case.plan.flutter_hz}


@effect("SVTAC", "PSVT")
def supraventricular_tachycardia(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "reentry", case.vary(168, 17, 132, 215)
    case.plan.breathing, case.plan.scatter = 0.004, 0.003
    case.conducted.add_st(-0.07 * s * direction(0.5, 0.7, 0.3))
    case.plan.paroxysm = "PSVT" in case.findings and case.rng.random() < 0.7


@effect("JEB")
def junctional_escape(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "junctional", case.vary(50, 6, 38, 64)
    if case.rng.random() < 0.5:
        case.plan.base, case.plan.escape = "sinus", "J"


@effect("VEB")
def ventricular_escape(case: Case, s: float) -> None:
    case.plan.rate_bpm, case.plan.escape = case.vary(58, 8, 42, 75), "V"


@effect("PVC")
def ventricular_premature(case: Case, s: float) -> None:
    if not any(kind == "V" for kind, _ in case.plan.early):
        case.plan.early.append(("V", "few"))


@effect("PAC")
def atrial_premature(case: Case, s: float) -> None:
    if not any(kind in "SA" for kind, _ in case.plan.early):
        case.plan.early.append(("A" if case.rng.random() < 0.12 else "S", "few"))


@effect("PRC(S)")
def premature(case: Case, s: float) -> None:
    if not case.plan.early:
        case.plan.early.append(("V" if case.rng.random() < 0.5 else "S", "few"))


@effect("BIGU", "VB")
def bigeminy(case: Case, s: float) -> None:
    ventricular = "VB" in case.findings or "PVC" in case.findings or case.rng.random() < 0.7
    case.plan.early = [("V" if ventricular else "S", "bigeminy")]
    case.plan.breathing = 0.01


@effect("TRIGU")
def trigeminy(case: Case, s: float) -> None:
    ventricular = "PVC" in case.findings or case.rng.random() < 0.7
    case.plan.early = [("V" if ventricular else "S", "trigeminy")]
    case.plan.breathing = 0.01


@effect("PACE")
def paced(case: Case, s: float) -> None:
    """An artificial pacemaker: a spike before each broad QRS, which starts at the apex of the right ventricle."""
    case.plan.base, case.plan.rate_bpm = "paced", case.vary(68, 8, 55, 95)
    angle = case.rng.normal(0, 0.15, 3)
    origin = direction(*(np.array([0.5, -0.72, -0.55]) + angle))
    width, size = case.vary(1.18, 0.07, 1.02, 1.4), case.vary(1.35, 0.25, 0.8, 2.0)
    case.heart.complexes["V"] = ventricular_beat(case, origin, width, size)
    case.heart.spikes = direction(*(np.array([-0.4, -0.8, -0.3]) + angle)) * case.vary(1.1, 0.45, 0.35, 2.2)


@effect("2AVB", "2AVB1", "AVB")
def second_degree_block(case: Case, s: float) -> None:
    """Second-degree AV block: some P waves are not conducted, with or without a lengthening PR."""
    if case.findings & {"2AVB", "2AVB1"}:
        unknown = ["wenckebach", "wenckebach", "mobitz", "two-to-one"]
        blocks = ["wenckebach"] if "2AVB1" in case.findings else unknown
        case.plan.block = str(case.rng.choice(blocks))
        case.plan.rate_bpm = case.vary(82, 10, 64, 108)
        case.plan.breathing = 0.015
        case.heart.pr_ms = max(case.heart.pr_ms, 165.0)
    elif not case.findings & {"1AVB", "3AVB"}:
        case.heart.pr_ms = case.vary(248, 30, 206, 340)


@effect("3AVB")
def complete_block(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "dissociated", case.vary(41, 6, 28, 54)
    case.plan.escape = "V" if case.rng.random() < 0.4 else "J"
    case.plan.breathing, case.plan.scatter = 0.005, 0.006


def finish_rhythm(case: Case) -> None:
    """The complexes that the rhythm may call for and no finding has shaped."""
    heart, normal = case.heart, case.conducted
    turn = case.rng.normal(0, 0.035, 3)  # an ectopic P comes from another place in the atria: often narrower
    p = heart.p["P"]
    heart.p["E"] = {
        k: Wave(w.at_ms, 0.85 * w.rise_ms, 0.85 * w.fall_ms, w.vector * (0.7, 0.45, 1.1) + turn) for k, w in p.items()
    }
    heart.p["R"] = {  # a retrograde one climbs from the AV node: inverted in the inferior leads
        k: Wave(0.6 * w.at_ms, w.rise_ms, w.fall_ms, w.vector * (0.3, -0.9, 0.6)) for k, w in p.items()
    }
    late = {"late": wave(48, 13, 15, -0.5, 0.0, 0.6)}  # an aberrant beat finds the right bundle refractory
    qrs = {k: Wave(w.at_ms, w.rise_ms, w.fall_ms, w.vector.copy()) for k, w in normal.qrs.items()} | late
    heart.complexes["A"] = fallback_complex(heart, qrs, share=0.15)
    heart.complexes["J"] = normal
    if "V" not in heart.complexes:  # a premature beat of the outflow tract, or of the right or left ventricle
        size = case.vary(1.6, 0.3, 1.0, 2.4)
        places = ((0.35, 0.85, -0.45), (0.75, -0.45, -0.6), (-0.55, 0.45, 0.7), (-0.45, -0.55, 0.75), (0.8, 0.3, -0.6))
        origin = direction(*(np.array(places[case.rng.integers(len(places))]) + case.rng.normal(0, 0.15, 3)))
        heart.complexes["V"] = ventricular_beat(case, origin, case.vary(1.0, 0.1, 0.82, 1.25), size)
    if case.plan.base == "dissociated":
        case.plan.early = []
