"""What a cardiologist would look for is in the waveforms, lead by lead, and the hidden truth says the same."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from merit.data.recording import LEADS
from merit.synthetic.heart import EIGHT_TO_TWELVE
from merit.synthetic.labels import vocabulary
from merit.synthetic.recordings import SITES, cardiac_signal, make_case, measure

FS_HZ = 500
SEEDS = range(12)
V1, V2, V6, II, III = (LEADS.index(lead) for lead in ("V1", "V2", "V6", "II", "III"))
AVR, AVL, AVF = (LEADS.index(lead) for lead in ("aVR", "aVL", "aVF"))
SITE = SITES["mimic-iv-ecg"]


class Clean:
    """One noise-free recording: twelve leads, beats, truth, and the typical beat aligned at R (sample 150)."""

    def __init__(self, code: str, seed: int) -> None:
        findings = frozenset({code} if "rhythm" in vocabulary()["slots"][code] else {code, "SR"})
        self.case = make_case(findings, SITE, 60, seed % 2 == 0, 100 + seed, 1000 + seed)
        eight, self.events = cardiac_signal(self.case, FS_HZ, 10 * FS_HZ, SITE.guard_s)
        self.signal = EIGHT_TO_TWELVE @ eight
        self.truth = measure(self.case, self.events, 10.0)
        self.times = np.array([t for t, _ in self.events.ventricular if 0.5 < t < 9.3])
        self.names = [name for t, name in self.events.ventricular if 0.5 < t < 9.3]
        beats = [self.signal[:, round(t * FS_HZ) - 150 : round(t * FS_HZ) + 350] for t in self.times]
        beat = np.median(beats, axis=0)
        self.beat = beat - beat[:, 105:115].mean(1, keepdims=True)

    def at(self, lead: int, from_ms: float, to_ms: float) -> np.ndarray:
        """The typical beat of a lead between two times from R."""
        return self.beat[lead, 150 + round(from_ms / 2) : 150 + round(to_ms / 2)]


@functools.cache
def cases(code: str) -> list[Clean]:
    return [Clean(code, seed) for seed in SEEDS]


def corrected_qt(c: Clean) -> float:
    return c.truth["qt_ms"] * np.cbrt(c.truth["heart_rate_bpm"] / 60)


def limb_voltage(c: Clean) -> float:
    return max(c.truth[f"r_mv_{x}"] - c.truth[f"s_mv_{x}"] for x in LEADS[:6])


SHOWN: list[tuple[str, float, Callable[[Clean], bool]]] = [  # finding, in more than which share of cases, what is seen
    ("NORM", 0.99, lambda c: c.at(AVR, -30, 40).min() < -abs(c.at(AVR, -30, 40).max())),  # aVR is negative
    ("NORM", 0.9, lambda c: c.at(V1, -50, 60).min() < -c.at(V1, -50, 60).max()),  # rS in V1
    ("NORM", 0.9, lambda c: c.at(V6, -50, 60).max() > -c.at(V6, -50, 60).min()),  # R in V6
    ("NORM", 0.9, lambda c: c.at(II, 180, 400).max() > 0.03),  # T upright in II
    ("NORM", 0.9, lambda c: c.at(AVR, 180, 400).min() < -0.02),
    ("NORM", 0.99, lambda c: 40 < c.truth["heart_rate_bpm"] < 105 and 110 < c.truth["pr_ms"] < 215),
    ("SR", 0.99, lambda c: corrected_qt(c) < 465),
    ("CLBBB", 0.99, lambda c: c.truth["qrs_ms"] > 115),
    ("CLBBB", 0.9, lambda c: c.at(V1, -20, 50).mean() < -0.2),  # deep S in V1
    ("CLBBB", 0.9, lambda c: c.at(V6, -20, 50).mean() > 0.2),  # broad R in V6
    ("CLBBB", 0.8, lambda c: c.at(V6, 250, 380).mean() < 0),  # T against QRS
    ("CRBBB", 0.99, lambda c: c.truth["qrs_ms"] > 115),
    ("CRBBB", 0.9, lambda c: c.at(V1, 40, 80).max() > 0.25),  # R' late in V1
    ("CRBBB", 0.8, lambda c: c.at(V6, 40, 80).min() < -0.1),  # wide S in V6
    ("LAFB", 0.8, lambda c: c.truth["axis_deg"] < -28),
    ("LPFB", 0.8, lambda c: c.truth["axis_deg"] > 85),
    ("1AVB", 0.99, lambda c: c.truth["pr_ms"] > 190),
    ("2AVB", 0.99, lambda c: sum(0.5 < t < 9.3 for t, _ in c.events.atrial) > len(c.times)),
    ("3AVB", 0.99, lambda c: c.truth["heart_rate_bpm"] < 60 and np.isnan(c.truth["pr_ms"])),
    ("STACH", 0.99, lambda c: c.truth["heart_rate_bpm"] > 95),
    ("SVTAC", 0.99, lambda c: c.truth["heart_rate_bpm"] > 125),
    ("SBRAD", 0.99, lambda c: c.truth["heart_rate_bpm"] < 63),
    ("AFIB", 0.99, lambda c: np.diff(c.times).std() / np.diff(c.times).mean() > 0.08 and c.truth["rr_sd_ms"] > 40),
    ("AFIB", 0.99, lambda c: not c.events.atrial and np.isnan(c.truth["pr_ms"])),
    ("PACE", 0.99, lambda c: c.truth["qrs_ms"] > 125 and set(c.names) == {"V"}),
    ("PACE", 0.99, lambda c: np.abs(np.diff(c.signal, axis=1)).max() > 0.08),  # spikes
    ("PVC", 0.9, lambda c: "V" in c.names),
    ("LNGQT", 0.99, lambda c: corrected_qt(c) > 450),
    ("LVOLT", 0.5, lambda c: limb_voltage(c) < 0.75),
]


@pytest.mark.parametrize(("code", "share", "seen"), SHOWN)
def test_findings_are_seen(code, share, seen):
    assert np.mean([seen(c) for c in cases(code)]) > share


def test_normal_r_grows_from_v1_to_v4_and_p_precedes_qrs():
    r = np.array([[c.at(LEADS.index(f"V{k}"), -50, 60).max() for k in range(1, 7)] for c in cases("NORM")])
    assert (np.diff(np.median(r, axis=0)[:4]) > 0).all()
    for c in cases("NORM"):
        before = c.beat[II, : 150 - round((c.truth["pr_ms"] - c.truth["p_ms"]) / 2)]
        assert before[max(len(before) - 90, 0) :].max() - before[:5].mean() > 0.02, c.truth


def test_truth_is_what_the_signal_shows():
    for c in (c for code in ("NORM", "CLBBB", "CRBBB") for c in cases(code)[:4]):
        qrs = np.sqrt((np.gradient(c.beat, axis=1)[:, 112:215] ** 2).mean(0))
        steep = np.flatnonzero(qrs > 0.13 * qrs.max())
        width_ms = 2 * (steep[-1] - steep[0])
        assert abs(width_ms - c.truth["qrs_ms"]) < 0.25 * c.truth["qrs_ms"], (width_ms, c.truth["qrs_ms"])
    for c in cases("NORM"):
        assert c.truth["heart_rate_bpm"] == pytest.approx(60 / np.diff(c.times).mean(), rel=0.06)
        assert c.truth["r_mv_V6"] == pytest.approx(c.at(V6, -60, 70).max(), abs=0.25)


@pytest.mark.parametrize(("code", "lead"), [("IMI", AVF), ("IMI", III), ("ASMI", V2), ("LMI", AVL)])
def test_infarcts_deepen_q_where_they_are(code, lead):
    lowest, usual = (np.median([c.at(lead, -50, -2).min() for c in cases(which)]) for which in (code, "SR"))
    assert lowest < usual - 0.08  # in the first 45 ms of QRS, before R


def test_flutter_saws_at_its_own_rate():
    for c in cases("AFLT"):
        power = np.abs(np.fft.rfft(c.signal[AVF] - c.signal[AVF].mean())) ** 2
        f = np.fft.rfftfreq(c.signal.shape[1], 1 / FS_HZ)
        near = (f > c.case.plan.flutter_hz - 0.15) & (f < c.case.plan.flutter_hz + 0.15)
        around = (f > 3.6) & (f < 6.2) & ~near
        assert power[near].max() > 0.5 * power[around].max()


def test_a_pause_follows_an_early_ventricular_beat():
    for c in cases("PVC"):
        k = c.names.index("V") if "V" in c.names else 0
        if 0 < k < len(c.times) - 1:
            assert c.times[k] - c.times[k - 1] < 0.85 * (c.times[k + 1] - c.times[k])


def test_a_case_depends_on_its_seeds_alone():
    assert np.array_equal(Clean("IMI", 3).signal, cases("IMI")[3].signal)
    assert not np.array_equal(cases("IMI")[3].signal, cases("IMI")[4].signal)
