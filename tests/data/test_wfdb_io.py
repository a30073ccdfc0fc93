from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from merit.data.recording import LEADS, RejectedRecording
from merit.data.wfdb_io import read_comments, read_waveform, wfdb

Writer = Callable[..., Path]
Ecg = Callable[..., np.ndarray]


def test_gain_baseline_and_invalid_samples(tmp_path: Path, record_writer: Writer, make_ecg: Ecg) -> None:
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
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [n.upper() for n in LEADS[::-1]]
    wfdb.wrsamp("a", 500, ["uV"] * 12, names, rng.normal(0, 500, (700, 12)), fmt=["16"] * 12, write_dir=str(tmp_path))
    signal_mv, fs_hz, _ = read_waveform(str(tmp_path), "a")
    theirs = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T[::-1] / 1000
    assert (fs_hz, signal_mv.shape) == (500, (12, 700))
    assert signal_mv == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_micro_sign_is_not_taken_for_volts(
    tmp_path: Path, record_writer: Writer, make_ecg: Ecg, encoding: str
) -> None:
    path = record_writer(tmp_path, "a", make_ecg(2, 100), gain="1.0(0)/µV")
    path.write_bytes(path.read_text(encoding="utf-8").encode(encoding))
    if encoding == "latin-1":  # what the byte means is unknown: refused, not guessed
        with pytest.raises(RejectedRecording, match="foreign unit"):
            read_waveform(str(tmp_path), "a")
    else:
        assert read_waveform(str(tmp_path), "a").signal_mv == pytest.approx(make_ecg(2, 100) / 1000, rel=1e-6)


def test_comments_are_read_without_the_signal(tmp_path: Path, record_writer: Writer, make_ecg: Ecg) -> None:
    record_writer(tmp_path, "a", make_ecg(3, 10), comments=["Age: 61", "Dx: 1,2", "no colon"])
    (tmp_path / "a.dat").unlink()
    assert read_comments(str(tmp_path), "a") == {"age": "61", "dx": "1,2", "no colon": ""}


def damage_truncate(folder: Path) -> None:
    (folder / "a.dat").write_bytes((folder / "a.dat").read_bytes()[:240])


def damage_truncate_within_a_sample(folder: Path) -> None:
    (folder / "a.dat").write_bytes((folder / "a.dat").read_bytes()[:241])


def damage_empty_signal(folder: Path) -> None:
    (folder / "a.dat").write_bytes(b"")


def damage_no_signal(folder: Path) -> None:
    (folder / "a.dat").unlink()


def damage_no_header(folder: Path) -> None:
    (folder / "a.hea").unlink()


def damage_empty_header(folder: Path) -> None:
    (folder / "a.hea").write_bytes(b" \n")


def damage_header_noise(folder: Path) -> None:
    (folder / "a.hea").write_bytes(np.random.default_rng(0).bytes(500))


def damage_header_cut(folder: Path) -> None:
    text = (folder / "a.hea").read_text()
    (folder / "a.hea").write_text(text[: len(text) // 2])


def damage_header_text(folder: Path) -> None:
    (folder / "a.hea").write_text("<html>404 not found</html>\n")


def damage_only_comments(folder: Path) -> None:
    (folder / "a.hea").write_text("# Age: 3\n")


def damage_segments(folder: Path) -> None:
    (folder / "a.hea").write_text("a/2 12 100 1000\nb 500\n/etc/c 500\n")


def damage_endless(folder: Path) -> None:
    (folder / "a.hea").write_text((folder / "a.hea").read_text().replace("12 100 100\n", "12 100 999999999999999\n"))


def damage_long_header(folder: Path) -> None:
    (folder / "a.hea").write_text((folder / "a.hea").read_text() + "# x\n" * (1 << 19))


def damage_rate(folder: Path) -> None:
    (folder / "a.hea").write_text((folder / "a.hea").read_text().replace("12 100 ", "12 0 "))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_truncate, "truncated signal file: 240 bytes, the header promises 2400"),
        (damage_truncate_within_a_sample, "truncated signal file: 241 bytes"),
        (damage_empty_signal, "empty signal file: 'a.dat'"),
        (damage_no_signal, "no signal file: 'a.dat'"),
        (damage_no_header, "no header: 'a.hea'"),
        (damage_empty_header, "empty header"),
        (damage_header_noise, "unreadable header|outside the data set|no signal file"),
        (damage_header_cut, "unreadable header"),
        (damage_header_text, "unreadable header"),
        (damage_only_comments, "unreadable header"),
        (damage_segments, "unreadable header: expected the record line of a single-segment record"),
        (damage_endless, "truncated signal file"),
        (damage_long_header, "unreadable header: more than"),
        (damage_rate, "invalid rate: 0 Hz"),
    ],
)
def test_damage_is_refused_in_one_line(
    tmp_path: Path, record_writer: Writer, make_ecg: Ecg, damage: Callable[[Path], None], reason: str
) -> None:
    record_writer(tmp_path, "a", make_ecg(4, 100))
    damage(tmp_path)
    with pytest.raises(RejectedRecording, match=rf"^({reason})") as refusal:
        read_waveform(str(tmp_path), "a")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("file", ["../b.dat", "/etc/hostname", "x::http://127.0.0.1/b.dat", "s3://bucket/b.dat"])
def test_a_header_cannot_name_a_file_outside(tmp_path: Path, record_writer: Writer, make_ecg: Ecg, file: str) -> None:
    root = tmp_path / "root"
    path = record_writer(root, "a", make_ecg(5, 100))
    path.write_text(path.read_text().replace("a.dat", file))
    (tmp_path / "b.dat").write_bytes((root / "a.dat").read_bytes())
    with pytest.raises(RejectedRecording, match=r"^outside the data set"):
        read_waveform(str(root), "a")


def test_links_that_the_user_laid_are_followed_under_the_visible_name(
    tmp_path: Path, record_writer: Writer, make_ecg: Ecg
) -> None:
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
