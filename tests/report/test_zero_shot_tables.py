"""Table 2: our rows, the paper's rows, escaping, and sentences that read the numbers."""

from __future__ import annotations

import re

import pytest

from merit.report import zero_shot_tables as shown
from merit.report.prose import Html

METRICS = ("auroc", "average_precision", "f1", "f1_oracle", "accuracy", "accuracy_oracle")


def result(encoder: str, task: str = "form", level: float = 0.6, prompts: str = "enriched", ensemble: bool = True):
    """A result at one level; five resamples around it."""
    macro = {name: {"value": level, "low": level - 0.02, "high": level + 0.02} for name in METRICS}
    macro["f1_oracle"] |= {"low": None, "high": None}
    values = {
        "task": task, "cohort": "ptb-xl", "encoder": encoder, "prompts": prompts, "ensemble": ensemble,
        "scope": "unseen", "classes": ["A", "<b>"], "n_records": 1234, "n_patients": 99, "n_scored_classes": 1,
        "unscored": ["<b>"], "n_seen": 0, "macro": macro, "per_class": {},
        "resamples": {"auroc": [level + d for d in (-0.02, -0.01, 0, 0.01, 0.02)], "f1": []},
    }  # fmt: skip
    return {"stage": "zero_shot", "id": "0" * 16, "values": values}


def without(encoder: str, task: str, reason: str) -> dict:
    return {"values": {"task": task, "encoder": encoder, "reason": reason}}


def rows_of(html: Html) -> dict[str, list[str]]:
    """Row label (several headers joined) -> texts of its cells."""
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html.text, flags=re.DOTALL):
        labels = re.findall(r'<th[^>]*class="row_heading[^>]*>(.*?)</th>', row, flags=re.DOTALL)
        if labels:
            found[labels[-1]] = re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)
    return found


def test_the_papers_rows_stand_in_the_oracles_columns():
    rows = rows_of(shown.table([result("merit"), result("random", level=0.5)], synthetic=False))
    assert list(rows) == ["MERIT", "random", *shown.PUBLISHED_ROWS.values()]
    assert rows["MERIT"] == ["60.0"] * 5
    assert rows["paper: MERIT"] == ["66.89", "–", "24.17", "–", "64.68"]
    assert rows["paper: ECG-Chat"] == ["65.02", "–", "21.08", "–", "66.34"]


def test_ours_and_the_papers_rows_are_marked_apart():
    html = shown.table([result("merit"), result("random", level=0.5)], synthetic=False).text
    bold = re.search(r"([^}]*)\{\s*font-weight: bold", html).group(1)
    assert "row0_col0" in bold
    assert "row6_col0" in bold
    assert "row1_col0" not in bold


def test_tasks_stand_in_the_order_of_the_tables():
    results = [result("merit", task) for task in ("cpsc2018", "csn")]
    html = shown.scored_classes(results).text
    assert html.index("CSN") < html.index("CPSC2018")
    assert shown.order(results) == "Highest AUROC: MERIT on CSN and CPSC2018."


def test_synthetic_tables_say_that_the_papers_rows_do_not_compare():
    sentence = "no difference between the two means anything"
    assert sentence in shown.table([result("merit")], synthetic=True).text
    assert sentence not in shown.table([result("merit")], synthetic=False).text


def test_a_task_that_the_paper_lacks_has_our_rows_alone():
    assert list(rows_of(shown.table([result("merit", "csn_as_released")], synthetic=False))) == ["MERIT"]


def test_a_value_that_is_missing_is_a_dash():
    one = result("merit")
    one["values"]["macro"]["f1"] = {"value": None, "low": None, "high": None, "reason": "one fold"}
    assert rows_of(shown.table([one], synthetic=True))["MERIT"][:2] == ["60.0", "–"]
    assert "No task could be scored" in shown.order([one], "f1")


def test_scopes_stand_side_by_side_with_intervals():
    rows = rows_of(shown.scopes([result("merit")], [result("merit", level=0.7)]))
    assert rows["MERIT"] == ["60.0 [58.0, 62.0]", "1,234", "70.0 [68.0, 72.0]", "1,234"]
    alone = rows_of(shown.scopes([result("merit")], [without("merit", "form", "no fold 10")]))
    assert alone["MERIT"][2:] == ["–", "–"]


