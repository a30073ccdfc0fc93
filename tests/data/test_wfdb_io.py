"""A header's text field by field; every kind of record is read as the plain one is, or refused in one line.

Decoding is checked against loops by signal(5), files against wfdb; sizes are refused before memory is taken.
"""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wfdb_trees import put_record

from merit.data import wfdb_io
from merit.data.preprocess import resample
from merit.data.recording import LEADS, RejectedRecording

# -- the text of a header ---------------------------------------------------------------------------------------------

LINE = "a.dat 16 1000/mV 16 0 0 0 0 I"
RECORD = "unreadable header: expected the record line"
BROKEN = "unreadable header: the record line is broken: "


RECORDS = {  # frames per second, frames -> record lines that say so
    (250, None): ("a 1",),
    (500, None): ("a 1 500 0", "a 1 500 10:00:00 01/02/2003", "a 1 500 2020-01-31"),
    (500, 5000): ("E1.mat 1 500 5000 05-May-2020 14:50:55", "Aufnahme-ä(1) 1 5e2 5000", "a 1 500 5000 yesterday"),
    (360, 5000): ("a 1 360/72.5(-3) 5000",),
    (500.25, 5000): ("a 1 500.25/500 5000 24:00:00 00/00/0000",),
}
BAD_RECORDS = {  # reason -> record lines
    RECORD: ("a", "a/2 1 500 5000"),
    f"{BROKEN}number of signals": ("my record 1 500 5000", "a 0 500 5000", "a -1 500 5000"),
    f"{BROKEN}sampling frequency": ("a 1 500Hz 5000", "a 1 500(0) 5000", "a 1 nan 5000", "a 1 1e999 5000"),
    f"{BROKEN}counter frequency": ("a 1 500/x 5000",),
    f"{BROKEN}base counter value": ("a 1 500/1(x) 5000",),
    f"{BROKEN}number of samples.*'5000.5'": ("a 1 500 5000.5",),
    f"{BROKEN}number of samples": ("a 1 500 -5", "a 1 500 500000/mV 16 0 15 31255 0 I", f"a 1 500 {'9' * 5000}"),
    "invalid rate: (0|-500) Hz": ("a 1 0 5000", "a 1 -500 5000"),
    "unreadable header: the record line says 2 signals; 1 signal lines follow": ("a 2 500 5000",),
}
BAD_SIGNALS = {  # reason -> signal lines
    "expected a file name and a format": ("a.dat",),
    "format": ("my a.dat 16 1000/mV", "a.dat 16x2.5", "a.dat 16:-1"),
    "format: expected one of 8, 16, 24.*got (17|0)": ("a.dat 17", "a.dat 0"),
    "samples per frame": ("a.dat 16x0",),
    "ADC gain: expected a number": ("a.dat 16 1000mV", "a.dat 16 /mV", "a.dat 16 inf/mV"),
    "ADC gain": ("a.dat 16 1000(5/mV",),
    "baseline": ("a.dat 16 1000(1.5)/mV",),
    "ADC resolution: expected a whole number; got 'I'": ("a.dat 16 1000/mV I",),
    "checksum": ("a.dat 16 1000/mV 16 0 0 x 0 I",),
    "block size: expected a whole number; got 'I'": ("a.dat 16 1000/mV 16 0 0 0 I",),
}


def pairs(table: dict) -> list[tuple]:
    return [(key, line) for key, lines in table.items() for line in lines]


@pytest.mark.parametrize(("expected", "record"), pairs(RECORDS))
def test_record_lines(expected, record):
    header = wfdb_io.parse_header([record, LINE, "more lines than said are not read"])
    assert (header.fs_hz, header.n_frames, len(header.signals)) == (*expected, 1)


