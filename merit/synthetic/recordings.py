"""One synthetic recording from its order: heart with findings, rhythm, signal, electrode noise, hidden truth, report.

The hidden truth is measured on the noise-free beat. Nobody who trains on the recordings sees it; it says what a
representation keeps. NaN where there is no such thing (PR without a conducted P wave).

Legend: L the eight independent leads, E the nine electrodes RA, LA, LL, V1..V6, T samples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from merit.data.recording import LEADS
from merit.synthetic.findings import EFFECTS, Case, direction, finish_rhythm, t_away
from merit.synthetic.heart import (
    EIGHT_TO_TWELVE,
    ELECTRODES_TO_LEADS,
    Events,
    Heart,
    Plan,
    Wave,
    add_beats,
    draw_heart,
    make_rhythm,
    pack,
    pack_atrial,
    pack_ventricular,
    twelve_leads,
)
from merit.synthetic.labels import Order, named_findings, write_report

# -- the sites' equipment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Site:
    """One hospital's equipment and habits."""

    fs_hz: int
    gain_per_mv: int
    """Quantisation steps per millivolt, as in the headers of the data set whose layout it writes."""
    lowpass_hz: float
    mains_hz: float
    mains_uv: float
    muscle_uv: float
    """Broad noise of an electrode, standard deviation before the filter at 500 Hz."""
    wander_uv: float
    wander_hz: float
    """Above this, baseline wander falls off; a site with a strong high-pass keeps little below it."""
    spread: float = 1.25
    """Variation of the lead field between patients (0: none)."""
    nondipolar: float = 0.085

    @property
    def guard_s(self) -> float:
        """Standard deviation of the Gaussian low-pass that is 3 dB down at `lowpass_hz`."""
        return 0.1325 / self.lowpass_hz


_COLUMNS = ("fs_hz", "gain_per_mv", "lowpass_hz", "mains_hz", "mains_uv", "muscle_uv", "wander_uv", "wander_hz")
_ROWS = (
    ("mimic-iv-ecg", 500, 200, 150, 60, 2, 7, 24, 0.5),
    ("ptb-xl", 100, 1000, 38, 50, 1.5, 9.5, 22, 0.45),
    ("cpsc2018", 500, 1000, 100, 50, 4, 9.5, 30, 0.6),
    ("csn", 500, 1000, 100, 50, 3, 8, 22, 0.5),
)
SITES = {name: Site(**dict(zip(_COLUMNS, values))) for name, *values in _ROWS}
CLOTHING = np.array([1.0, 1.0, 0.7, 0.55, 0.55, 0.55, 0.55, 0.55, 0.55])
"""Muscle noise of each electrode: arms more than the leg, the chest least."""

# -- from findings to a heart -----------------------------------------------------------------------------------------

SEVERITY = (-0.04, 0.32)
"""Mean and standard deviation of the logarithm of a finding's severity: the mildest can hardly be seen."""


def make_case(findings: frozenset[str], site: Site, age: float, female: bool, patient: int, record: int) -> Case:
    """The heart and rhythm plan of one recording. `patient` and `record` seed what belongs to each."""
    heart = draw_heart(np.random.default_rng(patient), age, female, site.spread, site.nondipolar)
    rng = np.random.default_rng(record)
    heart.field = heart.field * np.exp(rng.normal(0, 0.04, (8, 1)))
    case = Case(heart, Plan(rate_bpm=float(np.clip(rng.normal(73, 11), 52, 99))), rng, findings)
    often = 0.2 if "NORM" in findings else 1.0  # what no report states: a flatter T, an ST level slightly off
    if rng.random() < 0.5 * often:
        t_away(
            heart.complexes["N"], direction(*(np.array([0.7, 0.4, 0.2]) + rng.normal(0, 0.3, 3))), 0.5 * rng.random()
        )
    if rng.random() < 0.3 * often:
        heart.complexes["N"].add_st(rng.normal(0, 0.025, 3))
    for code, act in EFFECTS.items():
        if code in findings:
            act(case, code, float(np.clip(np.exp(rng.normal(*SEVERITY)), 0.4, 1.7)))
    finish_rhythm(case)
    if case.plan.rate_bpm > 100 and not findings & {"1AVB", "LPR"}:
        heart.pr_ms = max(heart.pr_ms - 0.35 * (case.plan.rate_bpm - 100), 95.0)
    return case


# -- from a heart to a signal -----------------------------------------------------------------------------------------

SPIKE_MS, SPIKE_BEFORE_QRS_MS = 1.2, 12.0
"""Width of a pacemaker's spike, and how long before QRS it comes."""


