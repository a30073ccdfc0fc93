"""The unfinished store: signals so far, and a line per chunk that says how far they are valid.

Signals are written before the line that vouches for them; what a kill leaves beyond the last whole line is cut off. A
line ends in its own digest and holds that of each signal: from the first that does not match on, all is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from merit import runs
from merit.data.chunks import Outcome, signal_digest
from merit.data.recording import LEADS, UNREADABLE
from merit.data.store import SIGNALS

JOURNAL = "journal.jsonl"


class Journal:
    """Open for appending; `outcomes` holds what is done already. A context manager: leaving it closes the files."""

    def __init__(self, folder: Path, lines: BinaryIO, n_samples: int) -> None:
        self.folder = folder
        self.outcomes: list[Outcome] = []
        self.n_stored = 0
        self._lines = lines
        self._n_samples = n_samples

    @classmethod
    def open(cls, folder: Path, request: dict[str, Any], n_samples: int) -> Journal:
        """Continue in `folder` what was begun there for the same request; anything else there is begun anew.

        Whoever opens one has claimed the store.
        """
        folder.mkdir(parents=True, exist_ok=True)
        lines = (folder / JOURNAL).open("a+b")
        journal = cls(folder, lines, n_samples)
        if not journal._resume(runs.plain(request)):
            journal._begin(request)
        journal._signals = (folder / SIGNALS).open("r+b")
        journal._signals.truncate(journal._position)
        journal._signals.seek(0, os.SEEK_END)
        return journal

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

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; the lock goes with them."""
        self._signals.close()
        self._lines.close()

    @property
    def _position(self) -> int:
        """Where the signals end that the journal vouches for, bytes."""
        return len(_npy_header(0, self._n_samples)) + self.n_stored * len(LEADS) * self._n_samples * 2

    def _resume(self, request: dict[str, Any]) -> bool:
        """Take over what whole lines there are; False if they are of another request or the signals are missing."""
        self._lines.seek(0)
        begun, valid = False, 0
        if not (self.folder / SIGNALS).is_file():
            return False
        with (self.folder / SIGNALS).open("rb") as signals:
            signals.seek(self._position)  # past the header, which `finish` writes
            for line in self._lines:
                entry = _entry(line)
                if entry is None or (not begun and entry.get("request") != request):
                    break
                chunk = [Outcome(*outcome) for outcome in entry.get("outcomes", [])]
                kept = [outcome.digest for outcome in chunk if not outcome.reason]
                if any(outcome.reason.startswith(UNREADABLE) for outcome in chunk):
                    break  # what could not be read is tried again
                if any(signal_digest(signals.read(len(LEADS) * self._n_samples * 2)) != digest for digest in kept):
                    break
                begun, valid = True, valid + len(line)
                self.outcomes += chunk
                self.n_stored += len(kept)
        self._lines.truncate(valid)
        return begun

    def _begin(self, request: dict[str, Any]) -> None:
        self.outcomes, self.n_stored = [], 0
        for path in self.folder.iterdir():
            if path.name != JOURNAL:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._lines.truncate(0)
        (self.folder / SIGNALS).write_bytes(_npy_header(0, self._n_samples))
        self._lines.write(_line({"request": runs.plain(request)}))
        self._lines.flush()


def _line(entry: dict[str, Any]) -> bytes:
    text = json.dumps(entry)
    return f"{text} {hashlib.sha256(text.encode()).hexdigest()}\n".encode()


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line of the journal; None for one that a kill left half written, or that is not as it was written."""
    text, _, found = line.rstrip(b"\n").rpartition(b" ")
    return json.loads(text) if hashlib.sha256(text).hexdigest().encode() == found else None


def _npy_header(n: int, n_samples: int) -> bytes:
    """The .npy header of int16 [n, 12, n_samples]; NumPy leaves room in it for the first axis to grow."""
    file = BytesIO()
    header = {"descr": "<i2", "fortran_order": False, "shape": (n, len(LEADS), n_samples)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()
