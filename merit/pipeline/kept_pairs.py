"""Differences between two encoders in what they keep, paired by resample of the patients, for committed files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from merit import intervals

Found = Sequence[tuple[int, Mapping[str, Any]]]
"""Pretraining seed and a result of `kept`."""


def pairs(found: Found, columns: Sequence[str]) -> list[dict[str, Any]]:
    """A row a seed, pair of encoders (in their order), decoder and measure: first minus second with a 95 % interval.

    columns: fields that two results must share to be compared. Both drew the same patients; results without draws, and
    pairs of which one was not scored, have no row.
    """
    rows = []
    scored = [(seed, one["values"]) for seed, one in found if "reason" not in one["values"]]
    for (seed, a), (other_seed, b) in combinations(scored, 2):
        where = {name: a.get(name) for name in columns}
        if seed != other_seed or where != {name: b.get(name) for name in columns}:
            continue
        for decoder, measures in a["summary"].items():
            for measure, one in measures.items():
                difference = intervals.paired(one, b["summary"][decoder][measure])
                if difference:
                    about = {"encoder_seed": seed, **where, "first": a["encoder"], "second": b["encoder"]}
                    rows.append({**about, "decoder": decoder, "measure": measure, **intervals.named(*difference)})
    return rows
