"""Leads obey Einthoven, Goldberger and Wilson; beats lie where and as large as their waves say; rhythms keep rules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from merit.data.recording import LEADS
from merit.synthetic import heart as hearts
from merit.synthetic.heart import BASES, Plan, make_rhythm


@pytest.fixture
def heart() -> hearts.Heart:
    return hearts.draw_heart(np.random.default_rng(3), 55, True, 1.0, 0.1)


def test_twelve_from_eight_of_differences_of_potential():
    eight = np.random.default_rng(0).normal(size=(8, 30))
    twelve = dict(zip(LEADS, hearts.twelve_leads(eight)))
    assert twelve["III"] == pytest.approx(twelve["II"] - twelve["I"])
    assert twelve["aVR"] == pytest.approx(-(twelve["I"] + twelve["II"]) / 2)
    assert twelve["aVL"] == pytest.approx((twelve["I"] - twelve["III"]) / 2)
    assert twelve["aVF"] == pytest.approx((twelve["II"] + twelve["III"]) / 2)
    assert hearts.twelve_leads(eight) == pytest.approx(hearts.EIGHT_TO_TWELVE @ eight)
    assert hearts.ELECTRODES_TO_LEADS @ np.ones(9) == pytest.approx(0)
    assert 3 * hearts.ELECTRODES_TO_LEADS[:, 2] == pytest.approx([0, 3] + [-1] * 6)  # the left leg
    turn = hearts.rotation(0.3, 0.2, -0.4)
    assert turn @ turn.T == pytest.approx(np.eye(3))
    assert (hearts.rotation(0, np.pi / 2, 0) @ [1, 0, 0])[1] == pytest.approx(1)  # from left to the feet


def laid_down(template: hearts.Template, times, gains=1.0, shift_s=0.0, guard_s: float = 0.0) -> np.ndarray:
    """Beats in an empty recording of three seconds at 500 Hz."""
    signal, n = np.zeros((8, 1500), np.float32), len(times)
    gains = np.broadcast_to(np.reshape(gains, (-1, 1)), (n, 8))
    hearts.add_beats(signal, template, np.array(times), gains, np.broadcast_to(shift_s, n), 500, guard_s)
    return signal


def test_beats_equal_the_sum_of_their_waves(heart):
    template, times = hearts.pack_ventricular(heart, "N", 0.8), [-0.05, 0.8134, 1.7, 2.96]
    slow = sum(template.amplitude @ template.gaussians(np.arange(1500) / 500 - at) for at in times)
    assert laid_down(template, times) == pytest.approx(slow, abs=2e-3)


def test_the_low_pass_keeps_the_area_and_lowers_the_peak(heart):
    sharp, soft = (laid_down(hearts.pack_atrial(heart, "P"), [0.5], guard_s=guard_s) for guard_s in (0.0, 0.02))
    assert soft[1].sum() == pytest.approx(sharp[1].sum(), rel=0.02)
    assert soft[1].max() < 0.9 * sharp[1].max()


def test_gains_and_qt_shift_act_on_their_beat_alone(heart):
    template = hearts.pack_ventricular(heart, "N", 1.0)
    base = laid_down(template, [0.5, 2.0], guard_s=0.001)
    changed = laid_down(template, [0.5, 2.0], [1.0, 2.0], [0, 0.04], guard_s=0.001)
    assert changed[:, :700] == pytest.approx(base[:, :700], abs=1e-6)
    assert changed[:, 980:1015] == pytest.approx(2 * base[:, 980:1015], rel=0.05, abs=0.02)
    late = slice(1080, 1300)
    assert np.argmax(np.abs(changed[4, late])) - np.argmax(np.abs(base[4, late])) == pytest.approx(20, abs=3)


def test_qt_follows_the_cube_root_of_rr_and_st_reaches_the_segment(heart):
    assert (heart.qt_ms(1.0), heart.qt_ms(0.512)) == pytest.approx((heart.qtc_ms, 0.8 * heart.qtc_ms))
    level = []
    for shift in (0.0, 0.2):
        heart.complexes["N"].add_st(np.array([0.0, shift, 0.0]))
        template = hearts.pack_ventricular(heart, "N", 1.0)
        level.append(template.amplitude @ template.gaussians(np.array([heart.complexes["N"].j_ms() / 1000 + 0.06])))
    assert (level[1] - level[0])[1, 0] == pytest.approx(0.2 * heart.field[1, 1], rel=0.35)


# -- rhythms ----------------------------------------------------------------------------------------------------------

PR_S = 0.2


def events(seed: int = 0, **settings):
    return make_rhythm(Plan(**settings), 10.0, PR_S, 0.25, np.random.default_rng(seed))


def beats(rhythm) -> np.ndarray:
    return np.array([t for t, _ in rhythm.ventricular])


@pytest.mark.parametrize("base", sorted(BASES))
def test_every_rhythm_fills_the_recording_in_order(base):
    for seed in range(5):
        times = beats(events(seed, base=base, rate_bpm=60.0, scatter=0.1))
        assert (np.diff(times) > 0.15).all()
        assert times[0] < 1.5 < 8.0 < times[-1]


def test_sinus_rhythm_breathes_blocks_drop_beats_and_flutter_conducts_whole_waves():
    calm, swinging = (np.diff(beats(events(rate_bpm=60.0, breathing=breathing))) for breathing in (0.0, 0.15))
    assert calm.mean() == pytest.approx(1.0, abs=0.02)
    assert swinging.std() > 3 * calm.std()
    rhythm = events(rate_bpm=75.0, block="wenckebach", breathing=0.0)
    p, r = np.array([t for t, _ in rhythm.atrial]), beats(rhythm)
    pr = [next((x for x in r - t if 0.15 < x < 0.45), None) for t in p[1:-2]]
    assert None in pr
    assert all(b > a for a, b in pairwise(pr) if a and b), "PR lengthens until a beat is dropped"
    rhythm = events(rate_bpm=80.0, block="two-to-one")
    assert len(rhythm.atrial) == pytest.approx(2 * len(rhythm.ventricular), abs=2)
    rhythm = events(base="dissociated", rate_bpm=40.0, escape="V")
    assert len(rhythm.atrial) > 1.4 * len(rhythm.ventricular)
    assert {name for _, name in rhythm.ventricular} == {"V"}
    waves = 5.0 * np.diff(beats(events(base="flutter", flutter_hz=5.0, conduction=(2, 4))))
    assert np.abs(waves - np.rint(waves)).max() < 0.2
    assert set(np.rint(waves).astype(int)) == {2, 4}


def test_patterns_of_premature_beats_and_two_rates_of_a_paroxysm():
    for pattern, step in (("bigeminy", 2), ("trigeminy", 3)):
        names = [name for t, name in events(early=[("V", pattern)]).ventricular if 0 < t < 9]
        assert set(np.diff(np.flatnonzero(np.array(names) == "V"))) == {step}
    for seed in range(4):
        rr = np.diff(beats(events(seed, base="reentry", rate_bpm=170.0, scatter=0.003, paroxysm=True)))
        assert np.quantile(rr, 0.1) < 0.45 < 0.6 < np.quantile(rr, 0.95)


@pytest.mark.parametrize(("kind", "name"), [("V", "V"), ("S", "N")])
def test_ventricular_beats_pause_and_atrial_ones_reset(kind, name):
    rhythm = events(rate_bpm=60.0, breathing=0.0, scatter=0.001, early=[(kind, "few")])
    rr = np.diff(beats(rhythm))
    k = int(np.argmin(rr))
    assert rr[k] < 0.75
    assert rhythm.ventricular[k + 1][1] == name
    assert rr[k] + rr[k + 1] == pytest.approx(2.0, abs=0.05) if kind == "V" else rr[k] + rr[k + 1] < 1.95
    assert any(p == "E" for _, p in rhythm.atrial) == (kind == "S")
