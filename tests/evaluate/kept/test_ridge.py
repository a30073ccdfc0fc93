"""Ridge with left-out residuals against scikit-learn and against loops."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from merit.evaluate.kept import features, ridge


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)) * [3, 1, 1, 0.3, 1, 1] + 2
    y = np.column_stack([x @ rng.normal(size=6) + rng.normal(size=40), rng.normal(size=40)])
    return x, y


def test_it_is_scikit_learns_ridge_at_the_penalty_that_leaving_one_out_chooses(data):
    x, y = data
    total = float(((x - x.mean(0)) ** 2).sum())
    fit = ridge.Design.of(x).fit(y)
    for k in range(2):
        theirs = RidgeCV(alphas=[p * total for p in ridge.PENALTIES]).fit(x, y[:, k])
        assert fit.penalties[k] * total == pytest.approx(theirs.alpha_)
        assert fit.predict(x[:5])[:, k] == pytest.approx(theirs.predict(x[:5]))


def test_left_out_residuals_are_those_of_a_fit_without_the_row(data):
    x, y = data
    fit = ridge.Design.of(x).fit(y)
    total = float(((x - x.mean(0)) ** 2).sum())
    for row in (0, 7, 39):
        others = np.arange(40) != row
        # Without the row the features' mean moves too, which a fit with an unpenalised intercept allows for.
        again = Ridge(alpha=fit.penalties[0] * total).fit(x[others], y[others, 0])
        assert fit.left_out[row, 0] == pytest.approx(y[row, 0] - again.predict(x[[row]])[0])


def test_noise_gets_the_mean_and_a_constant_feature_nothing(data):
    _, y = data
    fit = ridge.Design.of(np.ones((40, 3))).fit(y)
    assert fit.predict(np.full((2, 3), 5.0)) == pytest.approx(np.tile(y.mean(0), (2, 1)))
    noise = np.random.default_rng(1).normal(size=(2000, 1))
    far = ridge.Design.of(np.random.default_rng(2).normal(size=(2000, 5))).fit(noise)
    assert np.abs(far.coefficients).max() < 0.05


def test_reading_in_chunks_changes_nothing(data, monkeypatch):
    x, y = data
    whole = ridge.Design.of(x).fit(y)
    monkeypatch.setattr(features, "CHUNK", 7)
    chunked = ridge.Design.of(x).fit(y)
    for name in ("mean", "coefficients", "intercepts", "left_out", "penalties"):
        assert getattr(chunked, name) == pytest.approx(getattr(whole, name), abs=1e-12)
