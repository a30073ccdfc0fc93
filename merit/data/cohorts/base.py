"""What all cohorts share: a table of references, a way to read one, and what lies there without being listed.

A reference is a row of `refs()`. Reading goes through `Cohort.read`, which rejects what the table already shows to be
unusable; the subclass supplies the metadata and the waveform. The data sets' CSV files are read with every cell as
text, and a broken row is named instead of ending everything.
"""

from __future__ import annotations

import codecs
import csv
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from merit import parallel, runs
from merit.data.recording import (
    UNREADABLE,
    Recording,
    RejectedRecording,
    UnreadableFile,
    name_problem,
    shown,
)
from merit.data.wfdb_io import NOT_THERE, Waveform, read_comments, read_waveform
from merit.parallel import cores

REF_COLUMNS = ("record_id", "patient_id", "path", "report", "labels", "fold", "age", "sex", "problem")
"""`path` is relative to the root and without extension; `problem` is why a row cannot be read, "" where it can."""

SYNTHETIC_MARK = "SYNTHETIC.md"
MAX_LISTED = 50
"""Names that a manifest lists of one kind; the rest is counted."""

SOME_FILES = 5_000
"""From so many on, looking at all of them is shared out, and shown."""
HEADER, SIGNALS = ".hea", (".dat", ".mat")


class Metadata(NamedTuple):
    """What a data set's tables and headers amount to; `refs` as `Cohort.refs` has it."""

    refs: pd.DataFrame
    broken_rows: list[str]
    """Rows that could not be parsed, "file line number: reason"."""
    notes: dict[str, Any]
    """What showed on the way (disagreements, unknown codes): counts and bounded lists."""


class Census(NamedTuple):
    """Counts for an overview. `waveforms` counts recordings, and is a lower bound unless `counted_all`."""

    rows: int
    waveforms: int
    """Recordings with what reading takes: a header and its signals."""
    counted_all: bool
    halves: int = 0
    """Recordings of which only the header or only the signals are there."""


