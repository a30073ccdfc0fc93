"""The InfoNCE bound: never above log K, near the truth where it is known, and the same on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.information import critic
from merit.evaluate.information.critic import (
    CriticConfig,
    CriticInformation,
    bound_contributions,
    critic_information,
)
from merit.evaluate.information.gaussian import cross_fit
from merit.evaluate.information.known import known_pairs

QUICK = CriticConfig(epochs=5, patience=2)


def bound(x: np.ndarray, y: np.ndarray, config: CriticConfig | None = None) -> CriticInformation:
    groups = np.arange(len(x))
    return critic_information(x, y, groups, cross_fit(x, y, groups), config)


def test_contributions_equal_loops_and_stay_under_log_k():
    scores = np.random.default_rng(0).normal(size=(6, 6)) * 5
    slow = []
    for i in range(6):
        down = np.exp(scores[i, i]) / np.exp(scores[:, i]).mean()
        across = np.exp(scores[i, i]) / np.exp(scores[i]).mean()
        slow.append(0.5 * (np.log(down) + np.log(across)))
    np.testing.assert_allclose(bound_contributions(scores), slow)
    certain = bound_contributions(1e6 * np.eye(9))
    assert certain.mean() == pytest.approx(np.log(9))
    assert bound_contributions(np.zeros((9, 9))).mean() == pytest.approx(0)
    assert bound_contributions(scores).mean() <= np.log(6)


@pytest.mark.parametrize("nats", [0.0, 1.0, 2.0])
def test_within_three_tenths_at_four_dimensions(nats):
    found = bound(*known_pairs("gaussian", 4, nats, 1000, 0), QUICK)
    assert nats - 0.3 < found.value < nats + 0.1


def test_never_above_log_k_even_when_the_pairs_are_equal():
    x = np.random.default_rng(0).normal(size=(120, 3))
    found = bound(x, x, QUICK)
    assert found.ceiling == pytest.approx(np.log(30))
    assert 1.5 < found.value <= found.ceiling


def test_learns_what_no_correlation_shows():
    """y depends on |x| alone: canonical correlations are 0, the critic's hidden part has to find it."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(700, 1))
    y = np.abs(x) + 0.2 * generator.normal(size=(700, 1))
    assert bound(x, y).value > 0.2


def test_learns_what_no_correlation_shows_in_several_directions():
    """No pair is correlated, so cross-validation keeps one: the critic sees more."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1000, 3))
    y = np.abs(x) + 0.2 * generator.normal(size=(1000, 3))
    assert bound(x, y).value > 0.3


@pytest.mark.parametrize("private", [(4, 0), (20, 0), (60, 0), (70, 0), (65, 65)])
@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_louder_private_directions_hide_nothing(private, scale):
    x, y = known_pairs("gaussian", 4, 2.0, 2000, 0, private=private, scale=scale)
    assert 1.6 < bound(x, y, QUICK).value < 2.1


def test_independent_sides_share_nothing():
    x, y = known_pairs("gaussian", 4, 0.0, 600, 0, private=(60, 60))
    assert bound(x, y).value == pytest.approx(0, abs=0.02)


def test_the_same_on_any_number_of_threads(monkeypatch):
    x, y = known_pairs("gaussian", 2, 1.0, 200, 0)
    alone = bound(x, y, QUICK)
    monkeypatch.setattr(critic, "usable_cores", lambda: 4)
    np.testing.assert_array_equal(bound(x, y, QUICK).contributions, alone.contributions)
