"""A header's text field by field, files as wfdb reads them, and damage refused in one line, before memory is taken."""

from __future__ import annotations

import numpy as np
import pytest

from merit.data.recording import LEADS, RejectedRecording
from merit.data.wfdb_io import (
    BYTES_PER_SAMPLE,
    held_samples,
    needed_bytes,
    parse_header,
    read_comments,
    read_waveform,
    wfdb,
)


def test_gain_baseline_and_invalid_samples(tmp_path, record_writer, make_ecg):
    digital = make_ecg(1, 300)
    digital[2, 5] = -32768
    record_writer(tmp_path, "a", digital, fs=250, gain="400.0(100)/mV")
    signal_mv, fs_hz, _ = read_waveform(str(tmp_path), "a")
    expected = ((digital.astype(float) - 100) / 400).astype(np.float32)
    assert fs_hz == 250
    assert np.isnan(signal_mv[2, 5])
    expected[2, 5] = np.nan
    assert np.array_equal(signal_mv, expected, equal_nan=True)
    assert signal_mv.dtype == np.float32


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(tmp_path):
    rng = np.random.default_rng(0)
    names = [n.upper() for n in LEADS[::-1]]
    wfdb.wrsamp("a", 500, ["uV"] * 12, names, rng.normal(0, 500, (700, 12)), fmt=["16"] * 12, write_dir=str(tmp_path))
    signal_mv, fs_hz, _ = read_waveform(str(tmp_path), "a")
    theirs = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T[::-1] / 1000
    assert (fs_hz, signal_mv.shape) == (500, (12, 700))
    assert signal_mv == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_micro_sign_is_not_taken_for_volts(tmp_path, record_writer, make_ecg, encoding):
    path = record_writer(tmp_path, "a", make_ecg(2, 100), gain="1.0(0)/µV")
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    if encoding == "latin-1":  # what the byte means is unknown: refused, not guessed
        with pytest.raises(RejectedRecording, match="foreign unit"):
            read_waveform(str(tmp_path), "a")
    else:
        assert read_waveform(str(tmp_path), "a").signal_mv == pytest.approx(make_ecg(2, 100) / 1000, rel=1e-6)


def test_comments_are_read_without_the_signal(tmp_path, record_writer, make_ecg):
    record_writer(tmp_path, "a", make_ecg(3, 10), comments=["Age: 61", "Dx: 1,2", "no colon"])
    (tmp_path / "a.dat").unlink()
    assert read_comments(str(tmp_path), "a") == {"age": "61", "dx": "1,2", "no colon": ""}


DAMAGE = [  # file, what becomes of its bytes (None: it is gone), reason
    ("a.dat", lambda raw: raw[:240], "truncated signal file: 240 bytes, the header promises 2400"),
    ("a.dat", lambda raw: raw[:241], "truncated signal file: 241 bytes"),
    ("a.dat", lambda raw: b"", "empty signal file: 'a.dat'"),
    ("a.dat", None, "no signal file: 'a.dat'"),
    ("a.hea", None, "no header: 'a.hea'"),
    ("a.hea", lambda raw: b" \n", "empty header"),
    ("a.hea", lambda raw: np.random.default_rng(0).bytes(500), "unreadable header|outside the data set|no signal file"),
    ("a.hea", lambda raw: raw[: len(raw) // 2], "unreadable header"),
    ("a.hea", lambda raw: b"<html>404 not found</html>\n", "unreadable header"),
    ("a.hea", lambda raw: b"# Age: 3\n", "unreadable header"),
    (
        "a.hea",
        lambda raw: b"a/2 12 100 1000\nb 500\n/etc/c 500\n",
        "unreadable header: expected the record line",
    ),
    ("a.hea", lambda raw: raw.replace(b"12 100 100\n", b"12 100 999999999999999\n"), "truncated signal file"),
    ("a.hea", lambda raw: raw + b"# x\n" * (1 << 19), "unreadable header: more than"),
    ("a.hea", lambda raw: raw.replace(b"12 100 ", b"12 0 "), "invalid rate: 0 Hz"),
]


@pytest.mark.parametrize(("file", "change", "reason"), DAMAGE)
def test_damage_is_refused_in_one_line(tmp_path, record_writer, make_ecg, file, change, reason):
    record_writer(tmp_path, "a", make_ecg(4, 100))
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).unlink()
    if change is not None:
        (tmp_path / file).write_bytes(change(whole))
    with pytest.raises(RejectedRecording, match=rf"^({reason})") as refusal:
        read_waveform(str(tmp_path), "a")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("file", ["../b.dat", "/etc/hostname", "x::http://127.0.0.1/b.dat", "s3://bucket/b.dat"])
def test_a_header_cannot_name_a_file_outside(tmp_path, record_writer, make_ecg, file):
    root = tmp_path / "root"
    path = record_writer(root, "a", make_ecg(5, 100))
    path.write_text(path.read_text().replace("a.dat", file))
    (tmp_path / "b.dat").write_bytes((root / "a.dat").read_bytes())
    with pytest.raises(RejectedRecording, match=r"^outside the data set"):
        read_waveform(str(root), "a")


def test_links_that_the_user_laid_are_followed_under_the_visible_name(tmp_path, record_writer, make_ecg):
    """As git-annex and Hugging Face's cache lay them: the header lies among blobs, where no `a.dat` is."""
    root = tmp_path / "root"
    record_writer(root, "a", make_ecg(6, 100))
    before = read_waveform(str(root), "a").signal_mv
    for name, blob in (("a.hea", "0a1b"), ("a.dat", "0c1d")):
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (root / name).rename(tmp_path / "blobs" / blob)
        (root / name).symlink_to(f"../blobs/{blob}")
    assert np.array_equal(read_waveform(str(root), "a").signal_mv, before)
    (tmp_path / "blobs" / "0c1d").unlink()
    with pytest.raises(RejectedRecording, match=r"^no signal file: 'a\.dat' is a link to nothing"):
        read_waveform(str(root), "a")


LINE = "a.dat 16 1000/mV 16 0 0 0 0 I"


def one(line: str, record: str = "a 1 500 5000"):
    return parse_header([record, line]).signals[0]


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
    header = parse_header([record, LINE])
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
def test_broken_record_lines(record, reason):
    with pytest.raises(RejectedRecording, match=f"^{reason}") as refusal:
        parse_header([record, LINE])
    assert len(str(refusal.value)) < 300


def test_more_signal_lines_than_said_are_not_read():
    assert len(parse_header(["a 1 500 5000", LINE, "nonsense"]).signals) == 1


def test_a_whole_signal_line():
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
def test_defaults_are_those_of_header_5(line, expected):
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
def test_what_header_5_does_not_allow_is_refused(line, reason):
    with pytest.raises(RejectedRecording, match=f"^unreadable header: signal line 1: {reason}"):
        one(line)


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
