"""The ablation's tables: rows in the paper's order, the paper's cells where they belong, spread as computed."""

from __future__ import annotations

import re

import pytest

from merit.report import ablation_tables


def cells(html: str) -> list[list[str]]:
    """The texts of a table's body, row by row, the label first."""
    body = html[html.index("<tbody>") :]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    return [
        [re.sub(r"<.*?>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows
    ]


@pytest.fixture
def ablation(make_result) -> list[dict]:
    """Four encoders on superclass, merit best."""
    levels = {"merit": 0.9, "random": 0.5, "mse": 0.7, "cma": 0.8}
    return [make_result(name, "superclass", level) for name, level in levels.items()]


def test_means_have_the_papers_order_and_its_row_under_the_oracle_columns(ablation):
    html = ablation_tables.means(ablation, "as_published", synthetic=False).text
    rows = cells(html)
    assert [row[0] for row in rows] == ["MSE", "CMA", "MERIT", "random", "paper: MERIT"]
    assert rows[2][1:] == ["90.0"] * 5
    assert rows[-1][1:] == ["93.26", "–", "75.97", "–", "89.03"]
    assert "merit-group-5" in html
    assert "pretrained on MIMIC-IV-ECG" in html
    assert "synthetic" in ablation_tables.means(ablation, "as_published", synthetic=True).text


def test_differences_from_the_paper_stand_only_where_they_mean_something(ablation):
    rows = cells(ablation_tables.means(ablation, "as_published", synthetic=False, comparable=True).text)
    assert rows[-1] == ["ours − paper: MERIT", "−3.26", "–", "+14.03", "–", "+0.97"]


def test_spreads_say_that_the_papers_are_lost(ablation):
    html = ablation_tables.spreads(ablation, "as_published", synthetic=False).text
    assert cells(html)[2][1] == "90.0\n±1.0"
    assert "paper: MERIT" not in html
    assert "Table 8 are lost" in html


def test_extended_has_lowest_and_highest_fold(ablation, make_result):
    html = ablation_tables.extended(ablation, "as_published", "auroc").text
    assert {row[0]: row[1] for row in cells(html)}["MERIT"] == "90.0\n±1.0\n89.0 to 91.0"
    single = [make_result("merit", "superclass", 0.9, n_folds=1)]
    assert cells(ablation_tables.extended(single, "as_published", "auroc").text)[0][1] == "90.0"


def test_a_spread_of_nothing_is_shown_as_nothing_and_not_left_out(make_result):
    one = make_result("merit", "superclass", 0.9)
    one["values"]["sd"]["auroc"] = 0.0
    assert cells(ablation_tables.spreads([one], "as_published", synthetic=True).text)[0][1] == "90.0\n±0.0"


def test_folds_and_who_is_first(ablation):
    ablation[3]["values"]["folds"][1]["auroc"] = 0.95
    rows = cells(ablation_tables.per_fold(ablation, "as_published", "superclass", "auroc").text)
    assert [row for row in rows if row[0] == "CMA"] == [["CMA", "79.0", "95.0"]]
    caption = ablation_tables.per_fold(ablation, "as_published", "superclass", "accuracy").text
    assert "<b>Acc.</b>, PTB-XL superclass" in caption
    said = ablation_tables.firsts(ablation, "as_published", "superclass", "auroc")
    assert said == "Of 2 test folds of PTB-XL superclass, first by AUROC: MERIT on 1 and CMA on 1."
    ablation[3]["values"]["folds"][1]["auroc"] = None
    assert "MERIT on 2." in ablation_tables.firsts(ablation, "as_published", "superclass", "auroc")
    assert "CSN was not scored" in ablation_tables.firsts(ablation, "as_published", "csn", "auroc")
    assert "CSN was not scored" in ablation_tables.per_fold(ablation, "as_published", "csn", "auroc").text


def test_nothing_scored_is_said(results):
    without = [results[-1]]
    assert "No task was scored" in ablation_tables.means(without, "as_published", synthetic=True).text


def test_other_encoders_come_after_ours_and_are_escaped(make_result):
    results = [make_result("<i>peer", "superclass", 0.8), make_result("random", "superclass", 0.5)]
    html = ablation_tables.means(results, "as_published", synthetic=True).text
    assert [row[0] for row in cells(html)][:2] == ["random", "&lt;i&gt;peer"]
