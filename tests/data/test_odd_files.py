"""ECG files as they really come: each kind of oddity is read as the plain record is, or refused in one line.

Made-up files are written here. Where a folder `odd-files` lies beside the real data, each of its cases is checked too.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merit import cli, runs
from merit.data import doctor
from merit.data import ingest as module
from merit.data import wfdb_io as wfdb_io_module
from merit.data.cohorts import base
from merit.data.cohorts.base import BadTable, iter_rows
from merit.data.ingest import ingest
from merit.data.preprocess import resample
from merit.data.recording import LEADS, RejectedRecording, UnreadableFile
from merit.data.wfdb_io import read_raw, read_record, read_waveform

DIGITAL = np.random.default_rng(5).integers(-100, 101, (12, 1000)).astype(np.int64)
"""Small enough for every format."""
GAIN = 50
PLAIN = (DIGITAL / GAIN).astype(np.float32)


def checksums(digital: np.ndarray) -> list[int]:
    return [(int(lead.sum()) + 32768) % 65536 - 32768 for lead in digital]


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
        for a, b in zip(values[::2], [*values[1::2], 0] if len(values) % 2 else values[1::2]):
            a, b = a & 0xFFF, b & 0xFFF
            out += bytes([a & 0xFF, a >> 8 | b >> 8 << 4, b & 0xFF])
        return bytes(out[: len(out) - len(values) % 2])
    values += [0] * (-len(values) % 3)
    for a, b, c in zip(values[::3], values[1::3], values[2::3]):
        a, b, c = a & 0x3FF, b & 0x3FF, c & 0x3FF
        if fmt == "310":  # 7 bits and 3 of the first and second, 5 and 5 of the third
            word = [(a & 0x7F) << 1, (c & 0x1F) << 3 | a >> 7, (b & 0x7F) << 1, c >> 5 << 3 | b >> 7]
            out += bytes(word)
        else:  # three of ten bits, the first lowest
            out += (a | b << 10 | c << 20).to_bytes(4, "little")
    return bytes(out)


def write(
    folder: Path,
    *,
    record: str | None = None,
    names: Sequence[str] = LEADS,
    layout: str = "16",
    gain: str = f"{GAIN}/mV",
    raw: bytes | None = None,
    sums: Sequence[int] | None = None,
    initial: Sequence[int] | None = None,
    name: str = "rec",
) -> Path:
    """The record `folder/name`; what is not given is that of the plain one."""
    folder.mkdir(parents=True, exist_ok=True)
    sums, initial = sums or checksums(DIGITAL), initial or [0] * len(names)
    lines = [record or f"rec {len(names)} 500 1000"]
    lines += [f"rec.dat {layout} {gain} 16 0 {i} {c} 0 {n}" for n, c, i in zip(names, sums, initial)]
    path = folder / f"{name}.hea"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "rec.dat").write_bytes(DIGITAL.T.astype("<i2").tobytes() if raw is None else raw)
    return path


def equal(path: Path, fs_hz: float = 500, agree: bool | None = True, atol: float = 0.0) -> None:
    found = read_record(path)
    assert (found.fs_hz, found.signal_mv.dtype, found.checksums_agree) == (fs_hz, np.float32, agree)
    np.testing.assert_allclose(found.signal_mv, PLAIN, atol=atol, rtol=0)


def refused(path: Path, reason: str) -> None:
    with pytest.raises(RejectedRecording, match=f"^{reason}") as refusal:
        read_record(path)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("fmt", ["16", "61", "160", "80", "24", "32", "212", "310", "311"])
def test_every_format_and_its_mark_for_missing_samples(tmp_path, fmt):
    equal(write(tmp_path, layout=fmt, raw=encode(fmt, DIGITAL.T.ravel())))
    bits = {"80": 8, "24": 24, "32": 32, "212": 12, "310": 10, "311": 10}.get(fmt, 16)
    marked = DIGITAL.copy()
    marked[3, 100:110] = -(1 << (bits - 1))
    found = read_record(write(tmp_path, layout=fmt, raw=encode(fmt, marked.T.ravel()), sums=checksums(marked)))
    expected = PLAIN.copy()
    expected[3, 100:110] = np.nan
    assert np.array_equal(found.signal_mv, expected, equal_nan=True)
    assert found.checksums_agree
    assert np.isnan(read_raw(str(tmp_path), "rec")[3, 100:110]).all()


def test_differences_of_format_8_begin_with_the_initial_value(tmp_path):
    steps = np.random.default_rng(1).integers(-90, 91, (12, 1000))
    digital = 7 + steps.cumsum(axis=1)
    raw = steps.T.astype("<i1").tobytes()
    found = read_record(write(tmp_path, layout="8", raw=raw, sums=checksums(digital), initial=[7] * 12))
    assert np.array_equal(found.signal_mv, (digital / GAIN).astype(np.float32))
    assert found.checksums_agree


def test_flac_in_two_files_of_six_channels(tmp_path):
    import soundfile

    path = write(tmp_path)
    for part, name in ((DIGITAL[:6], "a.flac"), (DIGITAL[6:], "b.flac")):
        soundfile.write(tmp_path / name, part.T.astype(np.int16), 500, format="FLAC", subtype="PCM_16")
    lines = path.read_text().splitlines()
    named = [line.replace("rec.dat 16", f"{'ab'[row // 6]}.flac 516") for row, line in enumerate(lines[1:])]
    for n_samples in (1000, 0):
        path.write_text("\n".join([f"rec 12 500 {n_samples}", *named]) + "\n")
        equal(path)
    path.write_text("\n".join(["rec 12 500 1001", *named]) + "\n")
    refused(path, "truncated signal file: 1000 frames, the header promises 1001 frames")
    (tmp_path / "b.flac").write_bytes((tmp_path / "b.flac").read_bytes()[:3000])
    path.write_text("\n".join([lines[0], *named]) + "\n")
    refused(path, "unreadable signal")


@pytest.mark.parametrize(("per_frame", "rate"), [(5, "100"), (500, "1"), (2, "250/250(0)")])
def test_frames_of_several_samples_are_read_at_their_true_rate(tmp_path, per_frame, rate):
    frames = DIGITAL.reshape(12, -1, per_frame).transpose(1, 0, 2)  # a frame: the samples of one lead, then the next
    path = write(
        tmp_path,
        record=f"rec 12 {rate} {1000 // per_frame}",
        layout=f"16x{per_frame}",
        raw=frames.astype("<i2").tobytes(),
    )
    equal(path)


def test_leads_of_different_rates_are_brought_to_the_fastest(tmp_path):
    time_s = np.arange(1000) / 500
    wave = np.rint(90 * np.sin(2 * np.pi * 5 * time_s + np.arange(12)[:, None])).astype(np.int64)
    slow = wave[6:, ::2].copy()
    slow[0, 200:210] = -32768
    frames = np.concatenate([wave[:6].reshape(6, 500, 2).transpose(1, 0, 2).reshape(500, 12), slow.T], axis=1)
    path = write(tmp_path, record="rec 12 250 500", raw=frames.astype("<i2").tobytes(), layout="16x2")
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:7], *(line.replace("16x2", "16") for line in text[7:])]) + "\n")
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


@pytest.mark.parametrize("layout", ["16:40+0", "16:40"])
def test_skew_is_honoured_and_the_end_is_unknown(tmp_path, layout):
    late = DIGITAL.copy()
    late[6:] = np.roll(DIGITAL[6:], 40, axis=1)
    path = write(tmp_path, raw=late.T.astype("<i2").tobytes())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:7], *(line.replace(" 16 ", f" {layout} ", 1) for line in lines[7:])]) + "\n")
    found = read_record(path).signal_mv
    assert np.array_equal(found[:6], PLAIN[:6])
    assert np.array_equal(found[6:, :-40], PLAIN[6:, :-40])
    assert np.isnan(found[6:, -40:]).all()
    with (tmp_path / "rec.dat").open("ab") as file:  # a file that goes on holds what is late
        file.write(np.concatenate([0 * DIGITAL[:6, -40:], DIGITAL[6:, -40:]]).T.astype("<i2").tobytes())
    assert np.array_equal(read_record(path).signal_mv, PLAIN)


def test_different_skews(tmp_path):
    late = np.stack([np.roll(lead, row) for row, lead in enumerate(DIGITAL)])
    path = write(tmp_path, raw=late.T.astype("<i2").tobytes())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(n.replace(" 16 ", f" 16:{i} ", 1) for i, n in enumerate(lines[1:]))]) + "\n")
    found = read_record(path).signal_mv
    for row in range(12):
        assert np.array_equal(found[row, : 1000 - row], PLAIN[row, : 1000 - row])
        assert np.isnan(found[row, 1000 - row :]).all()


def test_several_files_of_a_record(tmp_path):
    path = write(tmp_path, raw=DIGITAL[:6].T.astype("<i2").tobytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "chest.xyz").write_bytes(b"\x01" * 7 + encode("212", DIGITAL[6:].T.ravel()))
    lines = path.read_text().splitlines()
    chest = [line.replace("rec.dat 16", "sub/chest.xyz 212+7") for line in lines[7:]]
    path.write_text("\n".join([*lines[:7], *chest]) + "\n")
    equal(path)
    path.write_text("\n".join([lines[0].replace(" 1000", ""), *lines[1:7], *chest]) + "\n")
    equal(path)
    path.write_text("\n".join([lines[0], *lines[1:6], *chest, lines[6]]) + "\n")
    refused(path, r"unreadable header: the lines of 'rec\.dat' do not follow each other")
    path.write_text("\n".join([*lines[:6], lines[6].replace(" 16 ", " 16+2 ", 1), *chest]) + "\n")
    refused(path, r"unreadable header: several formats or offsets for 'rec\.dat'")


@pytest.mark.parametrize("record", ["rec 12 500", "rec 12 500 0", "E0001.mat 12 500 1000 05-May-2020 14:50:55"])
def test_length_from_the_file_and_any_name_and_date(tmp_path, record):
    equal(write(tmp_path, record=record))


def test_more_than_is_declared_is_not_read(tmp_path):
    path = write(tmp_path, raw=DIGITAL.T.astype("<i2").tobytes() + b"rest")
    with path.open("a") as file:
        file.write("rec.dat 16 50/mV 16 0 0 0 0 V7\n")
    equal(path)
    short = "\n".join(path.read_text().splitlines()[:12])
    path.write_text(short)
    refused(path, "unreadable header: the record line says 12 signals; 11 signal lines follow")


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
        lambda text: text.replace(" 50/mV", " 50000/V"),
        lambda text: text.replace(" 50/mV", " 50(0)/mV"),
    ],
)
def test_the_headers_text(tmp_path, change):
    path = write(tmp_path)
    path.write_bytes(change(path.read_text(encoding="utf-8")).encode())
    equal(path, atol=1e-6)


def test_gains(tmp_path):
    equal(write(tmp_path, gain=f"-{GAIN}/mV", raw=(-DIGITAL).T.astype("<i2").tobytes(), sums=checksums(-DIGITAL)))
    for gain in ("0", "0/mV"):
        found = read_record(write(tmp_path, gain=gain)).signal_mv
        assert np.array_equal(found, (DIGITAL / 200).astype(np.float32)), "header(5): 200 units a mV"
    big = DIGITAL * 100 - 1842966025
    raw = big.T.astype("<i4").tobytes()
    equal(write(tmp_path, layout="32", gain=f"{GAIN * 100}(-1842966025)/mV", raw=raw, sums=checksums(big)), atol=1e-6)
    path = write(tmp_path, gain=f"{GAIN}", raw=(DIGITAL + 1024).T.astype("<i2").tobytes())
    path.write_text(path.read_text().replace(" 16 0 ", " 16 1024 "))
    equal(path, agree=False)


def test_checksums(tmp_path):
    unsigned = [value % 65536 for value in checksums(DIGITAL)]
    equal(write(tmp_path, sums=unsigned))
    equal(write(tmp_path, sums=[0] * 12), agree=None)
    damaged = bytearray(DIGITAL.T.astype("<i2").tobytes())
    damaged[5000:6000] = bytes(1000)
    assert read_record(write(tmp_path, raw=bytes(damaged))).checksums_agree is False


def test_leads(tmp_path):
    names = [*(name.lower() for name in LEADS[:11]), "vx", "vy", "V6"]
    more = np.concatenate([DIGITAL[:11], DIGITAL[:2], DIGITAL[11:]])
    equal(write(tmp_path, names=names, raw=more.T.astype("<i2").tobytes(), sums=checksums(more)))
    (tmp_path / "rec.hea").write_text("rec 12 500 1000\n" + "rec.dat 16\n" * 12)
    refused(tmp_path / "rec", "missing lead: none of 12 signals has a name")
    refused(write(tmp_path, names=(*LEADS, "v1"), sums=[0] * 13), "repeated lead: V1")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\nsize 1\n", r".*'rec\.dat'.*not downloaded whole \(a Git LFS"),
        (b"<!DOCTYPE html>" + b"x" * 30000, r".*'rec\.dat'.*not downloaded whole \(a web page"),
        (b"../.git/annex/objects/XX/1/MD5E-s9--a.dat", r".*'rec\.dat'.*not downloaded whole \(a git-annex pointer"),
        (b"\0" * 8192, "truncated signal file: 8192 bytes, the header promises 24000"),
        (b"", "empty signal file"),
    ],
)
def test_what_is_not_the_signal_file(tmp_path, content: bytes, reason):
    refused(write(tmp_path, raw=content), reason)


@pytest.mark.parametrize(
    ("record", "layout", "reason"),
    [
        ("rec 12 500 99999999999999", "16", "truncated signal file: 24000 bytes, the header promises"),
        ("rec 12 500 1000", "16x99999999999999", "truncated signal file"),
        ("rec 12 500", "16x99999999999999", "truncated signal file: 24000 bytes, the header promises frames of"),
        ("rec 12 500 1000", "16+99999999999999", "truncated signal file"),
        ("rec 12 500 99999999999999", "516", "truncated signal file"),
        ("rec 99999999999999 500 1000", "16", "unreadable header: the record line says 99999999999999 signals"),
        ("rec 12 500 1000 " + "x" * (50 << 20), "16", "unreadable header: more than 1048576 bytes"),
    ],
)
def test_sizes_beyond_the_file_take_no_memory(tmp_path, record, layout, reason):
    import tracemalloc

    path = write(tmp_path, record=record, layout=layout)
    tracemalloc.start()
    try:
        refused(path, reason)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_pipes_and_folders_are_no_files(tmp_path):
    path = write(tmp_path)
    (tmp_path / "rec.dat").unlink()
    os.mkfifo(tmp_path / "rec.dat")
    refused(path, r"unreadable signal file: 'rec\.dat' is no ordinary file")
    path.unlink()
    os.mkfifo(path)
    refused(path, r"unreadable header: 'rec\.hea' is no ordinary file")
    (tmp_path / "sub.hea").mkdir()
    refused(tmp_path / "sub.hea", "unreadable header: 'sub.hea' is no ordinary file")
    (tmp_path / "loop.hea").symlink_to("loop.hea")
    refused(tmp_path / "loop.hea", "no header: 'loop.hea' is a link to nothing")
    refused(tmp_path, "no header: expected a WFDB record, .* got a folder")


def test_other_formats_are_refused_in_words_and_the_record_beside_is_found(tmp_path):
    for name in ("ecg.xml", "ecg.dcm", "ecg.edf", "ecg.SCP", "ecg.csv", "ecg.npy", "other.mat", "other.dat"):
        (tmp_path / name).write_bytes(b"something")
        refused(tmp_path / name, rf"no header: expected a WFDB record, .*NAME\.hea.*'{re.escape(name)}' without one")
    write(tmp_path)
    for name in ("rec", "rec.hea", "rec.dat"):
        equal(tmp_path / name)
    (tmp_path / "rec.hea").rename(tmp_path / "REC.HEA")
    (tmp_path / "rec.dat").rename(tmp_path / "REC.DAT")
    (tmp_path / "REC.HEA").write_text((tmp_path / "REC.HEA").read_text().replace("rec.dat", "REC.DAT"))
    for name in ("REC", "REC.HEA", "REC.DAT"):
        equal(tmp_path / name)
    (tmp_path / "utf16.hea").write_text("rec 12 500 1000", encoding="utf-16")
    refused(tmp_path / "utf16", "unreadable header: expected UTF-8 or ASCII; got UTF-16")


def refusing(monkeypatch: Any, name: str, number: int) -> None:
    """The system will not read files of this name."""
    there = open

    def opened(path: Any, *given: Any, **named: Any) -> Any:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number), str(path))
        return there(path, *given, **named)

    monkeypatch.setattr(wfdb_io_module, "open", opened, raising=False)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("ending", [".hea", ".dat"])
def test_a_file_that_could_not_be_read_is_tried_again(ptb_xl, tmp_path, monkeypatch, number, ending):
    for ecg_id in (1, 2, 3):
        ptb_xl.add(ecg_id)
    with monkeypatch.context() as patch:
        refusing(patch, f"00002_lr{ending}", number)
        with pytest.raises(UnreadableFile, match=f"^unreadable file: '00002_lr{ending}': {os.strerror(number)}"):
            read_waveform(str(ptb_xl.root), "records100/00000/00002_lr")
        store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
        assert store.rejected["record_id"].tolist() == ["2"]
        again = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
        assert again.manifest == store.manifest
    store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
    assert (len(store), len(store.rejected)) == (3, 0)


def test_a_header_that_could_not_be_read_does_not_lose_its_labels(tmp_path, monkeypatch, record_writer, make_ecg):
    for number in (1, 2):
        record_writer(
            tmp_path / "csn/WFDBRecords/01/010", f"JS0000{number}", make_ecg(number), fs=500, comments=["Dx: 426783006"]
        )
    refused_once = []

    def opened(path: Any, *given: Any, **named: Any) -> Any:
        if str(path).endswith("JS00002.hea") and not refused_once:
            refused_once.append(path)
            raise OSError(errno.EIO, "Input/output error")
        return open(path, *given, **named)

    monkeypatch.setattr(wfdb_io_module, "open", opened, raising=False)
    store = ingest("csn", tmp_path, tmp_path / "store", progress=False)
    assert store.rejected["reason"].tolist() == ["unreadable file: 'JS00002.hea': Input/output error"]
    store = ingest("csn", tmp_path, tmp_path / "store", progress=False)
    assert store.records["labels"].tolist() == [["SR"], ["SR"]]


def test_a_folder_that_could_not_be_listed_is_tried_again(ptb_xl, tmp_path, monkeypatch, record_writer, make_ecg):
    ptb_xl.add(1)
    other = "records100/01000/01001_lr"
    ptb_xl.add(1001, path=other, wave=False)
    record_writer(ptb_xl.root / "records100/01000", "01001_lr", make_ecg(1))
    csn = tmp_path / "csn/WFDBRecords"
    for number in (1, 2):
        record_writer(csn / f"0{number}", f"JS0000{number}", make_ecg(number), fs=500, comments=["Dx: 426783006"])
    locked = ("records100/01000", "WFDBRecords/02")
    there = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith(locked):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return there(path)

    with monkeypatch.context() as patch:
        patch.setattr(base.os, "scandir", scandir)
        patch.setattr(module.os, "access", lambda path, mode: not str(path).endswith(locked))
        refusing(patch, "01001_lr.hea", errno.EACCES)
        for _ in range(2):
            store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
            assert list(store.rejected.itertuples(index=False, name=None)) == [
                ("1001", "unreadable file: '01001_lr.hea': Permission denied"),
                ("records100/01000", "unreadable file: folder: Permission denied"),
            ]
            store = ingest("csn", csn.parent, tmp_path / "store-csn", progress=False)
            assert store.rejected["reason"].tolist() == ["unreadable file: folder: Permission denied"]
        assert "1 folders that cannot be read" in doctor.describe(doctor.examine(csn.parent))
    for name, root in (("ptb-xl", ptb_xl.root), ("csn", csn.parent)):
        out = tmp_path / ("store" if name == "ptb-xl" else "store-csn")
        store = ingest(name, root, out, progress=False)
        assert (len(store), len(store.rejected)) == (2, 0)


def test_checksums_that_differ_are_counted_and_listed(ptb_xl, tmp_path):
    for ecg_id, change in ((1, 0), (2, 1), (3, None)):
        header = ptb_xl.add(ecg_id)
        digital = np.fromfile(header.with_suffix(".dat"), "<i2").reshape(-1, 12).T
        lines = header.read_text().splitlines()
        if change is not None:
            sums = checksums(digital + change)
            lines[1:] = [line.replace("16 0 0 0 0", f"16 0 0 {c} 0") for line, c in zip(lines[1:], sums)]
        header.write_text("\n".join(lines) + "\n")
    store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
    assert store.records["checksums_differ"].tolist() == [False, True, False]
    assert store.manifest["counts"]["checksums_differ"] == 1
    assert store.manifest["checksums_differ"] == {"count": 1, "names": ["2"]}


def test_what_a_mac_leaves_is_nothing(tmp_path, record_writer, make_ecg):
    folder = tmp_path / "csn/WFDBRecords/01/010"
    for number in range(3):
        record_writer(folder, f"JS0000{number}", make_ecg(number), fs=500, comments=["Dx: 426783006"])
    for path in list(folder.iterdir()):
        (folder / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    status = doctor.examine(tmp_path)[-1]
    assert (status.rows, status.waveforms, status.halves) == (3, 3, 0)
    store = ingest("csn", tmp_path, tmp_path / "store", progress=False)
    assert (len(store), len(store.rejected)) == (3, 0)


def test_doctor_counts_what_ingest_can_read(ptb_xl, tmp_path):
    """Links to nothing (git-annex without its content) and halves of downloads are said, not counted."""
    headers = [ptb_xl.add(ecg_id) for ecg_id in range(1, 6)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for header in headers[:2]:
        for path in (header, header.with_suffix(".dat")):
            path.rename(elsewhere / path.name)
            path.symlink_to(elsewhere / path.name)
    (elsewhere / "00002_lr.dat").unlink()
    headers[2].with_suffix(".dat").unlink()
    headers[3].unlink()
    headers[3].symlink_to("nothing")
    headers[3].with_suffix(".dat").unlink()
    status = doctor.examine(ptb_xl.root)[1]
    assert (status.rows, status.waveforms, status.halves) == (5, 2, 2)
    assert "2 more of which header or signals are missing" in doctor.describe([status])
    store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
    assert len(store) == status.waveforms
    assert dict(store.rejected.itertuples(index=False, name=None)) == {
        "2": "no signal file: '00002_lr.dat' is a link to nothing",
        "3": "no signal file: '00003_lr.dat' is not there",
        "4": "no waveform",
    }


def test_linked_folders_and_circles(ptb_xl, tmp_path):
    for ecg_id in (1, 2):
        ptb_xl.add(ecg_id)
    (ptb_xl.root / "records100").rename(tmp_path / "scratch")
    (ptb_xl.root / "records100").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch" / "again").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch" / "self").symlink_to("self")
    assert doctor.examine(ptb_xl.root)[1].waveforms == 2
    assert len(ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)) == 2


def test_tables_as_users_save_them_again(ptb_xl, tmp_path):
    for ecg_id in (1, 2):
        ptb_xl.add(ecg_id, report="übersicht unauffällig, sinus".encode("latin-1"))
    path = ptb_xl.root / "ptbxl_database.csv"
    content = path.read_bytes()
    changed = re.sub(rb"(?m)^(\d+),", rb"\1.0,", content).replace(b"records100/00000/", b"records100\\00000\\")
    path.write_bytes(re.sub(rb",(\d+),records", rb",\1.0,records", changed))
    records = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False).records
    assert records["record_id"].tolist() == ["1", "2"]
    assert records["patient_id"].tolist() == ["1001", "1002"]
    assert records["fold"].tolist() == [2, 3]
    assert records["path"].tolist() == ["records100/00000/00001_lr", "records100/00000/00002_lr"]
    assert set(records["report"]) == {"übersicht unauffällig, sinus"}


def test_a_table_that_is_one_endless_line_is_one_line(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"x" * (50 << 20))
    with pytest.raises(BadTable, match=r"t\.csv: expected the columns a; line 1: field larger than field limit"):
        list(iter_rows(tmp_path / "t.csv", ("a",), (), []))


@pytest.mark.parametrize("rows", ["none", "absent", "bad"])
def test_ingest_that_stores_nothing_says_why(ptb_xl, tmp_path, monkeypatch, capsys, rows):
    if rows == "absent":
        ptb_xl.add(1, wave=False)
    if rows == "bad":
        ptb_xl.add(1, fs=0)
    call = ["merit", "ingest", "--cohort", "ptb-xl", "--root", str(ptb_xl.root), "--out", str(tmp_path / "store")]
    monkeypatch.setattr(sys, "argv", call)
    for _ in range(2):
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("merit: ")]
        why = {"none": "0 rows; no recording is listed there", "absent": "1 rows; no waveform 1; listed in",
               "bad": "1 rows; invalid rate 1; listed in"}[rows]  # fmt: skip
        assert len(said) == 1
        assert said[0].startswith(f"merit: nothing of ptb-xl was stored: {why}")


WITHOUT = """
import builtins, os, sys
for name in ("sched_getaffinity", "sched_setaffinity"):
    if hasattr(os, name):
        delattr(os, name)
