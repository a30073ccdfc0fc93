"""Which data set lies where, its tables as they are saved, and the fingerprint of its files."""

from __future__ import annotations

import os
import shutil

import pytest

from merit.data.cohorts import CohortNotFound, base, find_cohorts, locate, open_cohort
from merit.data.cohorts.base import BadTable, Cohort, age_years, iter_rows, sex_name


def test_a_cohort_is_found_at_the_root_and_below(ptb_xl, tmp_path):
    ptb_xl.add(1)
    assert open_cohort("ptb-xl", ptb_xl.root).root == ptb_xl.root
    assert open_cohort("ptb-xl", tmp_path).root == ptb_xl.root
    assert find_cohorts(tmp_path) == {"ptb-xl": ptb_xl.root}


def test_metadata_without_a_waveform_is_located_but_not_found(ptb_xl, tmp_path):
    ptb_xl.add(1, wave=False)
    assert locate(tmp_path) == {"ptb-xl": [ptb_xl.root]}
    assert find_cohorts(tmp_path) == {}


def test_of_several_copies_the_one_with_the_name_is_taken(tmp_path, record_writer, make_ecg):
    for name in ("a-copy", "cpsc2018", "deep/er/cpsc2018"):
        record_writer(tmp_path / name, "A0001", make_ecg(1), fs=500)
    assert find_cohorts(tmp_path) == {"cpsc2018": tmp_path / "cpsc2018"}
    assert len(locate(tmp_path)["cpsc2018"]) == 3


def test_a_mark_makes_it_synthetic(ptb_xl, tmp_path):
    assert not open_cohort("ptb-xl", ptb_xl.root).synthetic
    (tmp_path / "SYNTHETIC.md").write_text("made here")
    assert open_cohort("ptb-xl", ptb_xl.root).synthetic


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
    assert {name: path.name for name, path in find_cohorts(real_data).items()} == {
        "ptb-xl": "ptb-xl",
        "cpsc2018": "cpsc2018",
        "csn": "csn",
    }


def test_cells_stay_text_and_broken_rows_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b,c\n1,NA,x\n\n2,3\n4,\xff\xfe,y\n5,"6,7",z\n')
    bad: list[str] = []
    assert list(iter_rows(path, ("a", "b"), ("d",), bad)) == [["1", "NA", ""], ["4", "ÿþ", ""], ["5", "6,7", ""]]
    assert bad == ["t.csv line 4: 2 fields, expected 3"]


def test_a_missing_column_is_one_line(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(BadTable, match=r"t\.csv: expected the columns a; got 'x, y'"):
        list(iter_rows(tmp_path / "t.csv", ("a", "y"), (), []))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(BadTable):
        list(iter_rows(tmp_path / "empty.csv", ("a",), (), []))


def test_ages_and_sexes():
    assert [age_years(t) for t in ("56.0", "300.0", "-1", "", "nan", "inf", "1e9", "0")] == [56, 90, *[None] * 5, 0]
    assert [sex_name(t) for t in ("Male", " f", "Unknown", "")] == ["male", "female", None, None]


def test_the_fingerprint_is_of_content_and_is_looked_up_while_names_sizes_and_times_stay(ptb_xl, tmp_path, monkeypatch):
    for number in (1, 2):
        ptb_xl.add(number)
    kept, read = tmp_path / "kept" / "sources.json", []
    kept.parent.mkdir()
    content = Cohort._content
    monkeypatch.setattr(Cohort, "_content", lambda self, n: read.append(n) or content(self, n))
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


def test_a_file_that_cannot_be_read_now_is_looked_at_again(ptb_xl, tmp_path, monkeypatch):
    ptb_xl.add(1)
    kept = tmp_path / "kept.json"
    with monkeypatch.context() as patch:
        patch.setattr(base, "_digests", lambda root, names: [(name, None) for name in names])
        unreadable = open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept)
        assert not kept.exists()
    assert open_cohort("ptb-xl", ptb_xl.root).fingerprint(kept) != unreadable
