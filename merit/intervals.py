"""The interval of a value that was drawn again and again: the middle 95 % of the draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEVELS = (2.5, 97.5)
"""Percentiles of the ends."""


def middle(drawn: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of the middle 95 % of numbers [R], without those that are NaN; NaN and NaN where none is left.

    Of a difference on the same draws, `drawn` is the difference draw by draw: its interval is paired.
    """
    drawn = np.asarray(drawn)
    kept = drawn[~np.isnan(drawn)]
    low, high = np.percentile(kept, LEVELS) if len(kept) else (np.nan, np.nan)
    return float(low), float(high)


def named(value: float, low: float, high: float) -> dict[str, float | None]:
    """value, low and high by these names, as JSON can hold them: None for NaN."""
    ends = (("value", value), ("low", low), ("high", high))
    return {name: None if np.isnan(one) else float(one) for name, one in ends}


def around(value: float, drawn: Sequence[float] | np.ndarray) -> dict[str, float | None]:
    """A value with the middle 95 % of what was drawn for it [R]: value, low and high; None for NaN."""
    return named(value, *middle(drawn))


def paired(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """First minus second with its ends, draw by draw; both hold `value` and `draws` [R], None for what is no number.

    None where either has no value, where they were drawn another number of times, or where fewer than two draws of both
    are numbers.
    """
    drawn = [np.array(one.get("draws") or [], np.float64) for one in (first, second)]
    if first["value"] is None or second["value"] is None or len(drawn[0]) != len(drawn[1]):
        return None
    difference = drawn[0] - drawn[1]
    if np.isfinite(difference).sum() < 2:
        return None
    return (first["value"] - second["value"], *middle(difference))
