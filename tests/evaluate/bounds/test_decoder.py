"""The decoder's bound: bound and gap add up to the truth, and drawn signals agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from merit.evaluate.bounds import decoder

SIGNAL = decoder.Signal.standard()


def test_a_quarter_is_visible_and_the_rest_hidden():
    assert len(SIGNAL.visible) == 8
    assert len(SIGNAL.hidden) == 24
    assert set(SIGNAL.visible) | set(SIGNAL.hidden) == set(range(32))


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0, 1.4])
@pytest.mark.parametrize("variance", [0.2, 1.0, 12.0])
def test_bound_and_gap_add_up_to_the_truth(factor, variance):
    bound = decoder.bound(SIGNAL.hidden_entropy, 24, SIGNAL.error(factor), variance)
    assert bound + SIGNAL.gap(factor, variance) == pytest.approx(SIGNAL.information)
    assert SIGNAL.gap(factor, variance) > 0


def test_the_bound_is_the_entropy_plus_the_mean_log_density_of_draws():
    x = SIGNAL.draw(20_000, 3)
    matrix, _ = SIGNAL.prediction()
    mean = 0.5 * x[:, SIGNAL.visible] @ matrix.T
    log_density = multivariate_normal(np.zeros(24), 0.8).logpdf(x[:, SIGNAL.hidden] - mean).mean()
    found = decoder.bound(SIGNAL.hidden_entropy, 24, SIGNAL.error(0.5), 0.8)
    assert found == pytest.approx(SIGNAL.hidden_entropy + log_density, abs=0.1)


def test_the_true_posterior_closes_the_gap():
    """A Gaussian with the full covariance that the prediction leaves: E log q = -h(x_h | x_v)."""
    _, left = SIGNAL.prediction()
    conditional = multivariate_normal(np.zeros(24), left).entropy()
    assert SIGNAL.hidden_entropy - conditional == pytest.approx(SIGNAL.information)


def test_the_best_variance_is_the_error():
    error = SIGNAL.error(1.0)
    at = [decoder.bound(SIGNAL.hidden_entropy, 24, error, v) for v in (0.9 * error, error, 1.1 * error)]
    assert at[1] == max(at)


def test_pretrainings_masked_error_agrees_with_the_formula():
    for factor in (1.0, 0.5, 0.0):
        drawn = np.mean([decoder.measured_error(SIGNAL, factor, 500, seed) for seed in range(8)])
        assert drawn == pytest.approx(SIGNAL.error(factor), rel=0.03)


def test_a_scaled_target_is_another_variance():
    """With weight one on a target of scale s, the bound of the unscaled signal is that of variance d / 2 s²."""
    s, d, error = 3.0, 24, SIGNAL.error(1.0)
    scaled = decoder.bound(SIGNAL.hidden_entropy + d * np.log(s), d, s**2 * error, d / 2)
    assert scaled == pytest.approx(decoder.bound(SIGNAL.hidden_entropy, d, error, d / (2 * s**2)))


def test_rows_hold_both_variances_for_each_decoder():
    found = decoder.against_truth([1.0, 0.0], n=50, seeds=4)
    assert [(row["factor"], row["kind"]) for row in found["rows"]] == [
        (1.0, "best"), (1.0, "weight one"), (0.0, "best"), (0.0, "weight one"),
    ]  # fmt: skip
    for row in found["rows"]:
        assert row["bound"] + row["gap"] == pytest.approx(found["information"])
        assert row["measured"]["low"] <= row["measured"]["value"] <= row["measured"]["high"]
