"""The four data sets: which lies where, what its tables and headers list, and how a recording of it is read.

Each is read as its publisher lays it out, and recognised by the files of that layout. A reference is a row of `refs()`;
reading goes through `Cohort.read`, which rejects what the table already shows to be unusable. CSV files of others are
read with every cell as text, and a broken row is named instead of ending everything. Legend: L leads, T samples.
"""

from __future__ import annotations

import ast
import codecs
import csv
import functools
import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.io
from tqdm import tqdm

from merit import parallel, runs
from merit.data import taxonomy
from merit.data.recording import (
    LEADS,
    STATEMENT_BREAK,
    UNREADABLE,
    Recording,
    RejectedRecording,
    UnreadableFile,
    inside,
    name_problem,
    shown,
    something_else,
)
from merit.data.wfdb_io import MAX_SIGNAL_BYTES, NOT_THERE, Waveform, opened, read_comments, read_waveform
from merit.parallel import cores

# -- what all cohorts share -------------------------------------------------------------------------------------------

REF_COLUMNS = ("record_id", "patient_id", "path", "report", "labels", "fold", "age", "sex", "problem")
"""`path` is relative to the root and without extension; `problem` is why a row cannot be read, "" where it can."""
SYNTHETIC_MARK = "SYNTHETIC.md"
MAX_LISTED = 50
"""Names that a manifest lists of one kind; the rest is counted."""
SOME_FILES = 5_000
"""From so many on, looking at all of them is shared out, and shown."""
HEADER, SIGNALS = ".hea", (".dat", ".mat")


class Metadata(NamedTuple):
    """What a data set's tables and headers amount to."""

    refs: pd.DataFrame
    """One row per recording that they list, with REF_COLUMNS."""
    broken_rows: list[str]
    """Rows that could not be parsed, "file line number: reason"."""
    notes: dict[str, Any]
    """What showed on the way (disagreements, unknown codes): counts and bounded lists."""