@pytest.mark.parametrize(("reason", "record"), pairs(BAD_RECORDS))
def test_broken_record_lines(reason, record):
    with pytest.raises(RejectedRecording, match=f"^{reason}") as refusal:
        wfdb_io.parse_header([record, LINE])
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a.dat 16", (200, 0, "mV", None, "")),
        ("a.dat 16 0/uV 16 0 0 5", (200, 0, "uV", 5, "")),
        ("a.dat 16 200 11 1024", (200, 1024, "mV", None, "")),
        ("a.dat 16 200(0) 11 1024 0 -3 0 V1", (200, 0, "mV", -3, "V1")),
        ("a.dat\t16\t.5/V\t16 0 0 5 0\tV1", (0.5, 0, "V", 5, "V1")),
    ],
)
def test_signal_lines_and_defaults_of_header_5(line, expected):
    found = wfdb_io.parse_header(["a 1 500 5000", line]).signals[0]
    assert (found.gain, found.baseline, found.units, found.checksum, found.description) == expected
    assert (found.per_frame, found.skew, found.offset) == (1, 0, 0)
    line = "s/a.b.dat 212x4:7+24 -1e3(-1842966025)/uV 12 5 -9 -18 0 lead  one\t"
    whole = ("s/a.b.dat", "212", 4, 7, 24, -1000.0, -1842966025, "uV", -9, -18, "lead  one")
    assert wfdb_io.parse_header(["a 1 500 5000", line]).signals[0] == whole


@pytest.mark.parametrize(("reason", "line"), pairs(BAD_SIGNALS))
def test_what_header_5_does_not_allow_is_refused(reason, line):
    with pytest.raises(RejectedRecording, match=f"^unreadable header: signal line 1: {reason}"):
        wfdb_io.parse_header(["a 1 500 5000", line])


@pytest.mark.parametrize("fmt", wfdb_io.BYTES_PER_SAMPLE)
def test_bytes_and_samples_of_a_format(fmt):
    """Against counting: 212 packs two samples in three bytes, 310 and 311 three in four."""
    packed = {"212": [2, 3], "310": [2, 4, 4], "311": [2, 3, 4]}  # bytes up to the first, second and third sample
    ends = packed.get(fmt, [{"8": 1, "80": 1, "24": 3, "32": 4}.get(fmt, 2)])
    for n_samples in range(1, 14):
        blocks, rest = divmod(n_samples, len(ends))
        counted = blocks * ends[-1] + (ends[rest - 1] if rest else 0)
        assert wfdb_io.needed_bytes(fmt, n_samples) == counted
        assert wfdb_io.held_samples(fmt, counted) - n_samples in ((0, 1) if fmt == "310" else (0,))
        assert wfdb_io.held_samples(fmt, counted - 1) < n_samples
    assert wfdb_io.held_samples(fmt, 0) == wfdb_io.held_samples(fmt, -5) == 0


# -- records that equal the plain one ---------------------------------------------------------------------------------

DIGITAL = np.random.default_rng(5).integers(-100, 101, (12, 1000)).astype(np.int64)
"""Small enough for every format."""
GAIN = 50
PLAIN = (DIGITAL / GAIN).astype(np.float32)


def checksums(digital: np.ndarray) -> list[int]:
    return [(int(lead.sum()) + 32768) % 65536 - 32768 for lead in digital]


def write(folder: Path, digital: np.ndarray = DIGITAL, **changes: Any) -> Path:
    """A record of these samples at 500 Hz, 50 units a mV."""
    return put_record(folder, "rec", digital, **{"fs": 500, "gain": f"{GAIN}/mV", "sums": checksums(digital)} | changes)


def rewrite(path: Path, change: Any) -> Path:
    """The header with each signal line changed by a function of its row and text."""
    first, *signals = path.read_text().splitlines()
    path.write_text("\n".join([first, *(change(row, line) for row, line in enumerate(signals))]) + "\n")
    return path


def equal(path: Path, agree: bool | None = True, atol: float = 0.0) -> None:
    found = wfdb_io.read_record(path)
    assert (found.fs_hz, found.signal_mv.dtype, found.checksums_agree) == (500, np.float32, agree)
    np.testing.assert_allclose(found.signal_mv, PLAIN, atol=atol, rtol=0)


