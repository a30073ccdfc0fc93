"""The interval of a value that was drawn again and again: the middle 95 % of the draws."""

from __future__ import annotations

from collections.abc import Sequence

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
