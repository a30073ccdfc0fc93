"""Sentences say what the numbers say."""

from __future__ import annotations

import pandas as pd

from merit.pipeline.comparisons import linear_probe_differences
from merit.report import claims, differences


def a_row(other, p_holm, **changes):
    row = {"task": "superclass", "variant": "as_published", "metric": "auroc", "encoder": "merit", "other": other}
    return {**row, "mean": 0.2, "p_holm": p_holm, "n_comparisons": 7, **changes}


def test_gap_reads_direction_and_size_and_has_the_tests_word_on_whether_it_is_a_difference(results):
    said = {}
    for p_holm in (0.012, 0.61):
        rows = [a_row("random", p_holm), a_row("random", 0.5, task="form"), a_row("cma", 0.5)]
        said[p_holm] = claims.gap(results, rows, "superclass", "random", "as_published")
    assert said[0.012] == (
        "PTB-XL superclass: MERIT at 90.0 is 20.0 points above random at 70.0, in 2 of 2 folds with the same sign; by "
        "the test of Table 4 a difference (Holm's p 0.012 over 7 comparisons)."
    )
    assert said[0.61].endswith("by the test of Table 4 no difference shown (Holm's p 0.61 over 7 comparisons).")


def test_tables_1_and_4_tell_one_story_of_a_difference(make_result):
    results = [make_result(name, "superclass", level, n_folds=2) for name, level in (("merit", 0.9), ("random", 0.88))]
    for one, shift in zip(results, (0.0, 0.03)):
        one["values"]["folds"] = [
            {**fold, "auroc": fold["auroc"] + shift * (k == 0), "n_train": 90, "n_test": 10}
            for k, fold in enumerate(one["values"]["folds"])
        ]
    rows = linear_probe_differences(results, metrics=("auroc",))
    (row,) = rows
    assert row["p_holm"] > differences.LEVEL
    assert "no difference shown" in claims.gap(results, rows, "superclass", "random", "as_published")
    assert "font-weight: bold" not in differences.differences(rows, "x").text


def test_gap_without_both_says_so(results):
    assert claims.gap(results, [], "superclass", "cma", "as_published").endswith(
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
    assert "not both" in claims.gap(empty, [], "form", "random", "as_published")


def test_a_single_scored_fold_has_a_gap_without_a_spread(make_result):
    pair = [make_result("merit", "form", 0.9), make_result("random", "form", 0.5)]
    for one in pair:
        one["values"]["sd"] = dict.fromkeys(one["values"]["sd"])
    text = claims.gap(pair, [a_row("random", None, task="form")], "form", "random", "as_published")
    assert text.endswith("random at 50.0; a single split, or a single scored fold, has no test.")
