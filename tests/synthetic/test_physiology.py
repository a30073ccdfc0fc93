"""Beats are laid down where and as large as their waves say, whatever the rate of the recording."""

from __future__ import annotations

import numpy as np
import pytest

from merit.synthetic import physiology
from merit.synthetic.truth import gaussians


@pytest.fixture
def heart() -> physiology.Heart:
    return physiology.draw_heart(np.random.default_rng(3), 55, True, 1.0, 0.1)


def plain(template: physiology.Template, times: np.ndarray, fs_hz: int, n: int) -> np.ndarray:
    """The slow way: every wave of every beat over the whole recording."""
    t = np.arange(n) / fs_hz
    return sum(template.amplitude @ gaussians(template, t - at) for at in times)


def test_beats_equal_the_sum_of_their_waves(heart):
    template = physiology.pack_ventricular(heart, "N", 0.8)
    times = np.array([-0.05, 0.8134, 1.7, 2.96])
    signal = np.zeros((8, 1500), np.float32)
    physiology.add_beats(signal, template, times, np.ones((4, 8)), 0 * times, 500, 0.0)
    assert signal == pytest.approx(plain(template, times, 500, 1500), abs=2e-3)


def test_the_low_pass_keeps_the_area_and_lowers_the_peak(heart):
    template = physiology.pack_atrial(heart, "P")
    sharp, soft = np.zeros((8, 500), np.float32), np.zeros((8, 500), np.float32)
    for signal, guard_s in ((sharp, 0.0), (soft, 0.02)):
        physiology.add_beats(signal, template, np.array([0.5]), np.ones((1, 8)), np.zeros(1), 500, guard_s)
    assert soft[1].sum() == pytest.approx(sharp[1].sum(), rel=0.02)
    assert soft[1].max() < 0.9 * sharp[1].max()


def test_gains_and_qt_shift_act_on_their_beat_alone(heart):
    template = physiology.pack_ventricular(heart, "N", 1.0)
    times = np.array([0.5, 2.0])
    base, changed = np.zeros((8, 1500), np.float32), np.zeros((8, 1500), np.float32)
    physiology.add_beats(base, template, times, np.ones((2, 8)), np.zeros(2), 500, 0.001)
    physiology.add_beats(changed, template, times, np.array([[1.0] * 8, [2.0] * 8]), np.array([0, 0.04]), 500, 0.001)
    assert changed[:, :700] == pytest.approx(base[:, :700], abs=1e-6)
    assert changed[:, 980:1015] == pytest.approx(2 * base[:, 980:1015], rel=0.05, abs=0.02)
    late = slice(1080, 1300)
    assert np.argmax(np.abs(changed[4, late])) - np.argmax(np.abs(base[4, late])) == pytest.approx(20, abs=3)


def test_qt_follows_the_cube_root_of_rr(heart):
    assert heart.qt_ms(1.0) == pytest.approx(heart.qtc_ms)
    assert heart.qt_ms(0.512) == pytest.approx(0.8 * heart.qtc_ms)


def test_st_shift_reaches_the_segment(heart):
    before = physiology.pack_ventricular(heart, "N", 1.0)
    heart.complexes["N"].add_st(np.array([0.0, 0.2, 0.0]))
    after = physiology.pack_ventricular(heart, "N", 1.0)
    at = np.array([heart.complexes["N"].j_ms() / 1000 + 0.06])
    rise = after.amplitude @ gaussians(after, at) - before.amplitude @ gaussians(before, at)
    assert rise[1, 0] == pytest.approx(0.2 * heart.field[1, 1], rel=0.35)
