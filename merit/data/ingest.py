"""From a data set to a store: parallel, in constant memory, resumable after a kill, renamed into place when complete.

Recordings go in chunks of the source's order to worker processes, come back in that order, and are appended to one
file; a journal says after each chunk how far that file is valid. Starting again with the same source and settings
cuts the file there and goes on, so that the finished store is the same whatever interrupted it and however many
workers there were: same input, same bytes. Legend: N records, L leads, T samples.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections import Counter, namedtuple
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from merit import parallel, runs
from merit.config import SignalConfig, replace
from merit.data.cohorts import MAX_LISTED, Cohort, bounded, open_cohort
from merit.data.preprocess import MAX_GAP_FRACTION, Outcome, process, signal_digest
from merit.data.recording import LEADS, UNREADABLE, RejectedRecording, UnreadableFile, clean
from merit.data.store import (
    FORMAT_VERSION,
    MANIFEST,
    N_FOLDS,
    RECORDS,
    REJECTED,
    SEED,
    SIGNALS,
    SOURCES,
    NoStore,
    Store,
    assign_folds,
    groups,
)
from merit.parallel import cores

CHUNK = 64
"""Recordings that a worker gets at a time: 1.5 MB of signals, and a quarter of a second of work."""
JOURNAL = "journal.jsonl"
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


def ingest(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    signal: SignalConfig | None = None,
    workers: int | None = None,
    limit: int | None = None,
    only: Sequence[str] | None = None,
    progress: bool = True,
) -> Store:
    """Write the store of the data set `name` under `root` to the folder `out`; a finished one of the same is kept.

    Other processes wait for the one that is writing it.

    signal: rate and length of the stored recordings. workers: processes (default: one per core, one for few
    recordings). limit: at most so many recordings, the first that have a waveform. only: record ids of those to read.
    What cannot be used is listed in `rejected.csv` and counted in the manifest; what the system would not read
    (permission, input or output) is tried again the next time.
    """
    out, signal = Path(out), signal or SignalConfig()
    if name != "ptb-xl":
        signal = replace(signal, ptb_xl_from_hz=SignalConfig.ptb_xl_from_hz)  # the others ignore it
    cohort = open_cohort(name, root)
    request = {
        "cohort": name,
        "signal": runs.plain(signal),
        "limit": limit,
        "max_gap_fraction": MAX_GAP_FRACTION,
        "source": cohort.fingerprint(out.parent / SOURCES),
        "synthetic": cohort.synthetic,
        "code": runs.digest(runs.source_closure(["merit.data.ingest"])),
        "format_version": FORMAT_VERSION,
    }
    if only is not None:
        request["only"] = runs.digest(sorted(only))
    if finished := _finished(out, request, cohort):
        return finished
    if out.exists() and not (out / MANIFEST).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(
            f"{out}: expected a store, an empty folder or nothing; move it away or choose another name"
        )
    with runs.claimed(out), runs.naming_a_full_disk(out):
        if finished := _finished(out, request, cohort):
            return finished
        if cohort.synthetic and runs.sealed(cohort.root):
            runs.check(cohort.root)
        candidates = find_candidates(cohort, limit, only)
        partial_folder, old = out.parent / f".{out.name}.partial", out.parent / f".{out.name}.old"
        selection = runs.digest(candidates.refs["path"].iloc[candidates.rows].tolist())
        with closing(Journal(partial_folder, request | {"selection": selection}, signal.n_samples)) as journal:
            rows = candidates.rows[len(journal.outcomes) :]
            n_chunks = max(1, math.ceil(len(rows) / CHUNK))
            if workers is None:
                workers = 1 if len(rows) < 500 else min(16, cores())  # for few, starting more would take longer
            workers = min(workers, n_chunks)
            columns = tuple(candidates.refs.columns)
            work = partial(process_chunk, cohort=cohort, columns=columns, signal=signal)
            chunks = (
                list(candidates.refs.iloc[rows[start : start + CHUNK]].itertuples(index=False, name=None))
                for start in range(0, len(rows), CHUNK)
            )
            total, done = len(candidates.rows), len(journal.outcomes)
            shown = None if progress else True
            with tqdm(total=total, initial=done, desc=f"ingest {name}", unit="rec", disable=shown) as bar:
                for signals, outcomes in parallel.ordered_map(work, chunks, workers):
                    journal.append(signals, outcomes)
                    bar.update(len(outcomes))
            _complete(cohort, candidates, journal, request, signal)
            if os.name == "nt":
                journal.close()  # Windows renames no folder with open files
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                os.replace(out, old)
            os.replace(partial_folder, out)
            (out / JOURNAL).unlink()
            shutil.rmtree(old, ignore_errors=True)
    return Store.open(out)


def _finished(out: Path, request: dict[str, Any], cohort: Cohort) -> Store | None:
    """The store in `out` if it answers the request; None too where a recording or a folder can be read now that the
    system would not read when the store was written.
    """
    try:
        store = Store.open(out)
    except runs.Damaged:
        raise
    except (NoStore, ValueError):
        return None
    if store.manifest.get("request") != runs.plain(request):
        return None
    if (out / JOURNAL).exists():  # left by a kill between the last two steps of `ingest`
        (out / JOURNAL).unlink()
    unread = store.rejected["record_id"][store.rejected["reason"].str.startswith(UNREADABLE)]
    if unread.empty:
        return store
    if any(os.access(cohort.root / name, os.R_OK | os.X_OK) for name in unread if (cohort.root / name).is_dir()):
        return None
    refs = cohort.refs()
    for ref in refs[refs["record_id"].isin(unread)].itertuples(index=False):
        try:
            cohort.read(ref, store.fs_hz)
        except (UnreadableFile, OSError):
            continue
        except RejectedRecording:
            pass  # read, and rejected for what it holds
        return None
    return store


# -- which recordings there are to read, before any waveform is opened ------------------------------------------------


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


# -- what a worker does -----------------------------------------------------------------------------------------------


def process_chunk(
    rows: list[tuple[Any, ...]], cohort: Cohort, columns: tuple[str, ...], signal: SignalConfig
) -> tuple[np.ndarray, list[Outcome]]:
    """int16 [stored, 12, T] in µV and the outcome of each row, both in the order of the rows (of `refs()`)."""
    ref_type = namedtuple("Ref", columns)
    signals, outcomes = [], []
    for row in rows:
        ref = ref_type(*row)
        try:
            recording = cohort.read(ref, fs_hz=max(signal.fs_hz, signal.ptb_xl_from_hz))
            signal_uv, outcome = process(recording, signal, MAX_GAP_FRACTION)
        except RejectedRecording as rejection:
            outcomes.append(Outcome(reason=str(rejection)))
        except OSError as error:
            outcomes.append(Outcome(reason=f"{UNREADABLE}: {error.strerror or type(error).__name__}"))
        except Exception as error:
            raise RuntimeError(f"{cohort.name} record {ref.record_id!r} ({ref.path!r}): {error!r}") from error
        else:
            signals.append(signal_uv)
            outcomes.append(outcome)
    empty = np.empty((0, len(LEADS), signal.n_samples), np.int16)
    return (np.stack(signals) if signals else empty), outcomes


# -- the unfinished store ---------------------------------------------------------------------------------------------


class Journal:
    """The unfinished store: signals so far, and a line per chunk that says how far they are valid; `outcomes` holds
    what is done already. To be closed.

    Signals are written before the line that vouches for them; what a kill leaves beyond the last whole line is cut off.
    A line ends in its own digest and holds that of each signal: from the first that does not match on, all is done
    again.
    """

    def __init__(self, folder: Path, request: dict[str, Any], n_samples: int) -> None:
        """Continue in `folder` what was begun there for the same request; anything else there is begun anew.

        Whoever opens one has claimed the store.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.outcomes: list[Outcome] = []
        self.folder, self.n_stored, self._n_samples = folder, 0, n_samples
        self._lines = (folder / JOURNAL).open("a+b")
        request, begun, valid = runs.plain(request), False, 0
        header, per_signal = _npy_header(0, n_samples), len(LEADS) * n_samples * 2  # bytes

        # take over what whole lines there are of the same request
        self._lines.seek(0)
        if (folder / SIGNALS).is_file():
            with (folder / SIGNALS).open("rb") as signals:
                signals.seek(len(header))
                for line in self._lines:
                    text, _, digest = line.rstrip(b"\n").rpartition(b" ")
                    if hashlib.sha256(text).hexdigest().encode() != digest:
                        break  # left half written by a kill, or not as it was written
                    entry = json.loads(text)
                    if not begun and entry.get("request") != request:
                        break
                    chunk = [Outcome(*outcome) for outcome in entry.get("outcomes", [])]
                    stored = [outcome.digest for outcome in chunk if not outcome.reason]
                    if any(outcome.reason.startswith(UNREADABLE) for outcome in chunk):
                        break  # what could not be read is tried again
                    if any(signal_digest(signals.read(per_signal)) != digest for digest in stored):
                        break
                    begun, valid = True, valid + len(line)
                    self.outcomes += chunk
                    self.n_stored += len(stored)
        self._lines.truncate(valid)
        if not begun:
            for path in folder.iterdir():
                if path.name != JOURNAL:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            (folder / SIGNALS).write_bytes(header)
            self._lines.write(_line({"request": request}))
            self._lines.flush()
        self._signals = (folder / SIGNALS).open("r+b")
        self._signals.truncate(len(header) + self.n_stored * per_signal)
        self._signals.seek(0, os.SEEK_END)

    def append(self, signals: np.ndarray, outcomes: list[Outcome]) -> None:
        """Add a chunk: int16 [stored, 12, T] and the outcome of each of its recordings."""
        self._signals.write(np.ascontiguousarray(signals, dtype="<i2"))
        self._signals.flush()
        self._lines.write(_line({"outcomes": outcomes}))
        self._lines.flush()
        self.outcomes += outcomes
        self.n_stored += len(signals)

    def finish(self) -> None:
        """Give the signal file the header of its final shape."""
        self._signals.seek(0)
        self._signals.write(_npy_header(self.n_stored, self._n_samples))
        self._signals.flush()
        os.fsync(self._signals.fileno())

    def close(self) -> None:
        """Close the files."""
        self._signals.close()
        self._lines.close()


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry)
    return f"{text} {hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def _npy_header(n: int, n_samples: int) -> bytes:
    """The .npy header of int16 [n, 12, n_samples]; NumPy leaves room in it for the first axis to grow."""
    file = BytesIO()
    header = {"descr": "<i2", "fortran_order": False, "shape": (n, len(LEADS), n_samples)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


# -- the finished store -----------------------------------------------------------------------------------------------


def _complete(
    cohort: Cohort, candidates: Candidates, journal: Journal, request: dict[str, Any], signal: SignalConfig
) -> None:
    """Complete the journal's store, the manifest and the files' digests last: what has them is whole."""
    refs, folder = candidates.refs, journal.folder
    rows = [row for row, outcome in zip(candidates.rows, journal.outcomes) if not outcome.reason]
    stored = [outcome for outcome in journal.outcomes if not outcome.reason]
    digests = [outcome.digest for outcome in stored]
    records = refs.iloc[rows].reset_index(drop=True)
    records["report"] = [clean(report) for report in records["report"]]
    records["has_text"] = [len(report.split()) >= signal.min_report_words for report in records["report"]]
    for name in SCHEMA.names:
        if name in Outcome._fields:
            records[name] = [getattr(outcome, name) for outcome in stored]
    records["group"] = groups(records["patient_id"].tolist(), digests)
    folds: dict[str, Any] = {"kind": "official", "number": N_FOLDS}
    if not cohort.official_folds:
        records["fold"] = assign_folds(records["group"].tolist(), records["labels"].tolist())
        how = "stratified on labels" if records["labels"].map(len).any() else "random"
        folds |= {"kind": f"{how}, by patient or duplicate group", "seed": SEED}
    # what is not stored and why: rows in the order of the source, folders, waveforms without a row, broken rows
    refused = {row: o.reason for row, o in zip(candidates.rows, journal.outcomes) if o.reason}
    refused |= dict.fromkeys(candidates.absent, ABSENT)
    strays = cohort.strays()
    reasons = [(refs["record_id"].iloc[row], refused[row]) for row in sorted(refused)]
    reasons += [(name, f"{UNREADABLE}: folder: {reason}") for name, reason in sorted(cohort.unread.items())]
    reasons += [(path, STRAY) for path in strays]
    reasons += [tuple(text.split(": ", 1)) for text in cohort.metadata.broken_rows]
    rejected = pd.DataFrame(reasons, columns=["record_id", "reason"], dtype=object)
    # recordings with identical signals share a group; official folds stay as they are, so those are compared
    alike: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        alike.setdefault(digest, []).append(row)
    alike = {digest: same for digest, same in alike.items() if len(same) > 1}
    names = [records["record_id"].iloc[same].tolist() for same in alike.values()]
    across = [name for name, same in zip(names, alike.values()) if records["fold"].iloc[same].nunique() > 1]
    differ = records["checksums_differ"].astype(bool)

    journal.finish()
    table = pa.Table.from_pandas(records[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    pq.write_table(table, folder / RECORDS)
    rejected.to_csv(folder / REJECTED, index=False)
    # the identity is of what a reader of the store sees: cohort, scale, every signal, every cell
    identity = hashlib.sha256(json.dumps([FORMAT_VERSION, cohort.name, runs.plain(signal)]).encode())
    for digest in digests:
        identity.update(digest.encode())
    for batch in table.to_batches(max_chunksize=10_000):
        identity.update(json.dumps(batch.to_pylist()).encode())
    manifest = {
        "format_version": FORMAT_VERSION,
        "cohort": cohort.name,
        "synthetic": cohort.synthetic,
        "identity": identity.hexdigest()[:16],
        "request": request,
        "signal": runs.plain(signal) | {"n_samples": signal.n_samples, "leads": LEADS, "unit": "uV", "dtype": "int16"},
        "preprocessing": PREPROCESSING | {"max_gap_fraction": request["max_gap_fraction"]},
        "counts": {
            "rows": len(refs),
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
            "checksums_differ": int(differ.sum()),
        },
        "rejected": dict(sorted(Counter(reason.partition(":")[0] for reason in rejected["reason"]).items())),
        "strays": bounded(strays),
        "checksums_differ": bounded(records["record_id"][differ].tolist()),
        "duplicates": {
            "sets": len(alike),
            "recordings": sum(map(len, alike.values())),
            "names": names[:MAX_LISTED],
            "across_folds": bounded(across),
            "handling": "reported, never moved" if cohort.official_folds else "kept in one fold",
        },
        "folds": folds,
        "patient_ids": "published" if cohort.patient_ids_published else "none published: one recording, one patient",
        "notes": cohort.metadata.notes,
    }
    runs.write_json(folder / MANIFEST, manifest)
    runs.seal(folder, (SIGNALS, RECORDS, REJECTED, MANIFEST))
