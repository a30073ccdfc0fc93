"""Filling hidden patches: baselines against loops, errors against the loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.evaluate import reconstruction
from merit.objectives import masked_mse


@pytest.fixture
def patches() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4, 5, 6))


@pytest.fixture
def hidden() -> np.ndarray:
    """[3, 4, 5], with a lead that is all hidden and one that is all visible."""
    found = np.random.default_rng(1).random((3, 4, 5)) < 0.6
    found[0, 0], found[0, 1] = True, False
    return found


def test_interpolation_is_a_loop_over_neighbours(patches, hidden):
    found = reconstruction.interpolated(patches, hidden)
    for r, lead in np.ndindex(3, 4):
        flat, gone = patches[r, lead].ravel(), np.repeat(hidden[r, lead], 6)
        for t, sample in enumerate(found[r, lead].ravel()):
            left = [u for u in range(t, -1, -1) if not gone[u]]
            right = [u for u in range(t, len(flat)) if not gone[u]]
            if not left and not right:
                expected = 0.0
            elif not left or not right:
                expected = flat[(left or right)[0]]
            else:
                (a, *_), (b, *_) = left, right
                expected = flat[t] if a == b else flat[a] + (flat[b] - flat[a]) * (t - a) / (b - a)
            assert sample == pytest.approx(expected)


def test_the_linear_map_is_a_loop_over_instants(patches, hidden):
    mixing = np.random.default_rng(2).normal(size=(4, 4))
    covariance = mixing @ mixing.T
    found = reconstruction.from_other_leads(patches, hidden, covariance)
    for r, n in np.ndindex(3, 5):
        gone = hidden[r, :, n]
        for p in range(6):
            expected = np.where(gone, 0.0, patches[r, :, n, p])
            seen = np.flatnonzero(~gone)
            if len(seen):
                ridge = reconstruction.RIDGE * np.trace(covariance) * np.eye(len(seen))
                for lead in np.flatnonzero(gone):
                    weights = np.linalg.inv(covariance[np.ix_(seen, seen)] + ridge) @ covariance[seen, lead]
                    expected[lead] = weights @ patches[r, seen, n, p]
            np.testing.assert_allclose(found[r, :, n, p], expected, atol=1e-9)


def test_masked_errors_average_to_the_training_loss(patches):
    hidden = np.tile([True, False, True, True, False], (3, 4, 1))
    prediction = patches + np.random.default_rng(3).normal(size=patches.shape)
    found = reconstruction.masked_errors(prediction, patches, hidden)
    loss = masked_mse(*(torch.from_numpy(array) for array in (prediction, patches, hidden)))
    assert found.mean() == pytest.approx(loss.item())
    assert found[1] == pytest.approx(np.square(prediction - patches)[1][hidden[1]].mean())
    assert np.isnan(reconstruction.masked_errors(prediction, patches, np.zeros_like(hidden))).all()


def test_summary_of_what_does_not_vary_has_no_width():
    assert set(reconstruction.summary(np.full(7, 0.25), 0).values()) == {0.25}
    spread = reconstruction.summary(np.arange(100.0), 0)
    assert spread["low"] < spread["value"] == 49.5 < spread["high"]
    assert spread["high"] - spread["low"] == pytest.approx(2 * 1.96 * np.arange(100).std() / 10, rel=0.1)