def test_sensitivity_has_a_row_a_wording_and_marks_the_best_within_a_task():
    results = [
        result("merit", level=0.5, prompts="names", ensemble=False), result("merit", level=0.6, ensemble=False),
        result("merit", level=0.7), result("merit", "rhythm", 0.9, prompts="names", ensemble=False),
    ]  # fmt: skip
    html = shown.sensitivity(results)
    assert re.findall(r"<td[^>]*>(.*?)</td>", html.text) == ["50.0", "60.0", "70.0", "90.0"]
    assert html.text.count("bare name") == 2
    assert html.text.count("bold") >= 1
    assert "+20.0" in shown.prompts_matter(results, "merit")
    assert "was not scored" in shown.prompts_matter(results, "random")


def test_text_of_a_users_file_is_escaped():
    risky = {"<b>": ("<script>", "<i>")}
    text = shown.examples(risky, risky, ["<b>", "absent"], "form").text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "<b>" not in shown.scored_classes([result("merit")]).text
    assert "<script>" not in shown.table([result("<script>")], synthetic=True).text


def test_the_gap_is_that_of_the_pages_comparisons():
    pair = [result("merit", level=0.7), result("random", level=0.5)]
    found = {"task": "form", "metric": "auroc", "encoder": "merit", "other": "random", "mean": 0.2, "low": 0.1}
    rows = [{**found, "high": 0.3, "p": 0.001, "p_holm": 0.003, "n_comparisons": 3}]
    assert shown.gap(pair, rows, "form", "merit", "random") == (
        "PTB-XL form, AUROC: MERIT 70.0, random 50.0, difference +20.0 [+10.0, +30.0], p 0.001, Holm 0.003 over 3 "
        "differences: beyond sampling error."
    )
    assert shown.gap(pair, [], "form", "merit", "random").endswith("difference +20.0.")
    assert "not both of MERIT and CMA" in shown.gap(pair, rows, "form", "merit", "cma")


def test_order_names_the_first_of_each_task():
    results = [result("merit"), result("cma", level=0.7), result("merit", "rhythm", 0.9), result("cma", "rhythm", 0.8)]
    assert shown.order(results) == "Highest AUROC: CMA on PTB-XL form; MERIT on PTB-XL rhythm."


@pytest.mark.parametrize(("alike", "little"), [(1.0, False), (0.43, True)])
def test_the_page_says_when_the_reports_are_in_another_language(alike, little):
    one = {"alike": alike, "n_reports": 1500, "words_in_reports": 0.9}
    text = shown.language({"form": one, "csn": {"reason": "x"}})
    assert ("mean little" in text) == little
    assert "1,500" in text
    assert "Nothing was pretrained" in shown.language({"csn": {"reason": "x"}})


def test_facts_have_a_row_a_task_that_has_them():
    one = {
        "n_classes": 19, "n_prompts": 57, "unknown_tokens": 0.0, "split_words": 0.031, "worst_class": "<b>",
        "worst_split": 0.5, "words_in_reports": 0.9,
    }  # fmt: skip
    rows = rows_of(shown.facts({"form": one, "csn": {"reason": "nothing"}}))
    assert rows == {"PTB-XL form": ["19", "57", "0 %", "3.1 %", "&lt;b&gt; (50 %)", "90 %"]}


def test_a_difference_from_the_paper_needs_real_recordings_at_its_scale():
    results = [result("merit", level=0.6), result("cma", level=0.1)]
    said = shown.difference(results, synthetic=False, profile="paper")
    assert said == "The paper's MERIT minus ours, points of AUROC: PTB-XL form +6.89."
    assert "synthetic" in shown.difference(results, synthetic=True, profile="paper")
    assert "profile is demo" in shown.difference(results, synthetic=False, profile="demo")


def test_reasons_are_named_by_task_or_by_encoder():
    results = [result("merit"), without("mse", "form", "no space"), without("merit", "csn", "csn: no class")]
    assert shown.unscored(results) == "- MSE: not scored, no space\n- CSN: not scored, no class"
    assert shown.unscored([result("merit")]) == "Every task was scored."


def test_seen_patients_are_marked():
    one = result("merit")
    assert "Marked" not in shown.seen([one])
    one["values"]["n_seen"] = 3
    assert "Marked" in shown.seen([one])


def test_nothing_scored_gives_empty_tables():
    nothing = [without("merit", "csn", "none")]
    empty = (shown.table(nothing, synthetic=True), shown.scopes(nothing, nothing), shown.sensitivity(nothing))
    assert [html.text for html in empty] == ["", "", ""]
