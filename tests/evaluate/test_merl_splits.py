"""MERL's lists: found where all three are there, read by the recording's name, refused without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from merit.evaluate.tasks import MERL_FOLDER, MERL_FOLDS, MERL_NAMES, merl_files, merl_folds


def written(data: Path, cohort: str = "csn") -> dict[str, Path]:
    name, column = MERL_NAMES[cohort]
    folder = data / MERL_FOLDER / name
    folder.mkdir(parents=True)
    for k, part in enumerate(MERL_FOLDS):
        (folder / f"{name}_{part}.csv").write_text(f"{column},age\n/chapman/WFDBRecords/01/010/JS0000{k}.mat,12\n")
    return merl_files(data, cohort)


def test_recordings_get_the_fold_of_their_list(tmp_path: Path) -> None:
    lists = written(tmp_path)
    folds = merl_folds(lists, "csn", ["JS00002", "JS00000", "JS00009", "JS00001"])
    assert folds.tolist() == [10, 1, 0, 9]


def test_nothing_is_found_where_a_list_is_missing(tmp_path: Path) -> None:
    assert merl_files(None, "csn") == {}
    assert merl_files(tmp_path, "csn") == {}
    lists = written(tmp_path)
    assert merl_files(tmp_path, "ptb-xl") == {}
    lists["val"].unlink()
    assert merl_files(tmp_path, "csn") == {}


def test_a_list_without_names_is_refused_in_one_line(tmp_path: Path) -> None:
    lists = written(tmp_path, "cpsc2018")
    lists["test"].write_text("name,age\nA1,3\n")
    with pytest.raises(ValueError, match=r"icbeb_test.csv: expected the column filename; got name, age"):
        merl_folds(lists, "cpsc2018", ["A1"])


def test_merls_own_lists_cover_what_the_paper_counts(real_data: Path) -> None:
    for cohort, counts in {"cpsc2018": (4950, 551, 1376), "csn": (16546, 1860, 4620)}.items():
        lists = merl_files(real_data, cohort)
        if not lists:
            pytest.skip("no merl-splits in MERIT_REAL_DATA")
        assert tuple(len(path.read_text().splitlines()) - 1 for path in lists.values()) == counts
