"""What each finding does to the heart and its rhythm, by the finding's code.

Codes are PTB-XL's statements, and the acronyms of the Chapman-Shaoxing-Ningbo set where PTB-XL has none. A finding acts
on the case (heart, rhythm plan, random generator) with a severity `s`: about 1, low in borderline cases. Findings act
in the order in which `EFFECTS` lists them: conduction shapes QRS before an infarct cuts into it, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from merit.synthetic.heart import Complex, Heart, Plan, Wave, wave


@dataclass(slots=True)
class Case:
    """A recording in the making."""

    heart: Heart
    plan: Plan
    rng: np.random.Generator
    findings: frozenset[str]

    def vary(self, mean: float, spread: float, low: float, high: float) -> float:
        """A normal random number, kept between `low` and `high`."""
        return float(np.clip(self.rng.normal(mean, spread), low, high))


# -- verbs: what is done to a complex ---------------------------------------------------------------------------------


def direction(*vector: float) -> np.ndarray:
    """Unit vector [3]."""
    v = np.array(vector, float)
    return v / np.sqrt(v @ v)


def scale(waves: dict[str, Wave], **factors: float | tuple[float, float, float]) -> None:
    """Scale the vectors of the waves named, all axes alike or each by its own factor; a negative one inverts."""
    for name, factor in factors.items():
        waves[name].vector = waves[name].vector * factor


def scale_qrs(beat: Complex, factor: float) -> None:
    """Scale the voltage of QRS."""
    for w in beat.qrs.values():
        w.vector, w.near = w.vector * factor, w.near * factor


def stretch(beat: Complex, factor: float) -> None:
    """Widen QRS about R."""
    for w in beat.qrs.values():
        w.at_ms, w.rise_ms, w.fall_ms = w.at_ms * factor, w.rise_ms * factor, w.fall_ms * factor


def set_axis(beat: Complex, degrees: float) -> None:
    """Turn the main forces of QRS in the frontal plane so that their mean axis is `degrees` (0 left, 90 feet)."""
    total = sum(w.vector * (w.rise_ms + w.fall_ms) for w in beat.qrs.values())
    turn = np.deg2rad(degrees) - np.arctan2(total[1], total[0])
    c, s = np.cos(turn), np.sin(turn)
    for w in beat.qrs.values():
        w.vector = np.array([c * w.vector[0] - s * w.vector[1], s * w.vector[0] + c * w.vector[1], w.vector[2]])


def drop_along(vector: np.ndarray, unit: np.ndarray, share: float) -> np.ndarray:
    """`vector` less `share` of its positive component along `unit`."""
    return vector - share * max(float(vector @ unit), 0.0) * unit


def t_away(beat: Complex, unit: np.ndarray, share: float, extra_mv: float = 0.0) -> None:
    """Turn T away from a direction: share 1 flattens it there, 2 inverts it; `extra_mv` deepens it."""
    for name in ("t1", "t2"):
        w = beat.t[name]
        w.vector = drop_along(w.vector, unit, share) - 0.5 * extra_mv * unit


def qrs_size(beat: Complex) -> float:
    """Size of the main QRS forces, mV: what discordant and secondary changes scale with."""
    return float(np.clip(max(w.size for w in beat.qrs.values()), 0.5, 2.6))


def narrow_size(beat: Complex) -> float:
    """Size of the main force of a narrow QRS, mV; of whatever QRS there is after a left bundle branch block."""
    return float(np.clip(beat.qrs["r2"].size if "r2" in beat.qrs else qrs_size(beat), 0.6, 2.0))


def discordant(beat: Complex, share: float, st_share: float) -> None:
    """ST and T opposite to the main forces, as after abnormal activation."""
    forces = sum(w.vector * (w.rise_ms + w.fall_ms) for w in beat.qrs.values())
    unit = forces / max(float(np.sqrt(forces @ forces)), 1e-6)
    size = qrs_size(beat)
    for name, part in (("t1", 0.55), ("t2", 0.6)):
        beat.t[name].vector = 0.25 * beat.t[name].vector - part * share * size * unit
    beat.add_st(-st_share * size * unit, slope=0.2)


def abnormal_beat(heart: Heart, qrs: dict[str, Wave], share: float, extra_qt_ms: float) -> Complex:
    """A complex with this QRS and discordant repolarisation."""
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
    return abnormal_beat(case.heart, qrs, share=0.34, extra_qt_ms=35.0)


# -- conduction and enlarged chambers ---------------------------------------------------------------------------------

CONDUCTION = """LAFB LPFB ALS ARS CCR CR IRBBB CRBBB CLBBB ILBBB IVCD WPW 1AVB LPR LAO/LAE RAO/RAE PWC LVH VCLVH HVOLT
LVOLT RVH SEHYP"""
AXES = {"ALS": (-42, 9, -75, -28), "ARS": (109, 10, 93, 140)}
"""Degrees, as for `Case.vary`."""
ROTATIONS = {"CCR": 32, "CR": -30}
"""Degrees that QRS turns in the horizontal plane: early transition (R exceeds S already in V2), late (beyond V4)."""
PATHWAYS = ((-0.45, 0.45, 0.80), (0.75, -0.35, 0.45), (0.80, -0.55, -0.10), (0.70, 0.40, -0.45))
"""Where accessory pathways send the delta wave."""


def conduction(case: Case, code: str, s: float) -> None:
    """How atria and ventricles are activated, and how large they are."""
    heart, rng, vary = case.heart, case.rng, case.vary
    beat, p = heart.complexes["N"], heart.p["P"]
    qrs, size = beat.qrs, narrow_size(beat)
    if code == "PWC":  # a change of P: of the left atrium or of the right one
        code = "LAO/LAE" if rng.random() < 0.6 else "RAO/RAE"
    match code:
        case "LAFB":  # left anterior fascicular block: axis left and up, qR in aVL, rS in the inferior leads
            set_axis(beat, vary(-30, 8, -54, -18))
            size = narrow_size(beat)
            qrs["q"].vector = size * np.array([-0.13, 0.17, 0.10])
            qrs["s1"].vector = qrs["s1"].vector + size * np.array([-0.28, -0.10, 0.0])
            scale(qrs, r2=(0.85, 0.70, 1.0))
            stretch(beat, 1.08)
        case "LPFB":  # left posterior fascicular block
            set_axis(beat, vary(112, 9, 98, 135))
            qrs["q"].vector = size * np.array([0.26, -0.26, 0.08])
            stretch(beat, 1.06)
        case "ALS" | "ARS":
            set_axis(beat, vary(*AXES[code]))
        case "CCR" | "CR":
            turn = np.deg2rad(ROTATIONS[code] * s)
            cos, sin = np.cos(turn), np.sin(turn)
            for w in qrs.values():
                x, y, z = w.vector
                w.vector = np.array([cos * x - sin * z, y, sin * x + cos * z])
        case "IRBBB":  # incomplete right bundle branch block
            qrs["late"] = wave(beat.j_ms() + 1, 8, 9, -0.22 * size * s, -0.05 * size, 0.34 * size * s)
            scale(qrs, s1=0.7)
        case "CRBBB":  # complete right bundle branch block: 120 ms or more, rsR' in V1, a broad S in I and V6
            w = vary(1.07, 0.08, 1.0, 1.32)
            late = rng.normal(0, 0.06, 3) + (-0.46, 0.0, 0.84)
            scale(qrs, s1=0.15, r2=(0.95, 1.0, 0.40), s2=0.2)
            qrs["late1"] = wave(38 * w, 10 * w, 14 * w, *(0.66 * size * late))
            qrs["late2"] = wave(61 * w, 13 * w, 14 * w, *(0.44 * size * late))
            for name in ("late1", "late2"):  # less of it in the left leads than the field says
                qrs[name].near = size * np.array([0.0, 0.0, -0.03, -0.06, 0.0, 0.10])
            away = direction(-0.45, 0, 0.9)
            t_away(beat, away, 1.5, 0.20 * size)
            beat.add_st(-0.05 * size * away)
            beat.extra_qt_ms += 18
        case "CLBBB":  # complete left bundle branch block: a broad notched R in I, aVL, V5 and V6, a deep S in V1..V3
            size = np.clip(1.04 * size * vary(1.0, 0.12, 0.75, 1.3), 0.85, 1.4)
            w = vary(1.10, 0.07, 1.0, 1.3)
            up = rng.normal(0.0, 0.10)
            turn = rng.normal(0, 0.06, (5, 3))
            parts = (  # from the septum to the left, through it and, after the notch, over the free wall
                (-36, 11, 12, (0.26, 0.10, 0.02 + 0.2 * rng.random())),
                (-13, 13, 14, (0.54, 0.08, -0.92)),
                (8, 13, 14, (0.13, 0.00, -0.88)),
                (29, 13, 15, (0.58, -0.06, -0.96)),
                (50, 12, 14, (0.22, -0.06, -0.28)),
            )
            beat.qrs = {
                f"l{k}": wave(at * w, rise * w, fall * w, *(size * (np.array(v) + turn[k] + (0, up * abs(v[0]), 0))))
                for k, (at, rise, fall, v) in enumerate(parts)
            }
            for k in (1, 2, 3):  # the transition is late, beyond what the field says
                beat.qrs[f"l{k}"].near = size * np.array([0.12, 0.0, -0.40, -0.48, 0.0, -0.06])
            discordant(beat, 0.38, 0.09)
            for name in ("t1", "t2"):
                beat.t[name].near = size * np.array([-0.06, 0.0, 0.17, 0.10, 0.06, 0.04])
                beat.t[name].rise_ms *= 1.3
            beat.extra_qt_ms += 30
        case "ILBBB":  # incomplete left bundle branch block: the same direction, below 120 ms
            qrs["q"].vector = size * np.array([0.12, 0.05, 0.06])
            scale(qrs, r1=(1.0, 1.0, 0.3))
            qrs["r2"].vector = qrs["r2"].vector + size * np.array([0.12, 0, -0.18])
            stretch(beat, 1.22)
            t_away(beat, direction(1, 0.2, -0.4), 0.9)
        case "IVCD":  # intraventricular conduction delay
            stretch(beat, vary(1.38, 0.07, 1.25, 1.6))
            qrs["notch"] = wave(beat.j_ms() - 12, 8, 10, *(0.24 * size * rng.normal(0, 0.7, 3)))
            t_away(beat, direction(0.9, 0.4, 0), 0.4 * s)
        case "WPW":  # Wolff-Parkinson-White: a short PR, a delta wave, a broad QRS with discordant repolarisation
            unit = direction(*(np.array(PATHWAYS[rng.integers(4)]) + rng.normal(0, 0.1, 3)))
            amount = size * vary(0.62, 0.12, 0.35, 1.0) * s
            scale(qrs, q=0.1)
            qrs["delta1"] = wave(-50, 12, 16, *(0.34 * amount * unit))
            qrs["delta2"] = wave(-27, 15, 16, *(0.85 * amount * unit))
            for name in ("r1", "r2"):
                qrs[name].vector = 0.8 * qrs[name].vector + 0.30 * amount * unit
            t_away(beat, unit, 1.2, 0.08 * amount)
            heart.pr_ms = vary(102, 9, 82, 120)
        case "1AVB" | "LPR":  # a slow AV node
            if heart.pr_ms < 200:
                heart.pr_ms = vary(205 + 26 * s, 16, 199, 330)
        case "LAO/LAE":
            p["la"].at_ms += 17 * s
            p["la"].vector = p["la"].vector * (1.15, 1.1, 1.0) + s * np.array([0.015, 0.01, -0.062])
            p["ra"].at_ms -= 6 * s
        case "RAO/RAE":
            scale(p, ra=1.0 + 1.5 * s, la=0.9)
        case "LVH":  # left ventricular hypertrophy: tall R in V5 and V6, deep S in V1 and V2, sometimes with strain
            factor = max(vary(2.0, 0.25, 1.5, 2.7) * s**0.35 / size, 1.0 + 0.22 * s)
            factor = factor if "r2" in qrs else min(factor, 1.25)  # a bundle branch block is deep already
            for name in ("r2", "s1") if "r2" in qrs else tuple(qrs):
                qrs[name].vector = qrs[name].vector * factor * (1.15, 0.9, 1.06)
            stretch(beat, 1.06)
            if rng.random() < 0.6:
                strain = direction(0.88, 0.20, -0.50)
                t_away(beat, strain, 1.2 * s, 0.15 * s * qrs_size(beat))
                beat.add_st(-0.055 * s * qrs_size(beat) * strain, slope=0.35)
        case "VCLVH" | "HVOLT":
            if "LVH" not in case.findings:
                scale_qrs(beat, 1.0 + vary(0.42, 0.1, 0.2, 0.7) * s)
        case "LVOLT":
            scale_qrs(beat, float(np.clip(vary(0.40, 0.06, 0.25, 0.5) / s, 0.25, 0.62)))
        case "RVH":  # right ventricular hypertrophy: a tall R in V1, a deep S in V6, the axis to the right
            set_axis(beat, vary(112, 12, 92, 145))
            qrs["r1"].vector = qrs["r1"].vector + s * size * np.array([-0.22, 0.05, 0.55])
            qrs["s2"].vector = qrs["s2"].vector + s * size * np.array([-0.42, -0.02, 0.10])
            scale(qrs, r2=(0.8, 1.0, 0.45))
            t_away(beat, direction(-0.5, 0.1, 0.85), 1.2 * s, 0.12 * s)
        case "SEHYP":  # septal hypertrophy
            qrs["q"].vector = size * s * np.array([-0.52, -0.28, 0.42])
            scale(qrs, r2=1.25)
            t_away(beat, direction(0.8, 0.3, 0.2), 0.7 * s)


# -- territories ------------------------------------------------------------------------------------------------------
# A territory is the direction of the heart vector that faces it. Dead muscle turns the first 40 ms of QRS away from it
# (Q waves), injury turns ST towards it (through the wall) or away from it (under the endocardium), ischaemia turns T
# away.

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
    "AS": (0.4, 0.8, 1.1, 1.0, 0.3, 0.0),
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
TERRITORIAL = (*INFARCTS, "MI", "ANEUR", *ISCHAEMIAS, "ISC_", *INJURIES)


def add_near(waves: dict[str, Wave], chest: np.ndarray, mv: float) -> None:
    """Add `mv` to the ST or T waves in V1..V6, as close as they lie to a territory (`chest` [6]); U stays."""
    for name, w in waves.items():
        if name != "u":
            w.near = w.near + mv * chest


def infarct(beat: Complex, place: str, s: float, acute: float, old_t: float) -> None:
    """Take the early forces that face a territory away; `acute` mV of ST towards it, T turned away by `old_t`."""
    unit, chest = TERRITORY[place], np.array(CHEST[place])
    size = qrs_size(beat)
    early = min(beat.qrs.values(), key=lambda w: w.at_ms).at_ms
    depth = (
        (0.22 if set(beat.qrs) & {"l0", "v0"} else 0.19 if place in ("I", "IL", "IP", "IPL") else 0.32) * s * size
    )  # less in a broad QRS
    beat.qrs["dead"] = Wave(early + 9.0, 12.0, 15.0, -depth * unit, -0.10 * s * chest)
    for name, share in (("q", 0.75), ("r1", 0.85), ("r2", 0.38), ("l0", 0.4), ("l1", 0.2)):
        if name in beat.qrs:
            beat.qrs[name].vector = drop_along(beat.qrs[name].vector, unit, min(share * s, 1.0))
    if "r2" in beat.qrs:  # R is lost over the territory
        beat.qrs["r2"].near = beat.qrs["r2"].near - 0.45 * s * size * np.maximum(chest, 0)
    if acute:
        beat.add_st(acute * unit, slope=0.15)
        add_near(beat.st, chest, 0.25 * acute)
    if old_t:
        t_away(beat, unit, 1.0 + 0.7 * old_t, 0.10 * old_t * size)
        add_near(beat.t, chest, -0.05 * old_t)


def territorial(case: Case, code: str, s: float) -> None:
    """Infarction, aneurysm, ischaemia and injury of a part of the left ventricle."""
    beat, rng, vary = case.heart.complexes["N"], case.rng, case.vary
    if code in INFARCTS:
        acute = vary(0.17, 0.06, 0.05, 0.4) if rng.random() < 0.15 else 0.0
        infarct(beat, INFARCTS[code], s, acute, 0.5 * s if rng.random() < 0.4 else 0.0)
    elif code == "MI":
        infarct(beat, str(rng.choice(["I", "AS", "A", "AL", "IL"])), s, 0.12, 0.5)
    elif code == "ANEUR":
        anywhere = str(rng.choice(["A", "AS", "A", "I"]))
        place = next((INFARCTS[c] for c in INFARCTS if c in case.findings), anywhere)
        infarct(beat, place, 0.9 * s, vary(0.20, 0.05, 0.1, 0.35), 0.5)
    elif code in INJURIES:  # under the endocardium: horizontal ST depression over the territory, T little changed
        place = INJURIES[code]
        beat.add_st(-vary(0.15, 0.04, 0.08, 0.3) * s * TERRITORY[place], slope=-0.15)
        add_near(beat.st, np.array(CHEST[place]), -0.04 * s)
        t_away(beat, TERRITORY[place], 0.5 * s)
    else:  # ischaemia: ST away from the territory, T away from it (turn 1: inverted there)
        if code == "ISC_":
            place = str(rng.choice(["AL", "L", "IL", "A", "I"], p=(0.35, 0.2, 0.2, 0.15, 0.1)))
            st_mv, turn = vary(0.07, 0.025, 0.02, 0.15) * s, 0.5 * s
        else:
            place = ISCHAEMIAS[code]
            st_mv, turn = vary(0.05, 0.025, 0.0, 0.12) * s, s * vary(1.0, 0.25, 0.5, 1.6)
        beat.add_st(-st_mv * TERRITORY[place], slope=-0.1)
        add_near(beat.st, np.array(CHEST[place]), -0.2 * st_mv)
        t_away(beat, TERRITORY[place], 1.0 + 0.7 * turn, 0.17 * turn)
        add_near(beat.t, np.array(CHEST[place]), -0.05 * turn)


# -- ST, T, QT and U, and what only describes a shape -----------------------------------------------------------------

SHAPES = "NDT LOWT NT_ TAB_ INVT NST_ STD_ STE_ STTU ERV DIG LNGQT EL UW QWAVE ABQRS"
LEFT = direction(0.85, 0.45, 0.15)
"""Where the leads look in which ST and T are usually judged: I, II, V4..V6."""


def shape(case: Case, code: str, s: float) -> None:
    """Changes of the segment and the waves after QRS, and descriptions of QRS."""
    heart, rng, vary = case.heart, case.rng, case.vary
    beat = heart.complexes["N"]
    match code:
        case "NDT":  # T undiagnostic
            unit = direction(0.8, 0.4, rng.normal(0.2, 0.3))
            t_away(beat, unit, 0.62 + 0.42 * s * rng.random(), 0.03 * s)
        case "LOWT":
            factor = float(np.clip(vary(0.26, 0.08, 0.1, 0.45) / s, 0.1, 0.5))
            scale(beat.t, t1=factor, t2=factor)
        case "NT_" | "TAB_":  # T unspecific
            unit = direction(*(np.array([0.6, 0.4, 0.3]) + rng.normal(0, 0.35, 3)))
            t_away(beat, unit, (0.8 + 0.5 * s * rng.random()), 0.05 * s)
        case "INVT":
            t_away(beat, TERRITORY[str(rng.choice(["AL", "A", "IL", "L"]))], 1.6 + 0.35 * s, 0.17 * s)
        case "NST_":  # ST unspecific
            beat.add_st(-vary(0.05, 0.015, 0.02, 0.1) * s * LEFT, slope=rng.normal(0, 0.2))
            t_away(beat, LEFT, 0.45 * s)
        case "STD_":
            unit = direction(*(LEFT + rng.normal(0, 0.2, 3)))
            beat.add_st(-vary(0.11, 0.03, 0.05, 0.25) * s * unit, slope=rng.normal(-0.05, 0.15))
            t_away(beat, unit, 0.35 * s)
        case "STE_":
            places = ("AS", "A", "AL", "I", "IL")
            unit = TERRITORY[places[rng.choice(5, p=(0.28, 0.3, 0.15, 0.17, 0.1))]]
            beat.add_st(vary(0.17, 0.05, 0.08, 0.4) * s * unit, slope=0.25)
            beat.t["t1"].vector = beat.t["t1"].vector + 0.10 * s * unit
        case "STTU":  # ST rises straight from J into T
            beat.add_st(0.05 * s * LEFT, slope=1.6)
            beat.t["t1"].rise_ms *= 1.35
        case "ERV":  # early repolarisation: a notch at J, ST raised, T tall
            unit = direction(0.75, 0.5, 0.45)
            beat.qrs["j"] = wave(beat.j_ms() + 2, 7, 11, *(0.20 * s * unit))
            beat.add_st(vary(0.12, 0.03, 0.06, 0.22) * s * unit, slope=0.35)
            scale(beat.t, t1=1.35, t2=1.35)
        case "DIG":  # digitalis: ST scooped, T flat, QT short
            beat.add_st(-0.09 * s * qrs_size(beat) * LEFT, slope=-0.35)
            scale(beat.t, t1=0.5, t2=0.5)
            beat.extra_qt_ms -= 25 * s
            if heart.pr_ms < 190:
                heart.pr_ms += 15 * s
        case "LNGQT":
            heart.qtc_ms = vary(482 + 22 * s, 18, 474, 590)
            for name in ("t1", "t2"):
                beat.t[name].rise_ms *= 1.15
        case "EL":  # electrolytes: high potassium (tall narrow T) or low potassium (flat T, tall U)
            if rng.random() < 0.5:
                scale(beat.t, t1=1.0 + 1.1 * s, t2=1.0 + 1.1 * s)
                for w in (beat.t["t1"], beat.t["t2"]):
                    w.rise_ms, w.fall_ms = 0.55 * w.rise_ms, 0.7 * w.fall_ms
            else:
                scale(beat.t, t1=0.35, t2=0.35)
                shape(case, "UW", 1.2 * s)
                beat.add_st(-0.05 * s * LEFT)
        case "UW":
            beat.t["u"].vector = vary(0.14, 0.03, 0.08, 0.25) * s * direction(0.5, 0.35, 0.8)
        case "QWAVE":
            if not {"dead", "l0"} & set(beat.qrs):
                place = str(rng.choice(["I", "AS", "AL", "L", "IL"], p=(0.4, 0.2, 0.15, 0.15, 0.1)))
                infarct(beat, place, 0.8 * s, 0.0, 0.0)
        case "ABQRS":  # a slur or notch in QRS, a poor R in the front leads, or both
            size = qrs_size(beat)
            beat.qrs["slur"] = wave(rng.uniform(-14, 30), 6, 7, *(0.22 * s * size * rng.normal(0, 0.7, 3)))
            if "r1" in beat.qrs and rng.random() < 0.5:
                beat.qrs["r1"].vector = beat.qrs["r1"].vector - s * size * np.array([0, 0, 0.20])


# -- when the heart beats, and from where -----------------------------------------------------------------------------

RHYTHMS = """SR NORM SBRAD STACH AT SVARR SARRH AFIB AFLT SVTAC PSVT JEB VEB PVC PAC PRC(S) BIGU VB TRIGU PACE 2AVB
2AVB1 AVB 3AVB"""
REGULAR: dict[str, tuple[str, tuple[float, float, float, float], dict[str, float | str]]] = {
    "SR": ("sinus", (74, 11, 54, 98), {}),
    "NORM": ("sinus", (69.5, 10.5, 54, 96), {}),
    "SBRAD": ("sinus", (53, 4, 38, 60), {}),
    "STACH": ("sinus", (112, 11, 98, 152), {"breathing": 0.012, "scatter": 0.006}),
    "AT": ("atrial", (134, 13, 108, 172), {"breathing": 0.01, "scatter": 0.008}),
    "SVARR": ("wandering", (82, 14, 58, 118), {"scatter": 0.05}),
    "SARRH": ("sinus", (68, 9, 50, 92), {"scatter": 0.03}),
    "AFIB": ("fibrillation", (92, 24, 48, 165), {}),
    "SVTAC": ("reentry", (168, 17, 132, 215), {"breathing": 0.004, "scatter": 0.003}),
    "PSVT": ("reentry", (168, 17, 132, 215), {"breathing": 0.004, "scatter": 0.003}),
    "JEB": ("junctional", (50, 6, 38, 64), {}),
    "VEB": ("sinus", (58, 8, 42, 75), {"escape": "V"}),
    "PACE": ("paced", (68, 8, 55, 95), {}),
    "3AVB": ("dissociated", (48, 5, 40, 60), {"breathing": 0.005, "scatter": 0.006}),
}
"""Finding -> base of the rhythm, beats a minute (as for `Case.vary`), and fields of the plan that it sets."""
FLUTTER = ((2,), (4,), (3,), (2, 4), (2, 3, 4), (3, 4))
"""Flutter waves for each ventricular beat: patterns of conduction."""
ORIGINS = ((0.35, 0.85, -0.45), (0.75, -0.45, -0.6), (-0.55, 0.45, 0.7), (-0.45, -0.55, 0.75), (0.8, 0.3, -0.6))
"""Of premature beats: the outflow tract, and places of the right and the left ventricle."""


def rhythm(case: Case, code: str, s: float) -> None:
    """What the plan of the rhythm asks for, and what it needs of the heart."""
    heart, plan, rng, vary = case.heart, case.plan, case.rng, case.vary
    if code in REGULAR:
        plan.base, rate, fields = REGULAR[code]
        plan.rate_bpm = vary(*rate)
        for name, value in fields.items():
            setattr(plan, name, value)
    match code:
        case "SARRH":
            plan.breathing = 0.085 + 0.05 * s
        case "AFIB":
            plan.scatter = vary(0.21, 0.04, 0.12, 0.32)
            size_mv = float(np.clip(0.028 * np.exp(rng.normal(0, 0.5)), 0.014, 0.10))
            heart.atrial = {"fibrillation_mv": size_mv, "hz": vary(6.4, 0.8, 4.6, 8.5)}
        case "AFLT":
            plan.base, plan.flutter_hz = "flutter", vary(4.85, 0.4, 3.9, 5.7)
            plan.conduction = FLUTTER[rng.choice(6, p=(0.42, 0.25, 0.04, 0.15, 0.08, 0.06))]
            heart.atrial = {"flutter_mv": vary(0.15, 0.04, 0.07, 0.28), "hz": plan.flutter_hz}
        case "SVTAC" | "PSVT":  # supraventricular tachycardia
            heart.complexes["N"].add_st(-0.07 * s * direction(0.5, 0.7, 0.3))
            plan.paroxysm = "PSVT" in case.findings and rng.random() < 0.7
        case "JEB":  # a junctional rhythm, or an escape beat after a pause
            if rng.random() < 0.5:
                plan.base, plan.escape = "sinus", "J"
        case "PVC":
            if not any(kind == "V" for kind, _ in plan.early):
                plan.early.append(("V", "few"))
        case "PAC":
            if not any(kind in "SA" for kind, _ in plan.early):
                plan.early.append(("A" if rng.random() < 0.12 else "S", "few"))
        case "PRC(S)":  # premature, of the ventricles or above
            if not plan.early:
                plan.early.append(("V" if rng.random() < 0.5 else "S", "few"))
        case "BIGU" | "VB" | "TRIGU":
            ventricular = bool(case.findings & {"VB", "PVC"}) or rng.random() < 0.7
            plan.early = [("V" if ventricular else "S", "trigeminy" if code == "TRIGU" else "bigeminy")]
            plan.breathing = 0.01
        case "PACE":  # a spike before each broad QRS, which starts at the apex of the right ventricle
            angle = rng.normal(0, 0.15, 3)
            origin = direction(*(np.array([0.5, -0.72, -0.55]) + angle))
            width, size = vary(1.18, 0.07, 1.02, 1.4), vary(1.35, 0.25, 0.8, 2.0)
            heart.complexes["V"] = ventricular_beat(case, origin, width, size)
            heart.spikes = direction(*(np.array([-0.4, -0.8, -0.3]) + angle)) * vary(1.1, 0.45, 0.35, 2.2)
        case "2AVB" | "2AVB1" | "AVB":  # some P waves are not conducted, with or without a lengthening PR
            if case.findings & {"2AVB", "2AVB1"}:
                unknown = ["wenckebach", "wenckebach", "mobitz", "two-to-one"]
                plan.block = str(rng.choice(["wenckebach"] if "2AVB1" in case.findings else unknown))
                plan.rate_bpm = vary(82, 10, 64, 108)
                plan.breathing = 0.015
                heart.pr_ms = max(heart.pr_ms, 165.0)
            elif not case.findings & {"1AVB", "3AVB"}:
                heart.pr_ms = vary(248, 30, 206, 340)
        case "3AVB":  # a junctional escape, narrow, or a slower and broad one of the ventricles
            plan.escape = "V" if rng.random() < 0.2 else "J"
            if plan.escape == "V":
                plan.rate_bpm = vary(35, 3, 28, 40)


def finish_rhythm(case: Case) -> None:
    """The complexes that the rhythm may call for and no finding has shaped."""
    heart, rng = case.heart, case.rng
    normal, p = heart.complexes["N"], heart.p["P"]
    turn = rng.normal(0, 0.035, 3)  # an ectopic P comes from another place in the atria: often narrower
    heart.p["E"] = {
        k: Wave(w.at_ms, 0.85 * w.rise_ms, 0.85 * w.fall_ms, w.vector * (0.7, 0.45, 1.1) + turn) for k, w in p.items()
    }
    heart.p["R"] = {  # a retrograde one climbs from the AV node: inverted in the inferior leads
        k: Wave(0.6 * w.at_ms, w.rise_ms, w.fall_ms, w.vector * (0.3, -0.9, 0.6)) for k, w in p.items()
    }
    qrs = {k: Wave(w.at_ms, w.rise_ms, w.fall_ms, w.vector.copy()) for k, w in normal.qrs.items()}
    qrs["late"] = wave(48, 13, 15, -0.5, 0.0, 0.6)  # an aberrant beat finds the right bundle refractory
    heart.complexes["A"] = abnormal_beat(heart, qrs, share=0.15, extra_qt_ms=20.0)
    heart.complexes["J"] = normal
    if "V" not in heart.complexes:  # a premature beat
        size = case.vary(1.6, 0.3, 1.0, 2.4)
        origin = direction(*(np.array(ORIGINS[rng.integers(len(ORIGINS))]) + rng.normal(0, 0.15, 3)))
        heart.complexes["V"] = ventricular_beat(case, origin, case.vary(1.0, 0.1, 0.82, 1.25), size)
    if case.plan.base == "dissociated":
        case.plan.early = []


Effect = Callable[[Case, str, float], None]
EFFECTS: dict[str, Effect] = {
    **dict.fromkeys(CONDUCTION.split(), conduction),
    **dict.fromkeys(TERRITORIAL, territorial),
    **dict.fromkeys(SHAPES.split(), shape),
    **dict.fromkeys(RHYTHMS.split(), rhythm),
}
"""Finding -> what makes it, in the order in which findings act."""
