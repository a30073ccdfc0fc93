"""Sentences say what the numbers say."""

from __future__ import annotations

import pandas as pd

from merit.report import claims


def test_gap_reads_direction_size_and_spread(results):
    text = claims.gap(results, "superclass", "merit", "random", "as_published")
    assert text == (
        "PTB-XL superclass: MERIT at 90.0 is 20.0 points above random at 70.0, more than the larger spread over folds "
        "(1.0); in 2 of 2 folds the sign is the same."
    )
    assert "20.0 points below MERIT" in claims.gap(results, "superclass", "random", "merit", "as_published")


def test_gap_without_both_says_so(results):
    assert claims.gap(results, "superclass", "merit", "cma", "as_published").endswith(
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
    assert "not both" in claims.gap(empty, "form", "merit", "random", "as_published")


def test_a_single_scored_fold_has_a_gap_without_a_spread(make_result):
    pair = [make_result("merit", "form", 0.9), make_result("random", "form", 0.5)]
    for one in pair:
        one["values"]["sd"] = dict.fromkeys(one["values"]["sd"])
    assert claims.gap(pair, "form", "merit", "random", "as_published").endswith("random at 50.0.")
