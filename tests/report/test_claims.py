"""Sentences say what the numbers say."""

from __future__ import annotations

import pandas as pd

from merit.report import claims

ROW = {
    "task": "superclass", "variant": "as_published", "metric": "auroc", "encoder": "merit", "other": "random",
    "mean": 0.2, "low": -0.012, "high": 0.412, "p": 0.061, "p_holm": 0.61, "n_comparisons": 84,
}  # fmt: skip


def test_gap_tells_what_the_table_of_differences_tells(results):
    """More than the spread over folds (1.0), and yet within sampling error by the corrected test over the same folds:
    the sentence is the test's.
    """
    text = claims.gap(results, [ROW], "superclass", "merit", "random", "as_published")
    assert text == (
        "PTB-XL superclass: MERIT 90.0, random 70.0, difference +20.0 [−1.2, +41.2], p 0.061, Holm 0.61 over 84 "
        "differences: within sampling error; in 2 of 2 folds the sign is the same."
    )
    clear = [{**ROW, "low": 0.1, "high": 0.3, "p": 0.001, "p_holm": 0.02}]
    assert "beyond sampling error" in claims.gap(results, clear, "superclass", "merit", "random", "as_published")


def test_gap_without_both_says_so(results):
    assert claims.gap(results, [], "superclass", "merit", "cma", "as_published").endswith(
        "not both of MERIT and CMA were scored."
    )


def test_order_and_unscored(results):
    assert claims.order(results, "as_published") == "Highest mean: MERIT on PTB-XL superclass."
    assert claims.unscored(results) == "- PTB-XL form: not scored, no recordings under <b>"
    assert claims.unscored(results[:2]) == "Every task was scored."


def test_masked_error_takes_the_last_validation_and_compares_with_the_linear_map():
    rows = [
        ("merit", 100, "validation", "masked_mse", 0.9),
        ("merit", 200, "validation", "masked_mse", 0.3),
        ("mse", 200, "validation", "masked_mse", 0.5),
        ("mse", 200, "train", "masked_mse", 0.1),
        ("cma", 200, "validation", "info_nce", 2.5),
    ]
    history = pd.DataFrame(rows, columns=["objective", "update", "split", "term", "value"])
    bounds = {"three_lead_error": 0.37, "linear_bound": 0.45, "noise_floor": 0.05}
    text = claims.masked_error(history, bounds)
    assert "MERIT 0.300 and MSE 0.500" in text
    assert "0.450: below it is MERIT. " in text
    assert "0.050" in text
    assert "noise" not in claims.masked_error(history, bounds | {"noise_floor": None})
    assert "2.50" in claims.alignment(history)
    assert (
        claims.alignment(history[history["term"] == "masked_mse"]) == "No objective with an alignment term was trained."
    )


def test_a_task_whose_folds_score_no_class_has_no_winner_and_no_gap(make_result):
    empty = [make_result(name, "form", 0.5) for name in ("merit", "random")]
    for one in empty:
        one["values"]["mean"] = dict.fromkeys(one["values"]["mean"])
    assert claims.order(empty, "as_published") == "No task could be scored."
    assert "not both" in claims.gap(empty, [], "form", "merit", "random", "as_published")


def test_a_single_scored_fold_has_a_gap_without_a_spread(make_result):
    pair = [make_result(name, "form", level, n_folds=1) for name, level in (("merit", 0.9), ("random", 0.5))]
    text = claims.gap(pair, [], "form", "merit", "random", "as_published")
    assert text == "PTB-XL form: MERIT 90.0, random 50.0, difference +40.0."
