"""A cohort after preprocessing, on disk: one folder, memory-mapped signals, a table, and a manifest of what was done.

Also ten folds where a data set publishes none, and the groups that must not be divided between folds.
Legend: N records, L leads, T samples.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import runs

SIGNALS, RECORDS, REJECTED, MANIFEST = "signal_uv.npy", "records.parquet", "rejected.csv", "manifest.json"
SOURCES = ".sources.json"
"""Beside stores: fingerprints of the data sets that they come from."""
FORMAT_VERSION = 2
N_FOLDS, SEED = 10, 0


class NoStore(FileNotFoundError):
    """A folder that holds no finished store; one line says what to do."""


class Store:
    """Read access to a finished store. Nothing is loaded before it is asked for, and each file is checked then:
    `runs.Damaged` for one that is not as it was written.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.cohort = str(manifest["cohort"])
        """Name of the data set."""
        self.identity = str(manifest["identity"])
        """Hexadecimal digest of signals, records and preprocessing; the same wherever and whenever it was written."""
        self.synthetic = bool(manifest["synthetic"])
        """Whether the recordings are of synthetic hospitals."""
        self.fs_hz = float(manifest["signal"]["fs_hz"])
        """Sampling rate of the signals, Hz."""

    @classmethod
    def open(cls, folder: str | Path) -> Store:
        """The store in `folder`. Raises NoStore where there is none, ValueError where it is of another version."""
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise NoStore(f"no store in {folder}: expected {MANIFEST} there; write one with `python -m merit ingest`")
        manifest = runs.read_json(path, folder)
        if manifest.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"{path}: expected a store of version {FORMAT_VERSION}, got {manifest.get('format_version')!r}; "
                "delete the folder and run `python -m merit ingest` again"
            )
        runs.check(folder, MANIFEST)
        return cls(folder, manifest)

    def __len__(self) -> int:
        return int(self.manifest["counts"]["stored"])

    @functools.cached_property
    def signal_uv(self) -> np.ndarray:
        """int16 [N, 12, T], microvolts, memory-mapped, leads in the order of LEADS."""
        runs.check(self.folder, SIGNALS)
        return np.load(self.folder / SIGNALS, mmap_mode="r" if len(self) else None)  # an empty file cannot be mapped

    @functools.cached_property
    def records(self) -> pd.DataFrame:
        """One row per signal: record_id, patient_id, group, fold, labels (lists), report (cleaned), has_text, age, sex,
        path, source_fs_hz, source_duration_s, n_repaired, n_saturated, digest (of the signal as it is stored),
        checksums_differ."""
        table = pd.read_parquet(runs.check(self.folder, RECORDS) / RECORDS)
        return table.assign(labels=[list(labels) for labels in table["labels"]])

    @property
    def why_empty(self) -> str:
        """One line on a store without a recording: what its source lists, and the reasons, the commonest first."""
        rows, kinds = self.manifest["counts"]["rows"], self.manifest["rejected"]
        named = [f"{kind} {number:,}" for kind, number in sorted(kinds.items(), key=lambda item: -item[1])[:5]]
        reasons = f"{', '.join(named)}; listed in {self.folder / REJECTED}" if named else "no recording is listed there"
        return f"nothing of {self.cohort} was stored: {rows:,} rows; {reasons}"

    @functools.cached_property
    def rejected(self) -> pd.DataFrame:
        """record_id and reason of every recording that is not in the store, in the order of the source."""
        return pd.read_csv(runs.check(self.folder, REJECTED) / REJECTED, dtype=str, keep_default_na=False)

    def content(self, rows: np.ndarray) -> str:
        """Digest of all that pretraining takes from these rows, in their order: samples, reports that are long enough,
        and who is the same patient. It does not change with what else a table says, nor with who read the files how.
        """
        columns = ["digest", "record_id", "patient_id", "group", "has_text", "report"]
        total = hashlib.sha256(json.dumps([self.cohort, self.fs_hz]).encode())
        for *known, has_text, report in self.records[columns].iloc[rows].itertuples(index=False, name=None):
            total.update(json.dumps([*known, report if has_text else None]).encode())
        return total.hexdigest()[:16]


def connected(*keys: Sequence[Hashable]) -> np.ndarray:
    """int [N]: equal for records that share a key of one kind (patient, signal), however indirectly; numbered by first
    appearance. keys: two sequences, each with one key per record."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = (pd.factorize(np.asarray(kind, dtype=object))[0] for kind in keys)
    n = len(first)
    if n == 0:
        return np.zeros(0, int)
    links = coo_array((np.ones(n), (first, second + n)), shape=(2 * n, 2 * n))
    return connected_components(links, directed=False)[1][first]


def groups(patient_ids: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Per record the name of its group: records of one patient, or with identical signals, share one (transitively).

    The name is the patient id of the group's first record.
    """
    _, first, group = np.unique(connected(patient_ids, digests), return_index=True, return_inverse=True)
    return [patient_ids[row] for row in first[group]]


def assign_folds(group_names: Sequence[str], labels: Sequence[Collection[str]], seed: int = SEED) -> np.ndarray:
    """int [N], folds 1 to N_FOLDS: every group in one fold, each label spread as evenly as its groups allow.

    A group counts once, with all labels of its records together. A label with fewer groups than folds is missing in
    some of them. Without any label, or with fewer groups than folds, groups are dealt out at random.
    """
    names, unit = np.unique(np.asarray(group_names, dtype=str), return_inverse=True)
    known = sorted({label for row in labels for label in row})
    column = {label: index for index, label in enumerate(known)}
    matrix = np.zeros((len(names), len(known)), dtype=int)
    for row, row_labels in zip(unit, labels):
        matrix[row, [column[label] for label in row_labels]] = 1
    if len(names) < N_FOLDS or not known:
        return (np.random.default_rng(seed).permutation(len(names)) % N_FOLDS + 1)[unit]
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    folds = np.zeros(len(names), dtype=int)
    splitter = MultilabelStratifiedKFold(n_splits=N_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros((len(names), 1)), matrix), start=1):
        folds[held_out] = fold
    return folds[unit]
