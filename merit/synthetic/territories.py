"""Findings that have a place: infarction, ischaemia and injury by the territory of the left ventricle.

A territory is the direction of the heart vector that faces it. Dead muscle turns the first 40 ms of QRS away from it
(Q waves), injury turns ST towards it (through the wall) or away from it (under the endocardium),
ischaemia turns T away.
"""

from __future__ import annotations

import numpy as np

from merit.synthetic.findings import Case, direction, drop_along, effect, qrs_size, t_away
from merit.synthetic.physiology import Wave

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
    "AS": (0.9, 1.0, 0.7, 0.2, 0.0, 0.0), "A": (0.2, 0.8, 1.0, 0.8, 0.2, 0.0), "AL": (0.0, 0.1, 0.5, 0.9, 1.0, 0.8),
    "L": (0.0, 0.0, 0.0, 0.2, 0.8, 1.0), "IL": (0.0, 0.0, 0.0, 0.1, 0.6, 0.9), "P": (-0.6, -0.6, -0.3, 0, 0, 0),
    "IPL": (-0.4, -0.4, -0.2, 0.0, 0.4, 0.7), "IP": (-0.4, -0.4, -0.2, 0, 0, 0), "I": (0, 0, 0, 0, 0, 0),
}  # fmt: skip
"""How close V1..V6 lie to each territory: their share of what no vector explains."""

INFARCTS = {
    "IMI": "I", "ASMI": "AS", "AMI": "A", "ALMI": "AL", "LMI": "L", "ILMI": "IL", "IPMI": "IP", "IPLMI": "IPL",
    "PMI": "P",
}  # fmt: skip
ISCHAEMIAS = {"ISCAL": "AL", "ISCIN": "I", "ISCIL": "IL", "ISCAS": "AS", "ISCLA": "L", "ISCAN": "A"}
INJURIES = {"INJAS": "AS", "INJAL": "AL", "INJIN": "I", "INJLA": "L", "INJIL": "IL"}


def infarct(case: Case, place: str, s: float, acute: float, old_t: float) -> None:
    """Take the early forces that face a territory away; `acute` mV of ST towards it, T turned away by `old_t`."""
    one, unit, chest = case.conducted, TERRITORY[place], np.array(CHEST[place])
    size = qrs_size(one)
    broad = set(one.qrs) & {"l0", "v0"}
    early = min(one.qrs.values(), key=lambda w: w.at_ms).at_ms
    depth = (0.22 if broad else 0.46) * s * size
    one.qrs["dead"] = Wave(early + 9.0, 12.0, 15.0, -depth * unit, -0.10 * s * chest)
    for name, share in (("q", 0.75), ("r1", 0.85), ("r2", 0.38), ("l0", 0.4), ("l1", 0.2)):
        if name in one.qrs:
            one.qrs[name].vector = drop_along(one.qrs[name].vector, unit, min(share * s, 1.0))
    if acute:
        one.add_st(acute * unit, slope=0.15)
        for w in one.st.values():
            w.near = w.near + 0.25 * acute * chest
    if old_t:
        t_away(one, unit, 1.0 + 0.7 * old_t, 0.10 * old_t * size)
        for name in ("t1", "t2"):
            one.t[name].near = one.t[name].near - 0.05 * old_t * chest


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
    one, unit, chest = case.conducted, TERRITORY[place], np.array(CHEST[place])
    one.add_st(-st_mv * unit, slope=-0.1)
    for w in one.st.values():
        w.near = w.near - 0.2 * st_mv * chest
    t_away(one, unit, 1.0 + 0.7 * turn, 0.17 * turn)
    for name in ("t1", "t2"):
        one.t[name].near = one.t[name].near - 0.05 * turn * chest


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
