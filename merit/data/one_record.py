"""One WFDB record by its path, for whoever has a file and no data set."""

from __future__ import annotations

import os

from merit.data.recording import Recording
from merit.data.wfdb_io import read_waveform


def read_record(path: str | os.PathLike[str]) -> Recording:
    """The record at a path, with or without .hea; its name stands for record and patient, and nothing is labelled.

    RejectedRecording, in one line, for what cannot be read.
    """
    folder, name = os.path.split(os.path.abspath(os.fspath(path)).removesuffix(".hea"))
    signal_mv, fs_hz = read_waveform(folder, name)
    return Recording(
        record_id=name, patient_id=name, signal_mv=signal_mv, fs_hz=fs_hz, report="", labels=frozenset()
    )  # fmt: skip
