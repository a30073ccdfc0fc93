"""A store holds the files' own microvolts, names what it refuses, and is the same whatever interrupted its writing."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wfdb_trees import make_ecg, put_csn, put_record

from merit import cli, runs
from merit.bench import ingest as bench
from merit.config import SignalConfig
from merit.data import cohorts, doctor, wfdb_io
from merit.data import ingest as module
from merit.data.ingest import JOURNAL, Journal, ingest
from merit.data.preprocess import Outcome, signal_digest
from merit.data.recording import UnreadableFile
from merit.data.store import NoStore, Store

FILES = ("signal_uv.npy", "records.parquet", "rejected.csv", "manifest.json", "SHA256SUMS")


def contents(folder: Path) -> dict[str, bytes]:
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    return {name: (folder / name).read_bytes() for name in FILES}


def stored(ptb_xl: Any, tmp_path: Path, name: str = "store", **given: Any) -> Store:
    return ingest("ptb-xl", ptb_xl.root, tmp_path / name, progress=False, **given)


@pytest.fixture
def tree(ptb_xl: Any) -> Any:
    """Thirty good recordings, two of them identical, one with a gap, one saturated, one with a short report."""
    for ecg_id in range(1, 31):
        ptb_xl.add(ecg_id, make_ecg(2) if ecg_id == 3 else None, patient=str(500 + ecg_id // 2), age="61.0")
    gap = make_ecg(40)
    gap[3, 100:110] = -32768
    ptb_xl.add(40, gap)
    ptb_xl.add(41, make_ecg(41), gain="200.0(0)/V")
    ptb_xl.add(42, report=b"normal *** EKG")
    return ptb_xl


# -- what is stored ---------------------------------------------------------------------------------------------------


def test_a_store_holds_exactly_the_files_microvolts(tree, tmp_path):
    store = stored(tree, tmp_path)
    records = store.records.set_index("record_id", drop=False)
    assert records["record_id"].tolist() == [*map(str, range(1, 31)), "40", "41", "42"]
    assert store.signal_uv.shape == (33, 12, 1000)
    assert isinstance(store.signal_uv, np.memmap)
    assert np.array_equal(store.signal_uv[4], make_ecg(5))
    assert records["fold"].tolist()[:3] == [2, 3, 4]
    assert records.loc["2", "group"] == records.loc["3", "group"] == "501"
    assert records.loc["5", "labels"] == ["NORM", "SR"]
    assert (records.loc["42", "report"], records.loc["42", "has_text"]) == ("normal ecg", False)
    assert records.loc["1", "has_text"]
    assert (records.loc["40", "n_repaired"], records.loc["41", "n_saturated"] > 0) == (10, True)
    assert np.abs(store.signal_uv[31]).max() == 32767
    assert (records.loc["1", "age"], records.loc["1", "sex"], records.loc["1", "source_fs_hz"]) == (61, "female", 100)
    counts = store.manifest["counts"]
    assert {k: counts[k] for k in ("rows", "stored", "refused", "repaired", "saturated", "without_text")} == {
        "rows": 33, "stored": 33, "refused": 0, "repaired": 1, "saturated": 1, "without_text": 1
    }  # fmt: skip
    assert store.manifest["duplicates"]["names"] == [["2", "3"]]
    assert store.manifest["duplicates"]["across_folds"]["count"] == 1, "official folds stay"
    assert store.manifest["folds"]["kind"] == "official"
    assert len(store) == 33


def test_cohorts_without_folds_get_them_by_group(tmp_path):
    for number in range(30):
        folder = put_csn(tmp_path, number, dx="59118001" if number % 3 else "164889003", n_samples=2000)
    shutil.copy(folder / "JS00007.dat", folder / "JS00008.dat")
    store = ingest("csn", tmp_path, tmp_path / "store", progress=False)
    records = store.records.set_index("record_id")
    assert records["fold"].between(1, 10).all()
    assert records["fold"].nunique() == 10
    assert records.loc["JS00007", "fold"] == records.loc["JS00008", "fold"]
    assert records.loc["JS00008", "group"] == "JS00007"
    assert store.manifest["folds"]["kind"] == "stratified on labels, by patient or duplicate group"
    assert store.manifest["patient_ids"].startswith("none published")
    assert (store.signal_uv[:, :, 400:] == 0).all(), "4 s of signal, padded with zeros at the end"
    assert (store.signal_uv[:, :, :400] != 0).any(axis=2).all()


def test_a_cut_recording_is_filtered_with_what_follows(tmp_path):
    wave = (1000 * np.sin(2 * np.pi * 5 * np.arange(15 * 500) / 500)).astype(np.int16)
    put_record(tmp_path / "cpsc2018", "A0001", np.tile(wave, (12, 1)), fs=500, comments=["Dx: AF"])
    store = ingest("cpsc2018", tmp_path, tmp_path / "store", progress=False)
    expected = 1000 * np.sin(2 * np.pi * 5 * np.arange(1000) / 100)
    assert np.abs(store.signal_uv[0, 0] - expected)[-50:].max() < 5
    assert store.records["source_duration_s"].tolist() == [15.0]


def test_the_real_hundred_hertz_recordings_are_stored_exactly(real_data, tmp_path):
    store = ingest("ptb-xl", real_data, tmp_path / "store", limit=60, progress=False)
    for row, path in enumerate(store.records["path"]):
        published = np.fromfile(real_data / "ptb-xl" / f"{path}.dat", dtype="<i2").reshape(-1, 12).T
        assert np.array_equal(store.signal_uv[row], published), path
    counts = store.manifest["counts"]
    assert (counts["rows"], counts["rows_without_waveform"], counts["left_out_by_limit"]) == (21799, 19799, 1940)
    assert store.manifest["strays"]["count"] == 7
    assert store.rejected["reason"].value_counts().to_dict() == {"no waveform": 19799, "waveform without a row": 7}


def test_checksums_that_differ_are_counted_and_listed(ptb_xl, tmp_path):
    for ecg_id, change in ((1, 0), (2, 1), (3, None)):
        sums = None if change is None else [int(lead.sum() + change) % 65536 for lead in make_ecg(ecg_id).astype(int)]
        ptb_xl.add(ecg_id, sums=sums)
    store = stored(ptb_xl, tmp_path)
    assert store.records["checksums_differ"].tolist() == [False, True, False]
    assert store.manifest["counts"]["checksums_differ"] == 1
    assert store.manifest["checksums_differ"] == {"count": 1, "names": ["2"]}


def test_tables_as_users_save_them_again(ptb_xl, tmp_path):
    for ecg_id in (1, 2):
        ptb_xl.add(ecg_id, report="übersicht unauffällig, sinus".encode("latin-1"))
    path = ptb_xl.root / "ptbxl_database.csv"
    changed = re.sub(rb"(?m)^(\d+),", rb"\1.0,", path.read_bytes()).replace(
        b"records100/00000/", b"records100\\00000\\"
    )
    path.write_bytes(re.sub(rb",(\d+),records", rb",\1.0,records", changed))
    records = stored(ptb_xl, tmp_path).records
    assert records["record_id"].tolist() == ["1", "2"]
    assert records["patient_id"].tolist() == ["1001", "1002"]
    assert records["fold"].tolist() == [2, 3]
    assert records["path"].tolist() == ["records100/00000/00001_lr", "records100/00000/00002_lr"]
    assert set(records["report"]) == {"übersicht unauffällig, sinus"}


# -- what is refused --------------------------------------------------------------------------------------------------


def bad_recordings(tree: Any) -> Iterator[tuple[str, str]]:
    """Adds bad input to the tree, of every kind that is not of the file alone; yields record id and kind of reason."""
    tree.add(101).with_suffix(".dat").write_bytes(b"\x00" * 240)
    yield "101", "truncated signal file"
    tree.add(104).write_bytes(b"\x89PNG\r\n\x1a\n\x00garbage")
    yield "104", "unreadable header"
    tree.add(109, np.full((12, 1000), -32768, np.int16))
    yield "109", "not finite"
    tree.add(110, np.tile(np.arange(12, dtype=np.int16)[:, None], (1, 1000)))
    yield "110", "flat in every lead"
    tree.add(111, wave=False)
    yield "111", "no waveform"
    header = tree.add(112)
    header.write_text(header.read_text().replace("00112_lr.dat", "../../../outside.dat"))
    yield "112", "outside the data set"
    tree.add(113, path="../outside", wave=False)
    yield "113", "outside the data set"
    tree.add(115, codes="{'NORM'")
    yield "115", "unparsable scp_codes"
    tree.add(1, wave=False)
    yield "1", "repeated record id"
    put_record(tree.folder, "00900_lr", make_ecg(900))
    yield "records100/00000/00900_lr", "waveform without a row"
    tree.rows.append(b"119,7,x")
    tree.save()
    yield f"ptbxl_database.csv line {len(tree.rows) + 1}", "3 fields, expected 10"


def test_every_bad_input_is_refused_by_name_and_the_others_go_on(tree, tmp_path):
    good = stored(tree, tmp_path, "good")
    expected = list(bad_recordings(tree))
    store = stored(tree, tmp_path)
    reasons = list(store.rejected.itertuples(index=False, name=None))
    assert sorted((name, reason.partition(":")[0]) for name, reason in reasons) == sorted(expected)
    assert np.array_equal(store.signal_uv[:33], good.signal_uv)
    kinds = store.manifest["rejected"]
    assert kinds["outside the data set"] == 2
    assert kinds["no waveform"] == store.manifest["counts"]["rows_without_waveform"] == 1
    assert store.manifest["strays"] == {"count": 1, "names": ["records100/00000/00900_lr"]}
    assert sum(kinds.values()) == len(reasons) == store.manifest["counts"]["listed_in_rejected"]
    assert all("\n" not in reason for _, reason in reasons)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("none", "0 rows; no recording is listed there"),
        ("absent", "1 rows; no waveform 1; listed in"),
        ("bad", "1 rows; invalid rate 1; listed in"),
    ],
)
def test_ingest_that_stores_nothing_says_why(ptb_xl, tmp_path, monkeypatch, capsys, rows, why):
    if rows != "none":
        ptb_xl.add(1, fs=0, wave=rows == "bad")
    call = ["merit", "ingest", "--cohort", "ptb-xl", "--root", str(ptb_xl.root), "--out", str(tmp_path / "store")]
    monkeypatch.setattr(sys, "argv", call)
    for _ in range(2):
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("merit: ")]
        assert len(said) == 1
        assert said[0].startswith(f"merit: nothing of ptb-xl was stored: {why}")
    assert Store.open(tmp_path / "store").signal_uv.shape == (0, 12, 1000)


def refusing(monkeypatch: Any, name: str, number: int, times: float = np.inf) -> None:
    """The system will not read files of this name, so many times."""
    refused: list[str] = []

    def opened(path: Any, *given: Any, **named: Any) -> Any:
        if str(path).endswith(name) and len(refused) < times:
            refused.append(name)
            raise OSError(number, os.strerror(number), str(path))
        return open(path, *given, **named)

    monkeypatch.setattr(wfdb_io, "open", opened, raising=False)


@pytest.mark.parametrize(("number", "ending"), [(errno.EACCES, ".hea"), (errno.EIO, ".dat")])
def test_a_file_that_could_not_be_read_is_tried_again(ptb_xl, tmp_path, monkeypatch, number, ending):
    for ecg_id in (1, 2, 3):
        ptb_xl.add(ecg_id)
    with monkeypatch.context() as patch:
        refusing(patch, f"00002_lr{ending}", number)
        with pytest.raises(UnreadableFile, match=f"^unreadable file: '00002_lr{ending}': {os.strerror(number)}"):
            wfdb_io.read_waveform(str(ptb_xl.root), "records100/00000/00002_lr")
        store = stored(ptb_xl, tmp_path)
        assert store.rejected["record_id"].tolist() == ["2"]
        assert stored(ptb_xl, tmp_path).manifest == store.manifest
    store = stored(ptb_xl, tmp_path)
    assert (len(store), len(store.rejected)) == (3, 0)


def test_a_header_that_could_not_be_read_does_not_lose_its_labels(tmp_path, monkeypatch):
    put_csn(tmp_path, 1, 2)
    refusing(monkeypatch, "JS00002.hea", errno.EIO, times=1)
    store = ingest("csn", tmp_path, tmp_path / "store", progress=False)
    assert store.rejected["reason"].tolist() == ["unreadable file: 'JS00002.hea': Input/output error"]
    store = ingest("csn", tmp_path, tmp_path / "store", progress=False)
    assert store.records["labels"].tolist() == [["SR"], ["SR"]]


def test_a_folder_that_could_not_be_listed_is_tried_again(ptb_xl, tmp_path, monkeypatch):
    ptb_xl.add(1)
    ptb_xl.add(1001, path="records100/01000/01001_lr", wave=False)
    put_record(ptb_xl.root / "records100/01000", "01001_lr", make_ecg(1))
    csn = put_csn(tmp_path, 1).parents[1]
    (csn / "02").mkdir()
    put_record(csn / "02", "JS00002", make_ecg(2), fs=500, comments=["Dx: 426783006"])
    locked, there = ("records100/01000", "WFDBRecords/02"), os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith(locked):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return there(path)

    with monkeypatch.context() as patch:
        patch.setattr(cohorts.os, "scandir", scandir)
        patch.setattr(module.os, "access", lambda path, mode: not str(path).endswith(locked))
        refusing(patch, "01001_lr.hea", errno.EACCES)
        for _ in range(2):
            assert list(stored(ptb_xl, tmp_path).rejected.itertuples(index=False, name=None)) == [
                ("1001", "unreadable file: '01001_lr.hea': Permission denied"),
                ("records100/01000", "unreadable file: folder: Permission denied"),
            ]
            store = ingest("csn", csn.parent, tmp_path / "store-csn", progress=False)
            assert store.rejected["reason"].tolist() == ["unreadable file: folder: Permission denied"]
        assert "1 folders that cannot be read" in doctor.describe(doctor.examine(csn.parent))
    again = stored(ptb_xl, tmp_path), ingest("csn", csn.parent, tmp_path / "store-csn", progress=False)
    assert [(len(store), len(store.rejected)) for store in again] == [(2, 0), (2, 0)]


# -- a store that is there --------------------------------------------------------------------------------------------


def test_the_same_again_is_a_read_and_a_change_is_not(tree, tmp_path, monkeypatch):
    first = stored(tree, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "find_candidates", lambda *_: pytest.fail("read again"))
        assert stored(tree, tmp_path).manifest == first.manifest
    halved = stored(tree, tmp_path, signal=SignalConfig(fs_hz=50))
    assert halved.signal_uv.shape == (33, 12, 500)
    assert halved.identity != first.identity
    tree.add(50)
    assert len(stored(tree, tmp_path)) == 34
    assert len(stored(tree, tmp_path, limit=5)) == 5
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == ["ptb-xl", "store"]


def test_chosen_records_alone_are_read_as_they_are_among_all(tree, tmp_path):
    whole = stored(tree, tmp_path, "whole")
    only = whole.records["record_id"].iloc[[4, 1]].tolist()
    chosen = stored(tree, tmp_path, only=only)
    assert chosen.records["record_id"].tolist() == only[::-1]
    assert np.array_equal(chosen.signal_uv, whole.signal_uv[[1, 4]])
    assert len(stored(tree, tmp_path, only=only[:1])) == 1


def test_the_identity_depends_on_content_alone(tree, tmp_path):
    first = stored(tree, tmp_path, "a")
    tree.root = tree.root.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved" / "records100" / "00000")
    again = stored(tree, tmp_path, "b")
    assert first.identity == again.identity
    assert first.manifest["request"] == again.manifest["request"], "nor on the times of folders"


def test_nothing_but_a_store_is_replaced(tree, tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    stored(tree, tmp_path, "mine", limit=2)
    other.mkdir()
    (other / "thesis.txt").write_text("do not lose")
    with pytest.raises(FileExistsError, match="expected a store, an empty folder or nothing"):
        stored(tree, tmp_path, "other")
    assert (other / "thesis.txt").read_text() == "do not lose"
    with pytest.raises(NoStore, match="merit ingest"):
        Store.open(other)
    text = json.loads((mine / "manifest.json").read_text())
    (mine / "manifest.json").write_text(json.dumps(text | {"format_version": 0}))
    with pytest.raises(ValueError, match="expected a store of version 2, got 0"):
        Store.open(mine)
    assert len(stored(tree, tmp_path, "mine", limit=3)) == 3


# -- interruptions ----------------------------------------------------------------------------------------------------

KILLED_INSIDE_APPEND = """
import os, signal, sys
from merit.data import ingest
ingest.CHUNK = 4
whole = ingest.Journal.append
chunks = []
def append(self, signals, outcomes):
    chunks.append(1)
    if len(chunks) == 4:
        self._signals.write(bytes(signals)[:1001])
        self._signals.flush()
        self._lines.write(b'{"outcomes": [["", "ab')
        self._lines.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, signals, outcomes)
