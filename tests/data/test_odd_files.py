"""ECG files as they really come, in the folder `odd-files` beside the real data: each is read, or refused, rightly.

What needs no shared file is in the tests of reading and ingest.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merit import runs
from merit.data import doctor
from merit.data.ingest import ingest
from merit.data.recording import RejectedRecording
from merit.data.wfdb_io import read_record


@pytest.fixture(scope="session")
def odd_copies(tmp_path_factory: Any) -> Callable[[Path], Path]:
    """The folder copied once, with its links laid again: some ways of copying leave a link's text in its place."""

    @functools.cache
    def copied(there: Path) -> Path:
        copy = tmp_path_factory.mktemp("odd") / "odd-files"
        shutil.copytree(there, copy, symlinks=True)
        for folder, folders, names in os.walk(copy):
            for name in [folder, *(f"{folder}/{below}" for below in folders)]:
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


EQUAL = {
    "01-record-name-with-extension": "E00001",
    "02-invalid-date": "clock_and_year hour_24 iso month_31 year_alone zeros",
    "03-length-zero": "rec missing",
    "05-samples-per-frame": "five second",
    "06-extra-signal-lines": "rec",
    "07-linked-files": "annex/data/rec hub/snapshots/abc/rec half/rec",
    "11-checksum": "unset",
    "21-formats": "f160 f24 f32 f61",
    "22-big-baseline": "rec",
    "26-header-text": "blank bom case counter cr crlf exp_gain minus tabs",
    "29-other-formats": "rec.dat upper/REC.HEA",
}
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
    **dict.fromkeys(
        (f"29-other-formats/ecg.{ending}" for ending in ("xml", "dcm", "edf", "scp", "csv", "npy")),
        "no header: expected a WFDB record",
    ),
}


@pytest.mark.parametrize("name", [*(f"{case}/{n}" for case in EQUAL for n in EQUAL[case].split()), *NEARLY])
def test_records_that_equal_the_plain_one(odd, name):
    found = read_record(odd / name)
    assert found.fs_hz == 500
    assert found.checksums_agree is not False
    atol = NEARLY.get(name, 0) * 1.001 + 2e-7
    np.testing.assert_allclose(found.signal_mv, signal(odd, "00-plain/rec"), atol=atol, rtol=0)


@pytest.mark.parametrize("name", REFUSED)
def test_records_that_are_refused(odd, name):
    with pytest.raises(RejectedRecording, match=f"^{REFUSED[name]}") as refusal:
        read_record(odd / name)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("fmt", [16, 212, 24, 32, 80])
def test_marks_of_missing_samples(odd, fmt):
    found, plain = signal(odd, f"21-formats/n{fmt}"), signal(odd, "00-plain/rec")
    known = np.isfinite(found)
    assert (~known).sum(axis=1).tolist() == [100] * 12
    np.testing.assert_allclose(found[known], plain[known], atol={212: 1 / 400, 80: 1 / 100}.get(fmt, 0) * 1.001)


def test_rates_checksums_skew_and_leads(odd):
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


def test_trees(odd, tmp_path):
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
def test_broken_weights(odd: Path, monkeypatch: Any, case: str) -> None:
    from merit.encoders.registry import PUBLISHED

    monkeypatch.setenv("MERIT_WEIGHTS", str(odd / "10-broken-weights" / case))
    with pytest.raises(runs.Unavailable, match=r"weights/merl/\S+ was not downloaded whole") as refusal:
        PUBLISHED["merl"].load("cpu")
    assert "\n" not in str(refusal.value)
    assert "trust" not in str(refusal.value)
