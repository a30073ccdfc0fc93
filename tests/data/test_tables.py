from __future__ import annotations

from pathlib import Path

import pytest

from merit.data.cohorts.base import BadTable, age_years, iter_rows, sex_name


def test_cells_stay_text_and_broken_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b,c\n1,NA,x\n\n2,3\n4,\xff\xfe,y\n5,"6,7",z\n')
    bad: list[str] = []
    assert list(iter_rows(path, ("a", "b"), ("d",), bad)) == [["1", "NA", ""], ["4", "ÿþ", ""], ["5", "6,7", ""]]
    assert bad == ["t.csv line 4: 2 fields, expected 3"]


def test_a_missing_column_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(BadTable, match=r"t\.csv: expected the columns a; got 'x, y'"):
        list(iter_rows(tmp_path / "t.csv", ("a", "y"), (), []))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(BadTable):
        list(iter_rows(tmp_path / "empty.csv", ("a",), (), []))


def test_ages_and_sexes() -> None:
    assert [age_years(t) for t in ("56.0", "300.0", "-1", "", "nan", "inf", "1e9", "0")] == [56, 90, *[None] * 5, 0]
    assert [sex_name(t) for t in ("Male", " f", "Unknown", "")] == ["male", "female", None, None]
