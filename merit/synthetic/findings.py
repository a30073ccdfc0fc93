"""What each finding does to the heart and its rhythm: a registry of small functions by the finding's code.

Codes are PTB-XL's statements, and the acronyms of the Chapman-Shaoxing-Ningbo set where PTB-XL has none. A function
takes the case (heart, rhythm plan, random generator) and the severity: about 1, low in borderline cases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from merit.synthetic.physiology import Complex, Heart, Wave, wave
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
        return self.heart.complexes["N"]

    def vary(self, mean: float, spread: float, low: float, high: float) -> float:
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


def qrs_size(one: Complex) -> float:
    """Size of the main QRS forces, mV: what discordant and secondary changes scale with."""
    return float(np.clip(max(w.size for w in one.qrs.values()), 0.5, 2.6))


def set_axis(one: Complex, degrees: float) -> None:
    """Turn the main forces of QRS in the frontal plane so that their mean axis is `degrees` (0 left, 90 feet)."""
    total = sum(w.vector * (w.rise_ms + w.fall_ms) for w in one.qrs.values())
    turn = np.deg2rad(degrees) - np.arctan2(total[1], total[0])
    c, s = np.cos(turn), np.sin(turn)
    for w in one.qrs.values():
        w.vector = np.array([c * w.vector[0] - s * w.vector[1], s * w.vector[0] + c * w.vector[1], w.vector[2]])


def stretch(one: Complex, factor: float) -> None:
    """Widen QRS about R."""
    for w in one.qrs.values():
        w.at_ms, w.rise_ms, w.fall_ms = w.at_ms * factor, w.rise_ms * factor, w.fall_ms * factor


def scale_qrs(one: Complex, factor: float) -> None:
    """Scale the voltage of QRS."""
    for w in one.qrs.values():
        w.vector = w.vector * factor
        w.near = w.near * factor


def scale_t(one: Complex, factor: float) -> None:
    """Scale the T wave (negative inverts it); the U wave stays."""
    for name in ("t1", "t2"):
        one.t[name].vector = one.t[name].vector * factor


def drop_along(vector: np.ndarray, unit: np.ndarray, share: float) -> np.ndarray:
    """`vector` less `share` of its positive component along `unit`."""
    return vector - share * max(float(vector @ unit), 0.0) * unit


def t_away(one: Complex, unit: np.ndarray, share: float, extra_mv: float = 0.0) -> None:
    """Turn T away from a direction: share 1 flattens it there, 2 inverts it; `extra_mv` deepens it."""
    for name in ("t1", "t2"):
        w = one.t[name]
        w.vector = drop_along(w.vector, unit, share) - 0.5 * extra_mv * unit


def discordant(one: Complex, share: float, st_share: float) -> None:
    """ST and T opposite to the main forces, as after abnormal activation."""
    forces = sum(w.vector * (w.rise_ms + w.fall_ms) for w in one.qrs.values())
    unit = forces / max(float(np.sqrt(forces @ forces)), 1e-6)
    size = qrs_size(one)
    for name, part in (("t1", 0.55), ("t2", 0.6)):
        one.t[name].vector = 0.25 * one.t[name].vector - part * share * size * unit
    one.add_st(-st_share * size * unit, slope=0.2)


def fallback_complex(heart: Heart, qrs: dict[str, Wave], share: float = 0.3, extra_qt_ms: float = 20.0) -> Complex:
    """A ventricular complex with this QRS and discordant repolarisation."""
    t = {name: Wave(w.at_ms, 1.15 * w.rise_ms, 1.15 * w.fall_ms, w.vector.copy()) for name, w in
         heart.complexes["N"].t.items()}  # fmt: skip
    one = Complex(qrs, {}, t, extra_qt_ms=extra_qt_ms)
    discordant(one, share, 0.06)
    return one


def ventricular_beat(case: Case, origin: np.ndarray, width: float, size: float) -> Complex:
    """A beat that starts in the ventricles and spreads along `origin` [3] (unit): broad, notched, T discordant."""
    wobble = case.rng.normal(0, 0.22, (3, 3))
    parts = ((-34, 15, 0.45), (-2, 20, 1.0), (32, 18, 0.55))
    qrs = {
        f"v{k}": wave(at * width, w * width, w * width, *(part * size * (origin + wobble[k])))
        for k, (at, w, part) in enumerate(parts)
    }
    return fallback_complex(case.heart, qrs, share=0.34, extra_qt_ms=35.0)


def ectopic_origin(case: Case) -> np.ndarray:
    """Direction of spread of a premature ventricular beat: outflow tract, right or left ventricle."""
    choices = ([0.35, 0.85, -0.45], [0.75, -0.45, -0.6], [-0.55, 0.45, 0.7], [-0.45, -0.55, 0.75], [0.8, 0.3, -0.6])
    return direction(*(np.array(choices[case.rng.integers(len(choices))]) + case.rng.normal(0, 0.15, 3)))
