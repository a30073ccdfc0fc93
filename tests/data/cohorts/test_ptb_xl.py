from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merit.data.cohorts import base, open_cohort
from merit.data.cohorts.base import Cohort
from merit.data.recording import RejectedRecording, clean


def test_a_row_becomes_a_reference(ptb_xl: Any) -> None:
    ptb_xl.add(7, codes="{'SR': 0.0, 'IMI': 15.0, 'XXX': 50.0}", fold="3", age="300.0", report=b"Befund \xff, \xc3\xbc")
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    ref = cohort.refs().iloc[0]
    assert (ref.record_id, ref.patient_id, ref.fold, ref.age, ref.sex) == ("7", "1007", 3, 90.0, "female")
    assert ref.labels == ["IMI", "SR", "XXX"], "every statement counts, whatever its likelihood"
    assert ref.report == "Befund ÿ, ü", "a byte that is not UTF-8 is Latin-1's"
    assert cohort.metadata.notes["unknown_codes"] == {"XXX": 1}
    recording = cohort.read(ref)
    assert recording.labels == {"IMI", "SR", "XXX"}
    assert (recording.fold, recording.age, recording.sex, recording.fs_hz) == (3, 90.0, "female", 100)


def test_the_rate_wanted_chooses_the_file_and_what_is_there_decides(
    ptb_xl: Any, record_writer: Any, make_ecg: Any
) -> None:
    for ecg_id in (1, 2, 3):
        ptb_xl.add(ecg_id, wave=ecg_id != 3)
    high = ptb_xl.root / "records500" / "00000"
    record_writer(high, "00001_hr", make_ecg(1, 5000), fs=500)
    record_writer(high, "00003_hr", make_ecg(3, 5000), fs=500)
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    refs = list(cohort.refs().itertuples(index=False))
    rates = {(ref.record_id, fs): cohort.read(ref, fs_hz=fs).fs_hz for ref in refs for fs in (None, 50, 100, 250, 500)}
    assert {key: rate for key, rate in rates.items() if key[0] == "1"} == {
        ("1", None): 500, ("1", 50): 100, ("1", 100): 100, ("1", 250): 500, ("1", 500): 500
    }  # fmt: skip
    assert {rate for key, rate in rates.items() if key[0] == "2"} == {100}
    assert {rate for key, rate in rates.items() if key[0] == "3"} == {500}
    assert all(cohort.has_waveform(ref) for ref in refs)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codes": "{'NORM': __import__('os')}"}, "unparsable scp_codes"),
        ({"codes": "['NORM']"}, "unparsable scp_codes"),
        ({"codes": "{1: 2}"}, "unparsable scp_codes"),
        ({"codes": "(" * 5000}, "unparsable scp_codes"),
        ({"fold": "11"}, "invalid fold: '11', expected 1 to 10"),
        ({"fold": "x"}, "invalid fold"),
        ({"path": "../../etc/passwd"}, "outside the data set"),
        ({"path": "/etc/passwd"}, "outside the data set"),
        ({"path": " "}, "no file name"),
    ],
)
def test_a_bad_row_is_refused_and_never_opened(ptb_xl: Any, changes: dict[str, str], reason: str) -> None:
    ptb_xl.add(1, **changes)
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    ref = cohort.refs().iloc[0]
    assert not cohort.has_waveform(ref)
    with pytest.raises(RejectedRecording, match=reason):
        cohort.read(ref)


def test_of_repeated_ids_the_first_row_holds(ptb_xl: Any) -> None:
    ptb_xl.add(1, report=b"first")
    ptb_xl.add(1, report=b"second")
    refs = open_cohort("ptb-xl", ptb_xl.root).refs()
    assert refs["problem"].tolist() == ["", "repeated record id: the first row holds"]


