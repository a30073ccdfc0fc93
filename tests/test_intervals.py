"""The interval of a value and the middle 95 % of draws against their definitions, and what is left without draws."""

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


def test_ends_by_their_definition():
    drawn = [0.2, 0.5, math.nan, 0.6]
    error = math.sqrt((0.1**2 + 0.2**2 + 0.3**2) / 3)
    assert intervals.standard_error(0.3, drawn) == pytest.approx(error)
    assert intervals.ends(0.3, drawn) == pytest.approx((0.3 - 1.959964 * error, 0.3 + 1.959964 * error))


def test_ends_of_a_share_on_the_scale_of_log_odds():
    odds = [math.log(one / (1 - one)) for one in (0.9, 0.8, 0.95)]
    reach = 1.959964 * math.sqrt(((odds[1] - odds[0]) ** 2 + (odds[2] - odds[0]) ** 2) / 2)
    low, high = (1 / (1 + math.exp(-(odds[0] + side * reach))) for side in (-1, 1))
    assert intervals.ends(0.9, [0.8, 0.95], share=True) == pytest.approx((low, high))
    assert high < 1 < intervals.ends(0.9, [0.8, 0.95])[1]


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.3, 1 - 1e-9, 1.0])
@pytest.mark.parametrize("drawn", [[0.2, 0.4], [0.0, 0.0], [1.0, 1.0], [0.9]])
def test_an_interval_holds_its_value_wherever_the_draws_lie(value, drawn):
    for share in (False, True):
        low, high = intervals.ends(value, drawn, share)
        assert low <= value <= high
    low, high = intervals.ends(value, drawn, share=True)
    assert low >= 0
    assert high <= 1


@pytest.mark.parametrize("drawn", [[], [math.nan] * 3])
def test_without_draws_there_is_no_interval(drawn):
    assert intervals.around(0.5, np.array(drawn)) == {"value": 0.5, "low": None, "high": None}


def test_what_is_not_a_number_is_none():
    assert intervals.around(math.nan, [1.0, 1.0]) == {"value": None, "low": None, "high": None}
    assert intervals.around(math.nan, [1.0, 1.0], share=True) == {"value": None, "low": None, "high": None}
    assert intervals.named(np.float32(1), 0, math.nan) == {"value": 1.0, "low": 0.0, "high": None}


def test_holm_against_statsmodels():
    from statsmodels.stats.multitest import multipletests

    for seed, n in enumerate((1, 2, 7, 40)):
        p = np.random.default_rng(seed).random(n) ** 3
        assert intervals.holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert intervals.holm([0.01, None, 0.04, 0.03]) == [
        pytest.approx(0.03),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    ]
    assert intervals.holm([]) == []
    assert intervals.holm([None]) == [None]


def difference(low, high, **more):
    return {"low": low, "high": high, **more}


def test_what_is_told_apart_is_so_by_holm_over_all_that_are_given():
    alone = difference(0.001, 0.041)  # p 0.04
    assert intervals.told_apart([alone]) == [1]
    assert intervals.told_apart([difference(-0.041, -0.001)]) == [-1]
    assert intervals.told_apart([alone, difference(-0.05, 0.05)]) == [0, 0]
    assert intervals.told_apart([alone, difference(0.1, 0.12)]) == [1, 1]
    assert intervals.told_apart([alone, difference(None, None)]) == [1, 0]
    assert intervals.told_apart([difference(0.001, 0.041, p=0.2)]) == [0]
    assert intervals.told_apart([difference(0.001, 0.041, p=0.001, p_holm=0.06)]) == [0]


@pytest.mark.parametrize(
    ("low", "digits", "unit", "side"),
    [
        (0.0004, 1, 100, 0),
        (0.0006, 1, 100, 1),
        (0.0004, 2, 100, 1),
        (0.004, 2, 1, 0),
        (0.006, 2, 1, 1),
        (0.0, 1, 100, 0),
    ],
)
def test_an_end_that_is_printed_as_0_leaves_nothing_out(low, digits, unit, side):
    for sign in (1, -1):
        given = difference(*sorted((sign * low, sign * (low + 0.02))), p=0.001)
        assert intervals.told_apart([given], digits, unit) == [sign * side]


def test_p_is_that_of_a_normal_difference():
    assert intervals.normal_p(1.959964, 1.0) == pytest.approx(0.05)
    assert intervals.normal_p(-3.0, 2.0) == pytest.approx(2 * 0.0668072)
    assert (intervals.normal_p(0.0, 0.0), intervals.normal_p(0.1, 0.0)) == (1.0, 0.0)
