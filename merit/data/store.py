"""A cohort after preprocessing, on disk: one folder, memory-mapped signals, a table, and a manifest of what was done.

Legend: N records, L leads, T samples.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import runs

SIGNALS, RECORDS, REJECTED, MANIFEST = "signal_uv.npy", "records.parquet", "rejected.csv", "manifest.json"
SOURCES = ".sources.json"
"""Beside stores: fingerprints of the data sets that they come from."""
FORMAT_VERSION = 2


class NoStore(FileNotFoundError):
    """A folder that holds no finished store; one line says what to do."""


class Store:
    """Read access to a finished store. Nothing is loaded before it is asked for, and each file is checked then:
    `runs.Damaged` for one that is not as it was written.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

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

    def __repr__(self) -> str:
        return f"<store of {len(self)} recordings of {self.cohort} in {self.folder}>"

    @property
    def cohort(self) -> str:
        """Name of the data set."""
        return str(self.manifest["cohort"])

    @property
    def identity(self) -> str:
        """Hexadecimal digest of signals, records and preprocessing; the same wherever and whenever it was written."""
        return str(self.manifest["identity"])

    @property
    def synthetic(self) -> bool:
        """Whether the recordings are of synthetic hospitals."""
        return bool(self.manifest["synthetic"])

    @property
    def fs_hz(self) -> float:
        """Sampling rate of the signals, Hz."""
        return float(self.manifest["signal"]["fs_hz"])

    @functools.cached_property
    def signal_uv(self) -> np.ndarray:
        """int16 [N, 12, T], microvolts, memory-mapped, leads in the order of LEADS."""
        runs.check(self.folder, SIGNALS)
        if len(self) == 0:  # an empty file cannot be mapped
            return np.load(self.folder / SIGNALS)
        return np.load(self.folder / SIGNALS, mmap_mode="r")

    @functools.cached_property
    def records(self) -> pd.DataFrame:
        """One row a signal: record_id, patient_id, group, fold, labels (lists), report (cleaned), has_text, age, sex,
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
