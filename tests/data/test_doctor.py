"""What the overview of a data folder counts, and which chapters it says can be shown."""

from __future__ import annotations

import pytest
from wfdb_trees import PtbXlTree, put_csn

from merit.data import doctor
from merit.data.cohorts import CohortNotFound
from merit.data.ingest import ingest


def test_counts_and_chapters(ptb_xl, tmp_path, monkeypatch):
    ptb_xl.root = ptb_xl.root.rename(tmp_path / "other")
    ptb_xl.folder = ptb_xl.root / "records100/00000"
    PtbXlTree(tmp_path / "ptb-xl")  # has the name, but no waveform
    ptb_xl.add(1)
    ptb_xl.add(2, wave=False)
    put_csn(tmp_path, *range(6), n_samples=10)
    statuses = {status.name: status for status in doctor.examine(tmp_path)}
    assert list(statuses) == ["mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn"]
    assert (statuses["ptb-xl"].rows, statuses["ptb-xl"].waveforms, statuses["ptb-xl"].complete) == (2, 1, False)
    assert (statuses["csn"].rows, statuses["csn"].waveforms) == (6, 6)
    text = doctor.describe(list(statuses.values()))
    assert "ptb-xl        in part: 1 waveforms for 2 rows, 21,799 published" in text
    for said in ("cpsc2018      not there", "rows left empty: cpsc2018", "2 of 6 directions"):
        assert said in text
    monkeypatch.setattr(doctor, "MAX_COUNTED_FILES", 4)  # counting a large tree stops
    status = doctor.examine(tmp_path)[-1]
    assert (status.counted_all, status.complete) == (False, False)
    assert "at least 2 waveforms" in doctor.describe([status])


def test_no_table_no_data_set_and_no_folder_are_one_line_each(ptb_xl, tmp_path):
    (ptb_xl.root / "ptbxl_database.csv").write_text("nothing,of,the,kind\n")
    status = doctor.examine(ptb_xl.root)[1]
    assert not status.usable
    assert "unreadable: " in doctor.describe([status])
    assert "expected the columns ecg_id" in doctor.describe([status])
    (ptb_xl.root / "ptbxl_database.csv").unlink()
    with pytest.raises(CohortNotFound, match=r"looked for .*ptbxl_database\.csv") as error:
        doctor.examine(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(CohortNotFound, match="does not exist"):
        doctor.examine(tmp_path / "nowhere")


def test_what_ingest_can_read_is_counted(ptb_xl, tmp_path):
    """Links to nothing (git-annex without its content) and halves of downloads are said, not counted."""
    headers = [ptb_xl.add(ecg_id) for ecg_id in range(1, 6)]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for header in headers[:2]:
        for path in (header, header.with_suffix(".dat")):
            path.rename(elsewhere / path.name)
            path.symlink_to(elsewhere / path.name)
    (elsewhere / "00002_lr.dat").unlink()
    headers[2].with_suffix(".dat").unlink()
    headers[3].unlink()
    headers[3].symlink_to("nothing")
    headers[3].with_suffix(".dat").unlink()
    status = doctor.examine(ptb_xl.root)[1]
    assert (status.rows, status.waveforms, status.halves) == (5, 2, 2)
    assert "2 more of which header or signals are missing" in doctor.describe([status])
    store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
    assert len(store) == status.waveforms
    assert dict(store.rejected.itertuples(index=False, name=None)) == {
        "2": "no signal file: '00002_lr.dat' is a link to nothing",
        "3": "no signal file: '00003_lr.dat' is not there",
        "4": "no waveform",
    }


def test_linked_folders_circles_and_what_a_mac_leaves(ptb_xl, tmp_path):
    for ecg_id in (1, 2):
        (ptb_xl.folder / f"._{ptb_xl.add(ecg_id).name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
    (ptb_xl.root / "records100").rename(tmp_path / "scratch")
    (ptb_xl.root / "records100").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch" / "again").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch" / "self").symlink_to("self")
    assert doctor.examine(ptb_xl.root)[1].waveforms == 2
    store = ingest("ptb-xl", ptb_xl.root, tmp_path / "store", progress=False)
    assert len(store) == 2
    assert not store.rejected["record_id"].str.contains("._", regex=False).any()


def test_the_real_folder(real_data):
    statuses = {s.name: (s.rows, s.waveforms, s.usable) for s in doctor.examine(real_data)}
    assert statuses == {
        "mimic-iv-ecg": (1, 0, False),
        "ptb-xl": (21799, 2000, True),
        "cpsc2018": (6877, 100, True),
        "csn": (12, 12, True),
    }