ingest.Journal.append = append
print("torch" in sys.modules, "matplotlib.pyplot" in sys.modules, flush=True)
ingest.ingest("ptb-xl", sys.argv[1], sys.argv[2], workers=1, progress=False)
"""


def test_a_killed_ingest_goes_on_to_the_same_bytes(tree, tmp_path, monkeypatch):
    undisturbed = stored(tree, tmp_path, "undisturbed")
    call = [sys.executable, "-c", KILLED_INSIDE_APPEND, str(tree.root), str(tmp_path / "store")]
    killed = subprocess.run(call, capture_output=True, text=True, check=False, timeout=180)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.split() == ["False", "False"], "neither torch nor pyplot is needed to ingest"
    assert not (tmp_path / "store").exists()
    shutil.copytree(tmp_path / ".store.partial", tmp_path / ".other.partial")
    read: list[int] = []
    process = module.process_chunk
    monkeypatch.setattr(module, "process_chunk", lambda rows, **k: (read.append(len(rows)), process(rows, **k))[1])
    stored(tree, tmp_path)
    assert sum(read) == 33 - 12, "the three whole chunks are not read again"
    assert contents(tmp_path / "store") == contents(undisturbed.folder)
    shorter = stored(tree, tmp_path, "other", signal=SignalConfig(duration_s=5))
    assert sum(read) == 33 - 12 + 33, "with other settings nothing is taken over"
    assert shorter.signal_uv.shape == (33, 12, 500)
    assert not (tmp_path / ".other.partial").exists()


WITH_WORKERS = """
import sys
from merit.data import ingest
ingest.CHUNK = 4
ingest.ingest("ptb-xl", sys.argv[1], sys.argv[2], workers=2, progress=False)
"""


def processes() -> dict[int, int]:
    """Process -> its parent, of those that have not ended."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            found |= {int(entry.name): int(parent)} if state != "Z" else {}
    return found


