"""The InfoNCE bound: never above log K, near the truth where it is known, and the same on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.information import critic
from merit.evaluate.information.critic import CriticConfig, bound_contributions, critic_information
from merit.evaluate.information.known import known_pairs

QUICK = CriticConfig(epochs=5, patience=2)


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
    found = critic_information(*known_pairs("gaussian", 4, nats, 1000, 0), np.arange(1000), QUICK)
    assert nats - 0.3 < found.value < nats + 0.1


def test_never_above_log_k_even_when_the_pairs_are_equal():
    x = np.random.default_rng(0).normal(size=(120, 3))
    found = critic_information(x, x, np.arange(120), QUICK)
    assert found.ceiling == pytest.approx(np.log(30))
    assert 1.5 < found.value <= found.ceiling


def test_learns_what_no_correlation_shows():
    """y depends on |x| alone: canonical correlations are 0, the critic's hidden part has to find it."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(700, 1))
    y = np.abs(x) + 0.2 * generator.normal(size=(700, 1))
    assert critic_information(x, y, np.arange(700)).value > 0.2


def test_the_same_on_any_number_of_threads(monkeypatch):
    x, y = known_pairs("gaussian", 2, 1.0, 200, 0)
    alone = critic_information(x, y, np.arange(200), QUICK)
    monkeypatch.setattr(critic, "usable_cores", lambda: 4)
    np.testing.assert_array_equal(critic_information(x, y, np.arange(200), QUICK).contributions, alone.contributions)


def test_too_few_patients_are_refused():
    with pytest.raises(ValueError, match="at least 2 in each"):
        critic_information(np.ones((20, 2)), np.ones((20, 2)), np.zeros(20))
