"""Reading WFDB records; the only module that knows wfdb. What it cannot read becomes a `RejectedRecording`.

A header's text is parsed field by field as header(5) defines it, and what that does not allow is rejected. Sizes are
checked against the files before any memory is asked for; wfdb turns the bytes of a signal file into samples.
https://physionet.org/physiotools/wag/header-5.htm. Legend: L leads, T samples.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from math import ceil, isfinite
from typing import BinaryIO, NamedTuple

import numpy as np

from merit.data.preprocess import arrange, place, resample, to_millivolts
from merit.data.recording import UNREADABLE, Recording, RejectedRecording, UnreadableFile, inside, shown, something_else

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # wfdb 4.3 under pandas 3 warns at import about what it does not use
    import wfdb
    from wfdb.io import _signal as decoding

# -- the text of a header ---------------------------------------------------------------------------------------------

BROKEN = "unreadable header: "
DEFAULT_FS_HZ = 250.0
DEFAULT_GAIN = 200.0
"""Units a mV where the header states none or 0 (header(5), ADC gain)."""

BYTES_PER_SAMPLE = {"8": Fraction(1), "16": Fraction(2), "24": Fraction(3), "32": Fraction(4), "61": Fraction(2)}
BYTES_PER_SAMPLE |= {"80": Fraction(1), "160": Fraction(2), "212": Fraction(3, 2), "310": Fraction(4, 3)}
BYTES_PER_SAMPLE |= {"311": Fraction(4, 3)}
"""Formats that pack samples at a fixed size (signal(5))."""

COMPRESSED = ("508", "516", "524")
"""FLAC: size and number of samples are not proportional."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_RATE = re.compile(r"([^/(]*)(?:/([^/(]*)(?:\(([^()]*)\))?)?")
_FORMAT = re.compile(r"([0-9]+)(?:x([0-9]+))?(?::([0-9]+))?(?:\+([0-9]+))?")
_GAIN = re.compile(r"([^(/]*)(?:\(([^()]*)\))?(?:/(.+))?")
_TIME_OR_DATE = re.compile(r"[0-9.]*:[0-9:.]*|[0-9]+([-/])[0-9A-Za-z]+\1[0-9]+")
"""Where the number of samples is left out, what follows it may stand in its place."""


class SignalLine(NamedTuple):
    """One signal as its line describes it."""

    file: str
    fmt: str
    per_frame: int
    """Samples in a frame."""
    skew: int
    """Frames by which the signal is late in its file."""
    offset: int
    """Bytes before the first sample."""
    gain: float
    """Units of the converter for one of `units`."""
    baseline: int
    """What the converter gives at 0 of `units`."""
    units: str
    initial: int
    """The sample before the first difference, in format 8."""
    checksum: int | None
    """Sum of all samples, of which 16 bits count; None where it is not stated."""
    description: str
    """The lead's name; "" where there is none."""


class Header(NamedTuple):
    """A single-segment record."""

    fs_hz: float
    """Frames per second."""
    n_frames: int | None
    """Samples per signal at one per frame; None where it is left to the file."""
    signals: tuple[SignalLine, ...]


def parse_header(lines: Sequence[str]) -> Header:
    """The header from its lines, comments and empty ones taken out. RejectedRecording, one line, where it is none.

    A field that is missing takes the default that header(5) states, and no other. Base time and base date carry nothing
    that is used here: whatever stands in their places is passed over.
    """
    record = lines[0].split() if lines else []
    if len(record) < 2 or "/" in record[0]:
        got = shown(" ".join(record))
        raise RejectedRecording(
            f"{BROKEN}expected the record line of a single-segment record (a name without '/', numbers); got {got}"
        )
    where = "the record line is broken: "
    n_signals = _whole(record[1], where + "number of signals", 1)
    fs_hz, n_frames = DEFAULT_FS_HZ, None
    if len(record) > 2:
        rate, counter, base = _parts(_RATE, record[2], where + "sampling frequency")
        fs_hz = _number(rate, where + "sampling frequency")
        for text, what in ((counter, "counter frequency"), (base, "base counter value")):
            if text is not None:
                _number(text, where + what)
    if not fs_hz > 0:
        raise RejectedRecording(f"invalid rate: {fs_hz:g} Hz")
    if len(record) > 3 and not _TIME_OR_DATE.fullmatch(record[3]):
        n_frames = _whole(record[3], where + "number of samples", 0) or None
    if len(lines) - 1 < n_signals:
        raise RejectedRecording(
            f"{BROKEN}the record line says {n_signals} signals; {len(lines) - 1} signal lines follow"
        )
    signals = []
    for number, line in enumerate(lines[1 : n_signals + 1], 1):
        where, fields = f"signal line {number}: ", line.split(None, 8)
        if len(fields) < 2:
            raise RejectedRecording(f"{BROKEN}{where}expected a file name and a format; got {shown(line)}")
        fmt, per_frame, skew, offset = _parts(_FORMAT, fields[1], where + "format")
        if fmt not in BYTES_PER_SAMPLE and fmt not in COMPRESSED:
            known = ", ".join((*BYTES_PER_SAMPLE, *COMPRESSED))
            raise RejectedRecording(f"{BROKEN}{where}format: expected one of {known}; got {fmt[:20]}")
        gain, baseline, units = _parts(_GAIN, fields[2], where + "ADC gain") if len(fields) > 2 else ("0", None, None)
        names = ("ADC resolution", "ADC zero", "initial value", "checksum", "block size")
        stated = {name: _whole(text, where + name) for name, text in zip(names, fields[3:8])}
        signal = SignalLine(
            file=fields[0],
            fmt=fmt,
            per_frame=1 if per_frame is None else _whole(per_frame, where + "samples per frame", 1),
            skew=_whole(skew or "0", where + "skew"),
            offset=_whole(offset or "0", where + "byte offset"),
            gain=_number(gain, where + "ADC gain") or DEFAULT_GAIN,
            baseline=stated.get("ADC zero", 0) if baseline is None else _whole(baseline, where + "baseline"),
            units=units or "mV",
            initial=stated.get("initial value", 0),
            checksum=stated.get("checksum"),
            description=fields[8].strip() if len(fields) > 8 else "",
        )
        signals.append(signal)
    if not any(signal.checksum for signal in signals):  # all zero: never computed
        signals = [signal._replace(checksum=None) for signal in signals]
    return Header(fs_hz, n_frames, tuple(signals))


def needed_bytes(fmt: str, n_samples: int) -> int:
    """Bytes that hold so many samples of a format that is not compressed."""
    return ceil(n_samples * BYTES_PER_SAMPLE[fmt]) + (fmt == "310" and n_samples % 3 == 2)


def held_samples(fmt: str, n_bytes: int) -> int:
    """Samples that so many bytes hold, of a format that is not compressed."""
    n_samples = int(max(n_bytes, 0) / BYTES_PER_SAMPLE[fmt])
    return n_samples - (needed_bytes(fmt, n_samples) > n_bytes > 0)


def _parts(pattern: re.Pattern[str], text: str, what: str) -> tuple[str | None, ...]:
    found = pattern.fullmatch(text)
    if found is None:
        raise RejectedRecording(f"{BROKEN}{what}: got {shown(text)}")
    return found.groups()


def _whole(text: str, what: str, least: int | None = None) -> int:
    if not _WHOLE.fullmatch(text) or (least is not None and int(text) < least):
        kind = "a whole number" if least is None else f"a whole number from {least} on"
        raise RejectedRecording(f"{BROKEN}{what}: expected {kind}; got {shown(text)}")
    return int(text)


def _number(text: str, what: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else float("nan")
    if not isfinite(value):
        raise RejectedRecording(f"{BROKEN}{what}: expected a number; got {shown(text)}")
    return value


# -- files ------------------------------------------------------------------------------------------------------------

MAX_HEADER_BYTES = 1 << 20
MAX_SIGNAL_BYTES = 1 << 30
"""More is no 12-lead ECG of these data sets, and would take the machine's memory."""

HEADER_ENDINGS = (".hea", ".HEA")
STORED_AS = {"8": "<i1", "16": "<i2", "32": "<i4", "61": ">i2", "160": "<u2"}
"""What a file of a format holds, where that is not single bytes."""

NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)


class Waveform(NamedTuple):
    """A signal as read: float32 [12, T] in mV (NaN where the file marks a sample invalid), and its rate in Hz."""

    signal_mv: np.ndarray
    fs_hz: float
    checksums_agree: bool | None = None
    """Whether the samples add up to the header's checksums; None where it states none."""


def read_record(path: str | os.PathLike[str]) -> Recording:
    """The record at a path, with or without .hea, or by its signal file. Its name stands for record and patient, and
    nothing is labelled.

    RejectedRecording, in one line, for what cannot be read; a file of another format is rejected.
    """
    path = os.path.abspath(os.fspath(path))
    base, extension = os.path.splitext(path)
    if extension.lower() == ".hea":
        path = base
    elif os.path.lexists(path) and not has_header(path):
        if extension.lower() not in (".dat", ".mat") or not has_header(base):
            got = "a folder" if os.path.isdir(path) else f"{shown(os.path.basename(path))} without one"
            raise RejectedRecording(
                f"no header: expected a WFDB record, a text file NAME.hea beside its signals; got {got}; other formats "
                "(XML, DICOM, EDF, SCP, CSV, MATLAB, NumPy) are to be converted first"
            )
        path = base
    folder, name = os.path.split(path)
    signal_mv, fs_hz, agree = read_waveform(folder, name)
    ids = {"record_id": name, "patient_id": name}
    return Recording(**ids, signal_mv=signal_mv, fs_hz=fs_hz, report="", labels=frozenset(), checksums_agree=agree)


def read_waveform(root: str, name: str, *, raw: bool = False) -> Waveform:
    """The record `name` (relative to `root`, no extension): leads in the order of LEADS, whatever their order there.

    Leads that are none of the twelve are left out. Several samples per frame are read at their own rate; where rates
    differ, the slower leads are resampled to the fastest. raw: in the file's own units, without its header's gains.
    """
    header = parse_header(header_lines(root, name)[0])
    names = [signal.description for signal in header.signals]
    rows = sorted(row for row in place(names) if row is not None)
    used = [header.signals[row] for row in rows]
    units = [signal.units for signal in used]
    if not raw:
        to_millivolts(np.empty((len(units), 0)), units)  # a foreign unit is rejected before a signal is read
    folder = os.path.dirname(os.path.join(root, name))
    n_frames, samples = digital_samples(folder, header, rows)
    per_frame = max(signal.per_frame for signal in used)
    out = np.empty((len(used), n_frames * per_frame))
    agree = []
    for lead, signal, digital in zip(out, used, samples):
        n_samples = n_frames * signal.per_frame
        if signal.checksum is not None:
            agree.append((int(digital[:n_samples].sum(dtype=np.int64)) - signal.checksum) & 0xFFFF == 0)
        digital = digital[signal.skew * signal.per_frame :][:n_samples]
        values = lead if signal.per_frame == per_frame else np.empty(n_samples)
        there = values[: len(digital)]
        there[:] = digital
        if not raw:
            there -= signal.baseline
            there /= signal.gain
        mark = decoding.INVALID_SAMPLE_VALUE[signal.fmt]
        if mark is not None:
            there[digital == mark] = np.nan
        values[len(digital) :] = np.nan  # late, and beyond the file
        if values is not lead:  # to the fastest rate; samples whose nearest one is not a number are none either
            lead[:], good, time = np.nan, np.isfinite(values), np.arange(len(values))
            if good.any():
                ratio = per_frame / signal.per_frame
                lead[:] = resample(np.interp(time, time[good], values[good])[None], 1.0, ratio)[0]
                nearest = np.rint(np.arange(len(lead)) / ratio).astype(int)
                lead[~good[np.minimum(nearest, len(values) - 1)]] = np.nan
    signal = out.astype(np.float32) if raw else to_millivolts(out, units)
    signal = arrange(signal, [names[row] for row in rows])
    return Waveform(signal, header.fs_hz * per_frame, all(agree) if agree else None)


def read_raw(root: str, name: str) -> np.ndarray:
    """float32 [12, T]: a record in the file's own units, for files whose gains cannot be trusted (LUDB)."""
    return read_waveform(root, name, raw=True).signal_mv


def read_comments(root: str, name: str) -> dict[str, str]:
    """What the header's comment lines say, `# Key: value`, keys case-folded. Cheap: no signal is read."""
    _, comments = header_lines(root, name)
    pairs = (line.strip(" \t#").partition(":") for line in comments)
    return {key.strip().casefold(): value.strip() for key, _, value in pairs}


def read_annotation(root: str, name: str, extension: str) -> tuple[np.ndarray, list[str]]:
    """Samples and symbols of an annotation file, such as LUDB's delineation of one lead (extension "v1")."""
    path = inside(root, f"{name}.{extension}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wfdb 4.3 under pandas 3
        annotation = wfdb.rdann(path.removesuffix(f".{extension}"), extension)
    return annotation.sample, list(annotation.symbol)


def read_plainly(root: str, names: list[str]) -> int:
    """Read the records with wfdb alone, as a measure to compare ingest with; returns how many."""
    for name in names:
        wfdb.rdrecord(os.path.join(root, name))
    return len(names)


def has_header(path: str) -> bool:
    """Whether a record (a path without extension) has a header, in small or capital letters."""
    return any(os.path.lexists(path + ending) for ending in HEADER_ENDINGS)


def header_lines(root: str, name: str) -> tuple[list[str], list[str]]:
    """Lines and comment lines of a record's header, in small or capital letters; empty lines are left out."""
    paths = [inside(root, name + ending) for ending in HEADER_ENDINGS]
    with opened(next((path for path in paths if os.path.lexists(path)), paths[0]), "header") as file:
        content = file.read(MAX_HEADER_BYTES + 1)
    if not content.strip():
        raise RejectedRecording("empty header")
    if other := something_else(content):
        raise RejectedRecording(f"{BROKEN}not downloaded whole ({other})")
    if len(content) > MAX_HEADER_BYTES:
        raise RejectedRecording(f"{BROKEN}more than {MAX_HEADER_BYTES} bytes")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RejectedRecording(f"{BROKEN}expected UTF-8 or ASCII; got UTF-16")
    lines = [line.strip() for line in re.split("[\r\n]", content.decode("utf-8-sig", errors="replace"))]
    return [n for n in lines if n and not n.startswith("#")], [n for n in lines if n.startswith("#")]


@contextmanager
def opened(path: str, what: str) -> Iterator[BinaryIO]:
    """An ordinary file to read, unbuffered. what: the kind of file, for messages.

    RejectedRecording for what is not there or cannot be a file; UnreadableFile for what the system would not read now.
    """
    name = shown(os.path.basename(path))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for a writer
            raise RejectedRecording(f"unreadable {what}: {name} is no ordinary file")
        with open(path, "rb", buffering=0) as file:
            yield file
    except OSError as error:
        if error.errno in NOT_THERE:
            gone = "is a link to nothing" if os.path.islink(path) else "is not there"
            raise RejectedRecording(f"no {what}: {name} {gone}") from None
        raise UnreadableFile(f"{UNREADABLE}: {name}: {error.strerror or type(error).__name__}") from error


def digital_samples(folder: str, header: Header, rows: list[int]) -> tuple[int, list[np.ndarray]]:
    """The number of frames, and of each signal in `rows` its samples as stored, a few more where it is late (skew).

    Files that hold none of them are not opened. RejectedRecording where a file is no signal file, or holds fewer frames
    than the header promises; sizes are checked before memory is taken.
    """
    groups = [list(group) for _, group in itertools.groupby(enumerate(header.signals), key=lambda item: item[1].file)]
    names = [group[0][1].file for group in groups]
    for name, group in zip(names, groups):
        if names.count(name) > 1:
            raise RejectedRecording(f"{BROKEN}the lines of {shown(name)} do not follow each other")
        if len({(signal.fmt, signal.offset) for _, signal in group}) > 1:
            raise RejectedRecording(f"{BROKEN}several formats or offsets for {shown(name)}")
    groups = [group for group in groups if not set(rows).isdisjoint(row for row, _ in group)]

    # how many frames each file holds
    held = []
    for group in groups:
        first, a_frame = group[0][1], sum(signal.per_frame for _, signal in group)
        name = shown(os.path.basename(first.file))
        with opened(inside(folder, first.file), "signal file") as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(64)
        if size == 0:
            raise RejectedRecording(f"empty signal file: {name}")
        if other := something_else(head):
            raise RejectedRecording(f"truncated signal file: {name}, {size} bytes, was not downloaded whole ({other})")
        if first.fmt in COMPRESSED:
            # STREAMINFO comes first in FLAC (RFC 9639): 36 bits of samples per channel, 0 where that was not known
            per_channel = int.from_bytes(head[21:26]) & (1 << 36) - 1 if head[:4] == b"fLaC" else 0
            frames, promised = max(per_channel - first.offset, 0) // first.per_frame, f"{header.n_frames} frames"
            found, needed = f"{frames} frames", (header.n_frames or 0) * a_frame * 4
        else:
            frames = held_samples(first.fmt, size - first.offset) // a_frame
            needed = needed_bytes(first.fmt, (header.n_frames or frames) * a_frame)
            found, promised = f"{size} bytes", f"{first.offset + needed}"
        if frames < (header.n_frames or 1):
            promised = promised if header.n_frames else f"frames of {a_frame} samples"
            raise RejectedRecording(f"truncated signal file: {found}, the header promises {promised}")
        if needed > MAX_SIGNAL_BYTES:
            too_large = f"{name} has {needed} bytes of samples, at most {MAX_SIGNAL_BYTES}"
            raise RejectedRecording(f"unreadable signal: {too_large}")
        held.append(frames)
    n_frames = min(held) if header.n_frames is None else header.n_frames
    if header.n_frames is None and max(held) > n_frames + 2:  # three packed samples may hold two that are none
        raise RejectedRecording(f"{BROKEN}no number of samples, and files of {n_frames} and {max(held)}")

    # the samples, decoded by wfdb, which leaves skew as it is
    samples: dict[int, np.ndarray] = {}
    for group, frames in zip(groups, held):
        signals = [signal for _, signal in group]
        first, per_frame = signals[0], [signal.per_frame for signal in signals]
        frames = min(frames, n_frames + max(signal.skew for signal in signals))
        path, raw = inside(folder, first.file), None
        with opened(path, "signal file") as file:
            if first.fmt not in COMPRESSED:
                file.seek(first.offset)
                needed = needed_bytes(first.fmt, frames * sum(per_frame))
                raw = np.fromfile(file, np.uint8, needed).view(STORED_AS.get(first.fmt, "<u1"))
            where = os.path.basename(path), os.path.dirname(path), None
            layout = first.fmt, len(signals), frames, first.offset if raw is None else 0
            each = per_frame, [0] * len(signals), [signal.initial for signal in signals]
            try:
                decoded = decoding._rd_dat_signals(
                    *where, *layout, *each, 0, frames, no_file=raw is not None, sig_data=raw
                )
            except OSError:
                raise
            except Exception as error:  # wfdb raises whatever its decoding runs into
                detail = shown(f"{type(error).__name__}: {error}", 120)
                raise RejectedRecording(f"unreadable signal: {detail}") from error
        samples |= {row: digital for (row, _), digital in zip(group, decoded)}
    return n_frames, [samples[row] for row in rows]
