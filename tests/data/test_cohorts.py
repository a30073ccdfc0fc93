"""Which data set lies where, what its tables and headers become, and that its recordings are read exactly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from wfdb_trees import make_ecg, put_record

from merit.data import cohorts, taxonomy
from merit.data.cohorts import (
    BadTable,
    Cohort,
    CohortNotFound,
    age_years,
    find_cohorts,
    header_labels,
    iter_rows,
    locate,
    open_cohort,
    sex_name,
)
from merit.data.recording import LEADS, RejectedRecording, clean


def published(path: Path, offset: int = 0) -> np.ndarray:
    """int16 [12, T] of a file in format 16."""
    return np.fromfile(path, dtype="<i2", offset=offset).reshape(-1, 12).T


# -- which data set lies where ----------------------------------------------------------------------------------------


def test_a_cohort_is_found_at_the_root_and_below_with_a_waveform_alone(ptb_xl, tmp_path):
    ptb_xl.add(1, wave=False)
    assert locate(tmp_path) == {"ptb-xl": [ptb_xl.root]}
    assert find_cohorts(tmp_path) == {}
    ptb_xl.add(2)
    assert open_cohort("ptb-xl", ptb_xl.root).root == open_cohort("ptb-xl", tmp_path).root == ptb_xl.root
    assert find_cohorts(tmp_path) == {"ptb-xl": ptb_xl.root}
    assert not open_cohort("ptb-xl", ptb_xl.root).synthetic
    (tmp_path / "SYNTHETIC.md").write_text("made here")
    assert open_cohort("ptb-xl", ptb_xl.root).synthetic


def test_of_several_copies_the_one_with_the_name_is_taken(tmp_path):
    for name in ("a-copy", "cpsc2018", "deep/er/cpsc2018"):
        put_record(tmp_path / name, "A0001", make_ecg(1), fs=500)
    assert find_cohorts(tmp_path) == {"cpsc2018": tmp_path / "cpsc2018"}
    assert len(locate(tmp_path)["cpsc2018"]) == 3


def test_nothing_there_is_one_line_that_says_what_was_looked_for(tmp_path):
    for name, mark in (("ptb-xl", "ptbxl_database.csv"), ("csn", "WFDBRecords"), ("mimic-iv-ecg", "record_list.csv")):
        with pytest.raises(CohortNotFound, match=mark) as error:
            open_cohort(name, tmp_path)
        assert "\n" not in str(error.value)
        assert str(tmp_path) in str(error.value)
    with pytest.raises(CohortNotFound, match="does not exist"):
        open_cohort("ptb-xl", tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(CohortNotFound, match="is a file"):
        find_cohorts(tmp_path / "file")
    with pytest.raises(ValueError, match="unknown cohort 'ptbxl'; known: mimic-iv-ecg, ptb-xl"):
        open_cohort("ptbxl", tmp_path)


def test_the_real_data_sets_are_found(real_data):
    assert find_cohorts(real_data) == {name: real_data / name for name in ("ptb-xl", "cpsc2018", "csn")}


# -- tables and fingerprints ------------------------------------------------------------------------------------------


def test_cells_stay_text_and_broken_rows_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b,c\n1,NA,x\n\n2,3\n4,\xff\xfe,y\n5,"6,7",z\n')
    bad: list[str] = []
    assert list(iter_rows(path, ("a", "b"), ("d",), bad)) == [["1", "NA", ""], ["4", "ÿþ", ""], ["5", "6,7", ""]]
    assert bad == ["t.csv line 4: 2 fields, expected 3"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"x,y\n1,2\n", r"t\.csv: expected the columns a; got 'x, y'"),
        (b"", r"t\.csv: expected the columns a"),
        (b"x" * (50 << 20), r"t\.csv: expected the columns a; line 1: field larger than field limit"),
    ],
    ids=["other", "empty", "endless"],
)
def test_a_table_without_its_columns_is_one_line(tmp_path, content: bytes, reason):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(BadTable, match=reason):
        list(iter_rows(tmp_path / "t.csv", ("a",), (), []))


def test_ages_and_sexes():
    assert [age_years(t) for t in ("56.0", "300.0", "-1", "", "nan", "inf", "1e9", "0")] == [56, 90, *[None] * 5, 0]
    assert [sex_name(t) for t in ("Male", " f", "Unknown", "")] == ["male", "female", None, None]


def test_the_fingerprint_is_of_content_and_is_looked_up_while_names_sizes_and_times_stay(ptb_xl, tmp_path, monkeypatch):
    for number in (1, 2):
        ptb_xl.add(number)
    kept, read = tmp_path / "kept" / "sources.json", []
    kept.parent.mkdir()
    digests = cohorts.digests
    monkeypatch.setattr(cohorts, "digests", lambda root, names: read.append(len(names)) or digests(root, names))
    monkeypatch.delenv("MERIT_BUILD", raising=False)

    def fingerprint(root=ptb_xl.root):
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
    monkeypatch.setattr(cohorts, "digests", lambda root, names: [(name, None) for name in names])
    kept.unlink()
    assert fingerprint() != first
    assert not kept.exists(), "a file that cannot be read now is looked at again"


def test_of_one_build_only_the_first_process_looks(ptb_xl, tmp_path, monkeypatch):
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


# -- MIMIC-IV-ECG -----------------------------------------------------------------------------------------------------


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    root = tmp_path / "mimic-iv-ecg"
    for study in (41, 42):
        folder = root / "files/p1000/p10000032" / f"s{study}"
        order = ["I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:]]
        put_record(folder, str(study), make_ecg(study, 500), fs=500, names=order, gain="200.0(0)/mV")
    (root / "record_list.csv").write_text(
        "subject_id,study_id,file_name,ecg_time,path\n"
        "10000032,41,41,2180-07-23 08:44:00,files/p1000/p10000032/s41/41\n"
        "10000032,42,42,2180-07-23 09:54:00,files/p1000/p10000032/s42/42\n"
        "10000033,43,43,2180-07-23 09:54:00,files/p1000/p10000033/s43/43\n"
    )
    reports, empty = ",".join(f"report_{i}" for i in range(18)), "," * 15
    (root / "machine_measurements.csv").write_text(
        f"subject_id,study_id,cart_id,{reports},bandwidth\n"
        f"10000032,41,6,Sinus rhythm,,Borderline ECG{empty},x\n"
        f"10000032,42,6,,,{empty},x\n"
        f"10000099,99,6,Lost,,{empty},x\n"
    )
    return root


def test_statements_and_paths_are_joined_and_swapped_leads_put_right(mimic):
    cohort = open_cohort("mimic-iv-ecg", mimic)
    refs = cohort.refs()
    assert refs["record_id"].tolist() == ["41", "42", "43"]
    assert refs["report"].tolist() == ["Sinus rhythm\nBorderline ECG", "", ""]
    assert refs["patient_id"].tolist() == ["10000032", "10000032", "10000033"]
    assert refs["fold"].isna().all()
    notes = cohort.metadata.notes
    assert notes["studies_without_statements"] == 1
    assert notes["statements_without_study"] == {"count": 1, "names": ["99"]}
    assert cohort.present() == [True, True, False]
    recording, as_filed = cohort.read(refs.iloc[0]), make_ecg(41, 500) / 200
    assert recording.signal_mv[4] == pytest.approx(as_filed[5], rel=1e-6)
    assert recording.signal_mv[5] == pytest.approx(as_filed[4], rel=1e-6)
    assert (recording.labels, recording.age, recording.sex, recording.fold) == (frozenset(), None, None, None)


def test_the_real_tables_have_the_columns_that_are_read(real_data):
    refs = open_cohort("mimic-iv-ecg", real_data / "mimic-iv-ecg-sample").refs()
    assert refs["path"].tolist() == ["files/p1000/p10000032/s40689238/40689238"]
    assert refs["report"].tolist() == ["Sinus rhythm\nPossible right atrial abnormality\nBorderline ECG"]


# -- PTB-XL -----------------------------------------------------------------------------------------------------------


def test_a_row_becomes_a_reference(ptb_xl):
    ptb_xl.add(7, codes="{'SR': 0.0, 'IMI': 15.0, 'XXX': 50.0}", fold="3", age="300.0", report=b"Befund \xff, \xc3\xbc")
    ptb_xl.add(7, report=b"second")
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    ref, again = cohort.refs().itertuples()
    assert (ref.record_id, ref.patient_id, ref.fold, ref.age, ref.sex) == ("7", "1007", 3, 90.0, "female")
    assert ref.labels == ["IMI", "SR", "XXX"], "every statement counts, whatever its likelihood"
    assert ref.report == "Befund ÿ, ü", "a byte that is not UTF-8 is Latin-1's"
    assert (ref.problem, again.problem) == ("", "repeated record id: the first row holds")
    assert cohort.metadata.notes["unknown_codes"] == {"XXX": 1}
    recording = cohort.read(ref)
    assert recording.labels == {"IMI", "SR", "XXX"}
    assert (recording.fold, recording.age, recording.sex, recording.fs_hz) == (3, 90.0, "female", 100)


def test_the_rate_wanted_chooses_the_file_and_what_is_there_decides(ptb_xl):
    for ecg_id in (1, 2, 3):
        ptb_xl.add(ecg_id, wave=ecg_id != 3)
        if ecg_id != 2:
            put_record(ptb_xl.root / "records500/00000", f"{ecg_id:05d}_hr", make_ecg(ecg_id, 5000), fs=500)
    cohort = open_cohort("ptb-xl", ptb_xl.root)
    rates = {
        ref.record_id: [cohort.read(ref, fs_hz=fs).fs_hz for fs in (None, 50, 100, 250, 500)]
        for ref in cohort.refs().itertuples(index=False)
    }
    assert rates == {"1": [500, 100, 100, 500, 500], "2": [100] * 5, "3": [500] * 5}
    assert all(cohort.present())


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
    assert cohort.present() == [False]
    with pytest.raises(RejectedRecording, match=reason):
        cohort.read(cohort.refs().iloc[0])


def test_real_recordings_have_the_files_own_microvolts(real_data):
    root = real_data / "ptb-xl"
    cohort = open_cohort("ptb-xl", root)
    refs = list(cohort.refs()[cohort.present()].itertuples(index=False))
    assert len(refs) == 2000
    for ref in refs[::97]:
        recording = cohort.read(ref, fs_hz=100)
        digital = np.rint(recording.signal_mv.astype(float) * 1000)
        assert np.array_equal(digital, published(root / f"{ref.path}.dat")), ref.path
    assert cohort.strays() == [f"records100/00000/{n:05d}_lr" for n in (137, 139, 140, 141, 142, 143, 145)]
    fast = cohort.read(refs[0])
    assert (fast.fs_hz, fast.signal_mv.shape) == (500, (12, 5000))
    assert np.abs(fast.signal_mv[0] + fast.signal_mv[2] - fast.signal_mv[1]).max() < 0.011
    assert sum(len(clean(ref.report).split()) < 4 for ref in refs) == 236, "reports are as short as counted"


# -- CPSC2018 ---------------------------------------------------------------------------------------------------------

COLUMNS = "Recording,First_label,Second_label,Third_label"


def reference(root: Path, *rows: str, columns: str = COLUMNS) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "REFERENCE.csv").write_text("\n".join([columns, *rows]) + "\n")


def test_words_and_codes_mean_the_same():
    for row in taxonomy.cpsc2018_classes().itertuples():
        assert header_labels(row.word) == header_labels(row.snomed) == ([row.label], [])
    assert header_labels("RBBB, AF") == (["AFIB", "CRBBB"], [])
    assert header_labels("733534002,17338001,Nonsense") == (["CLBBB", "VPC"], ["Nonsense"])
    assert header_labels("") == ([], [])


def test_the_reference_wins_and_disagreements_are_named(tmp_path):
    root = tmp_path / "cpsc2018"
    for number, dx in ((1, "RBBB"), (2, "59118001,164889003"), (3, "STE"), (4, "PVC")):
        comments = ["Age: 74", "Sex: Female", f"Dx: {dx}"]
        put_record(root / "training/cpsc_2018/g1", f"A000{number}", make_ecg(number), fs=500, comments=comments)
    reference(root, "A0001,5,,", "A0002,2,5,", "A0003,8,,", "A0005,1,,", "A0006,12,,", "A0001,1,,")
    cohort = open_cohort("cpsc2018", root)
    refs = cohort.refs().set_index("record_id")
    assert refs["labels"].tolist() == [["CRBBB"], ["AFIB", "CRBBB"], ["STD"], ["VPC"], ["NORM"]]
    assert refs.index.tolist() == [f"A000{number}" for number in range(1, 6)]
    notes = cohort.metadata.notes
    disagrees = {"count": 1, "names": ["A0003: header STE, REFERENCE.csv STD"]}
    assert notes["header_disagrees_with_reference"] == disagrees
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
    ref = open_cohort("cpsc2018", root).refs().iloc[0]
    assert (ref.record_id, ref.labels, ref.sex, ref.report) == ("A0001", ["CRBBB"], "male", "")
    assert np.isnan(ref.age)


def test_original_structs_are_read_in_millivolts_at_500_hz(tmp_path):
    root, data = tmp_path / "cpsc2018", np.random.default_rng(0).normal(size=(12, 5500))
    (root / "TrainingSet1").mkdir(parents=True)
    for name, leads in (("A0001", data), ("A0002", data[:8])):
        struct = {"ECG": {"sex": "Male", "age": 52.0, "data": leads}}
        scipy.io.savemat(root / "TrainingSet1" / f"{name}.mat", struct)
    (root / "TrainingSet1" / "A0003.mat").write_bytes(b"MATLAB 5.0 but not really" * 10)
    reference(root / "TrainingSet3", "A0001,1,,", "A0002,1,,", "A0003,1,,")
    cohort = open_cohort("cpsc2018", root)
    assert cohort.metadata.notes["reference"] == "TrainingSet3/REFERENCE.csv"
    refs = cohort.refs().set_index("record_id", drop=False)
    recording = cohort.read(refs.loc["A0001"], fs_hz=100)
    assert np.array_equal(recording.signal_mv, data.astype(np.float32))
    assert (recording.fs_hz, recording.age, recording.sex, recording.labels) == (500, 52, "male", {"NORM"})
    for name, reason in (("A0002", "missing lead: data of shape"), ("A0003", "unreadable signal")):
        with pytest.raises(RejectedRecording, match=reason):
            cohort.read(refs.loc[name])


def test_without_a_reference_labels_come_from_headers(tmp_path):
    put_record(tmp_path / "training/cpsc_2018/g1", "A0001", make_ecg(1), fs=500, comments=["Dx: 270492004"])
    put_record(tmp_path / "training/other", "Q0001", make_ecg(1), fs=500, comments=["Dx: 1"])
    cohort = open_cohort("cpsc2018", tmp_path)
    assert cohort.refs()["record_id"].tolist() == ["A0001"]
    assert cohort.refs()["labels"].tolist() == [["1AVB"]]
    assert cohort.metadata.notes["reference"] == "none: labels from headers only"


def test_the_real_headers_agree_with_the_real_reference(real_data):
    cohort = open_cohort("cpsc2018", real_data / "cpsc2018")
    refs = cohort.refs()
    assert len(refs) == 6877
    counts = taxonomy.label_matrix("cpsc2018", refs["labels"]).sum(axis=0).tolist()
    assert counts == [918, 1221, 722, 236, 1857, 616, 700, 869, 220]
    notes = cohort.metadata.notes
    assert notes["header_disagrees_with_reference"]["count"] == notes["unknown_words"]["count"] == 0
    here = refs[cohort.present()]
    assert len(here) == 100
    digital = np.rint(cohort.read(here.iloc[0]).signal_mv.astype(float) * 1000)
    assert np.array_equal(digital, published(cohort.root / f"{here.iloc[0].path}.mat", offset=24))


def test_the_real_structs(real_data, tmp_path):
    root = shutil.copytree(real_data / "cpsc2018-original", tmp_path / "cpsc2018")
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


# -- CSN --------------------------------------------------------------------------------------------------------------


def test_codes_become_acronyms_and_unknown_ones_are_counted(tmp_path):
    folder = tmp_path / "csn/WFDBRecords/01/010"
    comments = ["Age: 85", "Sex: Male", "Dx: 164889003,59118001,698252002,55930002"]
    put_record(folder, "JS00001", make_ecg(1), fs=500, comments=comments)
    put_record(folder, "JS00002", make_ecg(2), fs=500, comments=["Age: NaN", "Sex: Unknown", "Dx: 55930002"])
    (folder / "JS00003.hea").write_bytes(b"")
    (folder / "JS00004.dat").write_bytes(b"12")
    cohort = open_cohort("csn", tmp_path)
    refs = cohort.refs()
    assert refs["labels"].tolist() == [["AFIB", "IDC", "RBBB"], [], []]
    assert refs["patient_id"].tolist() == ["JS00001", "JS00002", "JS00003"]
    assert refs["sex"].iloc[0] == "male"
    assert refs["sex"].iloc[1:].isna().all()
    assert cohort.metadata.notes["unknown_codes"] == {"55930002": 2}
    assert cohort.strays() == ["WFDBRecords/01/010/JS00004"]
    assert cohort.read(refs.iloc[0]).age == 85


def test_the_real_recordings_in_their_own_format(real_data):
    cohort = open_cohort("csn", real_data / "csn")
    refs = list(cohort.refs().itertuples(index=False))
    assert len(refs) == 12
    assert refs[0].labels == ["APB", "IDC", "ST"]
    for ref in refs:
        recording = cohort.read(ref)
        assert "16x1+24" in (cohort.root / f"{ref.path}.hea").read_text()
        digital = np.rint(recording.signal_mv.astype(float) * 1000)
        assert np.array_equal(digital, published(cohort.root / f"{ref.path}.mat", offset=24))
        assert "APB" in recording.labels or "427172004" in cohort.metadata.notes["unknown_codes"]
