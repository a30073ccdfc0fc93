"""The Gaussian estimate: within 0.05 nats of the truth, exact bias, slow oracle."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.information import gaussian
from merit.evaluate.information.known import known_pairs


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("nats", [0.0, 0.5, 2.0, 4.0])
def test_within_five_hundredths_of_the_truth(width, nats):
    """The mean of three samples of 5,000: one sample alone strays by up to 0.06 at 16 dimensions."""
    found = [
        gaussian.gaussian_information(*known_pairs("gaussian", width, nats, 5000, s), np.arange(5000)).value
        for s in range(3)
    ]
    assert np.mean(found) == pytest.approx(nats, abs=0.05)


def test_the_bias_of_small_samples_is_taken_off_exactly():
    """Mean over 400 samples of 40 pairs, 4 + 3 dimensions, ρ = 0.6 in three of them."""
    generator = np.random.default_rng(0)
    truth, plain = -1.5 * np.log(1 - 0.36), []
    for _ in range(400):
        x = generator.normal(size=(40, 4))
        y = 0.6 * x[:, :3] + 0.8 * generator.normal(size=(40, 3))
        plain.append(gaussian.from_correlations(gaussian.canonical_correlations(x, y)))
    assert np.mean(plain) - truth > 0.15
    assert np.mean(plain) - gaussian.wishart_bias(40, 4, 3) == pytest.approx(truth, abs=0.03)


def test_correlations_equal_determinants_of_covariances():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(50, 3))
    y = np.c_[x[:, :1] + 0.3 * generator.normal(size=(50, 1)), generator.normal(size=(50, 1))]
    log_det = [np.linalg.slogdet(np.cov(z.T))[1] for z in (x, y, np.hstack([x, y]))]
    slow = 0.5 * (log_det[0] + log_det[1] - log_det[2])
    assert gaussian.from_correlations(gaussian.canonical_correlations(x, y)) == pytest.approx(slow)
    turned = gaussian.canonical_correlations(x @ generator.normal(size=(3, 3)), 5 * y + 2)
    np.testing.assert_allclose(turned, gaussian.canonical_correlations(x, y))


def test_held_out_ratio_equals_densities():
    from scipy.stats import multivariate_normal

    generator = np.random.default_rng(2)
    a, b = gaussian.scores(generator.normal(size=(80, 2)), 2), None
    b = gaussian.scores(0.5 * a + generator.normal(size=(80, 2)), 2)
    test = generator.normal(size=(5, 2)), generator.normal(size=(5, 2))
    cross = a.T @ b / 79
    joint = multivariate_normal(np.zeros(4), np.block([[np.eye(2), cross], [cross.T, np.eye(2)]]))
    single = multivariate_normal(np.zeros(2), np.eye(2))
    slow = sum(joint.logpdf(np.r_[u, v]) - single.logpdf(u) - single.logpdf(v) for u, v in zip(*test))
    assert gaussian.held_out_ratio(a, test[0], b, test[1]) == pytest.approx(slow)


def test_components_follow_what_predicts():
    generator = np.random.default_rng(3)
    hidden = generator.normal(size=(600, 2))
    x = np.c_[3 * hidden, 0.1 * generator.normal(size=(600, 20))]
    y = np.c_[3 * hidden + generator.normal(size=(600, 2)), 0.1 * generator.normal(size=(600, 20))]
    assert gaussian.choose_components(x, y, np.arange(600)) == 2


def test_scores_are_uncorrelated_with_fixed_signs_and_no_dead_direction():
    x = np.random.default_rng(4).normal(size=(30, 3)) @ np.diag([5, 1, 0])
    found = gaussian.scores(x, 5)
    assert found.shape == (30, 2)
    np.testing.assert_allclose(np.cov(found.T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(gaussian.scores(x[::-1], 5)[::-1], found, atol=1e-9)


def test_canonical_frame_gives_its_correlations():
    x, y = known_pairs("gaussian", 3, 2.0, 400, 0)
    frame = gaussian.CanonicalFrame.fitted(x, y, 3)
    u, v = frame.variables(x, y)
    np.testing.assert_allclose(np.corrcoef(u.T, v.T)[:3, 3:], np.diag(frame.correlations), atol=1e-9)


def test_groups_stay_in_one_fold_and_few_pairs_are_refused():
    groups = np.repeat(np.arange(20), 3)
    folds = gaussian.fold_of(groups, 4, 0)
    assert all(len(set(folds[groups == g])) == 1 for g in range(20))
    assert np.bincount(folds).tolist() == [15, 15, 15, 15]
    with pytest.raises(ValueError, match="at least 10"):
        gaussian.gaussian_information(np.ones((5, 2)), np.ones((5, 2)), np.arange(5))
    with pytest.raises(ValueError, match="more than the 8 components"):
        gaussian.wishart_bias(8, 4, 4)
