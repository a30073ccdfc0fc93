from __future__ import annotations

import pytest

from merit.data import doctor
from merit.data.cohorts import CohortNotFound


def test_counts_and_chapters(ptb_xl, tmp_path, record_writer, make_ecg):
    ptb_xl.add(1)
    ptb_xl.add(2, wave=False)
    record_writer(tmp_path / "csn/WFDBRecords/01/010", "JS00001", make_ecg(1), fs=500, comments=["Dx: 59118001"])
    statuses = {status.name: status for status in doctor.examine(tmp_path)}
    assert list(statuses) == ["mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn"]
    assert (statuses["ptb-xl"].rows, statuses["ptb-xl"].waveforms, statuses["ptb-xl"].complete) == (2, 1, False)
    assert (statuses["csn"].rows, statuses["csn"].waveforms) == (1, 1)
    assert statuses["cpsc2018"].root is None
    text = doctor.describe(list(statuses.values()))
    assert "ptb-xl        in part: 1 waveforms for 2 rows, 21,799 published" in text
    assert "cpsc2018      not there" in text
    assert "on folds 1 to 8 of ptb-xl" in text
    assert "rows left empty: cpsc2018" in text
    assert "2 of 6 directions" in text
    assert "unseen pairs of ptb-xl" in text


def test_counting_a_large_tree_stops(ptb_xl, tmp_path, record_writer, make_ecg, monkeypatch):
    for number in range(6):
        record_writer(tmp_path / "csn/WFDBRecords/01/010", f"JS0000{number}", make_ecg(number, 10), fs=500)
    monkeypatch.setattr(doctor, "MAX_COUNTED_FILES", 4)
    status = doctor.examine(tmp_path)[-1]
    assert not status.counted_all
    assert not status.complete
    assert "at least 2 waveforms" in doctor.describe([status])


def test_a_table_that_cannot_be_read_is_said_and_the_rest_goes_on(ptb_xl):
    (ptb_xl.root / "ptbxl_database.csv").write_text("nothing,of,the,kind\n")
    status = doctor.examine(ptb_xl.root)[1]
    assert not status.usable
    assert "unreadable: " in doctor.describe([status])
    assert "expected the columns ecg_id" in doctor.describe([status])


def test_no_folder_and_no_data_set_are_one_line_each(tmp_path):
    with pytest.raises(CohortNotFound, match="does not exist"):
        doctor.examine(tmp_path / "nowhere")
    with pytest.raises(CohortNotFound, match=r"looked for .*ptbxl_database\.csv") as error:
        doctor.examine(tmp_path)
    assert "\n" not in str(error.value)


def test_the_real_folder(real_data):
    statuses = {s.name: (s.rows, s.waveforms, s.usable) for s in doctor.examine(real_data)}
    assert statuses == {
        "mimic-iv-ecg": (1, 0, False),
        "ptb-xl": (21799, 2000, True),
        "cpsc2018": (6877, 100, True),
        "csn": (12, 12, True),
    }
