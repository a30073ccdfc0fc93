"""The rest of a store once its signals are written: records, rejections, manifest; same input, same bytes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from merit import runs
from merit.config import SignalConfig
from merit.data import folds, reports
from merit.data.candidates import Candidates
from merit.data.cohorts.base import MAX_LISTED, Cohort, bounded
from merit.data.journal import Journal
from merit.data.recording import LEADS, UNREADABLE
from merit.data.store import FORMAT_VERSION, MANIFEST, RECORDS, REJECTED, SIGNALS

SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("patient_id", pa.string()),
        ("group", pa.string()),
        ("fold", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("report", pa.string()),
        ("has_text", pa.bool_()),
        ("age", pa.float64()),
        ("sex", pa.string()),
        ("path", pa.string()),
        ("source_fs_hz", pa.float64()),
        ("source_duration_s", pa.float64()),
        ("n_repaired", pa.int64()),
        ("n_saturated", pa.int64()),
        ("digest", pa.string()),
        ("checksums_differ", pa.bool_()),
    ]
)
ABSENT = "no waveform"
STRAY = "waveform without a row"
PREPROCESSING = {
    "leads": "by name; III, aVR, aVL, aVF derived from I and II where missing",
    "gaps": "straight line between the neighbouring finite samples of the lead, the nearest at the ends",
    "resampling": "polyphase, the line through first and last sample taken out before",
    "length": "cut, or padded with zeros, at the end",
    "scale": "microvolts, rounded, clipped to +-32767",
}


def write(
    folder: Path,
    cohort: Cohort,
    candidates: Candidates,
    journal: Journal,
    request: dict[str, Any],
    signal: SignalConfig,
) -> None:
    """Complete the store in `folder`, the manifest and the files' digests last: what has them is whole."""
    stored = [not outcome.reason for outcome in journal.outcomes]
    digests = [outcome.digest for outcome in journal.outcomes if not outcome.reason]
    records = _records(cohort, candidates, journal, stored, signal.min_report_words)
    records["group"] = folds.groups(records["patient_id"].tolist(), digests)
    if not cohort.official_folds:
        records["fold"] = folds.assign(records["group"].tolist(), records["labels"].tolist())
    rejected, strays = _rejected(cohort, candidates, journal)
    journal.finish()
    table = pa.Table.from_pandas(records[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    pq.write_table(table, folder / RECORDS)
    rejected.to_csv(folder / REJECTED, index=False)
    manifest = {
        "format_version": FORMAT_VERSION,
        "cohort": cohort.name,
        "synthetic": cohort.synthetic,
        "identity": _identity(cohort.name, table, digests, signal),
        "request": request,
        "signal": runs.plain(signal) | {"n_samples": signal.n_samples, "leads": LEADS, "unit": "uV", "dtype": "int16"},
        "preprocessing": PREPROCESSING | {"max_gap_fraction": request["max_gap_fraction"]},
        "counts": _counts(candidates, records, rejected, strays),
        "rejected": dict(sorted(Counter(reason.partition(":")[0] for reason in rejected["reason"]).items())),
        "strays": bounded(strays),
        "checksums_differ": bounded(records["record_id"][records["checksums_differ"].astype(bool)].tolist()),
        "duplicates": _duplicates(cohort, records, digests),
        "folds": _fold_facts(cohort, records),
        "patient_ids": "published" if cohort.patient_ids_published else "none published: one recording, one patient",
        "notes": cohort.notes(),
    }
    runs.write_json(folder / MANIFEST, manifest)
    runs.seal(folder, (SIGNALS, RECORDS, REJECTED, MANIFEST))


def _records(
    cohort: Cohort, candidates: Candidates, journal: Journal, stored: list[bool], min_report_words: int
) -> pd.DataFrame:
    """The rows of the stored recordings with what reading them showed, group and fold still as published."""
    rows = [row for row, kept in zip(candidates.rows, stored) if kept]
    outcomes = [outcome for outcome in journal.outcomes if not outcome.reason]
    records = candidates.refs.iloc[rows].reset_index(drop=True)
    records["report"] = [reports.clean(report) for report in records["report"]]
    records["has_text"] = [reports.has_text(report, min_report_words) for report in records["report"]]
    for name in (
        "age", "sex", "source_fs_hz", "source_duration_s", "n_repaired", "n_saturated", "digest", "checksums_differ",
    ):  # fmt: skip
        records[name] = [getattr(outcome, name) for outcome in outcomes]
    return records


def _rejected(cohort: Cohort, candidates: Candidates, journal: Journal) -> tuple[pd.DataFrame, list[str]]:
    """What is not stored and why: rows in the order of the source, folders, waveforms without a row, broken rows."""
    refused = {row: o.reason for row, o in zip(candidates.rows, journal.outcomes) if o.reason}
    refused |= dict.fromkeys(candidates.absent, ABSENT)
    names = candidates.refs["record_id"].tolist()
    strays = cohort.strays()
    rows = [(names[row], refused[row]) for row in sorted(refused)]
    rows += [(folder, f"{UNREADABLE}: folder: {reason}") for folder, reason in sorted(cohort.unread.items())]
    rows += [(path, STRAY) for path in strays]
    rows += [tuple(text.split(": ", 1)) for text in cohort.broken_rows()]
    return pd.DataFrame(rows, columns=["record_id", "reason"], dtype=object), strays


def _counts(candidates: Candidates, records: pd.DataFrame, rejected: pd.DataFrame, strays: list[str]) -> dict[str, int]:
    return {
        "rows": len(candidates.refs),
        "rows_without_waveform": len(candidates.absent),
        "waveforms_without_row": len(strays),
        "left_out_by_limit": candidates.left_out,
        "read": len(candidates.rows),
        "stored": len(records),
        "refused": len(candidates.rows) - len(records),
        "listed_in_rejected": len(rejected),
        "patients": records["patient_id"].nunique(),
        "without_text": int((~records["has_text"].astype(bool)).sum()),
        "repaired": int((records["n_repaired"] > 0).sum()),
        "saturated": int((records["n_saturated"] > 0).sum()),
        "checksums_differ": int(records["checksums_differ"].astype(bool).sum()),
    }


def _duplicates(cohort: Cohort, records: pd.DataFrame, digests: list[str]) -> dict[str, Any]:
    """Recordings with identical signals: they share a group; official folds stay as they are, so those are compared."""
    sets = folds.duplicates(digests)
    names = [records["record_id"].iloc[same].tolist() for same in sets]
    across = [name for name, same in zip(names, sets) if records["fold"].iloc[same].nunique() > 1]
    return {
        "sets": len(sets),
        "recordings": sum(map(len, sets)),
        "names": names[:MAX_LISTED],
        "across_folds": {"count": len(across), "names": across[:MAX_LISTED]},
        "handling": "reported, never moved" if cohort.official_folds else "kept in one fold",
    }


def _fold_facts(cohort: Cohort, records: pd.DataFrame) -> dict[str, Any]:
    if cohort.official_folds:
        return {"kind": "official", "number": folds.N_FOLDS}
    labelled = records["labels"].map(len).any()
    kind = (
        "stratified on labels, by patient or duplicate group" if labelled else "random, by patient or duplicate group"
    )
    return {"kind": kind, "number": folds.N_FOLDS, "seed": folds.SEED}


def _identity(name: str, table: pa.Table, digests: list[str], signal: SignalConfig) -> str:
    """Digest of what a reader of the store sees: cohort, scale, every signal, every cell."""
    content = hashlib.sha256(json.dumps([FORMAT_VERSION, name, runs.plain(signal)]).encode())
    for digest in digests:
        content.update(digest.encode())
    for batch in table.to_batches(max_chunksize=10_000):
        content.update(json.dumps(batch.to_pylist()).encode())
    return content.hexdigest()[:16]
