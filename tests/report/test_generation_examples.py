"""Marks in texts that nobody vouches for; the examples as a whole are in test_generation_tables."""

from __future__ import annotations

import re

import pytest

from merit.report import generation_examples as examples


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "a &lt; b"),
        ([(4, 5)], "a &lt; [b]"),
        ([(2, 99)], "a [&lt; b]"),
        ([(0, 3), (2, 5)], "[a &lt;][ b]"),
        ([(2, 5), (0, 3)], "[a &lt;][ b]"),
        ([(0, 5), (2, 3)], "[a &lt; b]"),
        ([(0, 1), (1, 2)], "[a][ ]&lt; b"),
        ([(-3, 1), (3, 3), (9, 12), (5, 2)], "[a] &lt; b"),
    ],
)
def test_spans_may_overlap_touch_the_end_or_lie_beyond_it(spans, expected):
    html = examples.marked("a < b", [(start, end, "right", "x") for start, end in spans]).text
    shortened = re.sub(r"<span[^>]*><u>(.*?)</u><sup>\+</sup></span>", r"[\1]", html)
    assert shortened == expected
