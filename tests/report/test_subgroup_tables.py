"""AUROC by group as the page shows it, from made-up results."""

from __future__ import annotations

import re

import pytest

from merit.report import subgroup_tables
from merit.report.prose import Html


def triple(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def attribute(level: float, difference: float) -> dict:
    """Two groups that are compared, one that is too small, and unknown."""
    groups = {
        name: {"n_records": n, "n_patients": n, "positives": {"A": 20, "<i>": 1}, "negatives": {}, "auroc": auroc}
        for name, n, auroc in (
            ("female", 1200, triple(level)), ("male", 1300, triple(level - difference)), ("other", 7, None),
            ("unknown", 3, None),
        )
    }  # fmt: skip
    return {
        "groups": groups, "compared": ["female", "male"], "classes": ["A"], "left_out": {"<i>": "female: 1 positives"},
        "min_records": 50, "min_positives": 10, "differences": {"female": triple(difference)}, "reference": "male",
    }  # fmt: skip


def result(encoder: str, level: float, difference: float) -> dict:
    attributes = {
        "sex": attribute(level, difference),
        "age": {**attribute(level, 0), "reason": "no class", "classes": []},
    }
    attributes["age"]["differences"] = {}
    return {
        "values": {
            "task": "superclass", "encoder": encoder, "variant": "as_published", "classes": ["A", "<i>"],
            "attributes": attributes,
        }
    }  # fmt: skip


@pytest.fixture
def results() -> list[dict]:
    without = {"values": {"task": "csn", "encoder": "merit", "variant": "as_published", "reason": "csn: no data"}}
    return [result("merit", 0.9, 0.05), result("random", 0.6, -0.01), without]


def rows_of(html: Html) -> dict[str, list[str]]:
    """Row label -> texts of its cells."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html.text, flags=re.DOTALL):
        label = re.search(r'<th[^>]*class="row_heading[^>]*>(.*?)</th>', row, flags=re.DOTALL)
        if label:
            found[label.group(1)] = re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)
    return found


def test_groups_and_differences_come_with_intervals_and_a_reason_in_their_place(results) -> None:
    html = subgroup_tables.groups(results, "as_published")
    assert rows_of(html)["MERIT"] == ["90.0\n[88.0, 92.0]", "85.0\n[83.0, 87.0]"]
    assert "by age</b>: no class" in html.text
    shown = subgroup_tables.differences(results, "as_published")
    assert rows_of(shown) == {"MERIT": ["+5.0\n[+3.0, +7.0]"], "random": ["−1.0\n[−3.0, +1.0]"]}
    assert "female − male" in shown.text
    assert len(re.findall("font-weight: bold", shown.text)) == 1


def test_counts_name_every_group_and_only_compared_classes(results) -> None:
    html = subgroup_tables.counts(results, "as_published")
    assert "with A" in html.text
    assert "<i>" not in html.text
    assert rows_of(html)["female"][:3] == ["1,200", "1,200", "yes"]
    assert rows_of(html)["unknown"][:3] == ["3", "3", "no"]


def test_what_is_left_out_is_named(results) -> None:
    text = subgroup_tables.left_out(results, "as_published")
    assert "by sex: fewer than 50 recordings in other (7)." in text
    assert "by sex: 1 of 2 classes left out, <i> (female: 1 positive)." in text
    assert "unknown" not in text
    assert subgroup_tables.left_out([], "as_published") == "Every group and every class was compared."
    assert subgroup_tables.unscored(results) == "- CSN: not scored, no data"


def test_the_reading_counts_intervals_and_sets_random_beside_the_largest(results) -> None:
    text = subgroup_tables.reading(results, "as_published")
    assert "2 differences between groups; 1 of them is beyond sampling error, corrected for all of them (Holm)." in text
    assert (
        "by sex: over A alone, the largest is MERIT's, female against male, +5.0 [+3.0, +7.0] points; the random "
        "encoder's there is −1.0 [−3.0, +1.0] points."
    ) in text
    assert subgroup_tables.reading([], "as_published") == "No two groups could be compared."


def test_the_figure_has_a_panel_for_what_was_compared(results) -> None:
    figure = subgroup_tables.dots(results, "as_published")
    visible = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in visible] == ["PTB-XL superclass, by sex"]
    assert [label.get_text() for label in visible[0].get_yticklabels()] == ["female", "male"]
    assert len(visible[0].containers) == 2
    assert any(line.get_xdata()[0] == 50 for line in visible[0].lines if len(line.get_xdata()) == 2)
    assert subgroup_tables.dots([], "as_published").texts[0].get_text() == "no two groups could be compared"
