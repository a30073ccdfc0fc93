"""The paper's numbers: spot checks against its text, and nothing that is lost filled in."""

from __future__ import annotations

import pytest

from merit.report import paper


@pytest.mark.parametrize(
    ("table", "row", "task", "metric", "value", "status"),
    [
        (1, "merit", "superclass", "auroc", 93.26, "printed"),
        (1, "merit", "all", "f1", 42.63, "printed"),
        (1, "merit", "form", "auroc", None, "lost"),
        (1, "st-mem", "rhythm", "f1", 68.55, "column inferred"),
        (1, "merl", "superclass", "auroc", None, "lost"),
        (4, "merit", "form", "accuracy", 91.54, "printed"),
        (4, "merit", "cpsc2018", "f1", 79.88, "printed"),
        (4, "cma", "all", "auroc", None, "lost"),
    ],
)
def test_cells(table, row, task, metric, value, status):
    cell = paper.number(table, row, task, metric)
    assert (cell.value, cell.status) == (value, status)


def test_both_tables_agree_where_both_survive_and_inferred_columns_beat_merit():
    for task in paper.TASKS:
        for metric in paper.METRICS:
            one, four = (paper.number(table, "merit", task, metric) for table in (1, 4))
            assert one.value in (None, four.value)
            other = paper.number(1, "st-mem", task, metric)
            if other.value is not None:
                assert other.value > four.value
                assert one.value is None


def test_survival_counts_and_unknown_cells():
    assert paper.survival() == {1: (15, 168), 4: (21, 84)}
    assert paper.best_known("merit", "form", "auroc").value == 87.76
    with pytest.raises(KeyError, match="no cell cma"):
        paper.number(1, "cma", "all", "auroc")