real = builtins.__import__
def without(name, *given, **named):
    if name in ("fcntl", "resource") and given and given[0] and str(given[0].get("__name__", "")).startswith("merit"):
        raise ImportError(name)
    return real(name, *given, **named)
builtins.__import__ = without
from merit.data import ingest as module
from merit import parallel
assert parallel.cores() == os.cpu_count()
assert 1 <= module.default_workers(500) <= 16
parallel.Path = lambda text: __import__("pathlib").Path("/nowhere")
assert parallel.peak_memory() == 0
print(len(module.ingest("ptb-xl", sys.argv[1], sys.argv[2], progress=False)))
"""


def test_what_macos_and_windows_lack_is_not_asked_for(ptb_xl, tmp_path):
    ptb_xl.add(1)
    call = [sys.executable, "-c", WITHOUT, str(ptb_xl.root), str(tmp_path / "store")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


def test_no_module_asks_for_them_when_it_is_imported():
    asked = re.compile(r"^(?:import|from) (?:fcntl|resource|pwd|grp|termios)\b", re.MULTILINE)
    assert [path for path in runs.PACKAGE_ROOT.rglob("*.py") if asked.search(path.read_text(encoding="utf-8"))] == []


# ---- the folder `odd-files` beside the real data ----


@pytest.fixture(scope="session")
def odd_copies(tmp_path_factory: Any) -> Callable[[Path], Path]:
    """The folder copied once, with its links laid again: some ways of copying leave a link's text in its place."""

    @functools.cache
    def copied(there: Path) -> Path:
        copy = tmp_path_factory.mktemp("odd") / "odd-files"
        shutil.copytree(there, copy, symlinks=True)
        for folder, folders, names in os.walk(copy):
            for name in [folder, *(f"{folder}/{one}" for one in folders)]:
                os.chmod(name, 0o755)
            for path in (Path(folder, name) for name in names if "07-linked-files" in folder):
                target = path.read_bytes()[:200].decode(errors="replace").strip()
                if target.startswith("../") and (path.parent / target).exists():
                    path.unlink()
                    path.symlink_to(target)
        return copy

    return copied


