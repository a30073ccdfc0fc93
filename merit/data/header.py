"""The text of a WFDB header, field by field as header(5) defines it; what that does not allow is refused.

A field that is missing takes the default that header(5) states, and no other. Base time and base date carry nothing
that is used here: whatever stands in their places is passed over. https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, isfinite
from typing import NamedTuple

from merit.data.paths import shown
from merit.data.recording import RejectedRecording

DEFAULT_FS_HZ = 250.0
DEFAULT_GAIN = 200.0
"""Units a mV where the header states none or 0 (header(5), ADC gain)."""

BYTES_PER_SAMPLE = {
    "8": Fraction(1), "16": Fraction(2), "24": Fraction(3), "32": Fraction(4), "61": Fraction(2), "80": Fraction(1),
    "160": Fraction(2), "212": Fraction(3, 2), "310": Fraction(4, 3), "311": Fraction(4, 3),
}  # fmt: skip
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
    """Frames a second."""
    n_frames: int | None
    """Samples a signal at one a frame; None where it is left to the file."""
    signals: tuple[SignalLine, ...]


def parse(lines: Sequence[str]) -> Header:
    """The header from its lines, comments and empty ones taken out. RejectedRecording, one line, where it is none."""
    record = lines[0].split() if lines else []
    if len(record) < 2 or "/" in record[0]:
        got = shown(" ".join(record))
        raise _refusal(f"expected the record line of a single-segment record (a name without '/', numbers); got {got}")
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
        raise _refusal(f"the record line says {n_signals} signals; {len(lines) - 1} signal lines follow")
    signals = [_signal(line, f"signal line {i}: ") for i, line in enumerate(lines[1 : n_signals + 1], 1)]
    if not any(signal.checksum for signal in signals):  # all zero: never computed
        signals = [signal._replace(checksum=None) for signal in signals]
    return Header(fs_hz, n_frames, tuple(signals))


def _signal(line: str, where: str) -> SignalLine:
    fields = line.split(None, 8)
    if len(fields) < 2:
        raise _refusal(f"{where}expected a file name and a format; got {shown(line)}")
    fmt, per_frame, skew, offset = _parts(_FORMAT, fields[1], where + "format")
    if fmt not in BYTES_PER_SAMPLE and fmt not in COMPRESSED:
        raise _refusal(f"{where}format: expected one of {', '.join((*BYTES_PER_SAMPLE, *COMPRESSED))}; got {fmt[:20]}")
    gain, baseline, units = _parts(_GAIN, fields[2], where + "ADC gain") if len(fields) > 2 else ("0", None, None)
    names = ("ADC resolution", "ADC zero", "initial value", "checksum", "block size")
    stated = {name: _whole(text, where + name) for name, text in zip(names, fields[3:8])}
    return SignalLine(
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
        raise _refusal(f"{what}: got {shown(text)}")
    return found.groups()


def _whole(text: str, what: str, least: int | None = None) -> int:
    if not _WHOLE.fullmatch(text) or (least is not None and int(text) < least):
        kind = "a whole number" if least is None else f"a whole number from {least} on"
        raise _refusal(f"{what}: expected {kind}; got {shown(text)}")
    return int(text)


def _number(text: str, what: str) -> float:
    value = float(text) if _NUMBER.fullmatch(text) else float("nan")
    if not isfinite(value):
        raise _refusal(f"{what}: expected a number; got {shown(text)}")
    return value


def _refusal(text: str) -> RejectedRecording:
    return RejectedRecording(f"unreadable header: {text}")
