"""The paper's numbers: spot checks against its text, agreement with what its prose says, nothing lost filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from merit.report import paper, paper_checks


@pytest.fixture
def text(real_data: Path) -> str:
    """The text of the paper with its tables, in a folder `paper` beside the real data; skips where it is not there."""
    for path in (real_data.resolve().parent / "paper").glob("003_*.txt"):
        return path.read_text(encoding="utf-8")
    pytest.skip("no paper/003_*.txt beside the real data")


@pytest.mark.parametrize(
    ("table", "row", "task", "metric", "value", "status"),
    [
        (1, "merit", "superclass", "auroc", 93.26, "printed"),
        (1, "merit", "all", "f1", 42.63, "printed"),
        (1, "merit", "form", "auroc", None, "lost"),
        (1, "st-mem", "rhythm", "f1", 68.55, "column inferred"),
        (1, "merl", "superclass", "auroc", None, "lost"),
        (2, "merl", "superclass", "auroc", 74.29, "printed"),
        (2, "d-beta", "rhythm", "f1", 37.03, "printed"),
        (2, "merit", "cpsc2018", "accuracy", 86.45, "printed"),
        (3, "medtvt-r1", "generation", "rouge", None, "lost"),
        (4, "merit", "form", "accuracy", 91.54, "printed"),
        (4, "merit", "cpsc2018", "f1", 79.88, "printed"),
        (4, "cma", "all", "auroc", None, "lost"),
        (6, "qoq", "csn", "f1", None, "lost"),
        (7, "ecg-fm", "superclass>cpsc2018", "auroc", 75.04, "printed"),
        (7, "d-beta", "cpsc2018>csn", "auroc", 90.26, "printed"),
        (7, "merit", "csn>cpsc2018", "auroc", 76.51, "printed"),
        (8, "mse", "form", "f1", None, "lost"),
        (9, "cma", "all", "auroc", 74.2, "printed"),
        (9, "ib", "cpsc2018", "f1", 54.87, "printed"),
    ],
)
def test_cells(table, row, task, metric, value, status):
    cell = paper.number(table, row, task, metric)
    assert (cell.value, cell.status) == (value, status)


def test_the_complete_tables_hold_what_the_text_holds_cell_by_cell(text):
    for table in (2, 7, 9):
        grid = paper.TABLES[table]
        for row in grid.rows:
            cells = [paper.number(table, row, task, metric) for task in grid.tasks for metric in grid.metrics]
            halves = [cells] if table == 7 else [cells[:15], cells[15:]]
            for half in halves:
                printed = r" \| ".join(
                    (r"\\cellcolorgray!30 " if cell.shaded else "") + f"{cell.value:.2f}".replace("74.20", "74.2")
                    for cell in half
                )
                assert re.search(rf"\| {printed} \|\n", text), f"Table {table}, {row}"


def test_tables_1_and_4_hold_what_survives_of_them(text):
    for table, row in ((1, "st-mem"), (1, "merit"), (4, "merit")):
        cells = [paper.number(table, row, task, metric).value for task in paper.TASKS for metric in paper.METRICS]
        for half in (cells[:15], cells[15:]):
            there = [f"{value:.2f}" for value in half if value is not None]
            assert not there or re.search(r"\|[ |]*" + r"[ |]+".join(there) + r"[ |]*\n", text), (table, row)


def test_one_number_survives_of_each_column_that_has_any():
    assert [paper_checks.lone_survivors(table) for table in (1, 3, 4, 7)] == [(15, 15), (0, 0), (21, 21), (0, 6)]


def test_both_tables_agree_where_both_survive_and_inferred_columns_beat_merit():
    for task in paper.TASKS:
        for metric in paper.METRICS:
            one, four = (paper.number(table, "merit", task, metric) for table in (1, 4))
            assert one.value in (None, four.value)
            other = paper.number(1, "st-mem", task, metric)
            if other.value is not None:
                assert other.value > four.value
                assert one.value is None
            assert paper.number(2, "merit", task, metric).value == paper.number(9, "merit", task, metric).value


def test_survival_counts_and_unknown_cells():
    assert paper.survival() == {
        1: (15, 168), 2: (105, 105), 3: (0, 16), 4: (21, 84), 6: (0, 168), 7: (48, 48), 8: (0, 84), 9: (63, 63)
    }  # fmt: skip
    assert paper.best_known("merit", "form", "auroc").value == 87.76
    assert paper.best_known("medtvt-r1", "form", "auroc").status == "absent"
    for table, row, task in ((1, "cma", "all"), (5, "merit", "all"), (7, "merit", "csn"), (2, "qoq", "all")):
        with pytest.raises(KeyError, match=r"no cell|no Table"):
            paper.number(table, row, task, "auroc")
    assert set(paper.ROW_LABELS) == {row for rows in paper.ROWS.values() for row in rows}


def test_the_gains_of_the_abstract_follow_from_table_2():
    for gain in paper.GAINS:
        if gain.setting == "zero-shot":
            assert paper_checks.column(2, gain.task, gain.metric).gain("merit") == gain.points
    assert [gain.points for gain in paper.GAINS if gain.exceeds] == [3.0, 5.0]


def test_the_text_says_of_table_7_what_the_table_says():
    ranks = {one.task: one.rank("merit") for one in paper_checks.columns(7)}
    assert [task for task, rank in ranks.items() if rank == 1] == ["cpsc2018>csn", "csn>superclass"]
    assert [task for task, rank in ranks.items() if rank == 2] == ["superclass>csn", "csn>cpsc2018"]


def test_only_complete_columns_are_ranked_and_equal_numbers_share_a_rank():
    assert [sum(1 for _ in paper_checks.columns(table)) for table in paper.TABLES] == [0, 21, 0, 0, 0, 6, 0, 21]
    tied = paper_checks.Column(2, "form", "f1", {"a": 2.0, "b": 3.0, "c": 2.0}, ("a",))
    assert [tied.rank(row) for row in "abc"] == [2, 1, 2]
    assert (tied.gain("b"), tied.gain("a")) == (1.0, -1.0)
    with pytest.raises(KeyError, match="no complete column"):
        paper_checks.column(1, "superclass", "auroc")


def test_the_shaded_cell_is_second_everywhere_but_where_nothing_is_shaded():
    wrong = paper_checks.misplaced_shading()
    assert [(one.table, one.task, one.metric, one.shaded) for one in wrong] == [
        (9, "cpsc2018", "auroc", ()), (9, "cpsc2018", "f1", ())
    ]  # fmt: skip
    assert all(len(one.shaded) == 1 for table in (2, 7) for one in paper_checks.columns(table))


def test_every_oddity_has_evidence_with_numbers():
    found = paper_checks.oddities()
    assert set(found) == set(paper_checks.ODDITIES)
    assert all(re.search(r"\d", text) for text in found.values())
    form = found["zero-shot accuracy on form"]
    assert "64.68 is number 4 of 5 in Table 2" in form
    assert "3 of 3 in Table 9" in form
    form = found["linear probing on form: a signal-only method leads"]
    assert "+1.39 AUROC, +1.54 F1 and +0.70 accuracy" in form
    below = found["transfer below both unimodal methods"]
    assert "MERIT 61.88, ECG-FM 63.79 and ST-MEM 63.45" in below
    assert "D-BETA 79.74, MERIT 79.42" in found["mean over the transfers: D-BETA leads"]
    assert "the 375 tested recordings" in found["ECG-QA: test recordings likely pretrained on"]
    assert "2503.13939" in found["MedTVT-R1 is cited as Med-R1"]
    assert "21,837 recordings; the version that it cites, 1.0.3, has 21,799, 38 fewer" in " ".join(found.values())


def test_an_oddity_that_the_numbers_do_not_bear_out_is_not_listed(monkeypatch):
    monkeypatch.setattr(paper_checks, "ODDITIES", {"odd": lambda: "", "odder": lambda: "1 of 2"})
    assert paper_checks.oddities() == {"odder": "1 of 2"}


def test_settings_say_which_values_are_lost():
    lost = [one for one in paper.SETTINGS if one.value is None]
    assert all(one.source.endswith((", lost", ", never given")) for one in lost)
    assert sum(one.source.endswith(", lost") for one in lost) == 5
    mimic = {one.what: one.number for one in paper.COUNTS["mimic-iv-ecg"]}
    assert mimic["of these for training"] + mimic["of these for validation"] == mimic["recordings after cleaning"]
