from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merit import runs
from merit.bench import ingest as bench
from merit.config import SignalConfig
from merit.data import ingest as module
from merit.data.ingest import JOURNAL, Journal, ingest
from merit.data.preprocess import Outcome, signal_digest
from merit.data.recording import LEADS
from merit.data.store import NoStore, Store

FILES = ("signal_uv.npy", "records.parquet", "rejected.csv", "manifest.json", "SHA256SUMS")


def contents(folder: Path) -> dict[str, bytes]:
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    return {name: (folder / name).read_bytes() for name in FILES}


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=180)


@pytest.fixture
def tree(ptb_xl: Any, make_ecg: Any) -> Any:
    """Thirty good recordings, two of them identical, one with a gap, one saturated, one with a short report."""
    for ecg_id in range(1, 31):
        ptb_xl.add(ecg_id, make_ecg(2) if ecg_id == 3 else None, patient=str(500 + ecg_id // 2), age="61.0")
    gap = make_ecg(40)
    gap[3, 100:110] = -32768
    ptb_xl.add(40, gap)
    ptb_xl.add(41, make_ecg(41), gain="200.0(0)/V")
    ptb_xl.add(42, report=b"normal *** EKG")
    return ptb_xl


def test_a_store_holds_exactly_the_files_microvolts(tree, tmp_path, make_ecg):
    store = ingest("ptb-xl", tree.root, tmp_path / "store", progress=False)
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


def bad_recordings(tree: Any, make_ecg: Any, record_writer: Any, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Adds every kind of bad input to the tree; yields record id and kind of reason."""
    tree.add(101).with_suffix(".dat").write_bytes(b"\x00" * 240)
    yield "101", "truncated signal file"
    tree.add(102).with_suffix(".dat").write_bytes(b"")
    yield "102", "empty signal file"
    tree.add(103).write_bytes(b"")
    yield "103", "empty header"
    tree.add(104).write_bytes(b"\x89PNG\r\n\x1a\n\x00garbage")
    yield "104", "unreadable header"
    tree.add(105, make_ecg(105, n_leads=11), names=LEADS[:11])
    yield "105", "missing lead"
    tree.add(106, names=("MLII", *LEADS[1:]))
    yield "106", "unknown lead"
    tree.add(107, gain="1000.0(0)/mmHg")
    yield "107", "foreign unit"
    tree.add(108, fs=0)
    yield "108", "invalid rate"
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
    header = tree.add(114)
    header.unlink()
    header.symlink_to(tmp_path / "nowhere.hea")
    yield "114", "no header"
    tree.add(115, codes="{'NORM'")
    yield "115", "unparsable scp_codes"
    tree.add(116).with_suffix(".dat").unlink()
    yield "116", "no signal file"
    tree.add(1, wave=False)
    yield "1", "repeated record id"
    tree.add(117).write_text("00117_lr/2 12 100 1000\nx 500\ny 500\n")
    yield "117", "unreadable header"
    record_writer(tree.folder, "00900_lr", make_ecg(900))
    yield "records100/00000/00900_lr", "waveform without a row"
    tree.rows.append(b"119,7,x")
    tree.save()
    yield f"ptbxl_database.csv line {len(tree.rows) + 1}", "3 fields, expected 10"


def test_every_bad_input_is_refused_by_name_and_the_others_go_on(tree, tmp_path, make_ecg, record_writer):
    good = ingest("ptb-xl", tree.root, tmp_path / "good", progress=False)
    expected = list(bad_recordings(tree, make_ecg, record_writer, tmp_path))
    store = ingest("ptb-xl", tree.root, tmp_path / "store", progress=False)
    reasons = list(store.rejected.itertuples(index=False, name=None))
    listed = [(name, reason.partition(":")[0]) for name, reason in reasons]
    assert sorted(listed) == sorted(expected)
    assert np.array_equal(store.signal_uv[:33], good.signal_uv)
    kinds = store.manifest["rejected"]
    assert kinds["outside the data set"] == 2
    assert kinds["no waveform"] == store.manifest["counts"]["rows_without_waveform"] == 1
    assert store.manifest["strays"] == {"count": 1, "names": ["records100/00000/00900_lr"]}
    assert sum(kinds.values()) == len(reasons) == store.manifest["counts"]["listed_in_rejected"]
    assert all("\n" not in reason for _, reason in reasons)


def test_the_same_again_is_a_read_and_a_change_is_not(tree, tmp_path, monkeypatch):
    out = tmp_path / "store"
    first = ingest("ptb-xl", tree.root, out, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(module, "find_candidates", lambda *_: pytest.fail("read again"))
        assert ingest("ptb-xl", tree.root, out, progress=False).manifest == first.manifest
    halved = ingest("ptb-xl", tree.root, out, signal=SignalConfig(fs_hz=50), progress=False)
    assert halved.signal_uv.shape == (33, 12, 500)
    assert halved.identity != first.identity
    tree.add(50)
    assert len(ingest("ptb-xl", tree.root, out, progress=False)) == 34
    assert len(ingest("ptb-xl", tree.root, out, limit=5, progress=False)) == 5
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == ["ptb-xl", "store"]


def test_chosen_records_alone_are_read_as_they_are_among_all(tree, tmp_path):
    whole = ingest("ptb-xl", tree.root, tmp_path / "whole", progress=False)
    only = whole.records["record_id"].iloc[[4, 1]].tolist()
    chosen = ingest("ptb-xl", tree.root, tmp_path / "chosen", only=only, progress=False)
    assert chosen.records["record_id"].tolist() == only[::-1]
    assert np.array_equal(chosen.signal_uv, whole.signal_uv[[1, 4]])
    assert len(ingest("ptb-xl", tree.root, tmp_path / "chosen", only=only[:1], progress=False)) == 1


def test_the_identity_depends_on_content_alone(tree, tmp_path):
    first = ingest("ptb-xl", tree.root, tmp_path / "a", progress=False)
    tree.root.rename(tmp_path / "moved")
    os.utime(tmp_path / "moved" / "records100" / "00000")
    again = ingest("ptb-xl", tmp_path / "moved", tmp_path / "b", progress=False)
    assert first.identity == again.identity
    assert first.manifest["request"] == again.manifest["request"], "nor on the times of folders"


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
    undisturbed = ingest("ptb-xl", tree.root, tmp_path / "undisturbed", progress=False)
    out, other = tmp_path / "store", tmp_path / "other"
    killed = run(KILLED_INSIDE_APPEND, tree.root, out)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.split() == ["False", "False"], "neither torch nor pyplot is needed to ingest"
    assert not out.exists()
    shutil.copytree(tmp_path / ".store.partial", tmp_path / ".other.partial")
    read: list[int] = []
    process = module.process_chunk
    monkeypatch.setattr(module, "process_chunk", lambda rows, **k: (read.append(len(rows)), process(rows, **k))[1])
    ingest("ptb-xl", tree.root, out, progress=False)
    assert sum(read) == 33 - 12, "the three whole chunks are not read again"
    assert contents(out) == contents(undisturbed.folder)
    shorter = ingest("ptb-xl", tree.root, other, signal=SignalConfig(duration_s=5), progress=False)
    assert sum(read) == 33 - 12 + 33, "with other settings nothing is taken over"
    assert shorter.signal_uv.shape == (33, 12, 500)
    assert not (tmp_path / ".other.partial").exists()


WITH_WORKERS = """
import sys
from merit.data import ingest
ingest.CHUNK = 4
ingest.ingest("ptb-xl", sys.argv[1], sys.argv[2], workers=2, progress=False)
"""


def descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def alive(pids: set[int]) -> set[int]:
    def state(pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "gone"

    return {pid for pid in pids if state(pid) not in ("gone", "Z")}


def test_two_workers_write_the_same_bytes_as_one_and_die_with_a_killed_parent(tree, tmp_path, monkeypatch):
    one = ingest("ptb-xl", tree.root, tmp_path / "one", workers=1, progress=False)
    out = tmp_path / "two"
    monkeypatch.setattr(module, "CHUNK", 4)
    parent = subprocess.Popen([sys.executable, "-c", WITH_WORKERS, str(tree.root), str(out)])
    journal = tmp_path / ".two.partial" / JOURNAL
    deadline = time.monotonic() + 120
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 1) and parent.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    children = descendants(parent.pid)
    parent.kill()
    parent.wait()
    assert children
    deadline = time.monotonic() + 60
    while alive(children):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.05)
    ingest("ptb-xl", tree.root, out, workers=2, progress=False)
    assert contents(out) == contents(one.folder)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tree, tmp_path):
    one = ingest("ptb-xl", tree.root, tmp_path / "one", progress=False)
    out, before = tmp_path / "two", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((one.folder / "signal_uv.npy").stat().st_size // 2, before[1]))
    try:
        with pytest.raises(runs.DiskFull, match=r"two: no room to write it \(File too large\); make room on that disk"):
            ingest("ptb-xl", tree.root, out, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    ingest("ptb-xl", tree.root, out, progress=False)
    assert contents(out) == contents(one.folder)


def test_the_second_of_two_writers_waits_and_finds_the_store(tree, tmp_path):
    with ThreadPoolExecutor(1) as other:
        with runs.claimed(tmp_path / "store"):
            second = other.submit(ingest, "ptb-xl", tree.root, tmp_path / "store", progress=False)
            with pytest.raises(TimeoutError):
                second.result(timeout=1)
            first = ingest("ptb-xl", tree.root, tmp_path / "store", progress=False)
            written = (first.folder / "manifest.json").stat()
        assert second.result().identity == first.identity
    assert (first.folder / "manifest.json").stat() == written


def test_nothing_but_a_store_is_replaced(tree, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    ingest("ptb-xl", tree.root, mine, limit=2, progress=False)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("do not lose")
    with pytest.raises(FileExistsError, match="expected a store, an empty folder or nothing"):
        ingest("ptb-xl", tree.root, other, progress=False)
    assert (other / "thesis.txt").read_text() == "do not lose"
    with pytest.raises(NoStore, match="merit ingest"):
        Store.open(other)
    text = json.loads((mine / "manifest.json").read_text())
    (mine / "manifest.json").write_text(json.dumps(text | {"format_version": 0}))
    with pytest.raises(ValueError, match="expected a store of version 2, got 0"):
        Store.open(mine)
    assert len(ingest("ptb-xl", tree.root, mine, limit=3, progress=False)) == 3


def test_a_data_set_of_refused_recordings_makes_an_empty_store(ptb_xl, tmp_path):
    ptb_xl.add(1, fs=0)
    store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
    assert store.signal_uv.shape == (0, 12, 1000)
    assert (len(store.records), len(store.rejected)) == (0, 1)


def test_cohorts_without_folds_get_them_by_group(tmp_path, record_writer, make_ecg):
    root = tmp_path / "csn"
    for number in range(30):
        dx = "59118001" if number % 3 else "164889003"
        digital = make_ecg(7 if number in (7, 8) else number, 2000)
        record_writer(root / "WFDBRecords/01/010", f"JS{number:05d}", digital, fs=500, comments=[f"Dx: {dx}"])
    store = ingest("csn", root, tmp_path / "store", progress=False)
    records = store.records.set_index("record_id")
    assert records["fold"].between(1, 10).all()
    assert records["fold"].nunique() == 10
    assert records.loc["JS00007", "fold"] == records.loc["JS00008", "fold"]
    assert records.loc["JS00008", "group"] == "JS00007"
    assert store.manifest["folds"]["kind"] == "stratified on labels, by patient or duplicate group"
    assert store.manifest["patient_ids"].startswith("none published")
    assert (store.signal_uv[:, :, 400:] == 0).all(), "4 s of signal, padded with zeros at the end"
    assert (store.signal_uv[:, :, :400] != 0).any(axis=2).all()


def test_a_cut_recording_is_filtered_with_what_follows(tmp_path, record_writer):
    root = tmp_path / "cpsc2018"
    seconds = np.arange(15 * 500) / 500
    wave = (1000 * np.sin(2 * np.pi * 5 * seconds)).astype(np.int16)
    record_writer(root, "A0001", np.tile(wave, (12, 1)), fs=500, comments=["Dx: AF"])
    store = ingest("cpsc2018", root, tmp_path / "store", progress=False)
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
    names = [f"records100/00000/{n:05d}_lr" for n in (137, 139, 140, 141, 142, 143, 145)]
    assert store.manifest["strays"] == {"count": 7, "names": names}
    assert store.rejected["reason"].value_counts().to_dict() == {"no waveform": 19799, "waveform without a row": 7}


REQUEST = {"cohort": "any", "limit": None}


def chunk(value: int, n: int) -> tuple[np.ndarray, list[Outcome]]:
    """A chunk with `n` stored recordings and one refused."""
    signals = np.full((n, 12, 50), value, np.int16)
    outcomes = [Outcome(digest=signal_digest(signal), age=float(value)) for signal in signals]
    return signals, [*outcomes, Outcome(reason="no samples")]


def test_what_was_begun_is_taken_up_again_and_again(tmp_path):
    for value in (1, 2, 3):
        with Journal.open(tmp_path, REQUEST, 50) as journal:
            assert journal.n_stored == 2 * (value - 1)
            assert len(journal.outcomes) == 3 * (value - 1)
            journal.append(*chunk(value, 2))
        with (tmp_path / JOURNAL).open("ab") as lines, (tmp_path / "signal_uv.npy").open("ab") as signals:
            lines.write(b'{"outcomes": [["half a li')
            signals.write(b"\x07" * 77)
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None, 3, 3, None]
        journal.finish()
    stored = np.load(tmp_path / "signal_uv.npy")
    assert stored.shape == (6, 12, 50)
    assert stored[:, 0, 0].tolist() == [1, 1, 2, 2, 3, 3]


def test_a_journal_without_its_signals_begins_anew(tmp_path):
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        journal.append(*chunk(1, 2))
    (tmp_path / "signal_uv.npy").write_bytes(b"short")
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        assert journal.outcomes == []


def test_another_request_begins_anew_and_clears_the_folder(tmp_path):
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        journal.append(*chunk(1, 2))
    (tmp_path / "records.parquet").write_text("of the other")
    with Journal.open(tmp_path, REQUEST | {"limit": 3}, 50) as journal:
        assert journal.outcomes == []
        assert not (tmp_path / "records.parquet").exists()


@pytest.mark.parametrize("damaged", [JOURNAL, "signal_uv.npy"])
def test_from_what_is_not_as_it_was_written_on_all_is_done_again(tmp_path, damaged):
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        for value in (1, 2, 3):
            journal.append(*chunk(value, 2))
        end = {JOURNAL: (tmp_path / JOURNAL).read_bytes().rindex(b"[[") + 4, "signal_uv.npy": -7}[damaged]
    content = bytearray((tmp_path / damaged).read_bytes())
    content[end] ^= 1
    (tmp_path / damaged).write_bytes(content)
    with Journal.open(tmp_path, REQUEST, 50) as journal:
        assert [outcome.age for outcome in journal.outcomes] == [1, 1, None, 2, 2, None]


def test_what_ingest_costs_is_measured_in_a_fresh_process(ptb_xl, make_ecg, monkeypatch):
    for number in (1, 2, 3):
        ptb_xl.add(number, make_ecg(number))
    found = bench.in_fresh_process("ingest", "ptb-xl", ptb_xl.root, 2)
    assert found["recordings"] == 2
    assert min(found["wall_s"], found["cpu_s"], found["peak_mb"]) > 0
    with pytest.raises(RuntimeError, match=r"measuring wfdb on .* failed"):
        bench.in_fresh_process("wfdb", "ptb-xl", ptb_xl.root / "nowhere")
    times = iter([9.0, 4.0, 6.0, 5.0, 4.0, 7.0, 7.0, 0.0, 2.0])  # the first reading and MIMIC-IV-ECG's do not count
    cost = {"recordings": 12, "peak_mb": 3.0}
    monkeypatch.setattr(
        bench, "in_fresh_process", lambda *call: {**cost, "wall_s": (t := next(times)), "cpu_s": t, "call": call}
    )
    found = bench.measure({"ptb-xl": ptb_xl.root, "mimic-iv-ecg": ptb_xl.root})
    assert (found["wfdb_cpu_s"], found["ingest_s"], found["ratio"]) == (4.0, 4.0, 1.0)
    assert (found["recordings_per_s"], found["mimic_per_s"], found["peak_mb_2000"]) == (3.0, 6.0, 3.0)
