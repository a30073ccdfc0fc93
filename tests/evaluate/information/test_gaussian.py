"""The Gaussian estimate: within 0.05 nats of the truth, exact bias, slow oracle."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.information import gaussian
from merit.evaluate.information.known import known_pairs


def fitted(x: np.ndarray, y: np.ndarray) -> list[gaussian.Part]:
    return gaussian.cross_fit(x, y, np.arange(len(x)))


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("nats", [0.0, 0.5, 2.0, 4.0])
def test_within_five_hundredths_of_the_truth(width, nats):
    """The mean of three samples of 5,000: one sample alone strays by up to 0.06 at 16 dimensions."""
    found = [
        gaussian.gaussian_information(fitted(*known_pairs("gaussian", width, nats, 5000, s))).value for s in range(3)
    ]
    assert np.mean(found) == pytest.approx(nats, abs=0.05)


@pytest.mark.parametrize("n", [2000, 4000])
@pytest.mark.parametrize("private", [(4, 0), (20, 0), (60, 0), (70, 0), (0, 70), (65, 65)])
@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_louder_private_directions_hide_nothing(n, private, scale):
    x, y = known_pairs("gaussian", 4, 2.0, n, 0, private=private, scale=scale)
    assert gaussian.gaussian_information(fitted(x, y)).value == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize(("n", "private"), [(200, (0, 0)), (200, (60, 60)), (1000, (60, 60)), (300, (200, 200))])
def test_independent_sides_share_nothing_however_many_directions(n, private):
    """The mean of six samples: directions that were fitted on the rows themselves would give far more than 0."""
    samples = [known_pairs("gaussian", 4, 0.0, n, s, private=private) for s in range(6)]
    found = [gaussian.gaussian_information(fitted(x, y)).value for x, y in samples]
    assert np.mean(found) == pytest.approx(0, abs=0.03)
    x, y = samples[0]
    if n == 1000:
        frame = gaussian.CanonicalFrame.fitted(x, y, 1e-6, 4)
        own = gaussian.canonical_correlations(*frame.variables(x, y))
        assert gaussian.from_correlations(own) - gaussian.wishart_bias(n, 4, 4) > 0.1


def test_no_row_has_a_part_in_its_own_directions():
    """Other values of one patient change nothing of that patient's frame, seen in the others' of the same part."""
    x, y = known_pairs("gaussian", 3, 1.0, 120, 0)
    groups = np.arange(120) // 2
    before = gaussian.cross_fit(x, y, groups)
    assert np.sort(np.concatenate([part.rows for part in before])).tolist() == list(range(120))
    changed = x.copy()
    changed[:2] += 5
    after = gaussian.cross_fit(changed, y, groups)
    (f,) = [i for i, part in enumerate(before) if 0 in part.rows]
    assert 1 in before[f].rows
    others = before[f].rows > 1
    np.testing.assert_array_equal(after[f].u[others], before[f].u[others])


def test_half_of_the_rows_is_estimated_in_the_same_directions():
    x, y = known_pairs("gaussian", 3, 1.0, 400, 0)
    parts, half = fitted(x, y), np.arange(400) % 2 == 0
    slow = []
    for part in parts:
        u, v = part.u[half[part.rows]], part.v[half[part.rows]]
        plain = gaussian.from_correlations(gaussian.canonical_correlations(u, v))
        slow.append((len(u), plain - gaussian.wishart_bias(len(u), u.shape[1], v.shape[1])))
    n, value = np.array(slow).T
    assert gaussian.gaussian_information(parts, half).value == pytest.approx(n @ value / n.sum())
    assert np.isnan(gaussian.gaussian_information(parts, np.arange(400) < 3).value)


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-6])
def test_ridge_directions_equal_a_generalised_eigenproblem(penalty):
    """Directions w of x solve C_xy (C_yy + λ_y)⁻¹ C_yx w = ρ² (C_xx + λ_x) w (Vinod 1976)."""
    from scipy.linalg import eigh

    x, y = known_pairs("gaussian", 3, 2.0, 200, 0, private=(4, 2), scale=3)
    c = np.cov(np.hstack([x, y]).T)
    p = x.shape[1]
    xx, yy, xy = c[:p, :p], c[p:, p:], c[:p, p:]
    xx, yy = (one + penalty * np.trace(one) / len(one) * np.eye(len(one)) for one in (xx, yy))
    _, slow = eigh(xy @ np.linalg.solve(yy, xy.T), xx)
    frame = gaussian.CanonicalFrame.fitted(x, y, penalty, 3)
    for i in range(3):
        found, expected = frame.directions[0][:, i], slow[:, -1 - i]
        assert abs(found @ expected) == pytest.approx(np.linalg.norm(found) * np.linalg.norm(expected))
    u, v = frame.variables(x, y)
    np.testing.assert_allclose([u.std(axis=0, ddof=1), v.std(axis=0, ddof=1)], np.ones((2, 3)))


def test_without_a_penalty_the_variables_have_the_canonical_correlations():
    x, y = known_pairs("gaussian", 3, 2.0, 400, 0)
    u, v = gaussian.CanonicalFrame.fitted(x, y, 0.0, 3).variables(x, y)
    np.testing.assert_allclose(np.corrcoef(u.T, v.T)[:3, 3:], np.diag(gaussian.canonical_correlations(x, y)), atol=1e-9)


def test_choice_finds_how_many_pairs_are_shared_and_that_few_rows_need_a_penalty():
    x, y = known_pairs("gaussian", 3, 2.0, 2000, 0, private=(30, 30), scale=10)
    choice = gaussian.choose(x, y, np.arange(2000))
    assert len(choice.correlations) == 3
    np.testing.assert_allclose(choice.correlations, np.sqrt(1 - np.exp(-4 / 3)), atol=0.05)
    assert choice.penalty <= 1e-3
    generator = np.random.default_rng(1)
    shared = 3 * generator.normal(size=(150, 1))
    x, y = (np.hstack([shared + generator.normal(size=(150, 1)), generator.normal(size=(150, 99))]) for _ in range(2))
    assert gaussian.choose(x, y, np.arange(150)).penalty >= 0.1


def test_few_pairs_in_many_directions_are_enough_where_what_is_shared_is_loud():
    """The mean of four samples of 150 pairs in 64 directions, of which four are loud and share 1 nat."""
    found = []
    for seed in range(4):
        generator = np.random.default_rng([9, seed])
        sides = [
            np.hstack([side, 0.3 * np.exp(-np.arange(60) / 6) * generator.normal(size=(150, 60))])
            for side in known_pairs("gaussian", 4, 1.0, 150, seed)
        ]
        found.append(gaussian.gaussian_information(fitted(*sides)).value)
    assert np.mean(found) == pytest.approx(1.0, abs=0.15)


def test_directions_without_variance_are_no_directions():
    x, y = known_pairs("gaussian", 3, 1.0, 300, 0)
    flat = np.hstack([x, x @ np.ones((3, 2)), np.ones((300, 1))])
    found, plain = (gaussian.gaussian_information(fitted(side, y)).value for side in (flat, x))
    assert found == pytest.approx(plain, abs=0.02)


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


def test_groups_stay_in_one_fold_and_few_pairs_are_refused():
    groups = np.repeat(np.arange(20), 3)
    folds = gaussian.fold_of(groups, 4, 0)
    assert all(len(set(folds[groups == g])) == 1 for g in range(20))
    assert np.bincount(folds).tolist() == [15, 15, 15, 15]
    with pytest.raises(ValueError, match="at least 2 in each of 4 parts"):
        gaussian.cross_fit(np.ones((20, 2)), np.ones((20, 2)), np.zeros(20))
    with pytest.raises(ValueError, match="more than the 8 components"):
        gaussian.wishart_bias(8, 4, 4)
