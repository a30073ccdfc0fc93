"""All numbers of one encoder together, and the sample that they are taken on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from merit.evaluate.information.critic import CriticConfig
from merit.evaluate.information.known import against_truth, known_pairs
from merit.evaluate.information.measure import InformationConfig, entropy, halves_of, measure, one_a_report
from merit.evaluate.splits import NotEnoughData

QUICK = InformationConfig(halves=4, critic=CriticConfig(epochs=2), most_points=30)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def values() -> dict:
    x, y = known_pairs("gaussian", 5, 2.0, 150, 0)
    return measure(unit(x + 2), unit(y), x, np.arange(150) // 2, QUICK)


def test_values_are_plain_and_repeatable(values):
    x, y = known_pairs("gaussian", 5, 2.0, 150, 0)
    again = measure(unit(x + 2), unit(y), x, np.arange(150) // 2, QUICK)
    assert json.dumps(again, allow_nan=False) == json.dumps(values, allow_nan=False)
    assert values["n_patients"] == 75
    assert len(values["picture"]["ecg"]) == 30


def test_what_cannot_be_measured_is_a_reason():
    x = np.random.default_rng(5).normal(size=(200, 6))
    with pytest.raises(NotEnoughData, match="at least 16 patients; got 3"):
        measure(unit(x), unit(x), x, np.arange(200) % 3, QUICK)
    with pytest.raises(NotEnoughData, match="one side are all alike"):
        measure(np.ones((200, 6)) / 6**0.5, unit(x), x, np.arange(200), QUICK)
    json.dumps(measure(unit(x), unit(x), x, np.arange(200), QUICK), allow_nan=False)


def test_estimates_lie_in_their_intervals_and_under_their_ceilings(values):
    for name, number in values["estimates"].items():
        assert number["low"] <= number["value"] <= number["high"]
        assert number["value"] <= values["ceilings"].get(name, np.inf)
        assert sum(number["draws"]) == pytest.approx(0, abs=1e-4)
    assert values["estimates"]["gaussian"]["value"] > 0.5
    assert abs(values["shuffled"]["gaussian"]) < 0.3
    assert values["geometry"]["gap"]["value"] > 0.5


def test_one_recording_a_report():
    reports = ["a", "b", "a", "c", "b", "a"]
    chosen = one_a_report(reports, 10, 0)
    assert sorted(reports[i] for i in chosen) == ["a", "b", "c"]
    assert len(one_a_report(reports, 2, 0)) == 2
    assert len(one_a_report([], 2, 0)) == 0
    assert {tuple(one_a_report(reports, 10, s)) for s in range(20)} > {tuple(chosen)}


def test_entropy_of_repeated_reports():
    assert entropy(["a"] * 5) == 0
    assert entropy(["a", "b", "c", "d"]) == pytest.approx(np.log(4))


def test_halves_take_whole_patients():
    groups = np.repeat(np.arange(9), 2)
    for rows in halves_of(groups, 5, 0):
        assert len(rows) == 8
        assert all((np.isin(rows, np.flatnonzero(groups == g))).sum() in (0, 2) for g in range(9))


def test_too_few_pairs_say_so():
    with pytest.raises(NotEnoughData, match="at least 60 pairs"):
        measure(np.ones((20, 2)), np.ones((20, 2)), np.ones((20, 2)), np.arange(20), QUICK)


def test_known_pairs_and_the_rows_of_the_check():
    x, y = known_pairs("gaussian", 2, 1.0, 20000, 0)
    assert -np.log(1 - np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2) == pytest.approx(1.0, abs=0.05)
    np.testing.assert_allclose(known_pairs("cubed", 2, 1.0, 20000, 0)[0], x**3)
    rows = against_truth("gaussian", 1, [1.0], 100, QUICK.critic)
    assert {row["estimator"] for row in rows} == {"gaussian", "ksg", "ksg_plain", "info_nce"}
    assert [row["ceiling"] is None for row in rows] == [True, True, True, False]
    with pytest.raises(ValueError, match="shape: expected one of"):
        known_pairs("square", 1, 1.0, 10, 0)
