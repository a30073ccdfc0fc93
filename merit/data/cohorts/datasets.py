"""The four data sets, each as its publisher lays it out: what its tables and headers say, and how a recording is read.

Legend: L leads, T samples.
"""

from __future__ import annotations

import ast
import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.io

from merit.data import taxonomy
from merit.data.cohorts.base import (
    HEADER,
    SIGNALS,
    Census,
    Cohort,
    Metadata,
    age_years,
    bounded,
    header_comments,
    iter_rows,
    make_refs,
    number,
    sex_name,
    walk_files,
    whole_id,
)
from merit.data.recording import LEADS, STATEMENT_BREAK, RejectedRecording, inside, name_problem, shown, something_else
from merit.data.wfdb_io import MAX_SIGNAL_BYTES, Waveform, opened

# MIMIC-IV-ECG 1.0: machine statements in one table, paths in another; nothing is labelled and nothing has folds

STATEMENTS = "machine_measurements.csv"
PATHS = "record_list.csv"
REPORTS = tuple(f"report_{index}" for index in range(18))


class MimicIvEcg(Cohort):
    """MIMIC-IV-ECG. Rows are those of `record_list.csv`; a study without statements has an empty report."""

    name = "mimic-iv-ecg"
    mark = f"{PATHS} with {STATEMENTS}"
    published_recordings = 800_035
    table_names = (PATHS, STATEMENTS)
    waveform_folders = ("files",)

    @classmethod
    def is_at(cls, folder: Path) -> bool:
        return (folder / PATHS).is_file() and ((folder / STATEMENTS).is_file() or (folder / "files").is_dir())

    @functools.cached_property
    def metadata(self) -> Metadata:
        bad: list[str] = []
        reports: dict[str, str] = {}  # study -> its statements, one per line
        if (self.root / STATEMENTS).is_file():
            rows = iter_rows(self.root / STATEMENTS, ("study_id", "report_0"), REPORTS[1:], bad)
            reports = {whole_id(study): STATEMENT_BREAK.join(filter(None, texts)) for study, *texts in rows}
        rows = list(iter_rows(self.root / PATHS, ("subject_id", "study_id", "path"), (), bad))
        rows = [(whole_id(subject), whole_id(study), path.replace("\\", "/")) for subject, study, path in rows]
        studies = [study for _, study, _ in rows]
        refs = make_refs(
            {
                "record_id": studies,
                "patient_id": [subject for subject, _, _ in rows],
                "path": [path for _, _, path in rows],
                "report": [reports.get(study, "") for study in studies],
                "problem": ["" if subject and study else "no patient or study id" for subject, study, _ in rows],
            }
        )
        without = len(set(studies) - reports.keys())
        unlisted = sorted(reports.keys() - set(studies))
        notes = {"studies_without_statements": without, "statements_without_study": bounded(unlisted)}
        return Metadata(refs, bad, notes)

    def census(self, max_files: int) -> Census:
        """Counts the rows of `record_list.csv` without reading a report."""
        rows = sum(1 for _ in iter_rows(self.root / PATHS, ("study_id",), (), []))
        return self._bounded_census(rows, max_files)


# PTB-XL 1.0.3: one table with reports, statements and official folds; every recording at 100 and at 500 Hz

TABLE = "ptbxl_database.csv"
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
SEX = {"0": "male", "1": "female"}
LOW_RATE_HZ = 100


class PtbXl(Cohort):
    """PTB-XL. All statements of a recording are labels, whatever their likelihood.

    `path` of a reference is the 100 Hz file, `path_500` the other. Read at 500 Hz unless at most 100 Hz are wanted;
    where one of the two files is not there, the other is read instead, whatever was wanted (its rate says so).
    """

    name = "ptb-xl"
    mark = TABLE
    published_recordings = 21_799
    table_names = (TABLE,)
    waveform_folders = ("records100", "records500")
    path_columns = ("path", "path_500")
    official_folds = True

    @classmethod
    def is_at(cls, folder: Path) -> bool:
        return (folder / TABLE).is_file()

    @functools.cached_property
    def metadata(self) -> Metadata:
        bad: list[str] = []
        table = pd.DataFrame(list(iter_rows(self.root / TABLE, COLUMNS, (), bad)), columns=COLUMNS, dtype=object)
        parsed = [_codes(text) for text in table["scp_codes"]]
        for column in ("filename_lr", "filename_hr"):  # as Windows writes them
            table[column] = [text.replace("\\", "/") for text in table[column]]
        values = [number(text) for text in table["strat_fold"]]
        folds = [int(value) if value in range(1, 11) else None for value in values]
        problems = []
        for row, fold, (_, problem) in zip(table.itertuples(index=False), folds, parsed):
            if not problem and not row.patient_id:
                problem = "no patient id"
            elif not problem and fold is None:
                problem = f"invalid fold: {shown(row.strat_fold)}, expected 1 to 10"
            problems.append(problem or (row.filename_hr and name_problem(row.filename_hr)))
        refs = make_refs(
            {
                "record_id": [whole_id(text) for text in table["ecg_id"]],
                "patient_id": [whole_id(text) for text in table["patient_id"]],
                "path": table["filename_lr"].tolist(),
                "path_500": table["filename_hr"].tolist(),
                "report": table["report"].tolist(),
                "labels": [list(codes) for codes, _ in parsed],
                "fold": folds,
                "age": [age_years(text) for text in table["age"]],
                "sex": [SEX.get(whole_id(text)) for text in table["sex"]],
                "problem": problems,
            }
        )
        known = set(taxonomy.statements()["code"])
        unknown = Counter(code for codes in refs["labels"] for code in codes if code not in known)
        return Metadata(refs, bad, {"unknown_codes": dict(sorted(unknown.items()))})

    def readable_path(self, ref: Any, fs_hz: float | None = None) -> str:
        """The 100 Hz file if at most that is wanted, else the 500 Hz file; the other where the choice is not there."""
        order = self._paths(ref) if fs_hz is not None and fs_hz <= LOW_RATE_HZ else self._paths(ref)[::-1]
        there = {
            path: {e for e in (HEADER, *SIGNALS) if os.path.isfile(f"{self.root}/{path}{e}")} for path in order if path
        }
        whole = (path for path, files in there.items() if self._whole(files))
        return next(whole, next((path for path, files in there.items() if files), order[0]))