@pytest.fixture
def odd(real_data: Path, odd_copies: Callable[[Path], Path]) -> Path:
    there = real_data.resolve().parent / "odd-files"
    if not there.is_dir():
        pytest.skip(f"no {there}")
    return odd_copies(there)


def signal(odd: Path, name: str) -> np.ndarray:
    return read_record(odd / name).signal_mv


EQUAL = [
    "01-record-name-with-extension/E00001",
    *(f"02-invalid-date/{n}" for n in ("clock_and_year", "hour_24", "iso", "month_31", "year_alone", "zeros")),
    "03-length-zero/rec",
    "03-length-zero/missing",
    "05-samples-per-frame/five",
    "05-samples-per-frame/second",
    "06-extra-signal-lines/rec",
    "07-linked-files/annex/data/rec",
    "07-linked-files/hub/snapshots/abc/rec",
    "07-linked-files/half/rec",
    "11-checksum/unset",
    *(f"21-formats/f{n}" for n in (160, 24, 32, 61)),
    "22-big-baseline/rec",
    *(f"26-header-text/{n}" for n in ["blank", "bom", "case", "counter", "cr", "crlf", "exp_gain", "minus", "tabs"]),
    "29-other-formats/rec.dat",
    "29-other-formats/upper/REC.HEA",
]
NEARLY = {  # half a unit of their converters
    "20-gain-zero/zero": 1 / 400, "20-gain-zero/zero_mv": 1 / 400, "21-formats/f212": 1 / 400,
    "21-formats/f8": 1 / 200, "21-formats/f80": 1 / 100, "25-skew-and-two-files/two_files": 1 / 400,
    "26-header-text/adc_zero": 1 / 400,
}  # fmt: skip
REFUSED = {
    "06-extra-signal-lines/one_less": "unreadable header: the record line says 12 signals; 11 signal lines follow",
    "20-gain-zero/bare": "missing lead: none of 12 signals has a name",
    "22-big-baseline/slash": "unreadable header: expected the record line of a single-segment record",
    "23-merged-record-line/WFDBRecords/01/019/JS01052": "unreadable header: the record line is broken",
    "24-cut-signal/cut": "truncated signal file: 32768 bytes, the header promises 120000",
    "24-cut-signal/lfs": "truncated signal file: .*not downloaded whole .a Git LFS pointer",
    "24-cut-signal/html": "truncated signal file: .*not downloaded whole .a web page",
    **{
        f"29-other-formats/ecg.{n}": "no header: expected a WFDB record"
        for n in ["xml", "dcm", "edf", "scp", "csv", "npy"]
    },
}


