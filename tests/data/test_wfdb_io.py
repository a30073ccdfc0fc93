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
from wfdb_trees import make_ecg, put_record

from merit.data.preprocess import resample
from merit.data.recording import LEADS, RejectedRecording
from merit.data.wfdb_io import (
    BYTES_PER_SAMPLE,
    held_samples,
    needed_bytes,
    parse_header,
    read_comments,
    read_raw,
    read_record,
    read_waveform,
    wfdb,
)

# -- the text of a header ---------------------------------------------------------------------------------------------

LINE = "a.dat 16 1000/mV 16 0 0 0 0 I"
RECORD = "unreadable header: expected the record line"
BROKEN = "unreadable header: the record line is broken: "


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
def test_record_lines(record, fs_hz, n_frames: int | None):
    header = parse_header([record, LINE, "more lines than said are not read"])
    assert (header.fs_hz, header.n_frames, len(header.signals)) == (fs_hz, n_frames, 1)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("a", RECORD),
        ("a/2 1 500 5000", RECORD),
        ("my record 1 500 5000", f"{BROKEN}number of signals"),
        ("a 0 500 5000", f"{BROKEN}number of signals"),
        ("a -1 500 5000", f"{BROKEN}number of signals"),
        ("a 1 500Hz 5000", f"{BROKEN}sampling frequency.*'500Hz'"),
        ("a 1 500(0) 5000", f"{BROKEN}sampling frequency"),
        ("a 1 500/x 5000", f"{BROKEN}counter frequency"),
        ("a 1 500/1(x) 5000", f"{BROKEN}base counter value"),
        ("a 1 500 5000.5", f"{BROKEN}number of samples.*'5000.5'"),
        ("a 1 500 -5", f"{BROKEN}number of samples"),
        ("a 1 500 500000/mV 16 0 15 31255 0 I", f"{BROKEN}.*'500000/mV'"),
        (f"a 1 500 {'9' * 5000}", f"{BROKEN}number of samples"),
        ("a 1 0 5000", "invalid rate: 0 Hz"),
        ("a 1 -500 5000", "invalid rate: -500 Hz"),
        ("a 1 nan 5000", f"{BROKEN}sampling frequency"),
        ("a 1 1e999 5000", f"{BROKEN}sampling frequency"),
        ("a 2 500 5000", "unreadable header: the record line says 2 signals; 1 signal lines follow"),
    ],
)
def test_broken_record_lines(record, reason):
    with pytest.raises(RejectedRecording, match=f"^{reason}") as refusal:
        parse_header([record, LINE])
    assert len(str(refusal.value)) < 300


def test_a_whole_signal_line():
    line = "s/a.b.dat 212x4:7+24 -1e3(-1842966025)/uV 12 5 -9 -18 0 lead  one\t"
    expected = ("s/a.b.dat", "212", 4, 7, 24, -1000.0, -1842966025, "uV", -9, -18, "lead  one")
    assert parse_header(["a 1 500 5000", line]).signals[0] == expected


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
def test_defaults_are_those_of_header_5(line, expected):
    found = parse_header(["a 1 500 5000", line]).signals[0]
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
def test_what_header_5_does_not_allow_is_refused(line, reason):
    with pytest.raises(RejectedRecording, match=f"^unreadable header: signal line 1: {reason}"):
        parse_header(["a 1 500 5000", line])


def test_checksums_that_are_all_zero_are_none():
    lines = ["a.dat 16 1/mV 16 0 0 0 0 I", "a.dat 16 1/mV 16 0 0 0 0 II"]
    assert [signal.checksum for signal in parse_header(["a 2 500 5", *lines]).signals] == [None, None]
    lines[1] = lines[1].replace("0 0 0 0 II", "0 0 7 0 II")
    assert [signal.checksum for signal in parse_header(["a 2 500 5", *lines]).signals] == [0, 7]


@pytest.mark.parametrize("fmt", BYTES_PER_SAMPLE)
def test_bytes_and_samples_of_a_format(fmt):
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


