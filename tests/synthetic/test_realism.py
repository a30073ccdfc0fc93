"""The synthetic PTB-XL-like site is as hard as the real one, and the measures are what their definitions say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from merit.config import HospitalConfig
from merit.data import preprocess
from merit.runs import PACKAGE_ROOT
from merit.synthetic import realism
from merit.synthetic.labels import plan_site
from merit.synthetic.recordings import render

REFERENCE = json.loads((PACKAGE_ROOT.parent / "book/reference/real_recordings.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def synthetic() -> tuple[list, np.ndarray]:
    config = HospitalConfig(recordings={"ptb-xl": 260}, min_positives=4, seed=7)
    orders = [order for order in plan_site("ptb-xl", config) if not order.also_500_hz]
    made = [render(order) for order in orders]
    return [one for one, _, _ in made], np.stack([signal for _, signal, _ in made])


def test_synthetic_recordings_are_as_hard_as_real_ones_and_their_waves_like_theirs(synthetic):
    made, signals = synthetic
    ours = preprocess.hardness(signals)
    for name, target in realism.TARGETS.items():
        assert abs(ours[name] - target) <= realism.TOLERANCE[name], (name, ours)
        assert abs(ours[name] - REFERENCE["hardness"][name]) <= realism.TOLERANCE[name], (name, ours)
    normal = [(one, x) for one, x in zip(made, signals) if "NORM" in one.order.findings]
    for name, tolerance in (("pr_ms", 20), ("qrs_ms", 12), ("qt_ms", 40), ("p_ms", 15)):
        median = np.nanmedian([one.truth[name] for one, _ in normal])
        assert abs(median - REFERENCE["intervals"][name][2]) < tolerance, name
    ours = realism.table([realism.beat_amplitudes(x, 100) for _, x in normal])
    for name, real in REFERENCE["amplitudes_of_normal"].items():
        if isinstance(real, list):
            assert real[0] - 0.05 <= ours[name][2] <= real[4] + 0.05, name
            if name[:2] in ("r_", "s_") and abs(real[2]) > 0.5:
                assert 0.7 < ours[name][2] / real[2] < 1.4, name


def test_intervals_of_a_delineated_lead():
    symbols = list("(p)(N)(t)(p)(N)(t)")
    samples = [0, 20, 50, 80, 100, 130, 200, 240, 280, 500, 520, 550, 580, 600, 630, 700, 740, 780]
    waves = realism.delineated_waves(samples, symbols, 500)
    found = realism.intervals({"II": waves})
    assert found["heart_rate_bpm"] == pytest.approx(60)
    assert (found["pr_ms"], found["qrs_ms"], found["qt_ms"], found["p_ms"]) == (160, 100, 400, 100)


def test_committed_intervals_are_those_of_ludb(real_data):
    some = realism.measure_ludb(real_data / "ludb", limit=8)
    assert some["n_recordings"] == 8
    for name in realism.INTERVALS:
        low, *_, high = REFERENCE["intervals"][name]
        assert low < some[name][2] < high, name