@pytest.mark.parametrize("name", [*EQUAL, *NEARLY])
def test_shared_equal_to_plain(odd, name):
    found = read_record(odd / name)
    assert found.fs_hz == 500
    assert found.checksums_agree is not False
    atol = NEARLY.get(name, 0) * 1.001 + 2e-7
    np.testing.assert_allclose(found.signal_mv, signal(odd, "00-plain/rec"), atol=atol, rtol=0)


@pytest.mark.parametrize("name", REFUSED)
def test_shared_refused(odd, name):
    refused(odd / name, REFUSED[name])


@pytest.mark.parametrize("fmt", [16, 212, 24, 32, 80])
def test_shared_marks_of_missing_samples(odd, fmt):
    found, plain = signal(odd, f"21-formats/n{fmt}"), signal(odd, "00-plain/rec")
    known = np.isfinite(found)
    assert (~known).sum(axis=1).tolist() == [100] * 12
    np.testing.assert_allclose(found[known], plain[known], atol={212: 1 / 400, 80: 1 / 100}.get(fmt, 0) * 1.001)


def test_shared_rates_checksums_skew_and_leads(odd):
    plain = signal(odd, "00-plain/rec")
    mixed = read_record(odd / "05-samples-per-frame/mixed")
    assert (mixed.fs_hz, mixed.signal_mv.shape) == (500, plain.shape)
    assert np.array_equal(mixed.signal_mv[:6], plain[:6])
    np.testing.assert_allclose(mixed.signal_mv[6:], plain[6:], atol=0.01)
    for name in ("zero_block", "lost_byte", "swapped"):
        assert read_record(odd / "11-checksum" / name).checksums_agree is False
    skew = signal(odd, "25-skew-and-two-files/skew")
    assert np.array_equal(np.isnan(skew).sum(axis=1), [0] * 6 + [40] * 6)
    assert np.array_equal(skew[np.isfinite(skew)], plain[np.isfinite(skew)])
    fifteen = read_record(odd / "13-fifteen-leads/s0010_re")
    assert (fifteen.fs_hz, fifteen.signal_mv.shape) == (1000, (12, 10000))


