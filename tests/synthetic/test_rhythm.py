"""Rhythms keep their rules, event by event."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from merit.synthetic.rhythm import BASES, Plan, make_rhythm

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
        assert times[0] < 1.5
        assert times[-1] > 8.0


def test_sinus_rhythm_keeps_its_rate_and_breathes():
    calm, swinging = events(rate_bpm=60.0, breathing=0.0), events(rate_bpm=60.0, breathing=0.15)
    assert np.diff(beats(calm)).mean() == pytest.approx(1.0, abs=0.02)
    assert np.diff(beats(swinging)).std() > 3 * np.diff(beats(calm)).std()


def test_wenckebach_lengthens_until_a_beat_is_dropped():
    rhythm = events(rate_bpm=75.0, block="wenckebach", breathing=0.0)
    p, r = np.array([t for t, _ in rhythm.atrial]), beats(rhythm)
    pr = [next((x for x in r - t if 0.15 < x < 0.45), None) for t in p[1:-2]]
    assert None in pr
    runs = [(a, b) for a, b in pairwise(pr) if a and b]
    assert all(b > a for a, b in runs)


def test_two_to_one_block_halves_the_rate():
    rhythm = events(rate_bpm=80.0, block="two-to-one")
    assert len(rhythm.atrial) == pytest.approx(2 * len(rhythm.ventricular), abs=2)


def test_flutter_conducts_whole_waves():
    rr = np.diff(beats(events(base="flutter", flutter_hz=5.0, conduction=(2, 4))))
    waves = rr * 5.0
    assert np.abs(waves - np.rint(waves)).max() < 0.2
    assert set(np.rint(waves).astype(int)) == {2, 4}


@pytest.mark.parametrize(("pattern", "step"), [("bigeminy", 2), ("trigeminy", 3)])
def test_patterns_of_premature_beats(pattern, step):
    names = [name for t, name in events(early=[("V", pattern)]).ventricular if 0 < t < 9]
    places = np.flatnonzero(np.array(names) == "V")
    assert set(np.diff(places)) == {step}


def test_ventricular_beats_pause_and_atrial_ones_reset():
    for kind, name in (("V", "V"), ("S", "N")):
        plain = events(rate_bpm=60.0, breathing=0.0, scatter=0.001)
        rhythm = events(rate_bpm=60.0, breathing=0.0, scatter=0.001, early=[(kind, "few")])
        rr = np.diff(beats(rhythm))
        k = int(np.argmin(rr))
        assert rr[k] < 0.75
        assert rhythm.ventricular[k + 1][1] == name
        assert rr[k] + rr[k + 1] == pytest.approx(2.0, abs=0.05) if kind == "V" else rr[k] + rr[k + 1] < 1.95
        assert any(p == "E" for _, p in rhythm.atrial) == (kind == "S")
        assert len(beats(plain)) > 8


def test_complete_block_dissociates():
    rhythm = events(base="dissociated", rate_bpm=40.0, escape="V")
    assert len(rhythm.atrial) > 1.4 * len(rhythm.ventricular)
    assert {name for _, name in rhythm.ventricular} == {"V"}


def test_a_paroxysm_has_two_rates():
    for seed in range(4):
        rr = np.diff(beats(events(seed, base="reentry", rate_bpm=170.0, scatter=0.003, paroxysm=True)))
        assert np.quantile(rr, 0.1) < 0.45 < 0.6 < np.quantile(rr, 0.95)