def rewrite(path: Path, **lines: Any) -> Path:
    """The header with its signal lines changed: `first` the record line, `change` a function of row and line."""
    first, *signals = path.read_text().splitlines()
    change = lines.get("change", lambda row, line: line)
    signals = [change(row, line) for row, line in enumerate(signals)]
    path.write_text("\n".join([lines.get("first", first), *signals]) + "\n")
    return path


def equal(path: Path, agree: bool | None = True, atol: float = 0.0) -> None:
    found = read_record(path)
    assert (found.fs_hz, found.signal_mv.dtype, found.checksums_agree) == (500, np.float32, agree)
    np.testing.assert_allclose(found.signal_mv, PLAIN, atol=atol, rtol=0)


def refused(path: Path, reason: str) -> None:
    with pytest.raises(RejectedRecording, match=f"^({reason})") as refusal:
        read_record(path)
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
    found = read_record(write(tmp_path, marked, fmt=fmt, raw=encode(fmt, marked.T.ravel())))
    expected = PLAIN.copy()
    expected[3, 100:110] = np.nan
    assert np.array_equal(found.signal_mv, expected, equal_nan=True)
    assert found.checksums_agree
    assert np.isnan(read_raw(str(tmp_path), "rec")[3, 100:110]).all()


def test_differences_of_format_8_begin_with_the_initial_value(tmp_path):
    steps = np.random.default_rng(1).integers(-90, 91, (12, 1000))
    digital = 7 + steps.cumsum(axis=1)
    found = read_record(write(tmp_path, digital, fmt="8", raw=steps.T.astype("<i1").tobytes(), initial=7))
    assert np.array_equal(found.signal_mv, (digital / GAIN).astype(np.float32))
    assert found.checksums_agree


def test_flac_in_two_files_of_six_channels(tmp_path):
    import soundfile

    path = write(tmp_path)
    for part, name in ((DIGITAL[:6], "a.flac"), (DIGITAL[6:], "b.flac")):
        soundfile.write(tmp_path / name, part.T.astype(np.int16), 500, format="FLAC", subtype="PCM_16")
    rewrite(path, change=lambda row, line: line.replace("rec.dat 16", f"{'ab'[row // 6]}.flac 516"))
    for n_samples in (1000, 0):
        equal(rewrite(path, first=f"rec 12 500 {n_samples}"))
    refused(
        rewrite(path, first="rec 12 500 1001"), "truncated signal file: 1000 frames, the header promises 1001 frames"
    )
    (tmp_path / "b.flac").write_bytes((tmp_path / "b.flac").read_bytes()[:3000])
    refused(rewrite(path, first="rec 12 500 1000"), "unreadable signal")


@pytest.mark.parametrize(("per_frame", "rate"), [(5, "100"), (500, "1"), (2, "250/250(0)")])
def test_frames_of_several_samples_are_read_at_their_true_rate(tmp_path, per_frame, rate):
    frames = DIGITAL.reshape(12, -1, per_frame).transpose(1, 0, 2)  # a frame: the samples of one lead, then the next
    record, raw = f"rec 12 {rate} {1000 // per_frame}", frames.astype("<i2").tobytes()
    equal(write(tmp_path, record=record, fmt=f"16x{per_frame}", raw=raw))


