"""The heart of one recording and the leads it is seen in: Gaussian waves in three dimensions, a lead field, a rhythm.

A wave is a Gaussian in time with its own rise and fall, carried by a heart vector (x to the patient's left, y to the
feet, z to the front; mV) and by a small part of its own in V1..V6 that no vector explains. Findings edit the waves; the
rhythm says when they happen. A lead field, which varies from patient to patient, turns vectors into leads.

Times of events are seconds from the begin of the recording, those of ventricular events at R. Atrial events carry the
name of an atrial complex (P sinus, E ectopic, R retrograde), ventricular ones that of a ventricular complex
(N conducted, V ventricular, A aberrant, J junctional).

Legend: L the eight independent leads I, II, V1..V6 (the four others follow from I and II), E the nine electrodes RA,
LA, LL, V1..V6, K the waves of a complex, B its occurrences, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

# -- leads and electrodes ---------------------------------------------------------------------------------------------

LEAD_FIELD = np.array(
    [
        [0.632, -0.235, -0.059],
        [0.235, 1.066, 0.132],
        [-0.515, 0.157, 0.917],
        [0.044, 0.164, 1.387],
        [0.882, 0.098, 1.277],
        [1.213, 0.127, 0.601],
        [1.125, 0.127, 0.086],
        [0.831, 0.076, -0.230],
    ]
)
"""Nominal lead field [L, 3], mV of lead per mV of heart vector: Dower's coefficients, with z turned to the front."""

CLOSENESS = np.array([[0.78], [1.16], [1.02], [1.0], [0.97], [0.95]])
"""V1..V6: what the nominal field leaves out of how near the heart lies, set so that R and S match PTB-XL's medians."""

ELECTRODES_TO_LEADS = np.zeros((8, 9))
"""[L, E]: I = LA - RA, II = LL - RA, and each chest electrode against Wilson's terminal (RA + LA + LL) / 3."""
ELECTRODES_TO_LEADS[0, :2] = -1, 1
ELECTRODES_TO_LEADS[1, [0, 2]] = -1, 1
ELECTRODES_TO_LEADS[2:, :3] = -1 / 3
ELECTRODES_TO_LEADS[2:, 3:] = np.eye(6)

EIGHT_TO_TWELVE = np.zeros((12, 8))
"""[12, L]: the order I, II, III, aVR, aVL, aVF, V1..V6, by Einthoven's and Goldberger's laws."""
EIGHT_TO_TWELVE[:6, :2] = [[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]]
EIGHT_TO_TWELVE[6:, 2:] = np.eye(6)


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """Twelve leads [12, T] from the independent eight [L, T], any unit, in their type."""
    derived = np.empty((12, eight.shape[1]), eight.dtype)
    lead_i, lead_ii = eight[0], eight[1]
    derived[0], derived[1], derived[2] = lead_i, lead_ii, lead_ii - lead_i
    derived[3] = -(lead_i + lead_ii) / 2
    derived[4], derived[5] = lead_i - lead_ii / 2, lead_ii - lead_i / 2
    derived[6:] = eight[2:]
    return derived


