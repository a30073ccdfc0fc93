"""What the page on the recordings shows of a store: counts, refusals, labels, and single recordings to draw.

A store here is anything with `.records`, `.rejected`, `.manifest` and `.signal_uv`. N records, L leads, T samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import runs
from merit.report import paper, tables
from merit.report.numerals import fixed
from merit.report.prose import Html
from merit.report.style import COHORT_LABELS

COUNTED = {
    "rows": "listed",
    "rows_without_waveform": "without waveform",
    "refused": "refused",
    "left_out_by_limit": "left out by a limit",
    "stored": "stored",
    "patients": "patients",
    "without_text": "without usable report",
    "repaired": "with repaired gaps",
}
"""Count of a store's manifest -> column head; those that are zero everywhere have no column."""


def counts(manifests: Mapping[str, Mapping[str, Any] | str]) -> Html:
    """A row a cohort: what is here, beside what the publisher or the paper counts; a text is why it is not here."""
    there = {cohort: manifest["counts"] for cohort, manifest in manifests.items() if not isinstance(manifest, str)}
    shown = [key for key in COUNTED if any(found.get(key) for found in there.values())]
    rows = {}
    for cohort, manifest in manifests.items():
        if cohort in there:
            cells = {COUNTED[key]: f"{there[cohort].get(key, 0):,}" for key in shown}
        else:
            cells = {COUNTED[key]: "–" for key in shown} | {"listed": str(manifest)}
        published = [f"{one.number:,} {one.what} ({one.source})" for one in paper.COUNTS.get(cohort, ())]
        rows[COHORT_LABELS.get(cohort, cohort)] = {**cells, "published": "\n".join(published)}
    return tables.mapping(rows, "counts")


def refusals(manifests: Mapping[str, Mapping[str, Any] | str], most: int = 12) -> Html:
    """A row a reason (without its particulars), a column a cohort: how many recordings are not in the store for it."""
    reasons = {
        COHORT_LABELS.get(cohort, cohort): pd.Series(manifest["rejected"], dtype=float)
        for cohort, manifest in manifests.items()
        if not isinstance(manifest, str)
    }
    frame = pd.DataFrame(reasons).fillna(0).astype(int)
    if frame.empty:
        return Html("<p>Every recording that is listed was stored.</p>")
    frame = frame.loc[frame.sum(axis=1).sort_values(ascending=False, kind="stable").index[:most]]
    return tables.render(frame.rename_axis(None).map("{:,}".format), "refusals")


QUANTITIES = {
    "heart_rate_bpm": "heart rate, 1/min",
    "pr_ms": "PR, ms",
    "qrs_ms": "QRS, ms",
    "qt_ms": "QT, ms",
    "p_ms": "P, ms",
}
"""Intervals that both the hidden truth and the reference have, with their units."""


def reference(root: Path | None = None) -> dict[str, Any]:
    """Quantiles and shares of variance of real recordings, from the committed `book/reference/real_recordings.json`."""
    path = (root or runs.home()) / "book" / "reference" / "real_recordings.json"
    return json.loads(path.read_text(encoding="utf-8"))


def two_rates(own: Mapping[str, Any] | None = None, root: Path | None = None) -> Html:
    """PTB-XL at 100 Hz, as published and resampled here from 500 Hz: a sentence, and a row a band of frequencies.

    own: of the reader's recordings (`data.two_rates.compare`); None: the committed one.
    """
    path = (root or runs.home()) / "book" / "reference" / "ptb_xl_rates.json"
    found = own or json.loads(path.read_text(encoding="utf-8"))
    correlation, rms = found["correlation"], found["rms_uv"]
    whose = "yours" if own else "committed numbers"
    text = (
        f"{found['n_recordings']} recordings of PTB-XL ({found['records']}; {whose}): "
        f"lead by lead the two correlate by {correlation['median']:.4f} in the median and {correlation['worst']:.3f} "
        f"at worst; they differ by {rms['median']:.1f} µV (root mean square) in the median and {rms['worst']:.0f} µV "
        f"at worst. Most of that is time: the published files are {found['earlier_ms']:.2f} ms earlier. Once they are "
        f"moved, {found['rms_shifted_uv']:.1f} µV are left."
    )
    rows = {
        f"{band['from_hz']:g} to {band['to_hz']:g} Hz": {
            "as published, µV": f"{band['published_uv']:.1f}",
            "from 500 Hz, µV": f"{band['resampled_uv']:.1f}",
            "power, dB": fixed(band["ratio_db"], 1, sign=True),
        }
        for band in found["bands"]
    }
    return Html("<p>{}</p>").format(text) + tables.mapping(rows, "two-rates")


def amplitude_title(name: str) -> str:
    """`R in V5, mV` for `r_mv_V5`."""
    wave, _, lead = name.split("_")
    return f"{wave.upper()} in {lead}, mV"


def compared(truth: pd.DataFrame, real: Mapping[str, Any], titles: Mapping[str, str]) -> Html:
    """A row a quantity: median and the range from the 5th to the 95th percentile, here and in real recordings."""
    rows = {}
    for name, title in titles.items():
        low, middle, high = truth[name].dropna().quantile([0.05, 0.5, 0.95])
        first, median, last = real[name][0], real[name][len(real[name]) // 2], real[name][-1]
        rows[title] = {
            "here": f"{middle:.0f} ({low:.0f} to {high:.0f})",
            "real": f"{median:.0f} ({first:.0f} to {last:.0f})",
        }
    return tables.mapping(rows, "compared")


def hardness(measured: Mapping[str, float], real: Mapping[str, Any], tolerance: Mapping[str, float]) -> Html:
    """A row a share of variance: here, on real PTB-XL recordings, and how far apart they may be."""
    names = {
        "own_three": "a recording's own three components explain",
        "common_three": "one common set of three components explains",
        "three_lead_bound": "error of one linear map from three leads to the others",
    }
    rows = {
        label: {
            "here": f"{measured[key]:.3f}",
            "real PTB-XL": f"{real[key]:.3f}",
            "aimed within": f"±{tolerance[key]:.2f}",
        }
        for key, label in names.items()
    }
    return tables.mapping(rows, "hardness")


def label_shares(store: Any) -> pd.Series:
    """Label -> share of the store's recordings that carry it, 0 to 1."""
    labels = store.records["labels"].explode().dropna()
    return labels.value_counts() / max(1, len(store.records))


def examples(stores: Iterable[Any], labels: Iterable[str]) -> Iterator[tuple[np.ndarray, float, str]]:
    """For each label a recording to draw (millivolts [L, T], rate in Hz, title), from the first store that has one."""
    stores = list(stores)
    for label in labels:
        for store in stores:
            if found := example(store, label):
                yield found[0], store.fs_hz, found[1]
                break


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
