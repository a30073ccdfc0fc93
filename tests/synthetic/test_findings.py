"""What a cardiologist would look for is in the waveforms, lead by lead, and the hidden truth says the same."""

from __future__ import annotations

import numpy as np
import pytest

from merit.data.recording import LEADS
from merit.synthetic.heart import EIGHT_TO_TWELVE
from merit.synthetic.labels import vocabulary
from merit.synthetic.recordings import SITES, cardiac_signal, make_case, measure

FS_HZ = 500
SEEDS = range(12)
V1, V2, V6, II, AVF, AVR = (LEADS.index(lead) for lead in ("V1", "V2", "V6", "II", "aVF", "aVR"))


class Clean:
    """One noise-free recording: twelve leads, beats, truth, and the typical beat aligned at R (sample `zero`)."""

    def __init__(self, codes: tuple[str, ...], seed: int) -> None:
        kinds = vocabulary()["slots"]
        rhythm = () if any("rhythm" in kinds[c] for c in codes) else ("SR",)
        findings = frozenset(codes + rhythm)
        self.case = make_case(findings, SITES["mimic-iv-ecg"], 60, seed % 2 == 0, 100 + seed, 1000 + seed)
        eight, self.events = cardiac_signal(self.case, FS_HZ, 10 * FS_HZ, SITES["mimic-iv-ecg"].guard_s)
        self.signal = EIGHT_TO_TWELVE @ eight
        self.truth = measure(self.case, self.events, 10.0)
        self.times = np.array([t for t, _ in self.events.ventricular if 0.5 < t < 9.3])
        self.names = [name for t, name in self.events.ventricular if 0.5 < t < 9.3]
        self.zero = 150
        self.beats = np.stack([self.signal[:, round(t * FS_HZ) - 150 : round(t * FS_HZ) + 350] for t in self.times])
        beat = np.median(self.beats, axis=0)
        self.beat = beat - beat[:, 105:115].mean(1, keepdims=True)

    def at(self, lead: int, from_ms: float, to_ms: float) -> np.ndarray:
        """The typical beat of a lead between two times from R."""
        return self.beat[lead, self.zero + round(from_ms / 2) : self.zero + round(to_ms / 2)]