@functools.lru_cache(maxsize=1 << 14)  # the same few thousand combinations come again and again
def _codes(text: str) -> tuple[tuple[str, ...], str]:
    """The statements of a cell such as "{'NORM': 100.0, 'SR': 0.0}", and what is wrong with it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return (), f"unparsable scp_codes: {shown(text)}"
    if not isinstance(value, dict) or not all(isinstance(code, str) for code in value):
        return (), f"unparsable scp_codes: {shown(text)}"
    return tuple(sorted(value)), ""


# CPSC2018 in the three forms it is met in: original MATLAB structs, headers with words, headers with SNOMED codes

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
    mark = f"{REFERENCE}, training/cpsc_2018, or recordings A0001 to A6877"
    published_recordings = 6_877
    patient_ids_published = False

    waveform_folders = (".",)

    @classmethod
    def is_at(cls, folder: Path) -> bool:
        if folder.name == "cpsc_2018" or has_reference(folder / REFERENCE):
            return True
        if any((folder / part).is_dir() for part in ("training/cpsc_2018", *PARTS)):
            return True
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in itertools.islice(entries, 2000)]
        except OSError:
            return False
        return any(RECORD_NAME.fullmatch(name[:-4]) and name.endswith((".hea", ".mat")) for name in names)

    @property
    def table_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """REFERENCE.csv where it lies: in the root, or beside the structs of the last part of the training set."""
        places = (REFERENCE, *(f"{part}/{REFERENCE}" for part in PARTS))
        return tuple(place for place in places if has_reference(self.root / place))[:1]

    @functools.cached_property
    def metadata(self) -> Metadata:
        bad: list[str] = []
        names = {str(number): label for number, label in _labels_by("number").items()}
        reference: dict[str, tuple[list[str], float | None, str | None]] = {}  # record id -> labels, age, sex
        for name in self.table_names:
            for record_id, *cells in iter_rows(self.root / name, ("Recording", *LABEL_COLUMNS), ("age", "sex"), bad):
                numbers = [cell.strip().removesuffix(".0") for cell in cells[:3] if cell.strip()]
                if record_id in reference or not numbers or not all(number in names for number in numbers):
                    wrong = f"labels {shown(','.join(numbers))}, expected 1 to 9"
                    bad.append(f"{name} {shown(record_id)}: {'repeated' if record_id in reference else wrong}")
                else:
                    labels = _sorted({names[number] for number in numbers})
                    reference[record_id] = (labels, age_years(cells[3]), sex_name(cells[4]))
        files: dict[str, str] = {}  # record id -> path of what is there; a header counts, and so does a struct alone
        for path, _ in self.waveforms():
            files.setdefault(path.rpartition("/")[2], path)
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
    age, sex = (str(value.flat[0]) if value.size else "" for value in (age, sex))
    return Waveform(signal_mv, STRUCT_RATE_HZ), age_years(age), sex_name(sex)


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


# Chapman-Shaoxing-Ningbo 1.0.0: no table; age, sex and SNOMED codes stand in each record's header

FOLDER = "WFDBRecords"


class Csn(Cohort):
    """CSN. A row is a header; its labels are the acronyms of the codes that the publisher's own table lists.

    Codes outside that table are counted in the notes: no acronym is made up for them.
    """

    name = "csn"
    mark = FOLDER
    published_recordings = 45_152
    waveform_folders = (FOLDER,)
    patient_ids_published = False

    @classmethod
    def is_at(cls, folder: Path) -> bool:
        return (folder / FOLDER).is_dir()

    @functools.cached_property
    def metadata(self) -> Metadata:
        paths = [path for path, _ in walk_files(self.root, FOLDER, (HEADER,), self.unread)]
        found = [header_comments(str(self.root), path) for path in paths]
        comments = [comments for comments, _ in found]
        codes = [[code.strip() for code in c.get("dx", "").split(",") if code.strip()] for c in comments]
        known = taxonomy.csn_labels()
        names = [path.rpartition("/")[2] for path in paths]
        refs = make_refs(
            {
                "record_id": names,
                "patient_id": names,
                "path": paths,
                "labels": [sorted({known[code] for code in row if code in known}) for row in codes],
                "age": [age_years(c.get("age", "")) for c in comments],
                "sex": [sex_name(c.get("sex", "")) for c in comments],
                "problem": [problem for _, problem in found],
            }
        )
        unknown = Counter(code for row in codes for code in row if code not in known)
        return Metadata(refs, [], {"unknown_codes": dict(sorted(unknown.items()))})

    def census(self, max_files: int) -> Census:
        """Every header is a row, so nothing but names is looked at."""
        return self._bounded_census(None, max_files)