def test_shared_trees(odd, tmp_path):
    def rows(name: str, cohort: str) -> tuple[Any, dict[str, str], Any]:
        status = next(status for status in doctor.examine(odd / name) if status.name == cohort)
        store = ingest(cohort, odd / name, tmp_path / name.replace("/", "_"), progress=False)
        return store, dict(store.rejected.itertuples(index=False, name=None)), status

    store, rejected, status = rows("07-linked-files/ptb", "ptb-xl")
    assert (len(store), rejected, status.waveforms, status.halves) == (4, {}, 4, 0)
    store, rejected, status = rows("08-appledouble", "csn")
    assert (len(store), rejected, status.rows, status.waveforms) == (3, {}, 3, 3)
    store, rejected, status = rows("12-spaces-in-folder", "ptb-xl")
    assert (len(store), status.waveforms) == (2, 2)
    store, rejected, _ = rows("23-merged-record-line", "csn")
    assert (store.records["record_id"].tolist(), list(rejected)) == (["JS01053"], ["JS01052"])
    store, rejected, _ = rows("27-mimic-gaps", "mimic-iv-ecg")
    assert [reason.partition(":")[0] for reason in rejected.values()] == ["not finite"] * 2 + ["flat in every lead"]
    assert store.records["n_repaired"].tolist() == [5000, 12000, 0]
    for name in ("latin1", "float_id", "backslash"):
        store, rejected, _ = rows(f"28-ptb-xl-table/{name}", "ptb-xl")
        assert store.records["record_id"].tolist() == ["1", "2", "3", "4"], name
        assert store.records["patient_id"].tolist() == ["1001", "1002", "1003", "1004"], name
        assert set(store.records["report"]) == {"sinusrhythmus, übersicht unauffällig"}, name
    with pytest.raises(FileNotFoundError, match="no data set"):
        doctor.examine(odd / "30-other-challenges/cinc2017")
    there = {status.name: status.waveforms for status in doctor.examine(odd / "30-other-challenges/cinc2021")}
    assert there == {"mimic-iv-ecg": 0, "ptb-xl": 0, "cpsc2018": 1, "csn": 0}


@pytest.mark.parametrize("case", ["html", "lfs", "lfs_safetensors", "cut", "empty"])
def test_shared_broken_weights(odd: Path, monkeypatch: Any, case: str) -> None:
    from merit.encoders.registry import PUBLISHED

    monkeypatch.setenv("MERIT_WEIGHTS", str(odd / "10-broken-weights" / case))
    with pytest.raises(runs.Unavailable, match=r"weights/merl/\S+ was not downloaded whole") as refusal:
        PUBLISHED["merl"].load("cpu")
    assert "\n" not in str(refusal.value)
    assert "trust" not in str(refusal.value)
