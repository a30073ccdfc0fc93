"""Sentences say what the numbers say."""

from __future__ import annotations

import pandas as pd
import pytest

from merit.pipeline.comparisons import linear_probe_differences
from merit.report import claims, differences


def compared(results):
    """Differences of MERIT as Table 4 has them, of folds that say how many recordings they train and test on."""
    for one in results:
        for place, fold in enumerate(one["values"].get("folds", [])):
            fold |= {"n_train": 90, "n_test": 10, "auroc": fold["auroc"] + 0.01 * place * fold["auroc"]}
    return linear_probe_differences(results, metrics=("auroc",))


def test_gap_reads_both_means_their_difference_and_the_tests_word_on_it(results):
    rows = compared(results)
    text = claims.gap(results, rows, "superclass", "merit", "random", "as_published")
    assert text.startswith("PTB-XL superclass: MERIT 90.0, random 70.0, difference +20.0 ")
    assert text.endswith("; in 2 of 2 folds the sign is the same.")
    assert f"Holm {differences.p_text(rows[0]['p_holm'])} over 1 differences" in text


@pytest.mark.parametrize(("p_holm", "word"), [(0.61, "within"), (0.012, "beyond")])
def test_tables_1_and_4_tell_one_story_of_a_difference(results, p_holm, word):
    (row,) = compared(results)
    row |= {"mean": 0.2, "low": 0.1, "high": 0.3, "p": p_holm / 2, "p_holm": p_holm}
    text = claims.gap(results, [row], "superclass", "merit", "random", "as_published")
    assert f"{word} sampling error" in text
    assert ("font-weight: bold" in differences.differences([row], "x").text) == (word == "beyond")


def test_gap_without_both_says_so(results):
    text = claims.gap(results, [], "superclass", "merit", "cma", "as_published")
    assert text.endswith("not both of MERIT and CMA were scored.")


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
    pair = [make_result("merit", "form", 0.9), make_result("random", "form", 0.5)]
    for one in pair:
        one["values"]["sd"] = dict.fromkeys(one["values"]["sd"])
        one["values"]["folds"] = one["values"]["folds"][:1]
    text = claims.gap(pair, [], "form", "merit", "random", "as_published")
    assert text.endswith("MERIT 90.0, random 50.0, difference +40.0.")