def test_two_workers_write_the_same_bytes_as_one_and_die_with_a_killed_parent(tree, tmp_path, monkeypatch):
    one = stored(tree, tmp_path, "one", workers=1)
    monkeypatch.setattr(module, "CHUNK", 4)
    parent = subprocess.Popen([sys.executable, "-c", WITH_WORKERS, str(tree.root), str(tmp_path / "two")])
    journal = tmp_path / ".two.partial" / JOURNAL
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 1) and parent.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children, parents = {parent.pid}, processes()
    while grown := {child for child, above in parents.items() if above in children} - children:
        children |= grown
    children.remove(parent.pid)
    parent.kill()
    parent.wait()
    assert children
    deadline = time.monotonic() + 60
    while children & processes().keys():
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    stored(tree, tmp_path, "two", workers=2)
    assert contents(tmp_path / "two") == contents(one.folder)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tree, tmp_path):
    one = stored(tree, tmp_path, "one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((one.folder / "signal_uv.npy").stat().st_size // 2, before[1]))
    try:
        with pytest.raises(runs.DiskFull, match=r"two: no room to write it \(File too large\); make room on that disk"):
            stored(tree, tmp_path, "two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert contents(stored(tree, tmp_path, "two").folder) == contents(one.folder)


def test_the_second_of_two_writers_waits_and_finds_the_store(tree, tmp_path):
    with ThreadPoolExecutor(1) as other:
        with runs.claimed(tmp_path / "store"):
            second = other.submit(stored, tree, tmp_path)
            with pytest.raises(TimeoutError):
                second.result(timeout=1)
            first = stored(tree, tmp_path)
            written = (first.folder / "manifest.json").stat()
        assert second.result().identity == first.identity
    assert (first.folder / "manifest.json").stat() == written


REQUEST = {"cohort": "any", "limit": None}


def chunk(value: int) -> tuple[np.ndarray, list[Outcome]]:
    """A chunk with two stored recordings and one refused."""
    signals = np.full((2, 12, 50), value, np.int16)
    outcomes = [Outcome(digest=signal_digest(signal), age=float(value)) for signal in signals]
    return signals, [*outcomes, Outcome(reason="no samples")]


def test_what_was_begun_is_taken_up_again_and_again(tmp_path):
    for value in (1, 2, 3):
        with closing(Journal(tmp_path, REQUEST, 50)) as journal:
            assert journal.n_stored == 2 * (value - 1)
            assert len(journal.outcomes) == 3 * (value - 1)
            journal.append(*chunk(value))
        with (tmp_path / JOURNAL).open("ab") as lines, (tmp_path / "signal_uv.npy").open("ab") as signals:
            lines.write(b'{"outcomes": [["half a li')
            signals.write(b"\x07" * 77)
    with closing(Journal(tmp_path, REQUEST, 50)) as journal:
        journal.append(chunk(4)[0], [Outcome(reason="unreadable file: EIO"), *chunk(4)[1][:2]])
    with closing(Journal(tmp_path, REQUEST, 50)) as journal:  # what could not be read is tried again
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None, 3, 3, None]
        journal.finish()
    assert np.load(tmp_path / "signal_uv.npy")[:, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("damaged", "request_now", "left"),
    [
        (JOURNAL, REQUEST, 6),
        ("signal_uv.npy", REQUEST, 6),
        ("", REQUEST, 0),  # the signals cut short
        (None, REQUEST | {"limit": 3}, 0),
    ],
)
def test_from_what_is_not_as_it_was_written_on_all_is_done_again(tmp_path, damaged, request_now, left):
    with closing(Journal(tmp_path, REQUEST, 50)) as journal:
        for value in (1, 2, 3):
            journal.append(*chunk(value))
    (tmp_path / "records.parquet").write_text("of the other")
    if damaged:
        content = bytearray((tmp_path / damaged).read_bytes())
        content[content.rindex(b"[[") + 4 if damaged == JOURNAL else -7] ^= 1
        (tmp_path / damaged).write_bytes(content)
    elif damaged == "":
        (tmp_path / "signal_uv.npy").write_bytes(b"short")
    with closing(Journal(tmp_path, request_now, 50)) as journal:
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None][:left]
    assert (tmp_path / "records.parquet").exists() == (request_now == REQUEST), "begun anew, the folder is cleared"


