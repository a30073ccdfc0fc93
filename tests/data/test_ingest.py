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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from wfdb_trees import make_ecg, put_csn, put_record

from merit import cli, runs
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
    assert (len(store), store.signal_uv.shape) == (33, (33, 12, 1000))
    assert isinstance(store.signal_uv, np.memmap)
    assert np.array_equal(store.signal_uv[4], make_ecg(5))
    assert np.abs(store.signal_uv[31]).max() == 32767
    assert records["fold"].tolist()[:3] == [2, 3, 4]
    assert records.loc["2", "group"] == records.loc["3", "group"] == "501"
    assert records.loc["5", "labels"] == ["NORM", "SR"]
    assert (records.loc["42", "report"], records.loc["42", "has_text"]) == ("normal ecg", False)
    assert records.loc["1", ["has_text", "age", "sex", "source_fs_hz"]].tolist() == [True, 61, "female", 100]
    assert (records.loc["40", "n_repaired"], records.loc["41", "n_saturated"] > 0) == (10, True)
    counts = {"rows": 33, "stored": 33, "refused": 0, "repaired": 1, "saturated": 1, "without_text": 1}
    assert counts.items() <= store.manifest["counts"].items()
    assert store.manifest["duplicates"]["names"] == [["2", "3"]]
    assert store.manifest["duplicates"]["across_folds"]["count"] == 1, "official folds stay"
    assert store.manifest["folds"]["kind"] == "official"


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


def test_checksums_that_differ_are_counted_and_listed(ptb_xl, tmp_path):
    for ecg_id, change in ((1, 0), (2, 1), (3, None)):
        sums = None if change is None else [int(lead.sum() + change) % 65536 for lead in make_ecg(ecg_id).astype(int)]
        ptb_xl.add(ecg_id, sums=sums)
    store = stored(ptb_xl, tmp_path)
    assert store.records["checksums_differ"].tolist() == [False, True, False]
    assert store.manifest["counts"]["checksums_differ"] == 1
    assert store.manifest["checksums_differ"] == {"count": 1, "names": ["2"]}


# -- what is refused --------------------------------------------------------------------------------------------------


def bad_recordings(tree: Any) -> dict[str, str]:
    """Adds bad input to the tree, of every kind that is not of the file alone; record id -> kind of reason."""
    tree.add(101).with_suffix(".dat").write_bytes(b"\x00" * 240)
    tree.add(104).write_bytes(b"\x89PNG\r\n\x1a\n\x00garbage")
    tree.add(109, np.full((12, 1000), -32768, np.int16))
    tree.add(110, np.tile(np.arange(12, dtype=np.int16)[:, None], (1, 1000)))
    tree.add(111, wave=False)
    header = tree.add(112)
    header.write_text(header.read_text().replace("00112_lr.dat", "../../../outside.dat"))
    tree.add(113, path="../outside", wave=False)
    tree.add(115, codes="{'NORM'")
    tree.add(1, wave=False)
    put_record(tree.folder, "00900_lr", make_ecg(900))
    tree.rows.append(b"119,7,x")
    tree.save()
    return {
        "101": "truncated signal file",
        "104": "unreadable header",
        "109": "not finite",
        "110": "flat in every lead",
        "111": "no waveform",
        "112": "outside the data set",
        "113": "outside the data set",
        "115": "unparsable scp_codes",
        "1": "repeated record id",
        "records100/00000/00900_lr": "waveform without a row",
        f"ptbxl_database.csv line {len(tree.rows) + 1}": "3 fields, expected 10",
    }


def test_every_bad_input_is_refused_by_name_and_the_others_go_on(tree, tmp_path):
    good = stored(tree, tmp_path, "good")
    expected = bad_recordings(tree)
    store = stored(tree, tmp_path)
    reasons = list(store.rejected.itertuples(index=False, name=None))
    assert {name: reason.partition(":")[0] for name, reason in reasons} == expected
    assert np.array_equal(store.signal_uv[:33], good.signal_uv)
    kinds = store.manifest["rejected"]
    assert kinds["outside the data set"] == 2
    assert kinds["no waveform"] == store.manifest["counts"]["rows_without_waveform"] == 1
    assert store.manifest["strays"] == {"count": 1, "names": ["records100/00000/00900_lr"]}
    assert sum(kinds.values()) == len(reasons) == len(expected) == store.manifest["counts"]["listed_in_rejected"]
    assert all("\n" not in reason for _, reason in reasons)


NOTHING = {"none": "0 rows; no recording is listed there", "absent": "1 rows; no waveform 1; listed in"}
NOTHING |= {"bad": "1 rows; invalid rate 1; listed in"}