def cardiac_signal(case: Case, fs_hz: int, n_samples: int, guard_s: float) -> tuple[np.ndarray, Events]:
    """The noise-free signal float32 [L, T] in mV, and the events that made it."""
    heart, rng = case.heart, case.rng
    signal = np.zeros((8, n_samples), np.float32)
    breath_hz = rng.uniform(0.18, 0.33)
    events = make_rhythm(case.plan, n_samples / fs_hz, heart.p_to_r_ms() / 1000, breath_hz, rng)
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
            before_r_ms = heart.complexes["V"].onset_ms() - SPIKE_BEFORE_QRS_MS
            shape = Wave(0.0, SPIKE_MS, SPIKE_MS, heart.spikes)
            spike = pack(replace(heart, nondipolar=0.0), [(shape, before_r_ms, 0.0)])
            spike.begin_s, spike.end_s = float(spike.at_s[0]) - 0.04, float(spike.at_s[0]) + 0.04
            add_beats(signal, spike, at, np.ones((len(at), 8)), 0 * at, fs_hz, guard_s)
    if "flutter_mv" in heart.atrial:  # as a heart vector [3, T]: seen best in II, III, aVF and V1
        t = np.arange(n_samples, dtype=np.float32) / fs_hz
        phase = 2 * np.pi * heart.atrial["hz"] * t + np.float32(rng.uniform(0, 2 * np.pi))
        saw = np.sin(phase) + 0.40 * np.sin(2 * phase) + 0.16 * np.sin(3 * phase)
        bump = np.maximum(np.cos(phase + 0.9), 0) ** 3
        waves = heart.atrial["flutter_mv"] * np.stack([0.10 * saw, -0.85 * saw, 0.10 * saw + 0.55 * bump])
        signal += heart.field.astype(np.float32) @ waves
    elif heart.atrial:
        signal += fibrillation(heart, n_samples / fs_hz, fs_hz, rng)
    return signal, events