def test_strays_and_the_fingerprint_follow_the_files(ptb_xl: Any, record_writer: Any, make_ecg: Any) -> None:
    ptb_xl.add(1)
    before = open_cohort("ptb-xl", ptb_xl.root).fingerprint()
    assert before == open_cohort("ptb-xl", ptb_xl.root).fingerprint()
    record_writer(ptb_xl.folder, "00137_lr", make_ecg(137))
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    assert cohort.strays() == ["records100/00000/00137_lr"]
    assert cohort.fingerprint() != before
    with_stray = cohort.fingerprint()
    ptb_xl.add(2, wave=False)
    assert open_cohort("ptb-xl", ptb_xl.root).fingerprint() != with_stray


def test_real_recordings_have_the_files_own_microvolts(real_data: Path) -> None:
    root = real_data / "ptb-xl"
    cohort = open_cohort("ptb-xl", root)
    refs = [ref for ref in cohort.refs().itertuples(index=False) if cohort.has_waveform(ref)]
    assert len(refs) == 2000
    for ref in refs[::97]:
        recording = cohort.read(ref, fs_hz=100)
        published = np.fromfile(root / f"{ref.path}.dat", dtype="<i2").reshape(-1, 12).T
        assert np.array_equal(np.rint(recording.signal_mv.astype(float) * 1000), published), ref.path
    assert cohort.strays() == [f"records100/00000/{n:05d}_lr" for n in (137, 139, 140, 141, 142, 143, 145)]
    fast = cohort.read(refs[0])
    assert (fast.fs_hz, fast.signal_mv.shape) == (500, (12, 5000))
    assert np.abs(fast.signal_mv[0] + fast.signal_mv[2] - fast.signal_mv[1]).max() < 0.011


def test_real_reports_are_short_as_often_as_counted(real_data: Path) -> None:
    cohort = open_cohort("ptb-xl", real_data)
    texts = [clean(r.report) for r in cohort.refs().itertuples(index=False) if cohort.has_waveform(r)]
    assert sum(len(text.split()) < 4 for text in texts) == 236


def test_the_fingerprint_is_of_content_and_is_looked_up_while_names_sizes_and_times_stay(
    ptb_xl: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    for number in (1, 2):
        ptb_xl.add(number)
    kept, read = tmp_path / "kept" / "sources.json", []
    kept.parent.mkdir()
    content = Cohort._content
    monkeypatch.setattr(Cohort, "_content", lambda self, n: read.append(n) or content(self, n))
    monkeypatch.delenv("MERIT_BUILD", raising=False)

    def fingerprint(root: Path = ptb_xl.root) -> str:
        return open_cohort("ptb-xl", root).fingerprint(kept)

    first = fingerprint()
    assert (fingerprint(), read) == (first, [5]), "the second time no content is read"
    copy = shutil.copytree(ptb_xl.root, tmp_path / "copy")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    assert (fingerprint(copy), len(read)) == (first, 2), "copied data with other times are the same"

    file = next(ptb_xl.root.rglob("*.dat"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert fingerprint() != first, "changed in place, of the same size"
    file.write_bytes(whole)
    assert fingerprint() == first
    kept.write_text(kept.read_text().replace(first, "0" * 16))
    assert fingerprint() == first, "what was kept and is not as it was written is not believed"


def test_of_one_build_only_the_first_process_looks(ptb_xl: Any, tmp_path: Path, monkeypatch: Any) -> None:
    ptb_xl.add(1)
    kept, looked, files = tmp_path / "kept.json", [], Cohort._source_files
    monkeypatch.setattr(Cohort, "_source_files", lambda self: looked.append(1) or files(self))
    monkeypatch.setenv("MERIT_BUILD", "this one")
    first = open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept)
    n = len(looked)
    assert open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept) == first
    assert len(looked) == n
    monkeypatch.setenv("MERIT_BUILD", "the next")
    assert open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept) == first
    assert len(looked) == n + 1, "names, sizes and times alone"


def test_a_file_that_cannot_be_read_now_is_looked_at_again(ptb_xl: Any, tmp_path: Path, monkeypatch: Any) -> None:
    ptb_xl.add(1)
    kept = tmp_path / "kept.json"
    with monkeypatch.context() as patch:
        patch.setattr(base, "_digests", lambda root, names: [(name, None) for name in names])
        unreadable = open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept)
        assert not kept.exists()
    assert open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept) != unreadable
