"""One WFDB record by its path, for whoever has a file and no data set."""

from __future__ import annotations

import os

from merit.data.paths import shown
from merit.data.recording import Recording, RejectedRecording
from merit.data.wfdb_io import HEADER_ENDINGS, read_waveform


def read_record(path: str | os.PathLike[str]) -> Recording:
    """The record at a path, with or without .hea, or by its signal file. Its name stands for record and patient, and
    nothing is labelled.

    RejectedRecording, in one line, for what cannot be read.
    """
    folder, name = os.path.split(_without_extension(os.path.abspath(os.fspath(path))))
    signal_mv, fs_hz, agree = read_waveform(folder, name)
    return Recording(
        record_id=name, patient_id=name, signal_mv=signal_mv, fs_hz=fs_hz, report="", labels=frozenset(),
        checksums_agree=agree,
    )  # fmt: skip


def _without_extension(path: str) -> str:
    """The record that a path means: header, signals, or their name alone; refused is a file of another format."""
    base, extension = os.path.splitext(path)
    if extension.lower() == ".hea" or not os.path.lexists(path) or any(map(os.path.lexists, _headers(path))):
        return base if extension.lower() == ".hea" else path
    if extension.lower() in (".dat", ".mat") and any(map(os.path.lexists, _headers(base))):
        return base
    got = "a folder" if os.path.isdir(path) else f"{shown(os.path.basename(path))} without one"
    raise RejectedRecording(
        f"no header: expected a WFDB record, a text file NAME.hea beside its signals; got {got}; other formats (XML, "
        "DICOM, EDF, SCP, CSV, MATLAB, NumPy) are to be converted first"
    )


def _headers(base: str) -> list[str]:
    return [base + ending for ending in HEADER_ENDINGS]
