"""Processing adds nothing, on chains whose two sides are known; information of noisy embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.bounds import gaussian, processing
from merit.evaluate.bounds.decoder import Signal


def test_discrete_information_by_loops():
    joint = np.array([[0.3, 0.1, 0.0], [0.05, 0.25, 0.3]])
    slow = sum(
        joint[i, j] * np.log(joint[i, j] / (joint[i].sum() * joint[:, j].sum()))
        for i in range(2)
        for j in range(3)
        if joint[i, j] > 0
    )
    assert processing.discrete_information(joint) == pytest.approx(slow)
    assert processing.discrete_information(np.full((2, 2), 0.25)) == pytest.approx(0)
    assert processing.discrete_information(np.eye(4) / 4) == pytest.approx(np.log(4))


def test_renaming_loses_nothing_and_merging_what_differs_loses_something():
    joint = np.array([[0.3, 0.1, 0.1], [0.05, 0.25, 0.2]])
    first = processing.discrete_information(joint)
    assert processing.discrete_information(joint @ np.eye(3)[[2, 0, 1]]) == pytest.approx(first)
    merged = np.array([[1.0, 0], [1, 0], [0, 1]])
    assert processing.discrete_information(joint @ merged) < first - 0.01


def test_no_chain_gains_by_processing():
    for rows in (processing.discrete_chains(50, 100, 0), processing.gaussian_chains(50, 1)):
        assert len(rows) == 50
        assert all(0 <= row["both"] <= row["first"] + 1e-12 for row in rows)
        assert max(row["first"] - row["both"] for row in rows) > 0.1


def test_counting_is_too_high_on_average():
    rows = processing.discrete_chains(100, 100, 0)
    assert np.mean([row["first_counted"] - row["first"] for row in rows]) > 0


def test_a_copied_sample_grows_without_end_and_the_hidden_part_does_not():
    found = processing.resolutions([1.0, 1e-2, 1e-4])
    assert found["copy"][2] - found["copy"][1] == pytest.approx(np.log(100), abs=1e-3)
    for name in ("one", "whole"):
        assert sorted(found[name]) == found[name]
        assert found[name][-1] <= found["ceiling"]
    assert found["whole"][-1] == pytest.approx(found["ceiling"], abs=1e-4)


def test_one_number_is_the_largest_canonical_correlation():
    """Whitened cross-covariance: its largest singular value is what the best single direction reaches."""
    signal = Signal.standard()
    blocks = [signal.covariance[np.ix_(p, p)] for p in (signal.visible, signal.hidden)]
    white = [np.linalg.inv(np.linalg.cholesky(block)) for block in blocks]
    cross = white[0] @ signal.covariance[np.ix_(signal.visible, signal.hidden)] @ white[1].T
    rho = np.linalg.svd(cross, compute_uv=False)[0]
    assert processing.resolutions([1e-6])["one"][0] == pytest.approx(-0.5 * np.log(1 - rho**2), abs=1e-6)
    assert gaussian.information(signal.covariance, signal.visible, signal.hidden) > -0.5 * np.log(1 - rho**2)