def test_leads_of_different_rates_are_brought_to_the_fastest(tmp_path):
    time_s = np.arange(1000) / 500
    wave = np.rint(90 * np.sin(2 * np.pi * 5 * time_s + np.arange(12)[:, None])).astype(np.int64)
    slow = wave[6:, ::2].copy()
    slow[0, 200:210] = -32768
    frames = np.concatenate([wave[:6].reshape(6, 500, 2).transpose(1, 0, 2).reshape(500, 12), slow.T], axis=1)
    path = write(tmp_path, record="rec 12 250 500", raw=frames.astype("<i2").tobytes(), fmt="16x2")
    rewrite(path, change=lambda row, line: line if row < 6 else line.replace("16x2", "16"))
    found = read_record(path)
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
    rewrite(path, change=lambda row, line: line.replace(" 16 ", f" 16:{late[row]} ", 1) if late[row] else line)
    found = read_record(path).signal_mv
    for row, n in enumerate(late):
        assert np.array_equal(found[row, : 1000 - n], PLAIN[row, : 1000 - n])
        assert np.isnan(found[row, 1000 - n :]).all()
    more = np.zeros((12, max(late)), np.int64)  # a file that goes on holds what is late
    for row, n in enumerate(late):
        more[row, :n] = DIGITAL[row, 1000 - n :]
    with (tmp_path / "rec.dat").open("ab") as file:
        file.write(more.T.astype("<i2").tobytes())
    assert np.array_equal(read_record(path).signal_mv, PLAIN)


def test_several_files_of_a_record(tmp_path):
    path = write(tmp_path, raw=DIGITAL[:6].T.astype("<i2").tobytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "chest.xyz").write_bytes(b"\x01" * 7 + encode("212", DIGITAL[6:].T.ravel()))
    equal(
        rewrite(path, change=lambda row, n: n.replace("rec.dat 16", "sub/chest.xyz 212+7" if row > 5 else "rec.dat 16"))
    )
    first, *lines = path.read_text().splitlines()
    equal(rewrite(path, first="rec 12 500"))
    path.write_text("\n".join([first, *lines[:5], *lines[6:], lines[5]]) + "\n")
    refused(path, r"unreadable header: the lines of 'rec\.dat' do not follow each other")
    path.write_text("\n".join([first, *lines[:5], lines[5].replace(" 16 ", " 16+2 ", 1), *lines[6:]]) + "\n")
    refused(path, r"unreadable header: several formats or offsets for 'rec\.dat'")


@pytest.mark.parametrize("record", ["rec 12 500", "rec 12 500 0", "E0001.mat 12 500 1000 05-May-2020 14:50:55"])
def test_length_from_the_file_and_what_follows_is_not_read(tmp_path, record):
    path = write(tmp_path, record=record, raw=DIGITAL.T.astype("<i2").tobytes() + b"rest" * record.endswith("55"))
    with path.open("a") as file:
        file.write("rec.dat 16 50/mV 16 0 0 0 0 V7\n")
    equal(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: "\ufeff" + text,
        lambda text: "# first\n\n" + text.replace("\n", "\n# between\n\n") + "# Age: 3",
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace(" aVR", " AVR ").replace(" V1", "  v1"),
        lambda text: text.replace(" 50/mV", " 5e1"),
        lambda text: text.replace(" 50/mV", " 0.05/uV"),
        lambda text: text.replace(" 50/mV", " 0.05/µV"),
        lambda text: text.replace(" 50/mV", " 50000/V"),
        lambda text: text.replace(" 50/mV", " 50(0)/mV"),
    ],
)
def test_the_headers_text(tmp_path, change):
    path = write(tmp_path)
    path.write_bytes(change(path.read_text(encoding="utf-8")).encode())
    equal(path, atol=1e-6)


def test_gains_and_baselines(tmp_path):
    equal(write(tmp_path, -DIGITAL, gain=f"-{GAIN}/mV"))
    found = read_record(write(tmp_path, gain="0/mV")).signal_mv
    assert np.array_equal(found, (DIGITAL / 200).astype(np.float32)), "header(5): 200 units a mV"
    big = DIGITAL * 100 - 1842966025
    equal(write(tmp_path, big, fmt="32", gain="5000(-1842966025)/mV", raw=big.T.astype("<i4").tobytes()), atol=1e-6)
    path = write(tmp_path, DIGITAL + 1024, gain=f"{GAIN}", sums=checksums(DIGITAL))
    path.write_text(path.read_text().replace(" 16 0 ", " 16 1024 "))
    equal(path, agree=False)


