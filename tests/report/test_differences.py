"""Differences: the table, the sentences, and what cannot be said."""

from __future__ import annotations

from merit.report import differences


def row(other: str, mean: float | None, p: float | None = 0.01, **more) -> dict:
    """A comparison as the pipeline gives it; Holm's p is twice p."""
    ends = {"low": None, "high": None} if p is None else {"low": mean - 0.02, "high": mean + 0.02}
    return {
        "task": "form", "variant": "standardised", "metric": "auroc", "encoder": "merit", "other": other, "mean": mean,
        **ends, "p": p, "p_holm": p and 2 * p, "n": 10, "n_dropped": 0, "n_comparisons": 2, **more,
    }  # fmt: skip


def test_the_table_prints_points_interval_and_both_p():
    html = differences.differences([row("cma", 0.031), row("random", -0.1, 0.2), row("ib", 0.01, None)], "x").text
    assert "AUROC: MERIT minus …" in html
    assert "+3.1 [+1.1, +5.1]\np 0.010, Holm 0.020" in html
    assert "−10.0 [−12.0, −8.0]\np 0.20, Holm 0.40" in html
    assert "+1.0</td>" in html
    assert html.count("font-weight: bold") == 1
    assert html.index(">IB<") < html.index(">CMA<") < html.index(">random<")


def test_what_is_said_agrees_with_what_is_printed():
    """An end that is printed as 0.0, or a p that is printed as 0.050, is no difference, whatever the digits behind."""
    ends = [
        row("cma", 0.0104, p_holm=p_holm, low=low, high=0.0204) for low, p_holm in
        ((0.0004, 0.01), (0.0006, 0.01), (0.0006, 0.0496), (-0.0004, 0.051))
    ]  # fmt: skip
    html = [differences.differences([one], "x").text for one in ends]
    assert ["+1.0 [0.0, +2.0]" in one for one in html] == [True, False, False, True]
    assert ["font-weight: bold" in one for one in html] == [False, True, False, False]
    words = [differences.in_words([one], other="cma") for one in ends]
    assert [one.rsplit(": ")[1] for one in words] == [f"{where} sampling error" for where in (
        "within", "beyond", "within", "within")]  # fmt: skip
    assert words[0] == " [0.0, +2.0], p 0.010, Holm 0.010 over 2 differences: within sampling error"
    assert differences.in_words(ends[:1], other="mse") == ""
    assert differences.in_words([row("cma", 0.1, None)], other="cma") == ""


def test_small_p_values_and_missing_means():
    html = differences.differences([row("cma", 0.03, 1e-9), row("ib", None, None)], "x").text
    assert "p &lt; 0.001, Holm &lt; 0.001" in html
    assert "–" in html
    assert "nothing to compare" in differences.differences([], "x").text


def test_the_random_encoder_is_never_counted_among_the_objectives():
    rows = [row("cma", 0.01, 0.5), *[row("random", 0.1, task=task) for task in ("form", "rhythm", "all")]]
    assert "Against CMA: none of 1 in favour of MERIT, none against." in differences.reading(rows)
    assert "Against the random encoder: 3 of 3" in differences.reading(rows)
    assert "random encoder" not in differences.reading(rows[:1])


def test_tasks_stand_in_the_order_of_the_tables():
    rows = [row("cma", 0.1, task=task) for task in ("cpsc2018", "mine", "csn", "superclass")]
    assert differences.column_labels(rows) == ["PTB-XL superclass", "CSN", "CPSC2018", "mine"]
    pairs = (("cpsc2018", "csn"), ("superclass", "cpsc2018"), ("superclass", "csn"))
    assert differences.column_labels({"source": source, "target": target} for source, target in pairs) == [
        "PTB-XL superclass → CSN", "PTB-XL superclass → CPSC2018", "CPSC2018 → CSN",
    ]  # fmt: skip


def test_transfers_are_named_by_source_and_target():
    one = {"source": "superclass", "target": "csn"}
    assert differences.column_label(one) == "PTB-XL superclass → CSN"


def test_reading_counts_both_sides_and_names_what_speaks_against():
    rows = [row("cma", 0.03), row("random", 0.1), row("ib", -0.03), row("mse", 0.01, 0.3), row("cma", 0.2, None)]
    assert differences.reading(rows) == (
        "Counted are differences whose corrected p is below 0.05 and whose interval leaves out 0. Against MSE, IB and "
        "CMA: 1 of 3 (MSE 0, IB 0, CMA 1) in favour of MERIT, 1 against: IB on PTB-XL form (AUROC). Against the random "
        "encoder: 1 of 1 in favour of MERIT, none against."
    )
    two = [row("ib", -0.025), row("ib", -0.03, variant="as_published")]
    assert "(AUROC, standardised) and IB on PTB-XL form (AUROC, as published)." in differences.reading(two)
    assert "none with a p value" in differences.reading([row("cma", 0.1, None)])
    assert "nothing to compare" in differences.reading([])