def fibrillation(heart: Heart, duration_s: float, fs_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Fibrillatory waves [L, T] in mV: three components of the heart vector and the right atrium close to V1.

    Each has its own rate about the atria's; rate, size and shape (a harmonic) drift within a second or less.
    """
    t, grid = np.arange(round(duration_s * fs_hz)) / fs_hz, np.arange(0, duration_s + 0.16, 0.08)
    sources = np.empty((4, len(t)))
    for k in range(4):
        smooth = np.ones(4) / 2  # of four draws: unit variance
        drift = [np.convolve(rng.standard_normal(len(grid) + 3), smooth, "valid") for _ in range(3)]
        hz = heart.atrial["hz"] * (rng.uniform(0.93, 1.07) + 0.18 * drift[0])
        phase = np.interp(t, grid, 2 * np.pi * (rng.random() + np.cumsum(hz) * 0.08))
        size, harmonic = np.interp(t, grid, np.exp(0.38 * drift[1])), np.interp(t, grid, 0.35 + 0.25 * drift[2])
        sources[k] = size * (np.sin(phase) + harmonic * np.sin(2 * phase + 0.8))
    signal = heart.field @ (sources[:3] * [[0.28], [0.38], [0.12]])
    signal[2:] += np.outer([1.1, 0.5, 0.15, 0.0, 0.0, 0.0], sources[3])
    return (heart.atrial["fibrillation_mv"] * signal).astype(np.float32)


def ventricular_rr(events: Events, default_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Times of the ventricular events and the RR interval before each, seconds."""
    times = np.array([t for t, _ in events.ventricular])
    return times, np.diff(times, prepend=times[0] - default_s) if len(times) else times


# -- noise, where it arises: at the nine electrodes -------------------------------------------------------------------


def electrode_noise(site: Site, fs_hz: int, n_samples: int, guard_s: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of one recording in eight leads [L, T], mV: wander, muscle and mains, shaped in the frequency domain.

    Muscle noise has the same density whatever the rate, so a slower recording holds less of it.
    """
    wanted, n_samples = n_samples, scipy.fft.next_fast_len(n_samples, real=True)
    f = scipy.fft.rfftfreq(n_samples, 1 / fs_hz).astype(np.float32)
    quality = np.exp(rng.normal(0, 0.55))
    level = np.exp(rng.normal(0, 0.5, 9)) * quality * CLOTHING
    drift = np.exp(rng.normal(0, 0.6, 9)) * np.exp(rng.normal(0, 0.6))
    bin_hz = fs_hz / n_samples
    muscle = np.exp(-0.5 * (2 * np.pi * f * guard_s) ** 2) / (1 + 3.0 / np.maximum(f, 0.5)) * np.sqrt(bin_hz / 250)
    wander = np.exp(-f / site.wander_hz) * (f > 0.04)
    wander /= np.sqrt((wander**2).sum())
    shape = (site.muscle_uv * level)[:, None] * muscle + (site.wander_uv * drift)[:, None] * wander
    spectrum = rng.standard_normal((9, len(f), 2), dtype=np.float32) * shape[:, :, None].astype(np.float32)
    spectrum = spectrum.view(np.complex64)[..., 0]
    if site.mains_hz < fs_hz / 2:
        k = round(site.mains_hz * n_samples / fs_hz)
        hum = site.mains_uv * np.exp(rng.normal(0, 0.8)) * np.exp(1j * rng.normal(0, 0.6, 9) + rng.normal(0, 0.4, 9))
        spectrum[:, k] += hum.astype(np.complex64)
    noise = scipy.fft.irfft(spectrum, n_samples, axis=1) * np.float32(n_samples / 2 / 1000)
    return (ELECTRODES_TO_LEADS @ noise[:, :wanted]).astype(np.float32)


def noise_share(eight_mv: np.ndarray, noise_mv: np.ndarray, fs_hz: int) -> float:
    """Share of the variance of the twelve leads at 100 Hz, z-scored together, that is noise of the electrodes.

    Both [L, T]. Baseline wander counts as noise although it can partly be foreseen, so this is the floor of an error
    that knows nothing but the heart.
    """
    step = fs_hz // 100
    length = noise_mv.shape[1] // step * step
    noise, both = (
        EIGHT_TO_TWELVE @ x[:, :length].reshape(8, -1, step).mean(2) for x in (noise_mv, eight_mv + noise_mv)
    )
    return float((noise**2).mean() / both.var())


# -- the hidden truth -------------------------------------------------------------------------------------------------

GRID_S = np.arange(-0.15, 0.75, 0.002, dtype=np.float32)
"""Times from R at which a beat is measured."""
CONDUCTED_BASES = frozenset({"sinus", "wandering", "atrial"})


def extent(signal: np.ndarray, t_s: np.ndarray, share: float) -> tuple[float, float]:
    """First and last time at which the size over leads exceeds `share` of its maximum."""
    size = np.sqrt((signal**2).mean(0))
    above = np.flatnonzero(size > share * size.max())
    return float(t_s[above[0]]), float(t_s[above[-1]])


def measure(case: Case, events: Events, duration_s: float) -> dict[str, float]:
    """All continuous truth of a recording, one flat dict; `r_mv_V5` and the like for each lead."""
    heart, t = case.heart, GRID_S
    times, _ = ventricular_rr(events, 1.0)
    rr = np.diff(times[(times >= 0) & (times <= duration_s)])
    if len(rr) < 2:
        rr = np.diff(times)
    values = {
        "heart_rate_bpm": float(60 / rr.mean()),
        "rr_sd_ms": float(1000 * rr.std()),
        "rr_rmssd_ms": float(1000 * np.sqrt((np.diff(rr) ** 2).mean())) if len(rr) > 1 else 0.0,
    }
    name = Counter(name for _, name in events.ventricular).most_common(1)[0][0]
    beat, mean_rr = heart.complexes[name], 60 / values["heart_rate_bpm"]
    template = pack_ventricular(heart, name, mean_rr)
    waves, n_qrs = template.gaussians(t), template.n_qrs
    qrs = template.amplitude[:, :n_qrs] @ waves[:n_qrs]
    late = template.amplitude[:, n_qrs:] @ waves[n_qrs:]
    begin, end = extent(qrs, t, 0.05)
    t_end = (beat.onset_ms() + float(heart.qt_ms(mean_rr)) + beat.extra_qt_ms) / 1000
    values |= {"qrs_ms": 1000 * (end - begin), "qt_ms": 1000 * (t_end - begin), "pr_ms": np.nan, "p_ms": np.nan}
    if case.plan.base in CONDUCTED_BASES and any(kind == "P" for _, kind in events.atrial):
        atrial = pack_atrial(heart, "P")
        p_begin, p_end = extent(atrial.amplitude @ atrial.gaussians(t), t, 0.10)
        values["p_ms"] = 1000 * (p_end - p_begin)
        values["pr_ms"] = heart.p_to_r_ms() + 1000 * (begin - p_begin)
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


# -- all together -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Made:
    """What is known of a recording once it is made."""

    order: Order
    truth: dict[str, float]
    named: list[str]
    """The findings that the report names."""
    report: list[str]
    """Its statements."""


def render(order: Order, omission: float = 0.3) -> tuple[Made, np.ndarray, int]:
    """One recording in memory: its truth and report, twelve leads float32 [12, T] in mV, and their rate."""
    site = SITES[order.site]
    fs_hz = 500 if order.also_500_hz else site.fs_hz
    n_samples = round(order.duration_s * fs_hz)
    guard_s = 0.1325 / 150 if order.also_500_hz else site.guard_s
    case = make_case(order.findings, site, order.age, order.female, order.patient_seed, order.record_seed)
    eight, events = cardiac_signal(case, fs_hz, n_samples, guard_s)
    rng = np.random.default_rng([order.record_seed, 1])
    noise = electrode_noise(site, fs_hz, n_samples, guard_s, rng)
    truth = measure(case, events, order.duration_s) | {"noise_share": noise_share(eight, noise, fs_hz)}
    named = named_findings(order.findings, omission, rng)
    made = Made(order=order, truth=truth, named=named, report=write_report(named, truth, rng))
    return made, twelve_leads(eight + noise), fs_hz