class Cohort:
    """One data set under one folder. Subclasses set the class attributes and write `metadata`, read once."""

    name: str
    mark: str
    """What it is recognised by, for messages."""
    published_recordings: int
    """How many recordings the complete data set has."""
    table_names: tuple[str, ...] = ()
    """Metadata files, relative to the root, the one that lists recordings first; their content is fingerprinted."""
    waveform_folders: tuple[str, ...] = ()
    """Folders below the root that hold waveforms; their content is fingerprinted."""
    path_columns: tuple[str, ...] = ("path",)
    """Columns of `refs()` that name files of a recording."""
    record_name = re.compile(".*")
    """What a recording's files are called; others in the folders belong to something else."""
    structs = False
    """Whether a .mat file without a header is a recording too (see `read_struct`)."""
    counted_by_names = False
    """Whether a census looks at no more than names: of metadata that are large or lie in each header."""
    patient_ids_published = True
    official_folds = False
    metadata: Metadata

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # workers may have another current folder
        self.unread: dict[str, str] = {}
        """Folders below the root that the system would not list, as far as they were walked, and why."""
        self.synthetic = any((folder / SYNTHETIC_MARK).is_file() for folder in (self.root, self.root.resolve().parent))
        """Whether the folder or its parent declares its content to be synthetic."""

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # workers read rows that they are handed: the table stays behind

    def refs(self) -> pd.DataFrame:
        """One row per recording that the metadata list, with REF_COLUMNS; no waveform is opened."""
        return self.metadata.refs

    def read(self, ref: Any, fs_hz: float | None = None) -> Recording:
        """The recording of a row of `refs()`, at the file's own rate.

        fs_hz: the rate wanted, where the data set publishes several (see the subclass). Raises RejectedRecording.
        """
        if ref.problem:
            raise (UnreadableFile if ref.problem.startswith(UNREADABLE) else RejectedRecording)(ref.problem)
        path, age, sex = self.readable_path(ref, fs_hz), ref.age, ref.sex
        if self.structs and not os.path.lexists(os.path.join(self.root, path + HEADER)):
            waveform, own_age, own_sex = read_struct(str(self.root), path)
            age, sex = age if pd.notna(age) else own_age, sex or own_sex
        else:
            waveform = read_waveform(str(self.root), path)
        return Recording(
            record_id=ref.record_id,
            patient_id=ref.patient_id,
            signal_mv=waveform.signal_mv,
            fs_hz=waveform.fs_hz,
            report=ref.report,
            labels=frozenset(ref.labels),
            fold=None if pd.isna(ref.fold) else int(ref.fold),
            age=None if pd.isna(age) else float(age),
            sex=None if pd.isna(sex) else sex,
            checksums_agree=waveform.checksums_agree,
        )

    def readable_path(self, ref: Any, fs_hz: float | None = None) -> str:
        """The file that `read` opens for the rate wanted, relative and without extension."""
        return ref.path

    def present(self) -> list[bool]:
        """Of each row of `refs()`, whether any file of the recording is there, readable or not; by names alone."""
        refs = self.refs()
        paths = zip(*(refs[column].tolist() for column in self.path_columns))
        listed = self._listed
        unread = tuple(f"{folder}/" for folder in self.unread)  # what is in there, reading will say
        return [
            not bad and any(p in listed or p.startswith(unread) for p in names)
            for bad, names in zip(refs["problem"].tolist(), paths)
        ]

    def census(self, max_files: int) -> dict[str, int]:
        """Rows, waveforms and halves as `merit.data.doctor.CohortStatus` has them, of at most `max_files` files where
        the tree is large.
        """
        if self.counted_by_names:
            most = max_files // 2  # a recording is two files
            found = dict(itertools.islice(self.waveforms(), most))
            n_rows = len(found)  # each waveform is a row, or each line of a table, of which no report is read
            if self.table_names:
                n_rows = sum(1 for _ in iter_rows(self.root / self.table_names[0], ("study_id",), (), []))
            whole = sum(found.values())
            counts = {"rows": n_rows, "waveforms": whole, "halves": len(found) - whole}
            return counts | {"counted_all": len(found) < most}
        refs, listed = self.refs(), self._listed
        paths = zip(*(refs[column].tolist() for column in self.path_columns))
        there = [[listed[p] for p in names if p in listed] for bad, names in zip(refs["problem"], paths) if not bad]
        whole = sum(map(any, there))
        return {"rows": len(refs), "waveforms": whole, "halves": sum(map(bool, there)) - whole}

    def strays(self) -> list[str]:
        """Waveforms (relative, without extension) that no row of the metadata names."""
        refs = self.refs()
        return sorted(self._listed.keys() - {path for column in self.path_columns for path in refs[column]})

    def waveforms(self) -> Iterator[tuple[str, bool]]:
        """(path, whole) of every recording below the waveform folders, relative and without extension.

        Whole: header and signals are there, under one name.
        """
        for folder in self.waveform_folders:
            files = walk_files(self.root, folder, (HEADER, *SIGNALS), self.unread)
            for path, group in itertools.groupby(files, key=lambda file: file[0]):  # sorted: a record's lie together
                if self.record_name.fullmatch(path.rpartition("/")[2]):
                    kinds = {extension for _, extension in group}
                    yield path, (HEADER in kinds and len(kinds) > 1) or (self.structs and kinds == {".mat"})

    @functools.cached_property
    def _listed(self) -> dict[str, bool]:
        return dict(self.waveforms())

    def fingerprint(self, kept: Path | None = None) -> str:
        """Digest of the content of the metadata files and of every waveform file, by their names; copied data have the
        same.

        kept: a file that holds it beside the names, sizes and times of all files; while these are what they were no
        content is read. Of the processes of one build (MERIT_BUILD) only the first looks at that.
        """
        place, build = f"{self.name} {self.root}", os.environ.get("MERIT_BUILD")
        known = _known(kept).get(place, {})
        if build and known.get("build") == build:
            return known["content"]
        state, n_files = hashlib.sha256(), 0
        for name in self._source_files():
            n_files, about = n_files + 1, os.stat(self.root / name)
            state.update(f"{name} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}\n".encode())
        content, readable = known.get("content"), True
        if known.get("state") != state.hexdigest():
            total, names = hashlib.sha256(self.name.encode()), self._source_files()
            workers = 1 if n_files < SOME_FILES else min(16, cores())
            chunks = iter(lambda: list(itertools.islice(names, 256)), [])
            work = functools.partial(digests, str(self.root))
            with tqdm(total=n_files, desc=f"reading {self.name}", unit="file", disable=workers == 1 or None) as bar:
                for chunk in parallel.ordered_map(work, chunks, workers):
                    for name, found in chunk:
                        total.update(f"{name} {found}\n".encode())
                        readable &= found is not None
                    bar.update(len(chunk))
            content = total.hexdigest()[:16]
        entry = {"state": state.hexdigest(), "content": content, "build": build}
        if kept is not None and readable and entry != known and os.access(kept.parent, os.W_OK):
            with runs.claimed(kept):
                every = _known(kept) | {place: entry}
                runs.write_json(kept, {"sources": every, "digest": runs.digest(every)})
        return content

    def _source_files(self) -> Iterator[str]:
        """Metadata and waveform files that are there, relative to the root."""
        yield from (name for name in self.table_names if (self.root / name).is_file())
        for folder in self.waveform_folders:
            for path, extension in walk_files(self.root, folder, (HEADER, *SIGNALS), self.unread):
                if os.path.isfile(self.root / f"{path}{extension}"):
                    yield path + extension


