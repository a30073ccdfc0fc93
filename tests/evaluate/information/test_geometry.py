"""Gap, rank, span and coverage on clouds whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.information import geometry

CLOUD = np.random.default_rng(0).normal(size=(4000, 6))


def test_gap_of_two_balls():
    distance, relative = geometry.modality_gap(CLOUD, CLOUD + np.array([3.0, 4, 0, 0, 0, 0]))
    assert distance == pytest.approx(5)
    assert relative == pytest.approx(5 / np.sqrt(6), rel=0.03)
    assert np.isnan(geometry.modality_gap(np.ones((3, 2)), np.zeros((3, 2)))[1])


def rank_of(x: np.ndarray) -> float:
    return geometry.effective_rank(geometry.eigenvalues(x)[0])


def test_effective_rank_of_line_ball_and_known_spectrum():
    assert rank_of(CLOUD[:, :1] * np.array([[1.0, 2, 3]])) == pytest.approx(1)
    assert rank_of(CLOUD) == pytest.approx(6, rel=0.01)
    share = np.array([0.5, 0.3, 0.2])
    assert geometry.effective_rank(10 * share) == pytest.approx(np.prod(share**-share))
    assert np.isnan(rank_of(np.ones((5, 3))))


def test_variance_outside_a_span():
    flat = CLOUD * np.array([1, 1, 1, 0, 0, 0])
    directions = geometry.span(*geometry.eigenvalues(flat))
    assert directions.shape == (6, 3)
    assert geometry.outside(CLOUD + 7, directions) == pytest.approx(0.5, abs=0.02)
    assert geometry.outside(flat, directions) == pytest.approx(0)
    thin = CLOUD * np.array([10, 1, 0.1, 0, 0, 0])  # 99.0 % in the first, 0.99 % in the second
    assert geometry.span(*geometry.eigenvalues(thin), kept=0.98).shape[1] == 1
    assert geometry.span(*geometry.eigenvalues(thin), kept=0.995).shape[1] == 2
    assert np.isnan(geometry.outside(np.ones((4, 6)), directions))


def test_distances_and_coverage_equal_loops():
    x, y = CLOUD[:40, :2], 0.5 * CLOUD[40:100, :2]
    found = geometry.distances(x, y)
    slow = np.array([[np.linalg.norm(a - b) for b in y] for a in x])
    np.testing.assert_allclose(found["xy"], slow, atol=1e-7)
    hits = 0
    for b in y:
        for i, a in enumerate(x):
            radius = sorted(np.linalg.norm(a - other) for j, other in enumerate(x) if j != i)[2]
            if np.linalg.norm(a - b) <= radius:
                hits += 1
                break
    assert geometry.coverage(found["xy"].T, found["xx"], k=3) == pytest.approx(hits / len(y))
    assert np.isnan(geometry.coverage(found["xy"].T[:, :3], found["xx"][:3, :3], k=3))


def test_a_small_cloud_lies_inside_a_wide_one_and_not_the_other_way():
    wide, small = CLOUD[:500, :2], 0.1 * CLOUD[500:1000, :2]
    d = geometry.distances(wide, small)
    assert geometry.coverage(d["xy"].T, d["xx"]) > 0.99
    assert geometry.coverage(d["xy"], d["yy"]) < 0.2


def test_plane_keeps_distances_of_flat_clouds_with_fixed_signs():
    flat = CLOUD[:50] * np.array([2, 1, 0, 0, 0, 0])
    x, y, shares = geometry.plane(flat, flat + 1.5)
    assert sum(shares) > 0.9
    again, _, _ = geometry.plane(flat[::-1], flat[::-1] + 1.5)
    np.testing.assert_allclose(again[::-1], x, atol=1e-9)
    assert x.shape == y.shape == (50, 2)