def refused(path: Path, reason: str) -> None:
    with pytest.raises(RejectedRecording, match=f"^({reason})") as refusal:
        wfdb_io.read_record(path)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def encode(fmt: str, samples: np.ndarray) -> bytes:
    """The bytes of a flat list of samples, by loops and signal(5)."""
    values = [int(value) for value in samples]
    if fmt in ("16", "160", "61", "24", "32"):
        size, order = {"24": 3, "32": 4}.get(fmt, 2), "big" if fmt == "61" else "little"
        shift = 32768 if fmt == "160" else 0
        return b"".join((value + shift).to_bytes(size, order, signed=not shift) for value in values)
    if fmt == "80":
        return bytes(value + 128 for value in values)
    out = bytearray()
    if fmt == "212":
        for a, b in zip(values[::2], values[1::2]):
            a, b = a & 0xFFF, b & 0xFFF
            out += bytes([a & 0xFF, a >> 8 | b >> 8 << 4, b & 0xFF])
        return bytes(out)
    values += [0] * (-len(values) % 3)
    for a, b, c in zip(values[::3], values[1::3], values[2::3]):
        a, b, c = a & 0x3FF, b & 0x3FF, c & 0x3FF
        if fmt == "310":  # 7 bits and 3 of the first and second, 5 and 5 of the third
            out += bytes([(a & 0x7F) << 1, (c & 0x1F) << 3 | a >> 7, (b & 0x7F) << 1, c >> 5 << 3 | b >> 7])
        else:  # three of ten bits, the first lowest
            out += (a | b << 10 | c << 20).to_bytes(4, "little")
    return bytes(out)


@pytest.mark.parametrize("fmt", ["16", "61", "160", "80", "24", "32", "212", "310", "311"])
def test_every_format_and_its_mark_for_missing_samples(tmp_path, fmt):
    equal(write(tmp_path, fmt=fmt, raw=encode(fmt, DIGITAL.T.ravel())))
    bits = {"80": 8, "24": 24, "32": 32, "212": 12, "310": 10, "311": 10}.get(fmt, 16)
    marked = DIGITAL.copy()
    marked[3, 100:110] = -(1 << (bits - 1))
    found = wfdb_io.read_record(write(tmp_path, marked, fmt=fmt, raw=encode(fmt, marked.T.ravel())))
    expected = PLAIN.copy()
    expected[3, 100:110] = np.nan
    assert np.array_equal(found.signal_mv, expected, equal_nan=True)
    assert found.checksums_agree
    assert np.isnan(wfdb_io.read_raw(str(tmp_path), "rec")[3, 100:110]).all()


def test_flac_in_two_files_of_six_channels(tmp_path):
    import soundfile

    for part, name in ((DIGITAL[:6], "a.flac"), (DIGITAL[6:], "b.flac")):
        soundfile.write(tmp_path / name, part.T.astype(np.int16), 500, format="FLAC", subtype="PCM_16")

    def promising(n_samples: int) -> Path:
        path = write(tmp_path, record=f"rec 12 500 {n_samples}")
        return rewrite(path, lambda row, line: line.replace("rec.dat 16", f"{'ab'[row // 6]}.flac 516"))

    for n_samples in (1000, 0):
        equal(promising(n_samples))
    refused(promising(1001), "truncated signal file: 1000 frames, the header promises 1001 frames")
    (tmp_path / "b.flac").write_bytes((tmp_path / "b.flac").read_bytes()[:3000])
    refused(promising(1000), "unreadable signal")


def test_leads_of_different_rates_are_brought_to_the_fastest(tmp_path):
    time_s = np.arange(1000) / 500
    wave = np.rint(90 * np.sin(2 * np.pi * 5 * time_s + np.arange(12)[:, None])).astype(np.int64)
    slow = wave[6:, ::2].copy()
    slow[0, 200:210] = -32768
    frames = np.concatenate([wave[:6].reshape(6, 500, 2).transpose(1, 0, 2).reshape(500, 12), slow.T], axis=1)
    path = write(tmp_path, record="rec 12 250 500", raw=frames.astype("<i2").tobytes(), fmt="16x2")
    rewrite(path, lambda row, line: line if row < 6 else line.replace("16x2", "16"))
    found = wfdb_io.read_record(path)
    assert found.fs_hz == 500
    assert np.array_equal(found.signal_mv[:6], (wave[:6] / GAIN).astype(np.float32))
    bridged = wave[6:, ::2].astype(float)
    bridged[0, 200:210] = np.interp(np.arange(200, 210), [199, 210], bridged[0, [199, 210]])
    expected = resample(bridged / GAIN, 250, 500)
    known = np.isfinite(found.signal_mv[6:])
    assert (~known).sum() == 20
    assert not known[0, 400:419].any(), "what was missing stays missing"
    np.testing.assert_allclose(found.signal_mv[6:][known], expected[known], atol=1e-6)
    np.testing.assert_allclose(found.signal_mv[7:, 50:-50], (wave / GAIN)[7:, 50:-50], atol=0.02)