def _known(kept: Path | None) -> dict[str, Any]:
    """What `fingerprint` has kept; nothing where that is not there, or not as it was written."""
    try:
        found = json.loads(kept.read_text(encoding="utf-8")) if kept is not None else {}
        return found["sources"] if found["digest"] == runs.digest(found["sources"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def digests(root: str, names: list[str]) -> list[tuple[str, str | None]]:
    """Name and SHA-256 of files, None where one cannot be read; what a worker does."""
    found: list[tuple[str, str | None]] = []
    for name in names:
        try:
            with open(os.path.join(root, name), "rb") as file:
                found.append((name, hashlib.file_digest(file, "sha256").hexdigest()))
        except OSError:
            found.append((name, None))
    return found


def make_refs(rows: dict[str, list[Any]]) -> pd.DataFrame:
    """The table of `refs()` from columns; what is missing is empty. Marks unusable paths and repeated record ids."""
    refs = pd.DataFrame(rows)
    if refs.empty:  # without a row pandas takes every column for numbers
        refs = refs.astype(object)
    empty: dict[str, Callable[[], Any]] = {"report": str, "problem": str, "labels": list}
    for column in REF_COLUMNS:
        if column not in refs:
            refs[column] = [empty.get(column, lambda: None)() for _ in range(len(refs))]
    refs["fold"] = refs["fold"].astype("Int64")
    refs["age"] = refs["age"].astype("float64")
    again = ["repeated record id: the first row holds" if r else "" for r in refs["record_id"].duplicated()]
    refs["problem"] = [known or name_problem(path) or r for known, path, r in zip(refs["problem"], refs["path"], again)]
    return refs[[*REF_COLUMNS, *(name for name in refs if name not in REF_COLUMNS)]].reset_index(drop=True)


def walk_files(
    root: Path, folder: str, extensions: tuple[str, ...], unread: dict[str, str], follow_links: bool = True
) -> Iterator[tuple[str, str]]:
    """(path without extension, extension) of the files below `root/folder`, relative to root, in sorted order.

    Links to files are followed, and count where they lead to one. A link to a folder is followed, those to folders
    below it are not, so that links in a circle end. What a Mac leaves beside each file on a foreign disk (`._NAME`) is
    passed over. unread: gets the folders that the system would not list.
    """
    try:
        entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
    except OSError as error:
        if error.errno not in NOT_THERE:
            unread[folder] = error.strerror or type(error).__name__
        return
    for entry in entries:
        relative = entry.name if folder == "." else f"{folder}/{entry.name}"
        linked = entry.is_symlink()
        if os.path.isdir(entry.path) if linked and follow_links else entry.is_dir(follow_symlinks=False):
            yield from walk_files(root, relative, extensions, unread, follow_links and not linked)
        elif (
            relative.endswith(extensions)
            and not entry.name.startswith("._")
            and (os.path.isfile(entry.path) if linked else entry.is_file())
        ):
            yield os.path.splitext(relative)


def header_comments(root: str, path: str) -> tuple[dict[str, str], str]:
    """The comments of a record's header, and why it could not be read now; what else is wrong reading will say."""
    try:
        return read_comments(root, path), ""
    except UnreadableFile as problem:
        return {}, str(problem)
    except RejectedRecording:
        return {}, ""


def bounded(names: list[str]) -> dict[str, Any]:
    """A count with the first names, for a manifest."""
    return {"count": len(names), "names": names[:MAX_LISTED]}


# -- tables of others -------------------------------------------------------------------------------------------------

csv.field_size_limit(1 << 24)
AS_LATIN_1 = "merit-latin-1"
codecs.register_error(
    AS_LATIN_1, lambda found: (found.object[found.start : found.end].decode("cp1252", "replace"), found.end)
)


class BadTable(ValueError):
    """A table that is not what it should be; one line says what was expected where."""


def iter_rows(path: Path, columns: Sequence[str], optional: Sequence[str], bad: list[str]) -> Iterator[list[str]]:
    """The cells of `columns` and `optional` of each row, in that order; `bad` collects what is left out.

    Bytes that are not UTF-8 are read as Windows-1252 (Latin-1), in which tables are often saved again. A row with
    another number of fields than the header is left out and named ("ptbxl_database.csv line 7: 3 fields, expected 28").
    An optional column that is missing is "". Raises BadTable if another is.
    """
    with path.open(encoding="utf-8-sig", errors=AS_LATIN_1, newline="") as file:
        reader = csv.reader(file)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise BadTable(f"{path}: expected the columns {', '.join(columns)}; line 1: {error}") from None
        missing = [name for name in columns if name not in header]
        if missing:
            raise BadTable(f"{path}: expected the columns {', '.join(missing)}; got {shown(', '.join(header), 200)}")
        places = [header.index(name) if name in header else None for name in (*columns, *optional)]
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                bad.append(f"{path.name} line {reader.line_num}: {error}")
                continue
            if len(row) == len(header):
                yield ["" if place is None else row[place] for place in places]
            elif row:
                bad.append(f"{path.name} line {reader.line_num}: {len(row)} fields, expected {len(header)}")


def whole_id(text: str) -> str:
    """A number without the ".0" that pandas writes where a column had gaps; other text as it is."""
    digits = text.strip().removesuffix(".0")
    return digits if digits.isdecimal() else text


def number(text: str) -> float | None:
    """A finite number from a cell, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def age_years(text: str) -> float | None:
    """An age from a cell. 300, which PTB-XL writes for everybody above 89, becomes 90; what no age can be, None."""
    value = number(text)
    if value == 300:
        return 90.0
    return value if value is not None and 0 <= value <= 120 else None


def sex_name(text: str) -> str | None:
    """The words "female" and "male" from what data sets write, None for everything else."""
    return {"female": "female", "f": "female", "male": "male", "m": "male"}.get(text.strip().casefold())


# -- MIMIC-IV-ECG 1.0: machine statements in one table, paths in another; nothing is labelled and nothing has folds ---

STATEMENTS, PATHS = "machine_measurements.csv", "record_list.csv"
REPORTS = tuple(f"report_{index}" for index in range(18))


class MimicIvEcg(Cohort):
    """MIMIC-IV-ECG. Rows are those of `record_list.csv`; a study without statements has an empty report."""

    name = "mimic-iv-ecg"
    mark = f"{PATHS} with {STATEMENTS}"
    published_recordings = 800_035
    table_names = (PATHS, STATEMENTS)
    waveform_folders = ("files",)
    counted_by_names = True

    @functools.cached_property
    def metadata(self) -> Metadata:
        bad: list[str] = []
        reports: dict[str, str] = {}  # study -> its statements, one per line
        if (self.root / STATEMENTS).is_file():
            rows = iter_rows(self.root / STATEMENTS, ("study_id", "report_0"), REPORTS[1:], bad)
            reports = {whole_id(study): STATEMENT_BREAK.join(filter(None, texts)) for study, *texts in rows}
        rows = list(iter_rows(self.root / PATHS, ("subject_id", "study_id", "path"), (), bad))
        subjects, studies = ([whole_id(row[column]) for row in rows] for column in (0, 1))
        refs = make_refs(
            {
                "record_id": studies,
                "patient_id": subjects,
                "path": [row[2].replace("\\", "/") for row in rows],  # as Windows writes it
                "report": [reports.get(study, "") for study in studies],
                "problem": ["" if all(ids) else "no patient or study id" for ids in zip(subjects, studies)],
            }
        )
        notes = {
            "studies_without_statements": len(set(studies) - reports.keys()),
            "statements_without_study": bounded(sorted(reports.keys() - set(studies))),
        }
        return Metadata(refs, bad, notes)


# -- PTB-XL 1.0.3: one table with reports, statements and official folds; every recording at 100 and at 500 Hz --------

TABLE = "ptbxl_database.csv"
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold", "filename_lr", "filename_hr")
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
                "sex": [{"0": "male", "1": "female"}.get(whole_id(text)) for text in table["sex"]],
                "problem": problems,
            }
        )
        known = set(taxonomy.statements()["code"])
        unknown = Counter(code for codes in refs["labels"] for code in codes if code not in known)
        return Metadata(refs, bad, {"unknown_codes": dict(sorted(unknown.items()))})

    def readable_path(self, ref: Any, fs_hz: float | None = None) -> str:
        """The 100 Hz file if at most that is wanted, else the 500 Hz file; the other where the choice is not there."""
        order = [ref.path, ref.path_500] if fs_hz is not None and fs_hz <= LOW_RATE_HZ else [ref.path_500, ref.path]
        there = {path: [os.path.isfile(f"{self.root}/{path}{e}") for e in (HEADER, *SIGNALS)] for path in order if path}
        whole = (path for path, (header, *signals) in there.items() if header and any(signals))
        return next(whole, next((path for path, files in there.items() if any(files)), order[0]))


@functools.lru_cache(maxsize=1 << 14)  # the same few thousand combinations come again and again
def _codes(text: str) -> tuple[tuple[str, ...], str]:
    """The statements of a cell such as "{'NORM': 100.0, 'SR': 0.0}", and what is wrong with it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(isinstance(code, str) for code in value):
        return (), f"unparsable scp_codes: {shown(text)}"
    return tuple(sorted(value)), ""


# -- CPSC2018 in the three forms it is met in: original MATLAB structs, headers with words, headers with SNOMED codes -

REFERENCE = "REFERENCE.csv"
PARTS = ("TrainingSet1", "TrainingSet2", "TrainingSet3")
LABEL_COLUMNS = ("First_label", "Second_label", "Third_label")
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
    record_name = re.compile(r"A\d{4}")  # the folder may hold other parts of a challenge
    structs = True

    @property
    def table_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """REFERENCE.csv where it lies: in the root, or beside the structs of the last part of the training set."""
        places = (REFERENCE, *(f"{part}/{REFERENCE}" for part in PARTS))
        return tuple(place for place in places if has_reference(self.root / place))[:1]

    @functools.cached_property
    def metadata(self) -> Metadata:
        bad: list[str] = []
        names = labels_by("number")
        reference: dict[str, tuple[list[str], float | None, str | None]] = {}  # record id -> labels, age, sex
        for name in self.table_names:
            for record_id, *cells in iter_rows(self.root / name, ("Recording", *LABEL_COLUMNS), ("age", "sex"), bad):
                numbers = [cell.strip().removesuffix(".0") for cell in cells[:3] if cell.strip()]
                if record_id in reference or not numbers or not all(number in names for number in numbers):
                    wrong = f"labels {shown(','.join(numbers))}, expected 1 to 9"
                    bad.append(f"{name} {shown(record_id)}: {'repeated' if record_id in reference else wrong}")
                else:
                    labels = in_order({names[number] for number in numbers})
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
        columns = ("record_id", "patient_id", "path", "labels", "age", "sex", "problem")
        refs = make_refs({name: [row[k] for row in rows] for k, name in enumerate(columns)})
        notes = {
            "reference": self.table_names[0] if reference else "none: labels from headers only",
            "not_in_reference": bounded(sorted(files.keys() - reference.keys()) if reference else []),
            "header_disagrees_with_reference": bounded(disagreements),
            "unknown_words": bounded(unknown),
        }
        return Metadata(refs, bad, notes)


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
    known = labels_by("word") | labels_by("snomed") | labels_by("also")
    items = [item.strip() for item in dx.split(",") if item.strip()]
    return in_order({known[i] for i in items if i in known}), [i for i in items if i not in known]


@functools.cache
def labels_by(column: str) -> dict[str, str]:
    """What a column of the table of classes calls a label -> the label."""
    table = taxonomy.cpsc2018_classes()
    return {key: label for keys, label in zip(table[column], table["label"]) for key in keys.split()}


def in_order(labels: set[str]) -> list[str]:
    """Labels in the order of the classes."""
    return sorted(labels, key=taxonomy.classes("cpsc2018").index)


# -- Chapman-Shaoxing-Ningbo 1.0.0: no table; age, sex and SNOMED codes stand in each record's header -----------------


class Csn(Cohort):
    """CSN. A row is a header; its labels are the acronyms of the codes that the publisher's own table lists.

    Codes outside that table are counted in the notes: no acronym is made up for them.
    """

    name = "csn"
    mark = "WFDBRecords"
    published_recordings = 45_152
    waveform_folders = ("WFDBRecords",)
    patient_ids_published = False
    counted_by_names = True

    @functools.cached_property
    def metadata(self) -> Metadata:
        paths = [path for path, _ in walk_files(self.root, self.mark, (HEADER,), self.unread)]
        found = [header_comments(str(self.root), path) for path in paths]
        codes = [[code.strip() for code in c.get("dx", "").split(",") if code.strip()] for c, _ in found]
        known = taxonomy.csn_labels()
        names = [path.rpartition("/")[2] for path in paths]
        refs = make_refs(
            {
                "record_id": names,
                "patient_id": names,
                "path": paths,
                "labels": [sorted({known[code] for code in row if code in known}) for row in codes],
                "age": [age_years(comments.get("age", "")) for comments, _ in found],
                "sex": [sex_name(comments.get("sex", "")) for comments, _ in found],
                "problem": [problem for _, problem in found],
            }
        )
        unknown = Counter(code for row in codes for code in row if code not in known)
        return Metadata(refs, [], {"unknown_codes": dict(sorted(unknown.items()))})


# -- which data set lies where ----------------------------------------------------------------------------------------

COHORT_CLASSES: dict[str, type[Cohort]] = {c.name: c for c in (MimicIvEcg, PtbXl, Cpsc2018, Csn)}
MAX_DEPTH, MAX_FOLDERS = 3, 5_000


class CohortNotFound(FileNotFoundError):
    """No data set where one was looked for; one line says what was looked for where."""


def open_cohort(name: str, root: str | Path) -> Cohort:
    """The data set `name` in `root` itself or, if it is not there, below it (see `locate`). Raises CohortNotFound."""
    if name not in COHORT_CLASSES:
        raise ValueError(f"unknown cohort {name!r}; known: {', '.join(COHORT_CLASSES)}")
    root = Path(root)
    found = [root] if root.is_dir() and recognised(root) == name else locate(root).get(name, [])
    if not found:
        mark = COHORT_CLASSES[name].mark
        raise CohortNotFound(f"no {name} in {root} or up to {MAX_DEPTH} folders below it: looked for {mark}")
    return COHORT_CLASSES[name](found[0])


def find_cohorts(root: str | Path) -> dict[str, Path]:
    """Cohort name -> folder, for the data sets at or below `root` that have at least one waveform file.

    Of several copies the one in a folder of the cohort's own name is taken, else the first by depth and name.
    Raises CohortNotFound where `root` does not exist; finding nothing is an empty dict (see `nothing_found`).
    """
    found: dict[str, Path] = {}
    for name, folders in locate(root).items():
        for folder in folders:
            if next(COHORT_CLASSES[name](folder).waveforms(), None) is not None:
                found[name] = folder
                break
    return found


def nothing_found(root: str | Path) -> str:
    """One line for a root in which `find_cohorts` finds nothing."""
    looked = "; ".join(f"{name}: {cohort.mark}" for name, cohort in COHORT_CLASSES.items())
    return f"no data set with waveforms in {root} or up to {MAX_DEPTH} folders below it: looked for {looked}"


def locate(root: str | Path) -> dict[str, list[Path]]:
    """Cohort name -> folders that have its layout, with or without waveforms, the best first; in order of COHORTS.

    Searched breadth first, at most MAX_FOLDERS; a recognised folder is not searched further.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise CohortNotFound(f"the data folder {root} {what}: expected a folder with {', '.join(COHORT_CLASSES)}")
    found: dict[str, list[tuple[bool, int, str]]] = {name: [] for name in COHORT_CLASSES}
    queue = [(root, 0)]
    for folder, depth in itertools.islice(queue, MAX_FOLDERS):
        if name := recognised(folder):
            found[name].append((folder.name != name, depth, str(folder)))
        elif depth < MAX_DEPTH:
            try:
                children = [e.path for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".")]
            except OSError:
                continue
            queue += [(child, depth + 1) for child in sorted(map(Path, children))]
    return {name: [Path(text) for _, _, text in sorted(places)] for name, places in found.items() if places}


def recognised(folder: Path) -> str:
    """The cohort whose layout a folder has, with or without waveforms; "" for none."""
    if (folder / PATHS).is_file() and ((folder / STATEMENTS).is_file() or (folder / "files").is_dir()):
        return MimicIvEcg.name
    if (folder / TABLE).is_file():
        return PtbXl.name
    if (folder / Csn.mark).is_dir():
        return Csn.name
    if folder.name == "cpsc_2018" or has_reference(folder / REFERENCE):
        return Cpsc2018.name
    if any((folder / part).is_dir() for part in ("training/cpsc_2018", *PARTS)):
        return Cpsc2018.name
    try:  # CPSC2018 can be known by the names of recordings alone
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, 2000)]
    except OSError:
        return ""
    named = any(Cpsc2018.record_name.fullmatch(n[:-4]) and n.endswith((HEADER, ".mat")) for n in names)
    return Cpsc2018.name if named else ""
