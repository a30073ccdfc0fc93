"""What the page on the recordings shows of a store: counts, refusals, labels, and single recordings to draw.

A store here is anything with `.records`, `.rejected`, `.manifest` and `.signal_uv`. N records, L leads, T samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from merit.report import paper, tables
from merit.report.prose import Html
from merit.report.style import COHORT_LABELS


def counts(stores: Mapping[str, Any], missing: Mapping[str, str]) -> Html:
    """A row a cohort: what is here, beside what the publisher or the paper counts; `missing`: cohort -> reason."""
    rows = {}
    for cohort in [*stores, *missing]:
        published = "; ".join(f"{one.number:,} {one.what} ({one.source})" for one in paper.COUNTS.get(cohort, ()))
        ours = _ours(stores[cohort]) if cohort in stores else {"recordings here": missing[cohort]}
        rows[COHORT_LABELS.get(cohort, cohort)] = {**ours, "published": published}
    return tables.mapping(rows, "counts")


def _ours(store: Any) -> dict[str, str]:
    records = store.records
    return {
        "recordings here": f"{len(records):,}",
        "patients": f"{records['patient_id'].nunique():,}",
        "with a report to align": f"{int(records['has_text'].sum()):,}",
        "refused": f"{len(store.rejected):,}",
    }


def refusals(stores: Mapping[str, Any], most: int = 12) -> Html:
    """A row a reason (without its particulars), a column a cohort: how many recordings were refused for it."""
    reasons = {
        COHORT_LABELS.get(cohort, cohort): store.rejected["reason"].astype(str).str.split(":").str[0].value_counts()
        for cohort, store in stores.items()
    }
    frame = pd.DataFrame(reasons).fillna(0).astype(int)
    if frame.empty:
        return Html("<p>No recording was refused.</p>")
    frame = frame.loc[frame.sum(axis=1).sort_values(ascending=False, kind="stable").index[:most]]
    return tables.render(frame.map("{:,}".format), "refusals")


def label_shares(store: Any) -> pd.Series:
    """Label -> share of the store's recordings that carry it, 0 to 1."""
    labels = store.records["labels"].explode().dropna()
    return labels.value_counts() / max(1, len(store.records))


def example(store: Any, label: str) -> tuple[np.ndarray, str] | None:
    """The first recording of a store that carries `label` and the fewest others: millivolts [L, T] and a title.

    None where no recording carries it.
    """
    labels = store.records["labels"]
    rows = np.flatnonzero([label in found for found in labels])
    if not len(rows):
        return None
    row = min(rows, key=lambda one: (len(labels.iloc[one]), one))
    record = store.records.iloc[row]
    title = (
        f"{COHORT_LABELS.get(store.cohort, store.cohort)} {record['record_id']}: {', '.join(sorted(labels.iloc[row]))}"
    )
    return np.asarray(store.signal_uv[row], dtype=np.float32) / 1000.0, title
