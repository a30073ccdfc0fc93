"""The paper's numbers: spot checks against its text, agreement with what its prose says, nothing lost filled in."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from merit.report import paper


@pytest.fixture
def text(real_data: Path) -> str:
    """The text of the paper with its tables, in a folder `paper` beside the real data; skips where it is not there."""
    for path in (real_data.resolve().parent / "paper").glob("003_*.txt"):
        return path.read_text(encoding="utf-8")
    pytest.skip("no paper/003_*.txt beside the real data")


def test_tables_hold_what_the_text_holds_cell_by_cell_or_what_survives_of_them(text):
    for table in (2, 7, 9):
        for row, cells in paper.cells(table).groupby("row"):
            shade = r"\\cellcolorgray!30 "
            printed = [shade * bool(c.mark) + f"{c.value:.2f}".replace("74.20", "74.2") for c in cells.itertuples()]
            for half in [printed] if table == 7 else [printed[:15], printed[15:]]:
                assert re.search(r"\| " + r" \| ".join(half) + r" \|\n", text), (table, row)
    for table, row in ((1, "st-mem"), (1, "merit"), (4, "merit")):
        values = list(paper.grid(table).loc[row])
        for half in (values[:15], values[15:]):
            there = [f"{value:.2f}" for value in half if not pd.isna(value)]
            assert not there or re.search(r"\|[ |]*" + r"[ |]+".join(there) + r"[ |]*\n", text), (table, row)


CELLS = {
    (1, "merit", "form", "auroc"): (None, "lost"),
    (1, "st-mem", "rhythm", "f1"): (68.55, "column inferred"),
    (2, "merit", "cpsc2018", "accuracy"): (86.45, "printed"),
    (4, "merit", "form", "accuracy"): (91.54, "printed"),
    (7, "merit", "csn>cpsc2018", "auroc"): (76.51, "printed"),
    (9, "ib", "cpsc2018", "f1"): (54.87, "printed"),
}
SURVIVED = {1: (15, 168), 2: (105, 105), 3: (0, 16), 4: (21, 84), 6: (0, 168), 7: (48, 48), 8: (0, 84), 9: (63, 63)}


def test_what_survives_is_counted_agrees_and_a_table_without_numbers_is_refused():
    for (table, *place), wanted in CELLS.items():
        cell = paper.cells(table).set_index(["row", "task", "metric"]).loc[tuple(place)]
        assert (None if pd.isna(cell["value"]) else cell["value"], cell["status"]) == wanted
    assert {table: (paper.grid(table).count().sum(), paper.grid(table).size) for table in paper.TABLES} == SURVIVED
    assert len(paper.read("numbers")) == sum(there for there, _ in SURVIVED.values())  # so every line has its cell
    with pytest.raises(KeyError, match="no Table 5 with numbers: expected one of 1, 2, 3"):
        paper.cells(5)
    assert set(paper.ROW_LABELS) == {row for grid in paper.TABLES.values() for row in grid.rows}
    # both tables agree where both survive, and columns that were inferred beat MERIT
    one, four, other = paper.grid(1).loc["merit"], paper.grid(4).loc["merit"], paper.grid(1).loc["st-mem"]
    assert (one.dropna() == four[one.notna()]).all()
    assert (other.dropna() > four[other.notna()]).all()
    assert one[other.notna()].isna().all()
    assert (paper.grid(2).loc["merit"] == paper.grid(9).loc["merit"]).all()


def test_only_complete_columns_are_ranked_and_equal_numbers_share_a_rank(monkeypatch):
    assert [len(paper.ranks(table).columns) for table in paper.TABLES] == [0, 21, 0, 0, 0, 6, 0, 21]
    for metric, points in paper.ZERO_SHOT_GAINS.items():  # the gains of the abstract follow from Table 2
        assert paper.leads(2)["subclass", metric] == points
    ranks = paper.ranks(7).loc["merit"].droplevel(1)  # the text says of Table 7 what the table says
    assert list(ranks.index[ranks == 1]) == ["cpsc2018>csn", "csn>superclass"]
    assert list(ranks.index[ranks == 2]) == ["superclass>csn", "csn>cpsc2018"]
    monkeypatch.setattr(paper, "grid", lambda table: pd.DataFrame({"x": {"a": 2.0, "b": 3.0, "merit": 2.0}}))
    assert paper.ranks(2)["x"].to_dict() == {"a": 2, "b": 1, "merit": 2}
    assert (paper.leads(2)["x"], paper.leads(2, "b")["x"]) == (-1.0, 1.0)


def test_settings_say_which_values_are_lost_and_counts_add_up():
    settings = paper.read("settings")
    lost = settings["source"][settings["value"].isna()]
    assert lost.str.endswith((", lost", ", never given")).all()
    assert lost.str.endswith(", lost").sum() == 5
    counts = paper.read("counts").set_index(["cohort", "what"])["number"]["mimic-iv-ecg"]
    parts = counts["of these for training"] + counts["of these for validation"]
    assert parts == counts["recordings after cleaning"]
