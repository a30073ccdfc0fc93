"""What each data set's tables and headers become, and that its recordings are read exactly."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from merit.data import taxonomy
from merit.data.cohorts import open_cohort
from merit.data.cohorts.base import BadTable
from merit.data.cohorts.datasets import header_labels
from merit.data.recording import LEADS, RejectedRecording, clean

# MIMIC-IV-ECG

REPORTS = ",".join(f"report_{i}" for i in range(18))


def statements(*texts: str) -> str:
    return ",".join([*texts, *[""] * (18 - len(texts))])


@pytest.fixture
def tree(tmp_path, record_writer, make_ecg):
    root = tmp_path / "mimic-iv-ecg"
    order = ["I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:]]
    for study in (41, 42):
        folder = root / "files/p1000/p10000032" / f"s{study}"
        record_writer(folder, str(study), make_ecg(study, 500), fs=500, names=order, gain="200.0(0)/mV")
    (root / "record_list.csv").write_text(
        "subject_id,study_id,file_name,ecg_time,path\n"
        "10000032,41,41,2180-07-23 08:44:00,files/p1000/p10000032/s41/41\n"
        "10000032,42,42,2180-07-23 09:54:00,files/p1000/p10000032/s42/42\n"
        "10000033,43,43,2180-07-23 09:54:00,files/p1000/p10000033/s43/43\n"
    )
    (root / "machine_measurements.csv").write_text(
        f"subject_id,study_id,cart_id,{REPORTS},bandwidth\n"
        f"10000032,41,6,{statements('Sinus rhythm', '', 'Borderline ECG')},x\n"
        f"10000032,42,6,{statements()},x\n"
        f"10000099,99,6,{statements('Lost')},x\n"
    )
    return root


def test_statements_and_paths_are_joined(tree):
    cohort = open_cohort("mimic-iv-ecg", tree)
    refs = cohort.refs()
    assert refs["record_id"].tolist() == ["41", "42", "43"]
    assert refs["report"].tolist() == ["Sinus rhythm\nBorderline ECG", "", ""]
    assert refs["patient_id"].tolist() == ["10000032", "10000032", "10000033"]
    assert refs["fold"].isna().all()
    notes = cohort.metadata.notes
    assert notes["studies_without_statements"] == 1
    assert notes["statements_without_study"] == {"count": 1, "names": ["99"]}
    assert [cohort.has_waveform(ref) for ref in refs.itertuples(index=False)] == [True, True, False]


def test_the_swapped_augmented_leads_are_put_right(tree, make_ecg):
    cohort = open_cohort("mimic-iv-ecg", tree)
    recording = cohort.read(cohort.refs().iloc[0])
    as_filed = make_ecg(41, 500) / 200
    assert recording.signal_mv[4] == pytest.approx(as_filed[5], rel=1e-6)
    assert recording.signal_mv[5] == pytest.approx(as_filed[4], rel=1e-6)
    assert (recording.labels, recording.age, recording.sex, recording.fold) == (frozenset(), None, None, None)


def test_a_table_without_its_columns_is_one_line(tree):
    (tree / "record_list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadTable, match="expected the columns subject_id, study_id, path"):
        open_cohort("mimic-iv-ecg", tree).refs()


def test_the_real_tables_have_the_columns_that_are_read(real_data):
    refs = open_cohort("mimic-iv-ecg", real_data / "mimic-iv-ecg-sample").refs()
    assert refs["path"].tolist() == ["files/p1000/p10000032/s40689238/40689238"]
    assert refs["report"].tolist() == ["Sinus rhythm\nPossible right atrial abnormality\nBorderline ECG"]


# PTB-XL


def test_a_row_becomes_a_reference(ptb_xl):
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


def test_the_rate_wanted_chooses_the_file_and_what_is_there_decides(ptb_xl, record_writer, make_ecg):
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
def test_a_bad_row_is_refused_and_never_opened(ptb_xl, changes, reason):
    ptb_xl.add(1, **changes)
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    ref = cohort.refs().iloc[0]
    assert not cohort.has_waveform(ref)
    with pytest.raises(RejectedRecording, match=reason):
        cohort.read(ref)


def test_of_repeated_ids_the_first_row_holds(ptb_xl):
    ptb_xl.add(1, report=b"first")
    ptb_xl.add(1, report=b"second")
    refs = open_cohort("ptb-xl", ptb_xl.root).refs()
    assert refs["problem"].tolist() == ["", "repeated record id: the first row holds"]


def test_strays_and_the_fingerprint_follow_the_files(ptb_xl, record_writer, make_ecg):
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


def test_real_recordings_have_the_files_own_microvolts(real_data):
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


def test_real_reports_are_short_as_often_as_counted(real_data):
    cohort = open_cohort("ptb-xl", real_data)
    texts = [clean(r.report) for r in cohort.refs().itertuples(index=False) if cohort.has_waveform(r)]
    assert sum(len(text.split()) < 4 for text in texts) == 236


# CPSC2018

COLUMNS = "Recording,First_label,Second_label,Third_label"


def reference(root: Path, *rows: str, columns: str = COLUMNS) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "REFERENCE.csv").write_text("\n".join([columns, *rows]) + "\n")


def refs_of(root):
    return open_cohort("cpsc2018", root).refs().set_index("record_id")


def test_words_and_codes_mean_the_same():
    table = taxonomy.cpsc2018_classes()
    for row in table.itertuples():
        assert header_labels(row.word) == header_labels(row.snomed) == ([row.label], [])
    assert header_labels("RBBB, AF") == (["AFIB", "CRBBB"], [])
    assert header_labels("733534002,17338001,Nonsense") == (["CLBBB", "VPC"], ["Nonsense"])
    assert header_labels("") == ([], [])


def test_the_reference_wins_and_disagreements_are_named(tmp_path, record_writer, make_ecg):
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


def test_the_enlarged_reference_gives_age_and_sex_but_no_report(tmp_path):
    root = tmp_path / "cpsc2018"
    reference(root, ",0,A0001,5.0,,,right bundle branch block,Male,-1.0", columns=f",x,{COLUMNS},reports,sex,age")
    ref = refs_of(root).loc["A0001"]
    assert (ref.labels, ref.sex, ref.report) == (["CRBBB"], "male", "")
    assert np.isnan(ref.age)


def put_struct(folder: Path, name: str, data: np.ndarray, age: float = 52, sex: str = "Male") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", {"ECG": {"sex": sex, "age": age, "data": data}})


def test_original_structs_are_read_in_millivolts_at_500_hz(tmp_path):
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


def test_without_a_reference_labels_come_from_headers(tmp_path, record_writer, make_ecg):
    root = tmp_path / "training" / "cpsc_2018"
    record_writer(root / "g1", "A0001", make_ecg(1), fs=500, comments=["Dx: 270492004"])
    cohort = open_cohort("cpsc2018", tmp_path)
    assert cohort.refs()["labels"].tolist() == [["1AVB"]]
    record_writer(tmp_path / "training" / "other", "Q0001", make_ecg(1), fs=500, comments=["Dx: 1"])
    assert cohort.refs()["record_id"].tolist() == ["A0001"]
    assert cohort.metadata.notes["reference"] == "none: labels from headers only"


def test_the_real_headers_agree_with_the_real_reference(real_data):
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


def test_the_real_structs(real_data, tmp_path):
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


# CSN


def test_codes_become_acronyms_and_unknown_ones_are_counted(tmp_path, record_writer, make_ecg):
    root = tmp_path / "csn"
    folder = root / "WFDBRecords/01/010"
    comments = ["Age: 85", "Sex: Male", "Dx: 164889003,59118001,698252002,55930002"]
    record_writer(folder, "JS00001", make_ecg(1), fs=500, comments=comments)
    record_writer(folder, "JS00002", make_ecg(2), fs=500, comments=["Age: NaN", "Sex: Unknown", "Dx: 55930002"])
    (folder / "JS00003.hea").write_bytes(b"")
    (folder / "JS00004.dat").write_bytes(b"12")
    cohort = open_cohort("csn", root)
    refs = cohort.refs().set_index("record_id", drop=False)
    assert refs["labels"].tolist() == [["AFIB", "IDC", "RBBB"], [], []]
    assert refs["patient_id"].tolist() == ["JS00001", "JS00002", "JS00003"]
    assert refs["sex"].iloc[0] == "male"
    assert refs["sex"].iloc[1:].isna().all()
    assert cohort.metadata.notes["unknown_codes"] == {"55930002": 2}
    assert cohort.strays() == ["WFDBRecords/01/010/JS00004"]
    assert cohort.read(refs.loc["JS00001"]).age == 85


def test_the_real_recordings_in_their_own_format(real_data):
    cohort = open_cohort("csn", real_data / "csn")
    refs = list(cohort.refs().itertuples(index=False))
    assert len(refs) == 12
    assert "16x1+24" in (cohort.root / f"{refs[0].path}.hea").read_text()
    for ref in refs:
        recording = cohort.read(ref)
        published = np.fromfile(cohort.root / f"{ref.path}.mat", dtype="<i2", offset=24).reshape(-1, 12).T
        assert np.array_equal(np.rint(recording.signal_mv.astype(float) * 1000), published)
        assert "APB" in recording.labels or "427172004" in cohort.metadata.notes["unknown_codes"]
    assert refs[0].labels == ["APB", "IDC", "ST"]