def test_checksums(tmp_path):
    equal(write(tmp_path, sums=[value % 65536 for value in checksums(DIGITAL)]))
    equal(write(tmp_path, sums=[0] * 12), agree=None)
    damaged = bytearray(DIGITAL.T.astype("<i2").tobytes())
    damaged[5000:6000] = bytes(1000)
    assert read_record(write(tmp_path, raw=bytes(damaged))).checksums_agree is False


def test_leads_beyond_the_twelve_are_left_out(tmp_path):
    names = [*(name.lower() for name in LEADS[:11]), "vx", "vy", "V6"]
    equal(write(tmp_path, np.concatenate([DIGITAL[:11], DIGITAL[:2], DIGITAL[11:]]), names=names))
    refused(write(tmp_path, names=(*LEADS, "v1"), sums=[0] * 13), "repeated lead: V1")


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    names = [n.upper() for n in LEADS[::-1]]
    wfdb.wrsamp("a", 500, ["uV"] * 12, names, rng.normal(0, 500, (700, 12)), fmt=["16"] * 12, write_dir=str(tmp_path))
    signal_mv, fs_hz, _ = read_waveform(str(tmp_path), "a")
    theirs = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T[::-1] / 1000
    assert (fs_hz, signal_mv.shape) == (500, (12, 700))
    assert signal_mv == pytest.approx(theirs, rel=1e-6)


def test_comments_are_read_without_the_signal(tmp_path):
    put_record(tmp_path, "a", make_ecg(3, 10), comments=["Age: 61", "Dx: 1,2", "no colon"])
    (tmp_path / "a.dat").unlink()
    assert read_comments(str(tmp_path), "a") == {"age": "61", "dx": "1,2", "no colon": ""}


# -- what is refused --------------------------------------------------------------------------------------------------

DAMAGE = [  # file, what becomes of its bytes (None: it is gone), reason
    (".dat", lambda raw: raw[:8192], "truncated signal file: 8192 bytes, the header promises 24000"),
    (".dat", lambda raw: raw[:-1], "truncated signal file: 23999 bytes"),
    (".dat", lambda raw: b"", r"empty signal file: 'rec\.dat'"),
    (".dat", None, r"no signal file: 'rec\.dat'"),
    (
        ".dat",
        lambda raw: b"version https://git-lfs.github.com/spec/v1\n",
        r"trunc.*'rec\.dat'.*downloaded whole \(a Git",
    ),
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


def test_links_that_the_user_laid_are_followed_under_the_visible_name(tmp_path):
    """As git-annex and Hugging Face's cache lay them: the header lies among blobs, where no `rec.dat` is."""
    path = write(tmp_path / "root")
    for name, blob in (("rec.hea", "0a1b"), ("rec.dat", "0c1d")):
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (path.parent / name).rename(tmp_path / "blobs" / blob)
        (path.parent / name).symlink_to(f"../blobs/{blob}")
    equal(path)
    (tmp_path / "blobs" / "0c1d").unlink()
    refused(path, r"no signal file: 'rec\.dat' is a link to nothing")


def test_other_formats_are_refused_in_words_and_the_record_beside_is_found(tmp_path):
    for name in ("ecg.xml", "ecg.dcm", "ecg.edf", "ecg.SCP", "ecg.csv", "ecg.npy", "other.mat", "other.dat"):
        (tmp_path / name).write_bytes(b"something")
        refused(tmp_path / name, rf"no header: expected a WFDB record, .*NAME\.hea.*'{re.escape(name)}' without one")
    path = write(tmp_path)
    for name in ("rec", "rec.hea", "rec.dat"):
        equal(tmp_path / name)
    rewrite(path, change=lambda row, line: line.replace("rec.dat", "REC.DAT")).rename(tmp_path / "REC.HEA")
    (tmp_path / "rec.dat").rename(tmp_path / "REC.DAT")
    for name in ("REC", "REC.HEA", "REC.DAT"):
        equal(tmp_path / name)