def rotation(yaw: float, roll: float, pitch: float) -> np.ndarray:
    """Rotation [3, 3]: roll in the frontal plane (positive turns the axis clockwise, to the feet), yaw seen from the
    feet (positive turns forces to the front), pitch in the sagittal plane; radians."""
    c, s = np.cos(roll), np.sin(roll)
    frontal = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    c, s = np.cos(yaw), np.sin(yaw)
    horizontal = np.array([[c, 0, -s], [0, 1.0, 0], [s, 0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    sagittal = np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    return frontal @ horizontal @ sagittal


def smooth_chest(rng: np.random.Generator, rows: int, correlation: float) -> np.ndarray:
    """Unit-variance random values [rows, 6] over V1..V6, neighbours correlated: near electrodes see near sources."""
    distance = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    return rng.standard_normal((rows, 6)) @ np.linalg.cholesky(correlation**distance).T


def patient_field(rng: np.random.Generator, spread: float) -> np.ndarray:
    """One patient's lead field [L, 3]: body shape, the heart's position and where the chest electrodes were put.

    `spread` 0 gives the nominal field in everybody, 1 the variation that the generator is tuned for.
    """
    limb = LEAD_FIELD[:2] * np.exp(rng.normal(0, 0.10 * spread, (2, 1))) + rng.normal(0, 0.06 * spread, (2, 3))
    moved = np.arange(6) + rng.normal(0, 0.35 * spread) + rng.normal(0, 0.22 * spread, 6)
    chest = np.stack([np.interp(moved, np.arange(6), column) for column in LEAD_FIELD[2:].T], axis=1)
    chest = chest * CLOSENESS
    size = np.exp(rng.normal(0, 0.12 * spread) + 0.14 * spread * smooth_chest(rng, 1, 0.5).T)
    chest = chest * size + 0.075 * spread * smooth_chest(rng, 3, 0.6).T
    return np.concatenate([limb, chest]) @ rotation(*rng.normal(0, (0.14 * spread, 0.16 * spread, 0.10 * spread)))


# -- waves ------------------------------------------------------------------------------------------------------------

EDGE = 2.2
"""A wave begins and ends this many of its widths from its peak, where it has fallen to 9 % of it."""
NOTHING_NEAR = np.zeros(6)
NOTHING_NEAR.flags.writeable = False


@dataclass(slots=True)
class Wave:
    """One Gaussian. `at_ms` counts from R in QRS, from J in ST, from the end of T in T, from the middle in P."""

    at_ms: float
    rise_ms: float
    fall_ms: float
    vector: np.ndarray
    """[3], mV."""
    near: np.ndarray = field(default_factory=lambda: NOTHING_NEAR)
    """[6], mV in V1..V6 beyond the vector's projection; replaced, never changed in place."""

    @property
    def size(self) -> float:
        """Length of the vector, mV."""
        return float(np.sqrt(self.vector @ self.vector))


def wave(at_ms: float, rise_ms: float, fall_ms: float, *vector: float) -> Wave:
    """A wave with the vector given as three numbers."""
    return Wave(at_ms, rise_ms, fall_ms, np.array(vector, float))


@dataclass(slots=True)
class Complex:
    """A ventricular complex: the waves of QRS, ST and T, and how long its QT is against the heart's own."""

    qrs: dict[str, Wave]
    st: dict[str, Wave]
    t: dict[str, Wave]
    extra_qt_ms: float = 0.0

    def onset_ms(self) -> float:
        """Begin of QRS, from R."""
        return min(w.at_ms - EDGE * w.rise_ms for w in self.qrs.values() if w.size > 0.03)

    def j_ms(self) -> float:
        """End of QRS, from R."""
        return max(w.at_ms + EDGE * w.fall_ms for w in self.qrs.values() if w.size > 0.03)

    def add_st(self, vector: np.ndarray, slope: float = 0.0) -> None:
        """Shift the ST segment by `vector` [3] mV: three overlapping waves from J on, `slope` tilts them."""
        for k, name in enumerate(("st1", "st2", "st3")):
            part = vector * (0.72 + slope * (k - 1))
            if name in self.st:
                self.st[name].vector = self.st[name].vector + part
            else:
                self.st[name] = Wave(15.0 + 48.0 * k, 20.0 if k == 0 else 30.0, 32.0, part)


@dataclass(slots=True)
class Heart:
    """Everything of a recording but its timing: the waves, the intervals, the lead field."""

    field: np.ndarray
    """[L, 3]."""
    p: dict[str, dict[str, Wave]]
    """Atrial complexes by name: P sinus, E ectopic, R retrograde."""
    complexes: dict[str, Complex]
    """Ventricular complexes by name: N conducted, V ventricular, A aberrant, J junctional."""
    pr_ms: float
    qtc_ms: float
    """QT at one second of RR; QT follows the cube root of RR (Fridericia)."""
    nondipolar: float
    texture: np.ndarray
    """[24, 6]: this patient's unexplained part of each wave in V1..V6, per mV of its vector."""
    spikes: np.ndarray | None = None
    """[3] mV: vector of the pacing spike, if any."""
    atrial: dict[str, float] = field(default_factory=dict)
    """Amplitude (mV) and rate (Hz) of fibrillation or flutter waves."""

    def qt_ms(self, rr_s: np.ndarray | float) -> np.ndarray:
        """QT of beats that follow RR intervals of `rr_s` seconds."""
        return self.qtc_ms * np.cbrt(np.clip(rr_s, 0.3, 1.6))

    def p_to_r_ms(self) -> float:
        """Time from the middle of P to R of a conducted beat: PR lies between the begin of P and that of QRS."""
        p_begin = min(w.at_ms - EDGE * w.rise_ms for w in self.p["P"].values())
        return p_begin + self.pr_ms - self.complexes["N"].onset_ms()


def draw_heart(rng: np.random.Generator, age: float, female: bool, spread: float, nondipolar: float) -> Heart:
    """A patient's healthy heart: amplitudes, widths and intervals as they vary between people."""
    size = np.exp(rng.normal(-0.04 if female else 0.07, 0.15)) * (1.12 - 0.0028 * (age - 30))
    s = np.exp(rng.normal(0, 1, 12) * (0.30, 0.28, 0.20, 0.32, 0.45, 0.22, 0.30, 0.3, 0.3, 0.3, 0.3, 0.3))
    w = np.exp(rng.normal(0, 0.09)) * (1.06 if female else 1.13)
    t = size * np.exp(rng.normal(-0.05 if female else 0.08, 0.19)) * (1.1 - 0.004 * (age - 40))
    wobble = rng.normal(0, 1, (8, 3))
    qrs = {
        "q": wave(-26 * w, 8.0 * w, 7.5 * w, -0.08, -0.02 + 0.06 * wobble[0, 1], 0.11 + 0.06 * wobble[0, 2]),
        "r1": wave(-9.5 * w, 8.5 * w, 8.5 * w, 0.36 + 0.1 * wobble[1, 0], 0.18 + 0.12 * wobble[1, 1], 0.32),
        "r2": wave(3.5 * w, 8.5 * w, 9.0 * w, 1.17, 0.53 + 0.24 * wobble[2, 1], -0.46 + 0.16 * wobble[2, 2]),
        "s1": wave(19 * w, 8.0 * w, 8.5 * w, 0.08 + 0.10 * wobble[3, 0], 0.08 + 0.10 * wobble[3, 1], -0.63),
        "s2": wave(33 * w, 10.0 * w, 11.0 * w, -0.08 + 0.06 * wobble[4, 0], -0.05 + 0.08 * wobble[4, 1], -0.12),
    }
    for k, part in enumerate(qrs.values()):
        part.vector = part.vector * size * s[k]
    early = np.array([0.17, 0.055, 0.20]) + 0.022 * wobble[5]
    late = np.array([0.25, 0.10, 0.035]) + 0.024 * wobble[6]
    fall = 36 * np.exp(rng.normal(0, 0.09))
    waves_t = {
        "t1": wave(-2.65 * fall, 1.35 * fall, 1.1 * fall, *(early * t)),
        "t2": wave(-EDGE * fall, 1.25 * fall, fall, *(late * t)),
        "u": wave(0.9 * fall + 45, 32, 34, *(np.array([0.012, 0.012, 0.022]) * s[9])),
    }
    for name in ("t1", "t2"):
        waves_t[name].near = t * np.array([-0.02, 0.02, -0.06, -0.09, -0.065, -0.02])
    pw, pa = np.exp(rng.normal(0, 0.09)) * (1.21 + 0.0012 * age), np.exp(rng.normal(-0.12, 0.22))
    atrial = {
        "ra": wave(-12 * pw, 13.5 * pw, 16 * pw, *(pa * np.array([0.125, 0.082 + 0.018 * wobble[7, 1], 0.062]))),
        "la": wave(12 * pw, 16 * pw, 15 * pw, *(pa * s[7] * np.array([0.145, 0.058, -0.036 + 0.014 * wobble[7, 2]]))),
    }
    for part in atrial.values():  # the chest electrodes lie farther from the atria than the field says
        part.near = pa * np.array([0.025, -0.025, -0.08, -0.095, -0.08, -0.065])
    heart = Heart(
        field=patient_field(rng, spread),
        p={"P": atrial},
        complexes={"N": Complex(qrs, {}, waves_t)},
        pr_ms=float(np.clip(rng.normal(156 + 0.25 * (age - 50), 17), 116, 196)),
        qtc_ms=float(np.clip(rng.normal(424 if female else 415, 16), 372, 458)),
        nondipolar=nondipolar,
        texture=smooth_chest(rng, 24, 0.45),
    )
    early_repolarisation = np.array([0.15, 0.15, 1.5]) * rng.normal(0.05 if not female else 0.035, 0.022)
    heart.complexes["N"].add_st(early_repolarisation * size, slope=0.25)
    return heart


# -- from waves to leads ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Template:
    """A complex ready to be rendered: K Gaussians and their amplitudes in eight leads."""

    at_s: np.ndarray
    rise_s: np.ndarray
    fall_s: np.ndarray
    amplitude: np.ndarray
    """[L, K], mV."""
    follows_qt: np.ndarray
    """[K]: 1 for waves that move with QT, else 0."""
    begin_s: float
    end_s: float
    n_qrs: int = 0
    """The first so many waves are those of QRS."""

    def gaussians(self, t_s: np.ndarray) -> np.ndarray:
        """The waves at unit amplitude at times [T] (seconds): [K, T]."""
        distance = t_s - self.at_s[:, None]
        width = np.where(distance < 0, self.rise_s[:, None], self.fall_s[:, None])
        return np.exp(-0.5 * (distance / width) ** 2)


def pack(heart: Heart, rows: list[tuple[Wave, float, float]], n_qrs: int = 0) -> Template:
    """The template of some waves, each with its time (ms) and whether that follows QT (1 or 0)."""
    waves = [w for w, _, _ in rows]
    vectors = np.array([w.vector for w in waves])
    amplitude = heart.field @ vectors.T
    size = np.sqrt((vectors**2).sum(1, keepdims=True))
    near = np.array([w.near for w in waves]) + heart.nondipolar * size * heart.texture[: len(waves)]
    amplitude[2:] += near.T
    at, rise, fall = (np.array(v) / 1000 for v in zip(*((at_ms, w.rise_ms, w.fall_ms) for w, at_ms, _ in rows)))
    arrays = (at, rise, fall, amplitude, np.array([follows for _, _, follows in rows]))
    begin_s, end_s = float((at - 4 * rise).min()), float((at + 4 * fall).max()) + 0.06
    return Template(*(v.astype(np.float32) for v in arrays), begin_s, end_s, n_qrs)


def pack_atrial(heart: Heart, name: str) -> Template:
    """The template of an atrial wave, time zero at its centre."""
    return pack(heart, [(w, w.at_ms, 0.0) for w in heart.p[name].values()])


def pack_ventricular(heart: Heart, name: str, rr_s: float) -> Template:
    """The template of a ventricular complex at an RR of `rr_s`, time zero at R."""
    beat = heart.complexes[name]
    j, t_end = beat.j_ms(), beat.onset_ms() + float(heart.qt_ms(rr_s)) + beat.extra_qt_ms
    rows = [(w, w.at_ms, 0.0) for w in beat.qrs.values()]
    rows += [(w, j + w.at_ms, 0.0) for w in beat.st.values()]
    rows += [(w, t_end + w.at_ms, 1.0) for w in beat.t.values()]
    return pack(heart, rows, n_qrs=len(beat.qrs))


def add_beats(
    signal: np.ndarray,
    template: Template,
    times_s: np.ndarray,
    gains: np.ndarray,
    shift_s: np.ndarray,
    fs_hz: int,
    guard_s: float,
) -> None:
    """Add a template to `signal` [L, T] (in place, mV) at each of B `times_s`.

    `gains` [B, L] scales each occurrence lead by lead (breathing), `shift_s` [B] moves what follows QT. The
    recorder's low-pass, a Gaussian of standard deviation `guard_s`, widens each wave and keeps its area.
    """
    if len(times_s) == 0:
        return
    rise, fall = np.hypot(template.rise_s, guard_s), np.hypot(template.fall_s, guard_s)
    amplitude = template.amplitude * ((template.rise_s + template.fall_s) / (rise + fall))
    first = np.floor((times_s + template.begin_s) * fs_hz).astype(int)
    width = int(np.ceil((template.end_s - template.begin_s) * fs_hz)) + 2
    offset = (first / fs_hz - times_s).astype(np.float32)
    grid = offset[:, None] + np.arange(width, dtype=np.float32) / fs_hz
    at = template.at_s + shift_s[:, None].astype(np.float32) * template.follows_qt
    distance = grid[:, None, :] - at[:, :, None]
    distance *= np.where(distance < 0, (1 / rise)[:, None], (1 / fall)[:, None])
    np.square(distance, out=distance)
    distance *= -0.5
    beats = (amplitude * gains[:, :, None]).astype(np.float32) @ np.exp(distance, out=distance)
    length = signal.shape[1]
    for start, beat in zip(first, beats):
        low, high = max(start, 0), min(start + width, length)
        if low < high:
            signal[:, low:high] += beat[:, low - start : high - start]


# -- when atria and ventricles beat -----------------------------------------------------------------------------------

LEAD_IN_S = 2.0
"""The rhythm starts before the recording, so that its first seconds are like the rest."""
BASES = ("sinus", "wandering", "atrial", "reentry", "junctional", "fibrillation", "flutter", "paced", "dissociated")
"""What a rhythm is before premature beats, escapes and paroxysms."""


@dataclass(slots=True)
class Plan:
    """What the rhythm findings ask for. Defaults are a healthy sinus rhythm."""

    base: str = "sinus"
    """One of BASES."""
    rate_bpm: float = 70.0
    breathing: float = 0.03
    """Relative swing of RR with breathing."""
    scatter: float = 0.012
    """Relative random change of RR from beat to beat (its whole spread, in atrial fibrillation)."""
    early: list[tuple[str, str]] = field(default_factory=list)
    """Premature beats: (V ventricular, S supraventricular or A supraventricular and aberrant, pattern), the pattern
    being few, bigeminy or trigeminy."""
    block: str = ""
    """wenckebach, mobitz or two-to-one."""
    escape: str = ""
    """Complex of the beat that ends a pause: J or V."""
    conduction: tuple[int, ...] = (2,)
    """Flutter waves for each ventricular beat, one drawn at each beat."""
    flutter_hz: float = 5.0
    paroxysm: bool = False
    """The tachycardia begins or ends within the recording."""


class Events(NamedTuple):
    """Timed atrial and ventricular events, (seconds, name of the complex)."""

    atrial: list[tuple[float, str]]
    ventricular: list[tuple[float, str]]


def sinus_times(plan: Plan, until_s: float, breath_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Times of the sinus node from the lead-in to `until_s`."""
    mean = 60.0 / plan.rate_bpm
    n = int((until_s + LEAD_IN_S) / mean * 1.6) + 8
    drift = np.convolve(rng.standard_normal(n + 4), [0.6, 0.5, 0.4, 0.3, 0.2], "valid")
    phase = 2 * np.pi * (breath_hz * mean * np.arange(n) + rng.random())
    rr = mean * (1 + plan.breathing * np.sin(phase) + plan.scatter * drift)
    times = -LEAD_IN_S + rng.random() * mean + np.cumsum(np.maximum(rr, 0.25))
    return times[times < until_s]


def make_rhythm(plan: Plan, duration_s: float, pr_s: float, breath_hz: float, rng: np.random.Generator) -> Events:
    """Events of a recording of `duration_s` under a plan, in order of time; `pr_s` is from P's centre to R."""
    until = duration_s + 1.0
    atrial, ventricular = base_rhythm(plan, until, pr_s, breath_hz, rng)
    if plan.paroxysm:  # the tachycardia keeps one side of a moment inside the recording, sinus rhythm the other
        change, starts = rng.uniform(0.3, 0.7) * until, rng.random() < 0.5
        calm = base_rhythm(Plan(rate_bpm=rng.uniform(65, 90)), until, pr_s, 0.25, rng)
        fast_from, fast_to = (change, np.inf) if starts else (-np.inf, change - 0.4)
        calm_from, calm_to = (-np.inf, change - 0.4) if starts else (change + 0.5, np.inf)
        atrial = [e for e in atrial if fast_from < e[0] < fast_to]
        atrial += [e for e in calm.atrial if calm_from < e[0] < calm_to]
        ventricular = [e for e in ventricular if fast_from < e[0] < fast_to]
        ventricular += [e for e in calm.ventricular if calm_from < e[0] - pr_s < calm_to]
    for kind, pattern in plan.early:
        atrial, ventricular = premature(sorted(atrial), sorted(ventricular), kind, pattern, pr_s, until, rng)
    if (
        plan.escape and plan.base != "dissociated"
    ):  # the sinus node pauses, and one or two beats of another centre end that
        atrial, ventricular = sorted(atrial), sorted(ventricular)
        start = rng.uniform(0.15, 0.55) * duration_s
        pause, beats = rng.uniform(1.25, 1.7), int(rng.integers(1, 4))
        begin = max((t for t, _ in ventricular if t < start), default=start)
        times = [begin + pause * (1 + 0.9 * k) for k in range(beats)]
        resume = times[-1] + 0.9
        atrial = [e for e in atrial if e[0] + pr_s <= begin + 0.01 or e[0] + pr_s >= resume]
        ventricular = [e for e in ventricular if e[0] <= begin + 0.01 or e[0] >= resume]
        ventricular += [(t, plan.escape) for t in times]
    return Events(sorted(atrial), sorted(ventricular))


def base_rhythm(plan: Plan, until: float, pr_s: float, breath_hz: float, rng: np.random.Generator) -> Events:
    """The undisturbed rhythm of `plan.base` from the lead-in to `until` seconds, with the sinus node's AV block."""
    if plan.base not in BASES:
        raise ValueError(f"base: expected one of {', '.join(BASES)}; got {plan.base!r}")
    if plan.base == "fibrillation":
        mean = 60.0 / plan.rate_bpm
        n = int((until + LEAD_IN_S) / mean * 1.8) + 10
        rr = np.maximum(mean * np.exp(rng.normal(-(plan.scatter**2) / 2, plan.scatter, n)), 0.29)
        times = -LEAD_IN_S + rng.random() * mean + np.cumsum(rr)
        return Events([], [(t, "N") for t in times[times < until]])
    if plan.base == "flutter":
        n = int((until + LEAD_IN_S) * plan.flutter_hz / min(plan.conduction)) + 2
        steps = np.cumsum(rng.choice(plan.conduction, n))
        times = -LEAD_IN_S + (steps + 0.45) / plan.flutter_hz + rng.normal(0, 0.006, n)
        return Events([], [(t, "N") for t in times[times < until]])
    if plan.base == "dissociated":
        p = sinus_times(Plan(rate_bpm=rng.uniform(70, 105), breathing=0.02), until, breath_hz, rng)
        r = sinus_times(plan, until, breath_hz, rng)
        return Events([(t, "P") for t in p], [(t, plan.escape or "J") for t in r])
    if plan.base == "paced":
        plan.scatter, plan.breathing = 0.001, 0.0
    times = sinus_times(plan, until, breath_hz, rng)
    if plan.base == "paced":
        tracked = rng.random() < 0.5
        return Events([(t - rng.normal(0.17, 0.002), "P") for t in times] if tracked else [], [(t, "V") for t in times])
    if plan.base == "reentry":
        back = rng.uniform(0.05, 0.13)
        return Events([(t + back, "R") for t in times], [(t, "N") for t in times])
    if plan.base == "junctional":
        back = rng.choice([-0.08, 0.0, 0.09])
        return Events([(t + back, "R") for t in times] if back else [], [(t, "J") for t in times])
    if plan.base == "atrial":
        return Events([(t, "E") for t in times], [(t + 0.9 * pr_s, "N") for t in times])
    if plan.base == "wandering":
        p = np.sort(times + rng.normal(0, 0.09 * 60 / plan.rate_bpm, len(times)))
        names = rng.choice(["P", "E", "E", "R"], len(p))
        pr = pr_s * rng.uniform(0.7, 1.15, len(p))
        return Events(list(zip(p, names)), [(t + d, "N") for t, d in zip(p, pr)])
    atrial = [(t, "P") for t in times]
    if not plan.block:
        pr = pr_s + rng.normal(0, 0.003, len(times))
        return Events(atrial, [(t + d, "N") for t, d in zip(times, pr)])
    period = {"two-to-one": 2}.get(plan.block, int(rng.integers(3, 6)))
    place = (np.arange(len(times)) + rng.integers(period)) % period
    delay = pr_s + (0.085 * np.sqrt(place) if plan.block == "wenckebach" else 0.0 * place)
    return Events(atrial, [(t + d, "N") for t, d, k in zip(times, delay, place) if k < period - 1])


def premature(
    atrial: list[tuple[float, str]],
    ventricular: list[tuple[float, str]],
    kind: str,
    pattern: str,
    pr_s: float,
    until: float,
    rng: np.random.Generator,
) -> Events:
    """Replace regular beats by early ones: a ventricular one pauses until the next sinus beat, an atrial one resets.

    Both lists in order of time; kind and pattern as in `Plan.early`.
    """
    r = [t for t, _ in ventricular]
    if pattern == "few":
        inside = [i for i in range(1, len(r) - 1) if 0.4 < r[i] < until - 1.3]
        count = min(int(rng.choice([1, 1, 2, 2, 3])), max(1, len(inside) // 3))
        apart: list[int] = []
        for i in rng.permutation(inside) if inside else ():
            if all(abs(i - k) > 1 for k in apart):
                apart.append(int(i))
        chosen = sorted(apart[:count])
    else:
        step = {"bigeminy": 2, "trigeminy": 3}[pattern]
        chosen = [i for i in range(1, len(r) - 1) if i % step == 0]
    early_by = rng.uniform(0.30, 0.42)
    moved, shift = 0.0, np.zeros(len(r))
    for i in chosen:
        ahead = (r[i] - r[i - 1]) * np.clip(early_by + rng.normal(0, 0.02), 0.15, 0.5)
        ventricular[i] = (r[i] - ahead, {"V": "V", "A": "A", "S": "N"}[kind])
        for k, (t, _) in enumerate(atrial):
            if r[i] - pr_s - 0.08 < t < r[i]:  # the P of this beat comes early too, or is hidden
                atrial[k] = (t - ahead, "E") if kind != "V" else (t, "")
        if kind != "V":
            moved += 0.75 * ahead
            shift[i + 1 :] = -moved
    ventricular = [(t + d, name) for (t, name), d in zip(ventricular, shift)]
    delay = np.interp([t for t, _ in atrial], r, shift) if atrial and r else []
    atrial = [(t + (d if name != "E" or kind == "V" else 0.0), name) for (t, name), d in zip(atrial, delay) if name]
    atrial, ventricular = sorted(atrial), sorted(ventricular)
    # what resetting left empty at the end is filled by repeating the last interval
    while moved > 0 and len(ventricular) > 2 and ventricular[-1][0] < until - 0.3:
        (before, _), (last, name) = ventricular[-2:]
        rr = max(last - before, 0.4)
        ventricular.append((last + rr, "N" if name in "VA" else name))
        if atrial:
            atrial.append((atrial[-1][0] + rr, "P"))
    return Events(atrial, ventricular)