class Cohort:
    """One data set under one folder. Subclasses set the class attributes and write `metadata`."""

    name: str
    mark: str
    """What it is recognised by, for messages."""
    published_recordings: int
    """How many recordings the complete data set has."""
    table_names: tuple[str, ...] = ()
    """Metadata files, relative to the root; their content enters the fingerprint."""
    waveform_folders: tuple[str, ...] = ()
    """Folders below the root that hold waveforms; their content enters the fingerprint."""
    path_columns: tuple[str, ...] = ("path",)
    """Columns of `refs()` that name files of a recording."""
    patient_ids_published = True
    official_folds = False

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # workers may have another current folder
        self.unread: dict[str, str] = {}
        """Folders below the root that the system would not list, as far as they were walked, and why."""

    def __repr__(self) -> str:
        return f"<{self.name} at {self.root}>"

    @classmethod
    def is_at(cls, folder: Path) -> bool:
        """Whether a folder has this data set's layout, with or without waveforms."""
        raise NotImplementedError

    @property
    def synthetic(self) -> bool:
        """Whether the folder or its parent declares its content to be synthetic."""
        return any((folder / SYNTHETIC_MARK).is_file() for folder in (self.root, self.root.resolve().parent))

    def refs(self) -> pd.DataFrame:
        """One row per recording that the metadata list, with REF_COLUMNS; no waveform is opened."""
        return self.metadata.refs

    def read(self, ref: Any, fs_hz: float | None = None) -> Recording:
        """The recording of a row of `refs()`, at the file's own rate.

        fs_hz: the rate wanted, where the data set publishes several (see the subclass). Raises RejectedRecording.
        """
        if ref.problem:
            raise (UnreadableFile if ref.problem.startswith(UNREADABLE) else RejectedRecording)(ref.problem)
        waveform, age, sex = self._waveform(ref, fs_hz)
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

    def has_waveform(self, ref: Any) -> bool:
        """Whether any file of this recording is there, readable or not. Looks at names only."""
        return not ref.problem and any(path in self._listed for path in self._paths(ref))

    def present(self) -> list[bool]:
        """`has_waveform` of every row of `refs()`."""
        refs = self.refs()
        paths = zip(*(refs[column].tolist() for column in self.path_columns))
        listed = self._listed
        unread = tuple(f"{folder}/" for folder in self.unread)  # what is in there, reading will say
        return [
            not bad and any(p in listed or p.startswith(unread) for p in names)
            for bad, names in zip(refs["problem"].tolist(), paths)
        ]

    def census(self, max_files: int) -> Census:
        """How many rows and waveforms there are; of a large tree no more than `max_files` files are looked at."""
        refs, listed = self.refs(), self._listed
        paths = zip(*(refs[column].tolist() for column in self.path_columns))
        best = [[listed[p] for p in names if p in listed] for bad, names in zip(refs["problem"], paths) if not bad]
        whole = sum(map(any, best))
        return Census(len(refs), whole, counted_all=True, halves=sum(map(bool, best)) - whole)

    def _bounded_census(self, rows: int | None, max_files: int) -> Census:
        """A census that walks at most `max_files` waveform files; `rows` is None where each waveform is its row."""
        most = max_files // 2  # a recording is two files
        found = list(itertools.islice(self.waveforms(), most))
        whole = sum(dict(found).values())
        n_rows = len(dict(found)) if rows is None else rows
        return Census(n_rows, whole, counted_all=len(found) < most, halves=len(dict(found)) - whole)

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
                kinds = {extension for _, extension in group}
                yield path, self._whole(kinds)

    def _whole(self, kinds: set[str]) -> bool:
        """Whether files of these extensions are a recording."""
        return HEADER in kinds and len(kinds) > 1

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
        state, n = hashlib.sha256(), 0
        for name in self._source_files():
            n, about = n + 1, os.stat(self.root / name)
            state.update(f"{name} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}\n".encode())
        content, readable = known.get("content"), True
        if known.get("state") != state.hexdigest():
            content, readable = self._content(n)
        found = {"state": state.hexdigest(), "content": content, "build": build}
        if kept is not None and readable and found != known and os.access(kept.parent, os.W_OK):
            with runs.claimed(kept):
                every = _known(kept) | {place: found}
                runs.write_json(kept, {"sources": every, "digest": runs.digest(every)})
        return content

    def _source_files(self) -> Iterator[str]:
        """Metadata and waveform files that are there, relative to the root."""
        yield from (name for name in self.table_names if (self.root / name).is_file())
        for folder in self.waveform_folders:
            for path, extension in walk_files(self.root, folder, (HEADER, *SIGNALS), self.unread):
                if os.path.isfile(self.root / f"{path}{extension}"):
                    yield path + extension

    def _content(self, n_files: int) -> tuple[str, bool]:
        """Digest of all files, and whether all of them could be read."""
        total, readable = hashlib.sha256(self.name.encode()), True
        workers = 1 if n_files < SOME_FILES else min(16, cores())
        names = self._source_files()
        chunks = iter(lambda: list(itertools.islice(names, 256)), [])
        work = functools.partial(_digests, str(self.root))
        with tqdm(total=n_files, desc=f"reading {self.name}", unit="file", disable=workers == 1 or None) as bar:
            for chunk in parallel.ordered_map(work, chunks, workers):
                for name, found in chunk:
                    total.update(f"{name} {found}\n".encode())
                    readable &= found is not None
                bar.update(len(chunk))
        return total.hexdigest()[:16], readable

    @functools.cached_property
    def metadata(self) -> Metadata:
        """What the tables and headers amount to, read once."""
        raise NotImplementedError

    @functools.cached_property
    def _listed(self) -> dict[str, bool]:
        return dict(self.waveforms())

    def _paths(self, ref: Any) -> tuple[str, ...]:
        return tuple(getattr(ref, column) for column in self.path_columns)

    def _waveform(self, ref: Any, fs_hz: float | None) -> tuple[Waveform, Any, Any]:
        """Waveform, age and sex; by default a WFDB record and what the row says."""
        return read_waveform(str(self.root), self.readable_path(ref, fs_hz)), ref.age, ref.sex

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # workers read rows that they are handed: the table stays behind


def make_refs(rows: dict[str, list[Any]] | pd.DataFrame) -> pd.DataFrame:
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


def _known(kept: Path | None) -> dict[str, Any]:
    """What `fingerprint` has kept; nothing where that is not there, or not as it was written."""
    try:
        found = json.loads(kept.read_text(encoding="utf-8")) if kept is not None else {}
        return found["sources"] if found["digest"] == runs.digest(found["sources"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _digests(root: str, names: list[str]) -> list[tuple[str, str | None]]:
    """Name and SHA-256 of files, None where one cannot be read."""
    found: list[tuple[str, str | None]] = []
    for name in names:
        try:
            with open(os.path.join(root, name), "rb") as file:
                found.append((name, hashlib.file_digest(file, "sha256").hexdigest()))
        except OSError:
            found.append((name, None))
    return found


# Tables of others

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