@pytest.mark.parametrize("late", [[0] * 6 + [40] * 6, list(range(12))])
def test_skew_is_honoured_and_the_end_is_unknown(tmp_path, late):
    digital = np.stack([np.roll(lead, n) for lead, n in zip(DIGITAL, late)])
    path = write(tmp_path, digital, sums=checksums(DIGITAL))
    rewrite(path, lambda row, line: line.replace(" 16 ", f" 16:{late[row]} ", 1) if late[row] else line)
    found = wfdb_io.read_record(path).signal_mv
    for row, n in enumerate(late):
        assert np.array_equal(found[row, : 1000 - n], PLAIN[row, : 1000 - n])
        assert np.isnan(found[row, 1000 - n :]).all()
    more = np.zeros((12, max(late)), np.int64)  # a file that goes on holds what is late
    for row, n in enumerate(late):
        more[row, :n] = DIGITAL[row, 1000 - n :]
    with (tmp_path / "rec.dat").open("ab") as file:
        file.write(more.T.astype("<i2").tobytes())
    assert np.array_equal(wfdb_io.read_record(path).signal_mv, PLAIN)


def test_several_files_of_a_record(tmp_path):
    path = write(tmp_path, raw=DIGITAL[:6].T.astype("<i2").tobytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "chest.xyz").write_bytes(b"\x01" * 7 + encode("212", DIGITAL[6:].T.ravel()))
    equal(rewrite(path, lambda row, n: n.replace("rec.dat 16", "sub/chest.xyz 212+7" if row > 5 else "rec.dat 16")))
    first, *lines = path.read_text().splitlines()
    path.write_text("\n".join(["rec 12 500", *lines]) + "\n")
    equal(path)
    path.write_text("\n".join([first, *lines[:5], *lines[6:], lines[5]]) + "\n")
    refused(path, r"unreadable header: the lines of 'rec\.dat' do not follow each other")
    path.write_text("\n".join([first, *lines[:5], lines[5].replace(" 16 ", " 16+2 ", 1), *lines[6:]]) + "\n")
    refused(path, r"unreadable header: several formats or offsets for 'rec\.dat'")


def test_checksums_gains_and_leads_beyond_the_twelve(tmp_path):
    equal(write(tmp_path, sums=[value % 65536 for value in checksums(DIGITAL)]))
    equal(write(tmp_path, sums=[0] * 12), agree=None)
    damaged = bytearray(DIGITAL.T.astype("<i2").tobytes())
    damaged[5000:6000] = bytes(1000)
    assert wfdb_io.read_record(write(tmp_path, raw=bytes(damaged))).checksums_agree is False
    equal(write(tmp_path, -DIGITAL, gain=f"-{GAIN}/mV"))
    equal(write(tmp_path, gain=f"{GAIN / 1000}/µV"), atol=1e-6)
    big = DIGITAL * 100 - 1842966025
    equal(write(tmp_path, big, fmt="32", gain="5000(-1842966025)/mV", raw=big.T.astype("<i4").tobytes()), atol=1e-6)
    names = [*(name.lower() for name in LEADS[:11]), "vx", "vy", "V6"]
    equal(write(tmp_path, np.concatenate([DIGITAL[:11], DIGITAL[:2], DIGITAL[11:]]), names=names))
    refused(write(tmp_path, names=(*LEADS, "v1"), sums=[0] * 13), "repeated lead: V1")


# -- what is refused --------------------------------------------------------------------------------------------------

