"""Tables 5 and 7 as pages show them, from made-up results."""

from __future__ import annotations

import re

import pytest

from merit.report import alignment_tables, paper, shift_tables, style
from merit.report.prose import Html


def triple(value: float, half: float = 0.02) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def result(encoder: str, source: str, target: str, level: float) -> dict:
    """A transfer whose resamples lie 0.01 about its level and whose own head is 0.05 better."""
    home = {
        "classes": ["NORM", "CD"], "n_source_test": 40, "n_target_test": 1234, "source": triple(level + 0.1),
        "target": triple(level + 0.05), "transfer_on_target_test": triple(level), "drop": triple(0.05, 0.01),
    }  # fmt: skip
    values = {
        "source": source, "target": target, "encoder": encoder, "variant": "as_published",
        "scope": "the whole data set",
        "classes": ["NORM", "CD", "<i>"], "n_classes": 2, "unscored": {"<i>": "0 positives"}, "not_learnt": ["<b>"],
        "n_records": 2345, "n_patients": 99, "n_without_class": 12, "auroc": triple(level), "in_domain": home,
        "resamples": {"auroc": [level - 0.01, level, level + 0.01, None]}, "per_class": {},
        "with_class_only": {**triple(level - 0.03), "n_records": 2333, "n_classes": 2},
        "parts": {"source": "our folds", "target": "our folds"},
    }  # fmt: skip
    return {"stage": "shift", "id": "0" * 16, "values": values}


@pytest.fixture
def results() -> list[dict]:
    scored = [
        result(e, "superclass", "cpsc2018", level) for e, level in (("merit", 0.8), ("cma", 0.78), ("random", 0.6))
    ]
    without = {"source": "cpsc2018", "target": "csn", "encoder": "merit", "variant": "as_published", "reason": "no <b>"}
    return [*scored, {"values": without}]


