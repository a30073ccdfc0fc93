from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from merit.data.cohorts import open_cohort
from merit.data.cohorts.base import BadTable
from merit.data.recording import LEADS

REPORTS = ",".join(f"report_{i}" for i in range(18))


def statements(*texts: str) -> str:
    return ",".join([*texts, *[""] * (18 - len(texts))])


@pytest.fixture
def tree(tmp_path: Path, record_writer: Any, make_ecg: Any) -> Path:
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


def test_statements_and_paths_are_joined(tree: Path) -> None:
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


def test_the_swapped_augmented_leads_are_put_right(tree: Path, make_ecg: Any) -> None:
    cohort = open_cohort("mimic-iv-ecg", tree)
    recording = cohort.read(cohort.refs().iloc[0])
    as_filed = make_ecg(41, 500) / 200
    assert recording.signal_mv[4] == pytest.approx(as_filed[5], rel=1e-6)
    assert recording.signal_mv[5] == pytest.approx(as_filed[4], rel=1e-6)
    assert (recording.labels, recording.age, recording.sex, recording.fold) == (frozenset(), None, None, None)


def test_a_table_without_its_columns_is_one_line(tree: Path) -> None:
    (tree / "record_list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadTable, match="expected the columns subject_id, study_id, path"):
        open_cohort("mimic-iv-ecg", tree).refs()


def test_the_real_tables_have_the_columns_that_are_read(real_data: Path) -> None:
    refs = open_cohort("mimic-iv-ecg", real_data / "mimic-iv-ecg-sample").refs()
    assert refs["path"].tolist() == ["files/p1000/p10000032/s40689238/40689238"]
    assert refs["report"].tolist() == ["Sinus rhythm\nPossible right atrial abnormality\nBorderline ECG"]
