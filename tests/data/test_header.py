"""The header's text field by field, and that sizes are checked before memory is asked for."""

from __future__ import annotations

import pytest

from merit.data.header import BYTES_PER_SAMPLE, held_samples, needed_bytes, parse
from merit.data.recording import RejectedRecording

LINE = "a.dat 16 1000/mV 16 0 0 0 0 I"


def one(line: str, record: str = "a 1 500 5000"):
    return parse([record, line]).signals[0]


@pytest.mark.parametrize(
    ("record", "fs_hz", "n_frames"),
    [
        ("a 1", 250, None),
        ("a 1 500", 500, None),
        ("E00001.mat 1 500 5000 05-May-2020 14:50:55", 500, 5000),
        ("Aufnahme-ä(1) 1 500 5000", 500, 5000),
        ("a 1 500 0", 500, None),
        ("a 1 5e2 5000", 500, 5000),
        ("a 1 360/72.5(-3) 5000", 360, 5000),
        ("a 1 500.25/500 5000 24:00:00 00/00/0000", 500.25, 5000),
        ("a 1 500 5000 yesterday", 500, 5000),
        ("a 1 500 10:00:00 01/02/2003", 500, None),
        ("a 1 500 2020-01-31", 500, None),
    ],
)
def test_record_lines(record: str, fs_hz: float, n_frames: int | None) -> None:
    header = parse([record, LINE])
    assert (header.fs_hz, header.n_frames) == (fs_hz, n_frames)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("a", "unreadable header: expected the record line"),
        ("a/2 1 500 5000", "unreadable header: expected the record line"),
        ("my record 1 500 5000", "unreadable header: the record line is broken: number of signals"),
        ("a 0 500 5000", "unreadable header: the record line is broken: number of signals"),
        ("a -1 500 5000", "unreadable header: the record line is broken: number of signals"),
        ("a 1 500Hz 5000", "unreadable header: the record line is broken: sampling frequency.*'500Hz'"),
        ("a 1 500(0) 5000", "unreadable header: the record line is broken: sampling frequency"),
        ("a 1 500/x 5000", "unreadable header: the record line is broken: counter frequency"),
        ("a 1 500/1(x) 5000", "unreadable header: the record line is broken: base counter value"),
        ("a 1 500 5000.5", "unreadable header: the record line is broken: number of samples.*'5000.5'"),
        ("a 1 500 -5", "unreadable header: the record line is broken: number of samples"),
        ("a 1 500 500000/mV 16 0 15 31255 0 I", "unreadable header: the record line is broken: .*'500000/mV'"),
        (f"a 1 500 {'9' * 5000}", "unreadable header: the record line is broken: number of samples"),
        ("a 1 0 5000", "invalid rate: 0 Hz"),
        ("a 1 -500 5000", "invalid rate: -500 Hz"),
        ("a 1 nan 5000", "unreadable header: the record line is broken: sampling frequency"),
        ("a 1 1e999 5000", "unreadable header: the record line is broken: sampling frequency"),
        ("a 2 500 5000", "unreadable header: the record line says 2 signals; 1 signal lines follow"),
    ],
)
def test_broken_record_lines(record: str, reason: str) -> None:
    with pytest.raises(RejectedRecording, match=f"^{reason}") as refusal:
        parse([record, LINE])
    assert len(str(refusal.value)) < 300


def test_more_signal_lines_than_said_are_not_read() -> None:
    assert len(parse(["a 1 500 5000", LINE, "nonsense"]).signals) == 1


def test_a_whole_signal_line() -> None:
    found = one("s/a.b.dat 212x4:7+24 -1e3(-1842966025)/uV 12 5 -9 -18 0 lead  one\t")
    assert found == ("s/a.b.dat", "212", 4, 7, 24, -1000.0, -1842966025, "uV", -9, -18, "lead  one")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.dat 16", (200, 0, "mV", None, "")),
        ("a.dat 16 0", (200, 0, "mV", None, "")),
        ("a.dat 16 0/uV 16 0 0 5", (200, 0, "uV", 5, "")),
        ("a.dat 16 1000", (1000, 0, "mV", None, "")),
        ("a.dat 16 200 11 1024", (200, 1024, "mV", None, "")),
        ("a.dat 16 200(0) 11 1024 0 -3 0 V1", (200, 0, "mV", -3, "V1")),
        ("a.dat\t16\t.5/V\t16 0 0 5 0\tV1", (0.5, 0, "V", 5, "V1")),
    ],
)
def test_defaults_are_those_of_header_5(line: str, expected: tuple) -> None:
    found = one(line)
    assert (found.gain, found.baseline, found.units, found.checksum, found.description) == expected
    assert (found.per_frame, found.skew, found.offset) == (1, 0, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a.dat", "expected a file name and a format"),
        ("my a.dat 16 1000/mV", "format"),
        ("a.dat 17", "format: expected one of 8, 16, 24.*got 17"),
        ("a.dat 0", "format: expected one of"),
        ("a.dat 16x0", "samples per frame"),
        ("a.dat 16x2.5", "format"),
        ("a.dat 16:-1", "format"),
        ("a.dat 16 1000mV", "ADC gain: expected a number; got '1000mV'"),
        ("a.dat 16 /mV", "ADC gain: expected a number"),
        ("a.dat 16 inf/mV", "ADC gain"),
        ("a.dat 16 1000(1.5)/mV", "baseline"),
        ("a.dat 16 1000(5/mV", "ADC gain"),
        ("a.dat 16 1000/mV I", "ADC resolution: expected a whole number; got 'I'"),
        ("a.dat 16 1000/mV 16 0 0 x 0 I", "checksum"),
        ("a.dat 16 1000/mV 16 0 0 0 I", "block size: expected a whole number; got 'I'"),
    ],
)
def test_what_header_5_does_not_allow_is_refused(line: str, reason: str) -> None:
    with pytest.raises(RejectedRecording, match=f"^unreadable header: signal line 1: {reason}"):
        one(line)


def test_checksums_that_are_all_zero_are_none() -> None:
    lines = ["a.dat 16 1/mV 16 0 0 0 0 I", "a.dat 16 1/mV 16 0 0 0 0 II"]
    assert [signal.checksum for signal in parse(["a 2 500 5", *lines]).signals] == [None, None]
    lines[1] = lines[1].replace("0 0 0 0 II", "0 0 7 0 II")
    assert [signal.checksum for signal in parse(["a 2 500 5", *lines]).signals] == [0, 7]


@pytest.mark.parametrize("fmt", BYTES_PER_SAMPLE)
def test_bytes_and_samples_of_a_format(fmt: str) -> None:
    """Against counting: 212 packs two samples in three bytes, 310 and 311 three in four."""
    whole = {"212": [2, 3], "310": [2, 4, 4], "311": [2, 3, 4]}  # bytes up to the first, second and third sample
    block, size = {"212": (2, 3), "310": (3, 4), "311": (3, 4)}.get(fmt, (1, None))
    for n_samples in range(1, 14):
        if size is None:
            counted = n_samples * {"8": 1, "80": 1, "24": 3, "32": 4}.get(fmt, 2)
        else:
            blocks, rest = divmod(n_samples, block)
            counted = blocks * size + (whole[fmt][rest - 1] if rest else 0)
        assert needed_bytes(fmt, n_samples) == counted
        assert held_samples(fmt, counted) - n_samples in ((0, 1) if fmt == "310" else (0,))
        assert held_samples(fmt, counted - 1) < n_samples
    assert held_samples(fmt, 0) == held_samples(fmt, -5) == 0
