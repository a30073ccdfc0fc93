"""From a data set to a store: parallel, in constant memory, resumable after a kill, renamed into place when complete.

Recordings go in chunks of the source's order to worker processes, come back in that order, and are appended to one
file; a journal says after each chunk how far that file is valid. Starting again with the same source and settings
cuts the file there and goes on, so that the finished store is the same whatever interrupted it and however many
workers there were. Legend: N records, L leads, T samples.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from merit import pool, runs
from merit.config import SignalConfig, replace
from merit.data import finish
from merit.data.candidates import Candidates, find_candidates
from merit.data.chunks import Chunk, process_chunk
from merit.data.cohorts.base import Cohort
from merit.data.cohorts.registry import open_cohort
from merit.data.journal import JOURNAL, Journal
from merit.data.preprocess import MAX_GAP_FRACTION
from merit.data.recording import UNREADABLE, RejectedRecording, UnreadableFile
from merit.data.store import FORMAT_VERSION, MANIFEST, SOURCES, NoStore, Store
from merit.threads import cores

CHUNK = 64
"""Recordings that a worker gets at a time: 1.5 MB of signals, and a quarter of a second of work."""


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
    max_gap_fraction: float = MAX_GAP_FRACTION,
) -> Store:
    """Write the store of the data set `name` under `root` to the folder `out`; a finished one of the same is kept.

    Whoever else is writing it is waited for.

    signal: rate and length of the stored recordings. workers: processes (default: one a core, one for few
    recordings). limit: at most so many recordings, the first that have a waveform. only: record ids of those to read.
    max_gap_fraction: see `preprocess.repair_gaps`. What cannot be used is listed in `rejected.csv` and counted in the
    manifest; what the system would not read (permission, input or output) is tried again the next time.
    """
    out, signal = Path(out), signal or SignalConfig()
    if name != "ptb-xl":
        signal = replace(signal, ptb_xl_from_hz=SignalConfig.ptb_xl_from_hz)  # no matter to the others
    cohort = open_cohort(name, root)
    request = {
        "cohort": name,
        "signal": runs.plain(signal),
        "limit": limit,
        "max_gap_fraction": max_gap_fraction,
        "source": cohort.fingerprint(out.parent / SOURCES),
        "synthetic": cohort.synthetic,
        "code": runs.digest(runs.source_closure(["merit.data.ingest"])),
        "format_version": FORMAT_VERSION,
    }
    if only is not None:
        request["only"] = runs.digest(sorted(only))
    finished = _finished(out, request)
    if finished and not _readable_now(finished, cohort):
        return finished
    _check_free(out)
    with runs.claimed(out), runs.naming_a_full_disk(out):
        finished = _finished(out, request)
        if finished and not _readable_now(finished, cohort):
            return finished
        if cohort.synthetic and runs.sealed(cohort.root):
            runs.check(cohort.root)
        candidates = find_candidates(cohort, limit, only)
        partial = out.parent / f".{out.name}.partial"
        selection = runs.digest(candidates.refs["path"].iloc[candidates.rows].tolist())
        with Journal.open(partial, request | {"selection": selection}, signal.n_samples) as journal:
            _read_all(cohort, candidates, journal, signal, max_gap_fraction, workers, progress)
            finish.write(partial, cohort, candidates, journal, request, signal)
            if os.name == "nt":
                journal.close()  # Windows renames no folder with open files
            _put_in_place(partial, out)
    return Store.open(out)


def _read_all(
    cohort: Cohort,
    candidates: Candidates,
    journal: Journal,
    signal: SignalConfig,
    max_gap_fraction: float,
    workers: int | None,
    progress: bool,
) -> None:
    """Process what the journal does not hold yet and append it, chunk by chunk in order."""
    rows = candidates.rows[len(journal.outcomes) :]
    workers = min(default_workers(len(rows)) if workers is None else workers, max(1, math.ceil(len(rows) / CHUNK)))
    chunks = (
        Chunk(
            cohort=cohort,
            columns=tuple(candidates.refs.columns),
            rows=list(candidates.refs.iloc[rows[start : start + CHUNK]].itertuples(index=False, name=None)),
            signal=signal,
            max_gap_fraction=max_gap_fraction,
        )
        for start in range(0, len(rows), CHUNK)
    )
    bar = tqdm(
        total=len(candidates.rows),
        initial=len(journal.outcomes),
        desc=f"ingest {cohort.name}",
        unit="rec",
        disable=None if progress else True,
    )
    with bar:
        for signals, outcomes in pool.ordered_map(process_chunk, chunks, workers):
            journal.append(signals, outcomes)
            bar.update(len(outcomes))


def default_workers(n_recordings: int) -> int:
    """One process a core that this one may use, at most 16; one alone where starting more would take longer."""
    return 1 if n_recordings < 500 else min(16, cores())


def _finished(out: Path, request: dict[str, Any]) -> Store | None:
    """The store in `out` if it answers the request."""
    try:
        store = Store.open(out)
    except runs.Damaged:
        raise
    except (NoStore, ValueError):
        return None
    if store.manifest.get("request") != runs.plain(request):
        return None
    if (out / JOURNAL).exists():  # left by a kill between the last two steps of `_put_in_place`
        (out / JOURNAL).unlink()
    return store


def _readable_now(store: Store, cohort: Cohort) -> bool:
    """Whether a recording or a folder can be read that the system would not read when the store was written."""
    unread = store.rejected["record_id"][store.rejected["reason"].str.startswith(UNREADABLE)]
    if unread.empty:
        return False
    if any(os.access(cohort.root / name, os.R_OK | os.X_OK) for name in unread if (cohort.root / name).is_dir()):
        return True
    refs = cohort.refs()
    for ref in refs[refs["record_id"].isin(unread)].itertuples(index=False):
        try:
            cohort.read(ref, store.fs_hz)
        except (UnreadableFile, OSError):
            continue
        except RejectedRecording:
            pass  # read, and refused for what it holds
        return True
    return False


def _check_free(out: Path) -> None:
    """Refuse to replace anything but a store."""
    if out.exists() and not (out / MANIFEST).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(
            f"{out}: expected a store, an empty folder or nothing; move it away or choose another name"
        )


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder to `out`; an older store makes room first."""
    old = out.parent / f".{out.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(partial, out)
    (out / JOURNAL).unlink()
    shutil.rmtree(old, ignore_errors=True)
