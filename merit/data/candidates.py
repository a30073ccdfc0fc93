"""Which recordings of a data set there are to read, before any waveform is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from merit.data.cohorts.base import Cohort


class Candidates(NamedTuple):
    """What the metadata and the file names of a source amount to."""

    refs: pd.DataFrame
    """All rows."""
    rows: list[int]
    """Positions in `refs` of those to read, and of those that their row already rules out, in order."""
    absent: list[int]
    """Positions of rows without a waveform file."""
    left_out: int
    """Rows with a waveform that a limit or a selection left out."""


def find_candidates(cohort: Cohort, limit: int | None, only: Sequence[str] | None = None) -> Candidates:
    """At most `limit` rows with a waveform, the first ones; only: of these record ids. Looks at file names alone."""
    refs = cohort.refs()
    asked = None if only is None else refs["record_id"].isin(set(only)).tolist()
    ruled_out, present, absent = [], [], []
    for position, (problem, found) in enumerate(zip(refs["problem"].tolist(), cohort.present())):
        where = ruled_out if problem else present if found else absent
        where.append(position)
    kept = [position for position in present if asked is None or asked[position]][:limit]
    return Candidates(refs, sorted(ruled_out + kept), absent, len(present) - len(kept))
