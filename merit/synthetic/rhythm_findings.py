"""Findings that change when the heart beats, and from where."""

from __future__ import annotations

import numpy as np

from merit.synthetic.findings import (
    Case,
    direction,
    ectopic_origin,
    effect,
    fallback_complex,
    ventricular_beat,
)
from merit.synthetic.physiology import Complex, Wave, wave


@effect("NORM", "SR")
def sinus(case: Case, s: float) -> None:
    case.plan.rate_bpm = case.vary(73, 10, 56, 97)


@effect("SBRAD")
def bradycardia(case: Case, s: float) -> None:
    case.plan.rate_bpm = case.vary(53, 4, 38, 60)


@effect("STACH")
def tachycardia(case: Case, s: float) -> None:
    case.plan.rate_bpm = case.vary(112, 11, 98, 152)
    case.plan.breathing, case.plan.scatter = 0.012, 0.006


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


@effect("AFLT", "AF")
def flutter(case: Case, s: float) -> None:
    case.plan.base, case.plan.flutter_hz = "flutter", case.vary(4.85, 0.4, 3.9, 5.7)
    patterns = ((2,), (4,), (3,), (2, 4), (2, 3, 4), (3, 4))
    case.plan.conduction = patterns[case.rng.choice(6, p=(0.3, 0.25, 0.08, 0.17, 0.12, 0.08))]
    case.heart.atrial = {"flutter_mv": case.vary(0.15, 0.04, 0.07, 0.28), "hz": case.plan.flutter_hz}


def ectopic_p(case: Case) -> dict[str, Wave]:
    """A P wave from another place in the atria: other direction, often narrower."""
    turn = case.rng.normal(0, 0.035, 3)
    shape = {}
    for name, w in case.heart.p["P"].items():
        shape[name] = Wave(w.at_ms, 0.85 * w.rise_ms, 0.85 * w.fall_ms, w.vector * (0.7, 0.45, 1.1) + turn)
    return shape


def retrograde_p(case: Case) -> dict[str, Wave]:
    """A P wave that climbs from the AV node: inverted in the inferior leads."""
    return {
        name: Wave(0.6 * w.at_ms, w.rise_ms, w.fall_ms, w.vector * (0.3, -0.9, 0.6))
        for name, w in case.heart.p["P"].items()
    }


@effect("SVTAC", "SVT", "PSVT", "AVNRT")
def supraventricular_tachycardia(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "reentry", case.vary(168, 17, 132, 215)
    case.plan.breathing, case.plan.scatter = 0.004, 0.003
    case.conducted.add_st(-0.07 * s * direction(0.5, 0.7, 0.3))
    case.plan.paroxysm = "PSVT" in case.findings and case.rng.random() < 0.7


@effect("AT")
def atrial_tachycardia(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "atrial", case.vary(134, 13, 108, 172)
    case.plan.breathing, case.plan.scatter = 0.01, 0.008


@effect("SVARR")
def supraventricular_arrhythmia(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "wandering", case.vary(82, 14, 58, 118)
    case.plan.scatter = 0.05


@effect("JEB")
def junctional_escape(case: Case, s: float) -> None:
    case.plan.base, case.plan.rate_bpm = "junctional", case.vary(50, 6, 38, 64)
    if case.rng.random() < 0.5:
        case.plan.base, case.plan.escape = "sinus", "J"


@effect("VEB")
def ventricular_escape(case: Case, s: float) -> None:
    case.plan.rate_bpm, case.plan.escape = case.vary(58, 8, 42, 75), "V"


@effect("PVC", "VPB")
def ventricular_premature(case: Case, s: float) -> None:
    if not any(kind == "V" for kind, _ in case.plan.early):
        case.plan.early.append(("V", "few"))


@effect("PAC", "APB")
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


@effect("2AVB", "2AVB1", "2AVB2", "AVB")
def second_degree_block(case: Case, s: float) -> None:
    """Second-degree AV block: some P waves are not conducted, with or without a lengthening PR."""
    kinds = {"2AVB1": ["wenckebach"], "2AVB2": ["mobitz", "two-to-one"]}
    code = next((c for c in kinds if c in case.findings), "")
    if code or "2AVB" in case.findings:
        case.plan.block = str(case.rng.choice(kinds.get(code, ["wenckebach", "wenckebach", "mobitz", "two-to-one"])))
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


def _aberrant(case: Case) -> Complex:
    """A conducted beat that finds the right bundle refractory."""
    normal = case.conducted
    qrs = {k: Wave(w.at_ms, w.rise_ms, w.fall_ms, w.vector.copy()) for k, w in normal.qrs.items()}
    qrs["late"] = wave(48, 13, 15, -0.5, 0.0, 0.6)
    return fallback_complex(case.heart, qrs, share=0.15)


def finish_rhythm(case: Case) -> None:
    """The complexes that the rhythm may call for and no finding has shaped."""
    heart, one = case.heart, case.conducted
    heart.p.setdefault("E", ectopic_p(case))
    heart.p.setdefault("R", retrograde_p(case))
    heart.complexes.setdefault("A", _aberrant(case))
    heart.complexes.setdefault("J", one)
    if "V" not in heart.complexes:
        size = case.vary(1.6, 0.3, 1.0, 2.4)
        heart.complexes["V"] = ventricular_beat(case, ectopic_origin(case), case.vary(1.0, 0.1, 0.82, 1.25), size)
    if case.plan.base == "dissociated":
        case.plan.early = []
