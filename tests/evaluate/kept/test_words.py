"""Words of reports as features."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from merit.evaluate.kept.words import words

REPORTS = [
    "Sinusrhythmus, Lagetyp normal",
    "sinusrhythmus lagetyp links",
    "Lagetyp normal. AV-Block I",
    "lagetyp unklar",
]


def slow(reports: list[str], fewest: int) -> set[tuple[float, ...]]:
    """Columns of 0 and 1, by loops."""
    tokens = ["".join(c if c.isalnum() else " " for c in r.lower()).split() for r in reports]
    own = [set(t) | {f"{a} {b}" for a, b in pairwise(t)} for t in tokens]
    columns = {tuple(float(w in one) for one in own) for w in set().union(*own)}
    return {column for column in columns if fewest <= sum(column) < len(reports)}


def test_words_and_pairs_that_are_frequent_each_once():
    for fewest in (1, 2):
        found = words(REPORTS, fewest)
        assert {tuple(column) for column in found.T} == slow(REPORTS, fewest)
        assert len(set(map(tuple, found.T))) == found.shape[1]


def test_what_all_reports_have_says_nothing_and_none_is_no_feature():
    assert words(["a b", "a b"], 1).shape == (2, 0)
    assert words(["x", "y"], 2).shape == (2, 0)
    assert words(["", ""], 1).shape == (2, 0)
    assert words(REPORTS, 2).dtype == np.uint8
