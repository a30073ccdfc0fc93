"""Reading WFDB records; the only module that knows wfdb. What it cannot read becomes a `RejectedRecording`.

A header is text of unknown origin that names the files to open: those names are checked before wfdb sees them.
"""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

import numpy as np

from merit.data.leads import arrange, to_millivolts
from merit.data.paths import inside, shown
from merit.data.recording import RejectedRecording

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # wfdb 4.3 under pandas 3 warns at import about what it does not use
    import wfdb

MAX_HEADER_BYTES = 1 << 20
MAX_SIGNAL_BYTES = 1 << 30
"""Longer files are no 12-lead ECG of these data sets, and would take the machine's memory."""
INVALID = -32768
"""What a sample of 16 bits holds that is not valid."""


class Waveform(NamedTuple):
    """A signal as read: float32 [12, T] in mV (NaN where the file marks a sample invalid), and its rate in Hz."""

    signal_mv: np.ndarray
    fs_hz: float


def read_waveform(root: str, name: str) -> Waveform:
    """The record `name` (relative to `root`, no extension): leads in the order of LEADS, whatever their order there."""
    header_path = inside(root, root, name + ".hea")
    lines, _ = _lines(header_path)
    files = _signal_files(root, os.path.dirname(header_path), lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of casts of invalid samples; they become NaN
            record = wfdb.rdrecord(header_path.removesuffix(".hea"))
        signal, names, fs_hz = record.p_signal.T, record.sig_name, float(record.fs)
        units = _units(lines, record.units)
    except Exception as error:  # wfdb raises whatever its parsing runs into
        raise RejectedRecording(_diagnosis(header_path, files, error)) from error
    if not (np.isfinite(fs_hz) and fs_hz > 0):
        raise RejectedRecording(f"invalid rate: {fs_hz:g} Hz")
    return Waveform(arrange(to_millivolts(signal, units), [n or "" for n in names]), fs_hz)


def read_raw(root: str, name: str) -> np.ndarray:
    """float32 [12, T]: the record `name` in the file's own units, without its header's gains, leads in the order of
    LEADS; NaN where a sample is marked invalid. For files whose gains cannot be trusted (LUDB).
    """
    header_path = inside(root, root, name + ".hea")
    lines, _ = _lines(header_path)
    files = _signal_files(root, os.path.dirname(header_path), lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as above
            record = wfdb.rdrecord(header_path.removesuffix(".hea"), physical=False)
        signal = np.where(record.d_signal == INVALID, np.nan, record.d_signal).T.astype(np.float32)
    except Exception as error:  # as above
        raise RejectedRecording(_diagnosis(header_path, files, error)) from error
    return arrange(signal, [n or "" for n in record.sig_name])


def read_comments(root: str, name: str) -> dict[str, str]:
    """What the header's comment lines say, `# Key: value`, keys case-folded. Cheap: no signal is read."""
    _, comments = _lines(inside(root, root, name + ".hea"))
    pairs = (line.strip(" \t#").partition(":") for line in comments)
    return {key.strip().casefold(): value.strip() for key, _, value in pairs}


def read_annotation(root: str, name: str, extension: str) -> tuple[np.ndarray, list[str]]:
    """Samples and symbols of an annotation file, such as LUDB's delineation of one lead (extension "v1")."""
    path = inside(root, root, f"{name}.{extension}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb 4.3 under pandas 3
        annotation = wfdb.rdann(path.removesuffix(f".{extension}"), extension)
    return annotation.sample, list(annotation.symbol)


def read_plainly(root: str, names: list[str]) -> int:
    """Read the records with wfdb alone, as a measure to compare ingest with; returns how many."""
    for name in names:
        wfdb.rdrecord(os.path.join(root, name))
    return len(names)


def _lines(header_path: str) -> tuple[list[str], list[str]]:
    """Header lines and comment lines of a header file, split as wfdb splits them but with every byte kept."""
    try:
        with open(header_path, "rb") as file:
            content = file.read(MAX_HEADER_BYTES + 1)
    except FileNotFoundError:
        raise RejectedRecording(f"no header: {shown(os.path.basename(header_path))} is not there") from None
    except OSError as error:
        raise RejectedRecording(f"unreadable header: {error.strerror}") from error
    if not content.strip():
        raise RejectedRecording("empty header")
    if len(content) > MAX_HEADER_BYTES:
        raise RejectedRecording(f"unreadable header: more than {MAX_HEADER_BYTES} bytes")
    lines = [line.strip() for line in content.decode("utf-8", errors="replace").splitlines()]
    return [n for n in lines if n and not n.startswith("#")], [n for n in lines if n.startswith("#")]


def _signal_files(root: str, folder: str, lines: list[str]) -> list[str]:
    """Paths of the signal files that a header names, each inside the root and present."""
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or not fields[1].isdecimal() or "/" in fields[0]:
        raise RejectedRecording("unreadable header: expected the record line of a single-segment record")
    paths = [inside(root, folder, name) for name in dict.fromkeys(line.split()[0] for line in lines[1:])]
    for path in paths:
        size = os.path.getsize(path) if os.path.isfile(path) else None
        if size is None:
            raise RejectedRecording(f"no signal file: {shown(os.path.basename(path))} is not there")
        if size == 0:
            raise RejectedRecording(f"empty signal file: {shown(os.path.basename(path))}")
        if size > MAX_SIGNAL_BYTES:
            raise RejectedRecording(f"unreadable signal: {shown(os.path.basename(path))} has {size} bytes")
    return paths


def _units(lines: list[str], parsed: list[str]) -> list[str]:
    """The units of the signals. wfdb drops bytes that are not ASCII, which turns µV into V: those are read here."""
    if all(line.isascii() for line in lines):
        return parsed
    fields = [line.split() for line in lines[1:]]
    return [f[2].partition("/")[2] if len(f) > 2 and "/" in f[2] else p for f, p in zip(fields, parsed)]


def _diagnosis(header_path: str, files: list[str], error: Exception) -> str:
    """One line on why wfdb could not read a record, from the kind of failure."""
    detail = shown(f"{type(error).__name__}: {error}", 120)
    try:
        header = wfdb.rdheader(header_path.removesuffix(".hea"))
        expected = header.sig_len * header.n_sig * 2
        garbled = not (header.n_sig == len(header.file_name) and header.sig_name)
    except Exception:
        return f"unreadable header: {detail}"
    if garbled:
        return f"unreadable header: {detail}"
    found = sum(os.path.getsize(path) for path in files)
    if set(header.fmt) == {"16"} and found < expected:
        return f"truncated signal file: {found} bytes, the header promises {expected}"
    return f"unreadable signal: {detail}"
