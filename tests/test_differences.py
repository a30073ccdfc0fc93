"""Paired differences: against closed forms, scipy, loops, and a simulation in which there is no difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from merit.intervals import corrected_t, paired_resamples, seed_t

DIFFERENCES = [0.02, 0.05, -0.01, 0.03, 0.04]


def test_without_shared_training_data_it_is_the_ordinary_t_test():
    theirs = stats.ttest_1samp(DIFFERENCES, 0)
    interval = theirs.confidence_interval(0.95)
    for ours in (corrected_t(DIFFERENCES, 0.0), seed_t(DIFFERENCES)):
        assert (ours["value"], ours["low"], ours["high"], ours["p"]) == pytest.approx(
            (np.mean(DIFFERENCES), interval.low, interval.high, theirs.pvalue)
        )
        assert (ours["n"], ours["n_dropped"]) == (5, 0)


def test_the_correction_written_out():
    """Nadeau and Bengio's Eq. 9 by hand: s² = Σ(d - mean)² / (F - 1), variance s² (1/F + n_test/n_train)."""
    mean = sum(DIFFERENCES) / 5
    s2 = sum((d - mean) ** 2 for d in DIFFERENCES) / 4
    error = (s2 * (1 / 5 + 1 / 8)) ** 0.5
    ours = corrected_t(DIFFERENCES, 1 / 8)
    assert ours["p"] == pytest.approx(2 * stats.t.cdf(-mean / error, 4))
    assert (ours["low"], ours["high"]) == pytest.approx((mean - 2.7764451052 * error, mean + 2.7764451052 * error))


def test_turning_the_pair_round_turns_the_interval_round():
    one, other = corrected_t(DIFFERENCES, 0.2), corrected_t([-d for d in DIFFERENCES], 0.2)
    assert (other["value"], other["low"], other["high"], other["p"]) == pytest.approx(
        (-one["value"], -one["high"], -one["low"], one["p"])
    )


def test_edges_of_the_t_test():
    assert corrected_t([0.1], 0.1) == {
        "value": 0.1, "low": None, "high": None, "p": None, "n": 1, "n_dropped": 0
    }  # fmt: skip
    nothing = corrected_t([], 0.1)
    assert (nothing["value"], nothing["p"], nothing["n"]) == (None, None, 0)
    equal = corrected_t([0.1, 0.1, 0.1], 0.1)
    assert (equal["value"], equal["low"], equal["p"]) == (pytest.approx(0.1), None, None)
    assert corrected_t([0.0, 0.0], 0.1)["p"] == 1.0
    dropped, kept = corrected_t([0.1, None, 0.3, float("nan")], 0.1), corrected_t([0.1, 0.3], 0.1)
    assert (dropped["n"], dropped["n_dropped"]) == (2, 2)
    assert (dropped["value"], dropped["p"]) == (kept["value"], kept["p"])
    with pytest.raises(ValueError, match="test_share: expected n_test / n_train, at least 0; got -1"):
        corrected_t([0.1, 0.2], -1)


def test_the_correction_is_exact_where_folds_correlate_as_it_assumes():
    """Differences with correlation n_test / (n_test + n_train): p is uniform with the correction, too small without."""
    share, n_folds = 0.5, 10
    rho = share / (1 + share)
    rng = np.random.default_rng(0)
    common, own = rng.normal(size=(2000, 1)), rng.normal(size=(2000, n_folds))
    differences = np.sqrt(rho) * common + np.sqrt(1 - rho) * own
    corrected = [corrected_t(d, share)["p"] for d in differences]
    assert stats.kstest(corrected, "uniform").pvalue > 0.01
    assert np.mean(np.array([corrected_t(d, 0)["p"] for d in differences]) < 0.05) > 0.3


def test_two_equal_learners_on_overlapping_training_sets():
    """Two regressions, each on one of two exchangeable inputs: neither is better, and fifteen random splits of the same
    recordings into two thirds and one third say otherwise half of the time, unless corrected.
    """
    rng = np.random.default_rng(0)
    n_runs, n, n_splits = 300, 60, 15
    x = rng.normal(size=(n_runs, 2, n))
    y = x.sum(axis=1) + rng.normal(size=(n_runs, n))
    differences = np.empty((n_runs, n_splits))
    for k in range(n_splits):
        test = rng.choice(n, n // 3, replace=False)
        train = np.setdiff1d(np.arange(n), test)
        errors = [_error(x[:, j], y, train, test) for j in (0, 1)]
        differences[:, k] = errors[0] - errors[1]
    rejected = {
        share: np.mean([corrected_t(d, share)["p"] < 0.05 for d in differences])
        for share in (0.0, (n // 3) / (2 * n // 3))
    }
    uncorrected, corrected = rejected.values()
    assert uncorrected > 0.3
    assert corrected < 0.09


def _error(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Squared error of a line fitted to (x, y) on the training records, per run; x, y [runs, n]."""
    centred = x[:, train] - x[:, train].mean(axis=1, keepdims=True)
    slope = (centred * y[:, train]).sum(axis=1) / (centred**2).sum(axis=1)
    offset = y[:, train].mean(axis=1) - slope * x[:, train].mean(axis=1)
    return ((y[:, test] - slope[:, None] * x[:, test] - offset[:, None]) ** 2).mean(axis=1)


def test_resamples_against_their_definition():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.6, 0.1, 199), rng.normal(0.55, 0.1, 199)
    ours = paired_resamples(0.6, a, 0.5, b)
    error = (sum((x - y - 0.1) ** 2 for x, y in zip(a, b)) / 199) ** 0.5
    assert (ours["value"], ours["low"], ours["high"]) == pytest.approx(
        (0.1, 0.1 - 1.959964 * error, 0.1 + 1.959964 * error)
    )
    assert ours["p"] == pytest.approx(2 * stats.norm.cdf(-0.1 / error))
    turned = paired_resamples(0.5, b, 0.6, a)
    assert (turned["low"], turned["high"], turned["p"]) == pytest.approx((-ours["high"], -ours["low"], ours["p"]))


@pytest.mark.parametrize("away", [1.9, 1.959, 1.961, 2.1])
def test_p_is_below_5_percent_exactly_where_the_interval_leaves_out_0(away):
    drawn = away + np.array([-1.0, 1.0] * 50)
    ours = paired_resamples(away, drawn, 0.0, np.zeros(100))
    assert (ours["p"] < 0.05) == (ours["low"] > 0) == (away > 1.96)


def test_differences_that_do_not_vary_have_an_interval_without_width():
    apart = paired_resamples(0.9, [0.9] * 99, 0.1, [0.1] * 99)
    assert (apart["value"], apart["low"], apart["p"]) == (pytest.approx(0.8), pytest.approx(0.8), 0)
    same = paired_resamples(0.5, [0.4, 0.6], 0.5, [0.4, 0.6])
    assert (same["value"], same["low"], same["high"], same["p"]) == (0.0, 0.0, 0.0, 1.0)


def test_resamples_with_gaps_and_without_values():
    gaps = paired_resamples(0.6, [0.5, None, 0.7], 0.5, [0.4, 0.4, float("nan")])
    assert (gaps["n"], gaps["n_dropped"]) == (1, 2)
    assert paired_resamples(None, [0.5], 0.5, [0.4])["value"] is None
    alone = paired_resamples(0.6, [], 0.5, [])
    assert (alone["value"], alone["low"], alone["p"]) == (pytest.approx(0.1), None, None)
    with pytest.raises(ValueError, match="expected as many of both scores, drawn alike; got 2 and 1"):
        paired_resamples(0.6, [0.5, 0.6], 0.5, [0.4])
