"""CPSC2018 in the three forms it is met in: original MATLAB structs, headers with words, headers with SNOMED codes.

Legend: L leads, T samples.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io

from merit.data import taxonomy
from merit.data.cohorts.base import HEADER, Cohort, Metadata, bounded, header_comments, make_refs
from merit.data.paths import inside, shown, something_else
from merit.data.recording import LEADS, RejectedRecording
from merit.data.tables import age_years, iter_rows, sex_name
from merit.data.wfdb_io import MAX_SIGNAL_BYTES, Waveform, opened

REFERENCE = "REFERENCE.csv"
PARTS = ("TrainingSet1", "TrainingSet2", "TrainingSet3")
LABEL_COLUMNS = ("First_label", "Second_label", "Third_label")
RECORD_NAME = re.compile(r"A\d{4}")
STRUCT_RATE_HZ = 500.0
"""The structs carry no rate; the challenge states 500 Hz, millivolts and the usual order of the leads."""


class Cpsc2018(Cohort):
    """CPSC2018. Rows are those of REFERENCE.csv and any recording that is not in it.

    Where header and REFERENCE.csv disagree, REFERENCE.csv holds: it is the organisers' own table, the one that all
    three forms share, and headers are conversions made from it. Each disagreement is named in the notes. Reports in
    enlarged copies of REFERENCE.csv are the labels in words, so they are not taken for reports.
    """

    name = "cpsc2018"
    published_recordings = 6_877
    patient_ids_published = False

    @property
    def table_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """REFERENCE.csv where it lies: in the root, or beside the structs of the last part of the training set."""
        places = (REFERENCE, *(f"{part}/{REFERENCE}" for part in PARTS))
        return tuple(place for place in places if has_reference(self.root / place))[:1]

    waveform_folders = (".",)

    def _load(self) -> Metadata:
        bad: list[str] = []
        reference = self._reference(bad)
        files = self._files()
        disagreements, unknown, rows = [], [], []
        for record_id in sorted(reference.keys() | files.keys()):
            path = files.get(record_id, record_id)
            headed = (self.root / (path + HEADER)).is_file()
            comments, problem = header_comments(str(self.root), path) if headed else ({}, "")
            header, odd = header_labels(comments.get("dx", ""))
            labels, age, sex = reference.get(record_id, (header, None, None))
            unknown += [f"{record_id}: {shown(word)}" for word in odd]
            if record_id in reference and comments.get("dx") and header != labels:
                disagreements.append(f"{record_id}: header {'+'.join(header)}, {REFERENCE} {'+'.join(labels)}")
            age = age_years(comments.get("age", "")) if age is None else age
            rows.append((record_id, record_id, path, labels, age, sex or sex_name(comments.get("sex", "")), problem))
        columns = ["record_id", "patient_id", "path", "labels", "age", "sex", "problem"]
        refs = make_refs(pd.DataFrame(rows, columns=columns))
        notes = {
            "reference": self.table_names[0] if reference else "none: labels from headers only",
            "not_in_reference": bounded(sorted(files.keys() - reference.keys()) if reference else []),
            "header_disagrees_with_reference": bounded(disagreements),
            "unknown_words": bounded(unknown),
        }
        return Metadata(refs, bad, notes)

    def waveforms(self) -> Iterator[tuple[str, bool]]:
        """As for all; only names such as A0001, since the folder may hold other parts of a challenge."""
        return (found for found in super().waveforms() if RECORD_NAME.fullmatch(found[0].rpartition("/")[2]))

    def _whole(self, kinds: set[str]) -> bool:
        """As for all; a struct is whole by itself."""
        return super()._whole(kinds) or kinds == {".mat"}

    def _files(self) -> dict[str, str]:
        """Record id -> path of the recordings that are there; a header counts, and so does a struct without one."""
        found: dict[str, str] = {}
        for path, _ in self.waveforms():
            found.setdefault(path.rpartition("/")[2], path)
        return found

    def _reference(self, bad: list[str]) -> dict[str, tuple[list[str], float | None, str | None]]:
        """Record id -> labels, age, sex."""
        names = {str(number): label for number, label in _labels_by("number").items()}
        table: dict[str, tuple[list[str], float | None, str | None]] = {}
        for name in self.table_names:
            for record_id, *cells in iter_rows(self.root / name, ("Recording", *LABEL_COLUMNS), ("age", "sex"), bad):
                numbers = [cell.strip().removesuffix(".0") for cell in cells[:3] if cell.strip()]
                if record_id in table or not numbers or not all(number in names for number in numbers):
                    why = "repeated" if record_id in table else f"labels {shown(','.join(numbers))}, expected 1 to 9"
                    bad.append(f"{name} {shown(record_id)}: {why}")
                else:
                    table[record_id] = (_sorted({names[n] for n in numbers}), age_years(cells[3]), sex_name(cells[4]))
        return table

    def _waveform(self, ref: Any, fs_hz: float | None) -> tuple[Waveform, Any, Any]:
        if os.path.lexists(os.path.join(self.root, ref.path + HEADER)):
            return super()._waveform(ref, fs_hz)
        waveform, age, sex = read_struct(str(self.root), ref.path)
        return waveform, ref.age if pd.notna(ref.age) else age, ref.sex or sex


def has_reference(path: Path) -> bool:
    """Whether a file is this challenge's REFERENCE.csv: that of 2017 has the same name, and no line of column names."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return b"Recording" in file.readline(4096)
    except OSError:
        return True  # reading it will say what is wrong


def read_struct(root: str, name: str) -> tuple[Waveform, float | None, str | None]:
    """The original form, a MATLAB struct `ECG` with `data` [12, T] in mV, `age` and `sex`."""
    with opened(inside(root, name + ".mat"), "signal file") as file:
        content = file.read(MAX_SIGNAL_BYTES + 1)
    if other := something_else(content):
        raise RejectedRecording(f"unreadable signal: not downloaded whole ({other})")
    if len(content) > MAX_SIGNAL_BYTES:
        raise RejectedRecording(f"unreadable signal: more than {MAX_SIGNAL_BYTES} bytes")
    try:
        struct = scipy.io.loadmat(BytesIO(content), variable_names=["ECG"])["ECG"][0, 0]
        data, age, sex = (np.asarray(struct[key]) for key in ("data", "age", "sex"))
        signal_mv = data.astype(np.float32)
    except Exception as error:  # loadmat raises whatever its parsing runs into
        raise RejectedRecording(f"unreadable signal: {shown(f'{type(error).__name__}: {error}', 120)}") from error
    if signal_mv.ndim != 2 or len(signal_mv) != len(LEADS):
        raise RejectedRecording(f"missing lead: data of shape {signal_mv.shape}, expected (12, samples)")
    return Waveform(signal_mv, STRUCT_RATE_HZ), age_years(_first(age)), sex_name(_first(sex))


def header_labels(dx: str) -> tuple[list[str], list[str]]:
    """Labels from a header's Dx line, words or SNOMED codes, and the items that are neither."""
    known = _labels_by("word") | _labels_by("snomed") | _labels_by("also")
    items = [item.strip() for item in dx.split(",") if item.strip()]
    return _sorted({known[i] for i in items if i in known}), [i for i in items if i not in known]


@functools.cache
def _labels_by(column: str) -> dict[str, str]:
    table = taxonomy.cpsc2018_classes()
    return {key: label for keys, label in zip(table[column], table["label"]) for key in keys.split()}


def _sorted(labels: set[str]) -> list[str]:
    return sorted(labels, key=taxonomy.classes("cpsc2018").index)


def _first(value: np.ndarray) -> str:
    return str(value.flat[0]) if value.size else ""