DAMAGE = [  # file, what becomes of its bytes (None: it is gone), reason
    (".dat", lambda raw: raw[:8192], "truncated signal file: 8192 bytes, the header promises 24000"),
    (".dat", lambda raw: raw[:-1], "truncated signal file: 23999 bytes"),
    (".dat", lambda raw: b"", r"empty signal file: 'rec\.dat'"),
    (".dat", None, r"no signal file: 'rec\.dat'"),
    (".dat", lambda raw: b"version https://git-lfs.github.com/spec/v1\n", r"trunc.*'rec\.dat'.*whole \(a Git"),
    (".dat", lambda raw: b"<!DOCTYPE html>" + raw, r"truncated.*'rec\.dat'.*not downloaded whole \(a web page"),
    (".dat", lambda raw: b"../.git/annex/objects/XX/1/MD5E-s9--a.dat", r"trunc.*not downloaded whole \(a git-annex"),
    (".hea", None, r"no header: 'rec\.hea'"),
    (".hea", lambda raw: b" \n", "empty header"),
    (".hea", lambda raw: np.random.default_rng(0).bytes(500), "unreadable header|outside the data set|no signal file"),
    (".hea", lambda raw: raw[: len(raw) // 2], "unreadable header"),
    (".hea", lambda raw: b"<html>404 not found</html>\n", "unreadable header"),
    (".hea", lambda raw: b"# Age: 3\n", "unreadable header"),
    (".hea", lambda raw: b"rec/2 12 100 1000\nb 500\n/etc/c 500\n", RECORD),
    (".hea", lambda raw: b"rec 12 500 1000\n" + b"rec.dat 16\n" * 12, "missing lead: none of 12 signals has a name"),
    (".hea", lambda raw: raw.replace(b"/mV", b"/\xb5V"), "foreign unit"),  # what the byte means is not guessed
    (".hea", lambda raw: raw.replace(b"12 500 ", b"12 0 "), "invalid rate: 0 Hz"),
    (".hea", lambda raw: raw.decode().encode("utf-16"), "unreadable header: expected UTF-8 or ASCII; got UTF-16"),
    *(
        (".hea", lambda raw, file=file: raw.replace(b"rec.dat", file), "outside the data set")
        for file in (b"../b.dat", b"/etc/hostname", b"x::http://127.0.0.1/b.dat", b"s3://bucket/b.dat")
    ),
]


@pytest.mark.parametrize(("ending", "change", "reason"), DAMAGE)
def test_damage_is_refused_in_one_line(tmp_path, ending, change, reason):
    (tmp_path / "b.dat").write_bytes(b"is there")
    path = write(tmp_path / "root").with_suffix(ending)
    whole = path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(whole))
    refused(path.with_suffix(".hea"), reason)


@pytest.mark.parametrize(
    ("record", "fmt", "reason"),
    [
        ("rec 12 500 99999999999999", "16", "truncated signal file: 24000 bytes, the header promises"),
        ("rec 12 500 1000", "16x99999999999999", "truncated signal file"),
        ("rec 12 500", "16x99999999999999", "truncated signal file: 24000 bytes, the header promises frames of"),
        ("rec 12 500 1000", "16+99999999999999", "truncated signal file"),
        ("rec 12 500 99999999999999", "516", "truncated signal file"),
        (f"rec 12 500 {1 << 26}", "16", r"unreadable signal: 'rec\.dat' has 1610612736 bytes of samples, at most"),
        ("rec 99999999999999 500 1000", "16", "unreadable header: the record line says 99999999999999 signals"),
        ("rec 12 500 1000 " + "x" * (50 << 20), "16", "unreadable header: more than 1048576 bytes"),
    ],
)
def test_sizes_beyond_the_file_take_no_memory(tmp_path, record, fmt, reason):
    path = write(tmp_path, record=record, fmt=fmt)
    if reason.startswith("unreadable signal"):
        os.truncate(tmp_path / "rec.dat", 24 << 26)  # a file with a hole, larger than any ECG
    tracemalloc.start()
    try:
        refused(path, reason)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_pipes_and_folders_are_no_files(tmp_path):
    path = write(tmp_path)
    for name, kind in (("rec.dat", "signal file"), ("rec.hea", "header")):
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        refused(path, f"unreadable {kind}: '{re.escape(name)}' is no ordinary file")
    (tmp_path / "sub.hea").mkdir()
    refused(tmp_path / "sub.hea", "unreadable header: 'sub.hea' is no ordinary file")
    (tmp_path / "loop.hea").symlink_to("loop.hea")
    refused(tmp_path / "loop.hea", "no header: 'loop.hea' is a link to nothing")
    refused(tmp_path, "no header: expected a WFDB record, .* got a folder")


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    names = [n.upper() for n in LEADS[::-1]]
    wfdb_io.wfdb.wrsamp(
        "a", 500, ["uV"] * 12, names, rng.normal(0, 500, (700, 12)), fmt=["16"] * 12, write_dir=str(tmp_path)
    )
    signal_mv, fs_hz, _ = wfdb_io.read_waveform(str(tmp_path), "a")
    theirs = wfdb_io.wfdb.rdrecord(str(tmp_path / "a")).p_signal.T[::-1] / 1000
    assert (fs_hz, signal_mv.shape) == (500, (12, 700))
    assert signal_mv == pytest.approx(theirs, rel=1e-6)
