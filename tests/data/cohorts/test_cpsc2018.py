from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from merit.data import taxonomy
from merit.data.cohorts import open_cohort
from merit.data.cohorts.datasets import header_labels
from merit.data.recording import RejectedRecording

COLUMNS = "Recording,First_label,Second_label,Third_label"


def reference(root: Path, *rows: str, columns: str = COLUMNS) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "REFERENCE.csv").write_text("\n".join([columns, *rows]) + "\n")


def refs_of(root: Path) -> Any:
    return open_cohort("cpsc2018", root).refs().set_index("record_id")


def test_words_and_codes_mean_the_same() -> None:
    table = taxonomy.cpsc2018_classes()
    for row in table.itertuples():
        assert header_labels(row.word) == header_labels(row.snomed) == ([row.label], [])
    assert header_labels("RBBB, AF") == (["AFIB", "CRBBB"], [])
    assert header_labels("733534002,17338001,Nonsense") == (["CLBBB", "VPC"], ["Nonsense"])
    assert header_labels("") == ([], [])


def test_the_reference_wins_and_disagreements_are_named(tmp_path: Path, record_writer: Any, make_ecg: Any) -> None:
    root = tmp_path / "cpsc2018"
    folder = root / "training/cpsc_2018/g1"
    for number, dx in ((1, "RBBB"), (2, "59118001,164889003"), (3, "STE"), (4, "PVC")):
        comments = ["Age: 74", "Sex: Female", f"Dx: {dx}"]
        record_writer(folder, f"A000{number}", make_ecg(number), fs=500, comments=comments)
    reference(root, "A0001,5,,", "A0002,2,5,", "A0003,8,,", "A0005,1,,", "A0006,12,,", "A0001,1,,")
    cohort = open_cohort("cpsc2018", root)
    refs = cohort.refs().set_index("record_id")
    assert refs["labels"].to_dict() == {
        "A0001": ["CRBBB"], "A0002": ["AFIB", "CRBBB"], "A0003": ["STD"], "A0004": ["VPC"], "A0005": ["NORM"]
    }  # fmt: skip
    notes = cohort.metadata.notes
    assert notes["header_disagrees_with_reference"] == {
        "count": 1,
        "names": ["A0003: header STE, REFERENCE.csv STD"],
    }
    assert notes["not_in_reference"]["names"] == ["A0004"]
    assert cohort.metadata.broken_rows == [
        "REFERENCE.csv 'A0006': labels '12', expected 1 to 9",
        "REFERENCE.csv 'A0001': repeated",
    ]
    assert (refs["age"]["A0001"], refs["sex"]["A0001"]) == (74.0, "female")
    assert refs["report"].eq("").all()


def test_the_enlarged_reference_gives_age_and_sex_but_no_report(tmp_path: Path) -> None:
    root = tmp_path / "cpsc2018"
    reference(root, ",0,A0001,5.0,,,right bundle branch block,Male,-1.0", columns=f",x,{COLUMNS},reports,sex,age")
    ref = refs_of(root).loc["A0001"]
    assert (ref.labels, ref.sex, ref.report) == (["CRBBB"], "male", "")
    assert np.isnan(ref.age)


def put_struct(folder: Path, name: str, data: np.ndarray, age: float = 52, sex: str = "Male") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", {"ECG": {"sex": sex, "age": age, "data": data}})


def test_original_structs_are_read_in_millivolts_at_500_hz(tmp_path: Path) -> None:
    root = tmp_path / "cpsc2018"
    data = np.random.default_rng(0).normal(size=(12, 5500))
    put_struct(root / "TrainingSet1", "A0001", data)
    put_struct(root / "TrainingSet1", "A0002", data[:8])
    (root / "TrainingSet1" / "A0003.mat").write_bytes(b"MATLAB 5.0 but not really" * 10)
    reference(root / "TrainingSet3", "A0001,1,,", "A0002,1,,", "A0003,1,,")
    cohort = open_cohort("cpsc2018", root)
    assert cohort.metadata.notes["reference"] == "TrainingSet3/REFERENCE.csv"
    refs = cohort.refs().set_index("record_id", drop=False)
    recording = cohort.read(refs.loc["A0001"], fs_hz=100)
    assert np.array_equal(recording.signal_mv, data.astype(np.float32))
    assert (recording.fs_hz, recording.age, recording.sex, recording.labels) == (500, 52, "male", {"NORM"})
    with pytest.raises(RejectedRecording, match="missing lead: data of shape"):
        cohort.read(refs.loc["A0002"])
    with pytest.raises(RejectedRecording, match="unreadable signal"):
        cohort.read(refs.loc["A0003"])


def test_without_a_reference_labels_come_from_headers(tmp_path: Path, record_writer: Any, make_ecg: Any) -> None:
    root = tmp_path / "training" / "cpsc_2018"
    record_writer(root / "g1", "A0001", make_ecg(1), fs=500, comments=["Dx: 270492004"])
    cohort = open_cohort("cpsc2018", tmp_path)
    assert cohort.refs()["labels"].tolist() == [["1AVB"]]
    record_writer(tmp_path / "training" / "other", "Q0001", make_ecg(1), fs=500, comments=["Dx: 1"])
    assert cohort.refs()["record_id"].tolist() == ["A0001"]
    assert cohort.metadata.notes["reference"] == "none: labels from headers only"


def test_the_real_headers_agree_with_the_real_reference(real_data: Path) -> None:
    cohort = open_cohort("cpsc2018", real_data / "cpsc2018")
    refs = cohort.refs()
    assert len(refs) == 6877
    assert taxonomy.label_matrix("cpsc2018", refs["labels"]).sum(axis=0).tolist() == [
        918, 1221, 722, 236, 1857, 616, 700, 869, 220
    ]  # fmt: skip
    notes = cohort.metadata.notes
    assert notes["header_disagrees_with_reference"]["count"] == notes["unknown_words"]["count"] == 0
    here = [ref for ref in refs.itertuples(index=False) if cohort.has_waveform(ref)]
    assert len(here) == 100
    recording = cohort.read(here[0])
    published = np.fromfile(cohort.root / f"{here[0].path}.mat", dtype="<i2", offset=24).reshape(-1, 12).T
    assert np.array_equal(np.rint(recording.signal_mv.astype(float) * 1000), published)


def test_the_real_structs(real_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "cpsc2018"
    shutil.copytree(real_data / "cpsc2018-original", root)
    shutil.copy(real_data / "cpsc2018" / "REFERENCE.csv", root)
    cohort = open_cohort("cpsc2018", root)
    refs = cohort.refs().set_index("record_id", drop=False)
    labels = [refs.loc[f"A{number}"].labels for number in range(1980, 1985)]
    assert labels == [["PAC"], ["STD"], ["1AVB"], ["NORM"], ["STD"]]
    recording = cohort.read(refs.loc["A1980"])
    assert (recording.fs_hz, recording.signal_mv.shape, recording.age, recording.sex) == (500, (12, 5000), 52, "male")
    limb = recording.signal_mv[:3].astype(float)
    assert np.abs(limb[0] + limb[2] - limb[1]).max() < 0.01
    assert 0.05 < recording.signal_mv.std() < 2