# -- other systems ----------------------------------------------------------------------------------------------------

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
parallel.Path = lambda text: __import__("pathlib").Path("/nowhere")
assert parallel.peak_memory() == 0
print(len(module.ingest("ptb-xl", sys.argv[1], sys.argv[2], progress=False)))
"""


def test_what_macos_and_windows_lack_is_not_asked_for(ptb_xl, tmp_path):
    ptb_xl.add(1)
    call = [sys.executable, "-c", WITHOUT, str(ptb_xl.root), str(tmp_path / "store")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr
    asked = re.compile(r"^(?:import|from) (?:fcntl|resource|pwd|grp|termios)\b", re.MULTILINE)
    assert [path for path in runs.PACKAGE_ROOT.rglob("*.py") if asked.search(path.read_text(encoding="utf-8"))] == []


def test_a_rate_is_recordings_over_seconds_and_leaves_no_store(ptb_xl, tmp_path, monkeypatch):
    for number in (1, 2, 3):
        ptb_xl.add(number)
    seen, fresh = [], bench._fresh
    monkeypatch.setattr(bench, "_fresh", lambda *call: seen.append(fresh(*call)) or seen[-1])
    found = bench.rate(ptb_xl.root, "ptb-xl", tmp_path / "stores", 2)
    assert seen[1]["recordings"] == 2
    assert found == 2 / seen[1]["wall_s"]
    assert not (tmp_path / "stores").exists()
