"""Tables: ranks, the paper's rows, escaping, and the same bytes for the same numbers."""

from __future__ import annotations

import re

import pandas as pd

from merit.report import tables
from merit.report.prose import Html


def rows_of(html: Html) -> dict[str, list[str]]:
    """Row label -> texts of its cells."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html.text, flags=re.DOTALL):
        label = re.search(r'<th[^>]*class="row_heading[^>]*>(.*?)</th>', row, flags=re.DOTALL)
        if label:
            found[label.group(1)] = re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)
    return found


def test_ranked_marks_best_and_second_and_shares_ranks():
    css = tables.ranked(pd.DataFrame({"a": [3.0, 1.0, 3.0], "b": [float("nan"), 2.0, 1.0]}))
    assert css["a"].tolist() == ["font-weight: bold", tables.SHADE, "font-weight: bold"]
    assert css["b"].tolist() == ["", "font-weight: bold", tables.SHADE]


def test_linear_probe_shows_both_rules_and_the_papers_numbers_in_the_oracles_columns(results):
    rows = rows_of(tables.linear_probe(results, "as_published", synthetic=False))
    assert rows["MERIT"] == ["90.0\n±1.0"] * 5
    assert rows["random"] == ["70.0\n±1.0"] * 5
    assert rows["paper: MERIT"] == ["93.26", "–", "75.97", "–", "89.03"]


def test_synthetic_tables_say_that_the_papers_rows_do_not_compare(results):
    sentence = "no difference between the two means anything"
    assert sentence in tables.linear_probe(results, "as_published", synthetic=True).text
    assert sentence not in tables.linear_probe(results, "as_published", synthetic=False).text


def test_inferred_columns_carry_a_star(make_result):
    rows = rows_of(tables.linear_probe([make_result("merit", "rhythm", 0.9)], "as_published", synthetic=False))
    assert rows["paper: ST-MEM"][2] == "68.55*"


def test_a_single_split_has_no_spread(make_result):
    shown = tables.linear_probe([make_result("merit", "csn", 0.9, n_folds=1)], "as_published", synthetic=True)
    assert rows_of(shown)["MERIT"][0] == "90.0"


def test_text_is_escaped_and_bytes_do_not_change(make_result):
    risky = [make_result("<script>x</script>", "superclass", 0.5)]
    once, again = (tables.linear_probe(risky, "as_published", synthetic=True).text for _ in range(2))
    assert "<script>" not in once
    assert "&lt;script&gt;" in once
    assert once == again
    assert "<b>" not in tables.mapping({"<b>": {"<b>": "<b>"}}, "t").text


def test_pooled_gives_the_interval(results):
    assert rows_of(tables.pooled(results, "as_published"))["PTB-XL superclass"] == [
        "90.0 [88.0, 92.0]",
        "70.0 [68.0, 72.0]",
    ]


def test_scored_classes_names_what_a_fold_could_not_score(results):
    cells = rows_of(tables.scored_classes(results))["PTB-XL superclass"]
    assert cells == ["1,234", "99", "ten folds", "3", "2 to 3", "RARE"]
