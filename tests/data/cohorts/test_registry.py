from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from merit.data.cohorts import CohortNotFound, find_cohorts, locate, open_cohort


def test_a_cohort_is_found_at_the_root_and_below(ptb_xl: Any, tmp_path: Path) -> None:
    ptb_xl.add(1)
    assert open_cohort("ptb-xl", ptb_xl.root).root == ptb_xl.root
    assert open_cohort("ptb-xl", tmp_path).root == ptb_xl.root
    assert find_cohorts(tmp_path) == {"ptb-xl": ptb_xl.root}


def test_metadata_without_a_waveform_is_located_but_not_found(ptb_xl: Any, tmp_path: Path) -> None:
    ptb_xl.add(1, wave=False)
    assert locate(tmp_path) == {"ptb-xl": [ptb_xl.root]}
    assert find_cohorts(tmp_path) == {}


def test_of_several_copies_the_one_with_the_name_is_taken(tmp_path: Path, record_writer: Any, make_ecg: Any) -> None:
    for name in ("a-copy", "cpsc2018", "deep/er/cpsc2018"):
        record_writer(tmp_path / name, "A0001", make_ecg(1), fs=500)
    assert find_cohorts(tmp_path) == {"cpsc2018": tmp_path / "cpsc2018"}
    assert len(locate(tmp_path)["cpsc2018"]) == 3


def test_a_mark_makes_it_synthetic(ptb_xl: Any, tmp_path: Path) -> None:
    assert not open_cohort("ptb-xl", ptb_xl.root).synthetic
    (tmp_path / "SYNTHETIC.md").write_text("made here")
    assert open_cohort("ptb-xl", ptb_xl.root).synthetic


def test_nothing_there_is_one_line_that_says_what_was_looked_for(tmp_path: Path) -> None:
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


def test_the_real_data_sets_are_found(real_data: Path) -> None:
    assert {name: path.name for name, path in find_cohorts(real_data).items()} == {
        "ptb-xl": "ptb-xl",
        "cpsc2018": "cpsc2018",
        "csn": "csn",
    }
