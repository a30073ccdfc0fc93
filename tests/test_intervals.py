"""The middle 95 % of draws against its definition, and what is left where there are none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from merit import intervals


def by_hand(values: list[float], percent: float) -> float:
    """Linear between the two sorted values that the place lies between."""
    ordered = sorted(value for value in values if not math.isnan(value))
    place = percent / 100 * (len(ordered) - 1)
    below, share = math.floor(place), place - math.floor(place)
    return ordered[below] + share * (ordered[min(below + 1, len(ordered) - 1)] - ordered[below])


@pytest.mark.parametrize("n", [1, 2, 7, 41, 1000])
def test_the_middle_by_its_definition(n):
    drawn = np.random.default_rng(n).normal(size=n)
    with_gaps = np.concatenate([drawn, [np.nan, np.nan]])
    expected = (by_hand(drawn.tolist(), 2.5), by_hand(drawn.tolist(), 97.5))
    assert intervals.middle(drawn) == pytest.approx(expected, abs=1e-12)
    assert intervals.middle(with_gaps.tolist()) == intervals.middle(drawn)


def test_40_draws_lose_one_at_each_end():
    assert intervals.middle(np.arange(41)) == (1, 39)


@pytest.mark.parametrize("drawn", [[], [math.nan] * 3])
def test_without_draws_there_is_no_interval(drawn):
    assert intervals.around(0.5, np.array(drawn)) == {"value": 0.5, "low": None, "high": None}


def test_what_is_not_a_number_is_none():
    assert intervals.around(math.nan, [1.0, 1.0]) == {"value": None, "low": 1.0, "high": 1.0}
    assert intervals.named(np.float32(1), 0, math.nan) == {"value": 1.0, "low": 0.0, "high": None}