def rows_of(html: Html) -> dict[str, list[str]]:
    """Row label -> texts of its cells."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html.text, flags=re.DOTALL):
        label = re.search(r'<th[^>]*class="row_heading[^>]*>(.*?)</th>', row, flags=re.DOTALL)
        if label:
            found[label.group(1)] = re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)
    return found


def test_table_7_has_our_rows_with_intervals_and_the_papers_as_printed(results) -> None:
    rows = rows_of(shift_tables.transfers(results, "as_published", synthetic=True))
    assert rows["MERIT"] == ["–", "80.0\n[78.0, 82.0]", *["–"] * 4]
    assert rows["paper: MERIT"] == ["88.52", "85.83", "73.44", "76.51", "61.88", "90.36"]
    assert rows["paper: D-BETA"][1] == "86.61"
    assert list(rows)[:3] == ["MERIT", "CMA", "random"]
    assert "MERIT − paper: MERIT" not in rows
    assert "no difference between the two means anything" in shift_tables.transfers([], "v", synthetic=True).text


def test_the_difference_to_the_paper_stands_where_it_is_asked_for(results) -> None:
    rows = rows_of(shift_tables.transfers(results, "as_published", synthetic=False, compare=True))
    assert rows["MERIT − paper: MERIT"] == ["–", "−5.8", *["–"] * 4]
    assert "ten folds" not in shift_tables.transfers(results, "as_published", synthetic=False).text


def test_the_papers_second_best_is_shaded_as_printed(results) -> None:
    html = shift_tables.transfers(results, "as_published", synthetic=True).text
    shaded = re.search(r"([^}]*)\{\s*background-color", html).group(1)
    found = {(int(row) - 3, int(col)) for row, col in re.findall(r"row(\d+)_col(\d+)", shaded) if int(row) >= 3}
    directions = list(enumerate(shift_tables.DIRECTIONS))
    printed = {
        (k, col) for k, row in enumerate(paper.ROWS[7]) for col, one in directions
        if paper.number(7, row, one, "auroc").shaded
    }  # fmt: skip
    assert len(printed) == 6
    assert found == printed
    bold = re.search(r"([^}]*)\{\s*font-weight: bold", html).group(1)
    assert {int(col) for row, col in re.findall(r"row(\d+)_col(\d+)", bold) if int(row) >= 3} == set(range(6))


def test_in_domain_shows_what_transfer_costs_or_why_it_cannot(results) -> None:
    html = shift_tables.in_domain(results, "as_published")
    assert rows_of(html)["CMA"] == [
        "88.0\n[86.0, 90.0]", "78.0\n[76.0, 80.0]", "83.0\n[81.0, 85.0]", "+5.0\n[+4.0, +6.0]",
    ]  # fmt: skip
    assert "over NORM and CD; 40 recordings at home, 1,234" in html.text
    results[0]["values"]["in_domain"] = {"reason": "too few"}
    assert rows_of(shift_tables.in_domain(results[:1], "as_published"))["MERIT"] == ["–"] * 4


def test_the_reading_names_the_highest_with_paired_differences(results) -> None:
    text = shift_tables.reading(results, "as_published")
    assert (
        "MERIT has the highest AUROC, 80.0, 2.0 points [2.0, 2.0] above CMA and 20.0 points [20.0, 20.0] above random."
        in text
    )
    assert "mean over 1 direction (lowest to highest; no interval: directions share heads and recordings)" in text
    assert "recordings): MERIT 5.0 (5.0 to 5.0), CMA 5.0 (5.0 to 5.0)" in text
    assert shift_tables.reading([], "as_published") == "No direction could be scored."
    assert shift_tables.unscored(results) == "- CPSC2018 → CSN: not scored, no <b>"
    assert shift_tables.unscored(results[:1]) == "Every direction was scored."


def test_the_highest_own_head_with_the_highest_cost_is_remarked_on(results) -> None:
    assert "leaves more to lose" not in shift_tables.reading(results, "as_published")
    results[0]["values"]["in_domain"]["drop"] = triple(0.09)
    assert "MERIT has the highest own heads too, 85.0 on average: a higher" in shift_tables.reading(
        results, "as_published"
    )
    for one in results[:3]:
        one["values"]["in_domain"]["drop"]["value"] -= 0.1
    assert "leaves more to lose" not in shift_tables.reading(results, "as_published")
    results[1]["values"]["in_domain"]["drop"] = triple(0.2)
    assert "leaves more to lose" not in shift_tables.reading(results, "as_published")


def test_an_own_head_of_random_below_chance_is_explained_by_counts(results) -> None:
    assert "below 50" not in shift_tables.reading(results, "as_published")
    random = results[2]["values"]
    random["in_domain"]["target"] = triple(0.42)
    random["per_class"] = {"NORM": {"n_positive": 500}, "CD": {"n_positive": 32}, "<i>": {"n_positive": 0}}
    text = shift_tables.reading(results, "as_published")
    assert "42.0 [40.0, 44.0], the target's test part is small (1,234 recordings)" in text
    assert "the rarest has 32 of 2,345 recordings" in text
    random["in_domain"]["target"] = triple(0.49)
    assert "below 50" not in shift_tables.reading(results, "as_published")


def test_one_positive_is_not_plural() -> None:
    assert alignment_tables.singular("1 positives, 31 negatives, 1,001 positives, 1 negatives") == (
        "1 positive, 31 negatives, 1,001 positives, 1 negative"
    )


def test_a_class_without_counterpart_keeps_its_count() -> None:
    table = [
        {"space": "superclass", "name": "MI", "counterpart_space": "cpsc2018", "counterpart_codes": ""},
        {"space": "superclass", "name": "MI", "counterpart_space": "csn", "counterpart_codes": "MI"},
    ]
    results = [
        {"values": {"source": "superclass", "target": target, "positives": {"source": counts, "target": counts}}}
        for target, counts in (("cpsc2018", {}), ("csn", {"MI": 7}))
    ]
    html = alignment_tables.mappings({"table": table}, results)
    assert re.findall(r"<td[^>]*>(.*?)</td>", html.text)[:3] == ["none", "7", "–"]


def test_coverage_names_what_is_not_scored_and_escapes(results) -> None:
    html = shift_tables.coverage(results)
    cells = rows_of(html)["PTB-XL superclass → CPSC2018"]
    assert cells[:6] == ["the whole data set", "2,345", "99", "12", "2 of 3", "&lt;i&gt; (0 positives)"]
    assert "<i>" not in html.text
    assert "&lt;b&gt;" in html.text


def test_the_other_reading_of_full_target_is_shown_with_its_difference(results) -> None:
    assert rows_of(shift_tables.negatives(results, "as_published"))["MERIT"][1] == "77.0\n(−3.0)"


def test_the_figure_has_a_panel_a_direction_and_a_line_an_encoder(results) -> None:
    figure = shift_tables.drops(results, "as_published")
    assert len(figure.axes) == 6
    titles = [tuple(axis.get_title().split("\n→ ")) for axis in figure.axes]
    assert titles == [tuple(map(style.task_label, one.split(">"))) for one in shift_tables.DIRECTIONS]
    drawn = [axis for axis in figure.axes if axis.containers]
    assert len(drawn) == 1
    assert len(drawn[0].containers) == 3
    assert sum(bool(axis.texts) for axis in figure.axes) == 5
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MERIT", "CMA", "random"]
    assert drawn[0].get_title() == "PTB-XL superclass\n→ CPSC2018"
    assert figure._repr_png_() == shift_tables.drops(results, "as_published")._repr_png_()
    assert shift_tables.drops(results[3:], "as_published").texts[0].get_text().startswith("no direction")


NOTES = {
    "table": [
        {"space": "superclass", "name": "CD", "counterpart_space": "csn", "counterpart_codes": "1AVB STDD"},
        {"space": "superclass", "name": "MI", "counterpart_space": "csn", "counterpart_codes": ""},
    ],
    "shared_codes": [{"space": "cpsc2018", "counterpart_space": "csn", "code": "STE", "classes": ["STE", "STD"]}],
    "snomed": [
        {"class": "STE", "description": "elevation", "table": ["STE"], "same_code": ["STTU"], "agree": False,
         "descriptions": {"STE": "extension", "STTU": "elevation"}},
    ],
}  # fmt: skip
ALIGNED = {
    "values": {
        "source": "superclass", "target": "csn", "classes": ["CD"], "n_classes": 1, "dropped_source": ["MI"],
        "dropped_target": [], "n_source_classes": 5, "n_target_classes": 38, "missing": {"csn": "no <b>"},
        "positives": {"source": {"CD": 1234}, "target": None},
    }
}  # fmt: skip


def test_mappings_show_codes_and_counts_and_dashes_where_there_is_nothing() -> None:
    rows = rows_of(alignment_tables.mappings(NOTES, [ALIGNED]))
    assert rows == {"CD": ["1AVB, STDD", "1,234", "–"], "MI": ["none", "–", "–"]}
    assert rows_of(alignment_tables.directions([ALIGNED])) == {
        "PTB-XL superclass → CSN": ["1", "CD", "1 of 5: MI", "none"]
    }
    assert alignment_tables.missing([ALIGNED]) == "- CSN: no counts, no <b>"


def test_oddities_are_read_from_the_table() -> None:
    text = alignment_tables.oddities(NOTES)
    assert "CSN's STE counts for STE and STD of CPSC2018" in text
    assert "STDD is depression" in text
    assert "CPSC2018's STE (elevation) has the SNOMED CT code of CSN's STTU; the table takes STE." in text
    assert rows_of(alignment_tables.by_snomed(NOTES))["STE"][1:] == ["STE (extension)", "STTU (elevation)", "no"]
    plain = {"table": NOTES["table"][1:], "shared_codes": [], "snomed": []}
    assert alignment_tables.oddities(plain) == "Nothing stands out."


def test_sinus_rhythm_is_counted_where_there_is_data() -> None:
    company = {
        "superclass": {"n": 200, "alone": 0, "wanted": 50},
        "csn": None,
        "cpsc2018": {"n": 0, "alone": 0, "wanted": 0},
    }
    text = alignment_tables.sinus_rhythm(company)
    assert text == "- PTB-XL superclass: 200 recordings are labelled SR; 25 % of them are also labelled NORM."
    assert "nothing can be counted" in alignment_tables.sinus_rhythm({})
