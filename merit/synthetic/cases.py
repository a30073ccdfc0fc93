"""From findings to a case, and from a case to its signal: the order in which everything happens to a heart."""

from __future__ import annotations

import numpy as np

from merit.synthetic import conduction, repolarisation, rhythm_findings, territories
from merit.synthetic.findings import EFFECTS, Case, direction, t_away
from merit.synthetic.physiology import (
    Complex,
    Heart,
    Template,
    Wave,
    add_beats,
    draw_heart,
    pack_atrial,
    pack_ventricular,
)
from merit.synthetic.recorder import Site
from merit.synthetic.rhythm import Events, Plan, make_rhythm

ACTING = tuple(module.__name__ for module in (conduction, territories, repolarisation, rhythm_findings))
"""The order in which findings act: conduction shapes QRS before an infarct cuts into it, and so on."""
EFFECT_ORDER = sorted(EFFECTS, key=lambda code: ACTING.index(EFFECTS[code].__module__))
SEVERITY = (-0.04, 0.32)
"""Mean and standard deviation of the logarithm of a finding's severity: the mildest can hardly be seen."""
SPIKE_MS = 1.2
SPIKE_BEFORE_QRS_MS = 12.0


def make_case(findings: frozenset[str], site: Site, age: float, female: bool, patient: int, record: int) -> Case:
    """The heart and rhythm plan of one recording. `patient` and `record` seed what belongs to each."""
    heart = draw_heart(np.random.default_rng(patient), age, female, site.spread, site.nondipolar)
    rng = np.random.default_rng(record)
    heart.field = heart.field * np.exp(rng.normal(0, 0.04, (8, 1)))
    case = Case(heart, Plan(rate_bpm=float(np.clip(rng.normal(73, 11), 52, 99))), rng, findings)
    _grow_old(case, 0.4 if "NORM" in findings else 1.0)
    for code in EFFECT_ORDER:
        if code in findings:
            EFFECTS[code](case, float(np.clip(np.exp(rng.normal(*SEVERITY)), 0.4, 1.7)))
    rhythm_findings.finish_rhythm(case)
    if case.plan.rate_bpm > 100 and not findings & {"1AVB", "LPR"}:
        heart.pr_ms = max(heart.pr_ms - 0.35 * (case.plan.rate_bpm - 100), 95.0)
    return case


def _grow_old(case: Case, often: float) -> None:
    """What nobody writes down: a flatter T, an ST level slightly off. Seldom where the ECG is called normal."""
    rng, one = case.rng, case.conducted
    if rng.random() < 0.5 * often:
        t_away(one, direction(*(np.array([0.7, 0.4, 0.2]) + rng.normal(0, 0.3, 3))), 0.5 * rng.random())
    if rng.random() < 0.3 * often:
        one.add_st(rng.normal(0, 0.025, 3))


def cardiac_signal(case: Case, fs_hz: int, n_samples: int, guard_s: float) -> tuple[np.ndarray, Events]:
    """The noise-free signal float32 [L, T] in mV, and the events that made it."""
    heart, rng = case.heart, case.rng
    duration_s = n_samples / fs_hz
    signal = np.zeros((8, n_samples), np.float32)
    breath_hz = rng.uniform(0.18, 0.33)
    to_r_s = (heart.p_extent_ms("P")[0] + heart.pr_ms - heart.complexes["N"].onset_ms()) / 1000
    events = make_rhythm(case.plan, duration_s, to_r_s, breath_hz, rng)
    swing = rng.normal(0, 0.035, 8), rng.uniform(0, 2 * np.pi)

    def gains(times: np.ndarray) -> np.ndarray:
        breath = np.sin(2 * np.pi * breath_hz * times + swing[1])[:, None]
        return 1 + swing[0] * breath + rng.normal(0, 0.012, (len(times), 1))

    for name in dict.fromkeys(name for _, name in events.atrial):  # not a set: its order changes from run to run
        times = np.array([t for t, other in events.atrial if other == name])
        add_beats(signal, pack_atrial(heart, name), times, gains(times), 0 * times, fs_hz, guard_s)
    times, rr = ventricular_rr(events, 60 / case.plan.rate_bpm)
    mean_rr = float(np.mean(rr))
    names = np.array([name for _, name in events.ventricular])
    for name in dict.fromkeys(names.tolist()):
        at, template = times[names == name], pack_ventricular(heart, name, mean_rr)
        shift = (heart.qt_ms(0.5 * (rr[names == name] + mean_rr)) - heart.qt_ms(mean_rr)) / 1000
        add_beats(signal, template, at, gains(at), shift, fs_hz, guard_s)
        if name == "V" and heart.spikes is not None:
            onset = heart.complexes["V"].onset_ms()
            add_beats(signal, _spike(heart, onset), at, np.ones((len(at), 8)), 0 * at, fs_hz, guard_s)
    if heart.atrial:
        signal += heart.field.astype(np.float32) @ atrial_waves(heart.atrial, n_samples, fs_hz, rng)
    return signal, events


def ventricular_rr(events: Events, default_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Times of the ventricular events and the RR interval before each, seconds."""
    times = np.array([t for t, _ in events.ventricular])
    return times, np.diff(times, prepend=times[0] - default_s) if len(times) else times


def _spike(heart: Heart, onset_ms: float) -> Template:
    one = Wave(0.0, SPIKE_MS, SPIKE_MS, heart.spikes)
    single = Heart(heart.field, {"S": {"s": one}}, {"N": Complex({}, {}, {})}, 0, 0, 0, 0.0, heart.texture)
    template = pack_atrial(single, "S")
    template.at_s = template.at_s + np.float32((onset_ms - SPIKE_BEFORE_QRS_MS) / 1000)
    template.begin_s = float(template.at_s[0]) - 0.04
    template.end_s = float(template.at_s[0]) + 0.04
    return template


def atrial_waves(atrial: dict[str, float], n_samples: int, fs_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Fibrillation or flutter as a heart vector [3, T], mV: seen best in II, III, aVF and V1."""
    t = np.arange(n_samples, dtype=np.float32) / fs_hz
    if "flutter_mv" in atrial:
        phase = 2 * np.pi * atrial["hz"] * t + np.float32(rng.uniform(0, 2 * np.pi))
        saw = np.sin(phase) + 0.40 * np.sin(2 * phase) + 0.16 * np.sin(3 * phase)
        bump = np.maximum(np.cos(phase + 0.9), 0) ** 3
        return atrial["flutter_mv"] * np.stack([0.10 * saw, -0.85 * saw, 0.10 * saw + 0.55 * bump])
    waves = np.zeros((3, n_samples), np.float32)
    for axis, part in enumerate((0.5, 0.8, 1.0)):
        wander = np.cumsum(rng.normal(0, 0.9, n_samples // 20 + 2)) * np.sqrt(20 / fs_hz)
        grid = np.arange(len(wander)) * 20 / fs_hz
        phase = 2 * np.pi * atrial["hz"] * rng.uniform(0.93, 1.07) * t + np.interp(t, grid, wander)
        swell = np.convolve(rng.standard_normal(len(grid) + 4), np.ones(5) / 2.2, "valid")
        size = np.interp(t, grid, np.abs(1 + 0.5 * swell))
        waves[axis] = part * size * (np.sin(phase) + 0.35 * np.sin(2 * phase + 0.8))
    return np.float32(atrial["fibrillation_mv"]) * waves
