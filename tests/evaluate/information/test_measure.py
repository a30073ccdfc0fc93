"""All numbers of one encoder together, and the sample that they are taken on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from merit.evaluate.information.critic import CriticConfig
from merit.evaluate.information.known import against_truth, known_pairs
from merit.evaluate.information.measure import (
    TOLERANCE,
    InformationConfig,
    entropy,
    estimate,
    halves_of,
    measure,
    one_a_report,
    planted,
)
from merit.evaluate.tasks import NotEnoughData

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
    assert [row["ceiling"] is None for row in rows] == [False, True, True, True]
    with pytest.raises(ValueError, match="shape: expected one of"):
        known_pairs("square", 1, 1.0, 10, 0)


@pytest.mark.parametrize(("private", "scale"), [((4, 0), 3.0), ((4, 0), 10.0), ((20, 0), 5.0), ((65, 65), 5.0)])
def test_nearest_neighbours_are_right_beside_private_directions_or_have_no_vote(private, scale):
    """Two nats in four pairs are too much for 500 pairs a part; one nat in two pairs is found."""
    for width, nats in ((4, 2.0), (2, 1.0)):
        x, y = known_pairs("gaussian", width, nats, 2000, 0, private=private, scale=scale)
        found = estimate(x, y, np.arange(2000), None)
        assert found.values["gaussian"] == pytest.approx(nats, abs=0.2)
        if "ksg" not in found.about["no_vote"]:
            assert found.values["ksg"] == pytest.approx(nats, abs=0.2)
        assert ("ksg" in found.about["no_vote"]) == (width == 4)


def test_a_vote_hangs_on_what_is_planted_and_on_what_is_dealt_out():
    x, y = known_pairs("gaussian", 1, 1.0, 1000, 0)
    found = estimate(x, y, np.arange(1000), None)
    assert found.about["no_vote"] == {}
    assert abs(found.about["planted"]["ksg"] - found.about["planted"]["truth"]) <= TOLERANCE
    assert abs(found.about["shuffled"]["ksg"]) <= TOLERANCE
    x, y = known_pairs("gaussian", 4, 2.0, 150, 0)
    silent = estimate(x, y, np.arange(150), None).about
    assert f"of {silent['planted']['truth']:.2f} nats planted" in silent["no_vote"]["ksg"]


def test_planted_pairs_have_the_data_s_covariances_and_the_information_that_is_said():
    x, y = known_pairs("gaussian", 3, 2.0, 40000, 0, private=(3, 1), scale=4)
    rho = np.array([0.95, 0.5])
    truth, a, b = planted(x, y, rho)
    assert truth == pytest.approx(-0.5 * np.log1p(-(rho**2)).sum())
    np.testing.assert_allclose(np.cov(a.T), np.cov(x.T), atol=0.3)
    np.testing.assert_allclose(np.cov(b.T), np.cov(y.T), atol=0.3)
    log_det = [np.linalg.slogdet(np.cov(z.T))[1] for z in (a, b, np.hstack([a, b]))]
    assert 0.5 * (log_det[0] + log_det[1] - log_det[2]) == pytest.approx(truth, abs=0.02)
    assert planted(x, y, np.zeros(4))[0] == pytest.approx(1.0)
    assert planted(x, y, np.array([0.1]))[0] == pytest.approx(1.0)


@pytest.mark.slow
def test_halves_spread_as_whole_samples_do():
    """The standard deviation over 40 samples of 600 pairs, two a patient, against that over halves of one."""
    values, spreads = [], []
    for sample in range(40):
        x, y = known_pairs("gaussian", 2, 1.0, 600, sample, private=(10, 10))
        groups = np.arange(600) // 2
        found = estimate(x, y, groups, None)
        values.append([found.values[name] for name in ("gaussian", "ksg")])
        draws = [found.on(rows) for rows in halves_of(groups, 30, sample)]
        spreads.append([np.std([draw[name] for draw in draws], ddof=1) for name in ("gaussian", "ksg")])
    ratio = np.mean(spreads, axis=0) / np.std(values, axis=0, ddof=1)
    assert (ratio > 0.75).all()
    assert (ratio < 1.5).all()