@pytest.mark.parametrize(("rows", "why"), NOTHING.items())
def test_ingest_that_stores_nothing_says_why(ptb_xl, tmp_path, monkeypatch, capsys, rows, why):
    if rows != "none":
        ptb_xl.add(1, fs=0, wave=rows == "bad")
    call = ["merit", "ingest", "--cohort", "ptb-xl", "--root", str(ptb_xl.root), "--out", str(tmp_path / "store")]
    monkeypatch.setattr(sys, "argv", call)
    for _ in range(2):
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("merit: ")]
        assert (left.value.code, len(said)) == (2, 1)
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
    put_csn(tmp_path, 1, 2)
    with monkeypatch.context() as patch:
        refusing(patch, f"00002_lr{ending}", number)
        with pytest.raises(UnreadableFile, match=f"^unreadable file: '00002_lr{ending}': {os.strerror(number)}"):
            wfdb_io.read_waveform(str(ptb_xl.root), "records100/00000/00002_lr")
        store = stored(ptb_xl, tmp_path)
        assert store.rejected["record_id"].tolist() == ["2"]
        assert stored(ptb_xl, tmp_path).manifest == store.manifest
        refusing(patch, "JS00002.hea", number, times=1)  # its labels are in there
        store = ingest("csn", tmp_path, tmp_path / "csn-store", progress=False)
        assert store.rejected["reason"].tolist() == [f"unreadable file: 'JS00002.hea': {os.strerror(number)}"]
    store = stored(ptb_xl, tmp_path)
    assert (len(store), len(store.rejected)) == (3, 0)
    store = ingest("csn", tmp_path, tmp_path / "csn-store", progress=False)
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


def test_the_identity_depends_on_content_alone(tree, tmp_path):
    first = stored(tree, tmp_path, "a")
    tree.root = tree.root.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved" / "records100" / "00000")
    again = stored(tree, tmp_path, "b")
    assert (first.identity, first.manifest["request"]) == (again.identity, again.manifest["request"])
    only = first.records["record_id"].iloc[[4, 1]].tolist()
    chosen = stored(tree, tmp_path, only=only)
    assert chosen.records["record_id"].tolist() == only[::-1]
    assert np.array_equal(chosen.signal_uv, first.signal_uv[[1, 4]]), "read as they are among all"
    assert len(stored(tree, tmp_path, only=only[:1])) == 1


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


def test_two_workers_write_the_same_bytes_as_one_and_die_with_a_killed_parent(tree, tmp_path, monkeypatch):
    one = stored(tree, tmp_path, "one", workers=1)
    monkeypatch.setattr(module, "CHUNK", 4)
    parent = psutil.Popen([sys.executable, "-c", WITH_WORKERS, str(tree.root), str(tmp_path / "two")])
    journal = tmp_path / ".two.partial" / JOURNAL
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 1) and parent.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = parent.children(recursive=True)
    parent.kill()
    parent.wait()
    assert children
    _, alive = psutil.wait_procs(children, 60)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE], "workers outlive their parent"
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


NO_LONGER = {  # what is wrong with the third chunk, or with all -> how many outcomes are taken over
    "journal": 6,
    "signal": 6,
    "unread": 6,  # what could not be read is tried again
    "short": 0,
    "request": 0,
}


@pytest.mark.parametrize(("wrong", "left"), NO_LONGER.items())
def test_from_what_is_not_as_it_was_written_on_all_is_done_again(tmp_path, wrong, left):
    lines, signals = tmp_path / JOURNAL, tmp_path / "signal_uv.npy"
    with closing(Journal(tmp_path, REQUEST, 50)) as journal:
        for value in (1, 2, 3):
            stored, outcomes = chunk(value)
            if (wrong, value) == ("unread", 3):
                outcomes[2] = Outcome(reason="unreadable file: EIO")
            journal.append(stored, outcomes)
    (tmp_path / "records.parquet").write_text("of the other")
    if wrong in ("journal", "signal"):
        path = lines if wrong == "journal" else signals
        content = bytearray(path.read_bytes())
        content[content.rindex(b"[[") + 4 if wrong == "journal" else -7] ^= 1
        path.write_bytes(content)
    elif wrong == "short":
        signals.write_bytes(b"short")
    with closing(Journal(tmp_path, REQUEST | ({"limit": 3} if wrong == "request" else {}), 50)) as journal:
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None][:left]
        assert journal.n_stored == left * 2 // 3
    assert (tmp_path / "records.parquet").exists() == (wrong != "request"), "begun anew, the folder is cleared"


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