def cases(*codes: str) -> list[Clean]:
    return [Clean(codes, seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def normal() -> list[Clean]:
    return cases("NORM")


def test_normal_waves_point_the_right_way(normal):
    assert np.mean([c.at(AVR, -30, 40).min() < -abs(c.at(AVR, -30, 40).max()) for c in normal]) == 1  # aVR is negative
    assert np.mean([c.at(V1, -50, 60).min() < -c.at(V1, -50, 60).max() for c in normal]) > 0.9  # rS in V1
    assert np.mean([c.at(V6, -50, 60).max() > -c.at(V6, -50, 60).min() for c in normal]) > 0.9  # R in V6
    assert np.mean([c.at(II, 180, 400).max() > 0.03 for c in normal]) > 0.9  # T upright in II
    assert np.mean([c.at(AVR, 180, 400).min() < -0.02 for c in normal]) > 0.9


def test_r_grows_from_v1_to_v4(normal):
    r = np.array([[c.at(LEADS.index(f"V{k}"), -50, 60).max() for k in range(1, 7)] for c in normal])
    middle = np.median(r, axis=0)
    assert (np.diff(middle[:4]) > 0).all()


def test_p_precedes_qrs_by_the_pr_interval(normal):
    for c in normal:
        onset = c.zero - 150
        before = c.beat[II, : c.zero - round((c.truth["pr_ms"] - c.truth["p_ms"]) / 2) + onset]
        p_peak = before[max(len(before) - 90, 0) :].max() - before[:5].mean()
        assert p_peak > 0.02, c.truth


def test_truth_of_qrs_width_is_what_the_signal_shows():
    for codes in (("NORM",), ("CLBBB",), ("CRBBB",)):
        for c in (Clean(codes, seed) for seed in range(4)):
            qrs = np.sqrt((np.gradient(c.beat, axis=1)[:, 112:215] ** 2).mean(0))
            steep = np.flatnonzero(qrs > 0.13 * qrs.max())
            width_ms = 2 * (steep[-1] - steep[0])
            assert abs(width_ms - c.truth["qrs_ms"]) < 0.25 * c.truth["qrs_ms"], (codes, width_ms, c.truth["qrs_ms"])


def test_truth_of_rate_and_amplitude_is_what_the_signal_shows(normal):
    for c in normal:
        assert c.truth["heart_rate_bpm"] == pytest.approx(60 / np.diff(c.times).mean(), rel=0.06)
        assert c.truth["r_mv_V6"] == pytest.approx(c.at(V6, -60, 70).max(), abs=0.25)
        assert 40 < c.truth["heart_rate_bpm"] < 105
        assert 110 < c.truth["pr_ms"] < 215


def test_bundle_branch_blocks_in_v1_and_v6():
    left, right = cases("CLBBB"), cases("CRBBB")
    assert min(c.truth["qrs_ms"] for c in left + right) > 115
    assert np.mean([c.at(V1, -20, 50).mean() < -0.2 for c in left]) > 0.9  # deep S in V1
    assert np.mean([c.at(V6, -20, 50).mean() > 0.2 for c in left]) > 0.9  # broad R in V6
    assert np.mean([c.at(V6, 250, 380).mean() < 0 for c in left]) > 0.8  # T against QRS
    assert np.mean([c.at(V1, 40, 80).max() > 0.25 for c in right]) > 0.9  # R' late in V1
    assert np.mean([c.at(V6, 40, 80).min() < -0.1 for c in right]) > 0.8  # wide S in V6


def test_fascicular_blocks_turn_the_axis():
    assert np.mean([c.truth["axis_deg"] < -28 for c in cases("LAFB")]) > 0.8
    assert np.mean([c.truth["axis_deg"] > 85 for c in cases("LPFB")]) > 0.8


@pytest.mark.parametrize(("code", "lead"), [("IMI", "aVF"), ("IMI", "III"), ("ASMI", "V2"), ("LMI", "aVL")])
def test_infarcts_deepen_q_where_they_are(code, lead):
    k = LEADS.index(lead)

    def initial(codes):  # the lowest point of the first 45 ms of QRS, before R
        return [c.at(k, -50, -2).min() for c in cases(*codes)]

    assert np.median(initial((code,))) < np.median(initial(("SR",))) - 0.08


def test_atrial_fibrillation_is_irregular_and_has_no_p():
    for c in cases("AFIB"):
        rr = np.diff(c.times)
        assert rr.std() / rr.mean() > 0.08
        assert not c.events.atrial
        assert np.isnan(c.truth["pr_ms"])
        assert c.truth["rr_sd_ms"] > 40


def test_flutter_saws_at_its_own_rate():
    for c in cases("AFLT"):
        power = np.abs(np.fft.rfft(c.signal[AVF] - c.signal[AVF].mean())) ** 2
        f = np.fft.rfftfreq(c.signal.shape[1], 1 / FS_HZ)
        near = (f > c.case.plan.flutter_hz - 0.15) & (f < c.case.plan.flutter_hz + 0.15)
        around = (f > 3.6) & (f < 6.2) & ~near
        assert power[near].max() > 0.5 * power[around].max()


def test_paced_beats_are_broad_and_spiked():
    for c in cases("PACE"):
        assert c.truth["qrs_ms"] > 125
        steps = np.abs(np.diff(c.signal, axis=1)).max(0)
        assert steps.max() > 0.08
        assert set(c.names) == {"V"}


def test_premature_ventricular_beats_are_early_broad_and_large():
    for c in cases("PVC"):
        early = [k for k, name in enumerate(c.names) if name == "V"]
        if early and 0 < early[0] < len(c.times) - 1:
            k = early[0]
            before, after = c.times[k] - c.times[k - 1], c.times[k + 1] - c.times[k]
            assert before < 0.85 * after  # a pause follows
    assert np.mean(["V" in c.names for c in cases("PVC")]) > 0.9


def test_blocks_of_av_conduction():
    assert min(c.truth["pr_ms"] for c in cases("1AVB")) > 190
    for c in cases("2AVB"):
        inside = [t for t, _ in c.events.atrial if 0.5 < t < 9.3]
        assert len(inside) > len(c.times)
    for c in cases("3AVB"):
        assert c.truth["heart_rate_bpm"] < 60
        assert np.isnan(c.truth["pr_ms"])


def test_rates_of_tachycardias():
    assert min(c.truth["heart_rate_bpm"] for c in cases("STACH")) > 95
    assert min(c.truth["heart_rate_bpm"] for c in cases("SVTAC")) > 125
    assert max(c.truth["heart_rate_bpm"] for c in cases("SBRAD")) < 63


def test_long_qt_and_low_voltage():
    def corrected(c: Clean) -> float:
        return c.truth["qt_ms"] * np.cbrt(c.truth["heart_rate_bpm"] / 60)

    assert min(corrected(c) for c in cases("LNGQT")) > 450
    assert max(corrected(c) for c in cases("SR")) < 465
    low = [max(c.truth[f"r_mv_{x}"] - c.truth[f"s_mv_{x}"] for x in LEADS[:6]) for c in cases("LVOLT")]
    assert np.median(low) < 0.75


def test_a_case_depends_on_its_seeds_alone():
    one, two, other = Clean(("IMI",), 3), Clean(("IMI",), 3), Clean(("IMI",), 4)
    assert np.array_equal(one.signal, two.signal)
    assert not np.array_equal(one.signal, other.signal)
