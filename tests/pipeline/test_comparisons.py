"""From results to paired differences: the right pairs, the right counts, and no pair that may not be compared."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from merit.intervals import corrected_t, holm
from merit.pipeline.comparisons import (
    fold_test_share,
    linear_probe_differences,
    over_seeds,
    seed_differences,
)

SIZES = [10, 12, 14]


def probed(encoder: str, task: str, scores: list[float | None], variant: str = "standardised") -> dict:
    """A result of linear probing with one score a fold, for every metric."""
    folds = [
        {"fold": k + 1, "n_test": SIZES[k], "unscored": [], **dict.fromkeys(("auroc", "f1", "accuracy"), score)}
        for k, score in enumerate(scores)
    ]
    values = {
        "task": task, "encoder": encoder, "variant": variant, "protocol": "ten folds", "classes": ["A", "B"],
        "n_records": sum(SIZES[: len(scores)]), "n_patients": 20, "folds": folds,
    }  # fmt: skip
    return {"values": values, "parameters": {"probe": {"epochs": 5}, "encoder": encoder}, "inputs": {"store": "s"}}


def test_every_pair_once_by_the_corrected_test_with_holm_over_all():
    results = [
        probed("merit", "form", [0.8, 0.7, 0.9]), probed("cma", "form", [0.7, 0.69, 0.8]),
        probed("random", "form", [0.5, 0.6, 0.5]), probed("merit", "rhythm", [0.8, 0.8, 0.7]),
        probed("cma", "rhythm", [0.9, 0.7, 0.7]),
    ]  # fmt: skip
    rows = linear_probe_differences(results, metrics=("auroc",))
    assert [(row["task"], row["other"]) for row in rows] == [("form", "cma"), ("form", "random"), ("rhythm", "cma")]
    assert {row["n_comparisons"] for row in rows} == {3}
    share = np.mean([10 / (36 - 22), 12 / (36 - 26), 14 / (36 - 24)])
    wanted = corrected_t([0.8 - 0.7, 0.7 - 0.69, 0.9 - 0.8], share)
    assert fold_test_share(results[0]["values"]) == pytest.approx(share)
    assert (rows[0]["mean"], rows[0]["p"]) == (wanted["value"], wanted["p"])
    assert [row["p_holm"] for row in rows] == holm([row["p"] for row in rows])


def test_variants_are_kept_apart_and_both_count_in_the_correction():
    results = [
        probed(encoder, "form", scores, variant)
        for variant in ("as_published", "standardised")
        for encoder, scores in (("merit", [0.8, 0.7, 0.9]), ("cma", [0.7, 0.6, 0.8]), ("ib", [0.7, 0.71, 0.8]))
    ]
    rows = linear_probe_differences(results, metrics=("auroc", "f1"))
    assert len(rows) == 2 * 2 * 2
    assert {row["n_comparisons"] for row in rows} == {4}  # cma's differences are all equal: no p value
    assert [row["p_holm"] for row in rows if row["other"] == "cma"] == [None] * 4


def test_a_single_split_has_differences_without_p_and_gaps_are_counted():
    single = linear_probe_differences([probed("merit", "form", [0.8]), probed("cma", "form", [0.7])])
    assert {(row["n"], row["p"], row["p_holm"], row["n_comparisons"]) for row in single} == {(1, None, None, 0)}
    gap = linear_probe_differences([probed("merit", "form", [0.8, None, 0.7]), probed("cma", "form", [0.7, 0.6, 0.4])])
    assert (gap[0]["n"], gap[0]["n_dropped"]) == (2, 1)


def test_tasks_without_scores_or_without_the_first_are_left_out():
    reason = {"values": {"task": "csn", "encoder": "merit", "variant": "standardised", "reason": "not there"}}
    alone = [probed("merit", "form", [0.8, 0.9]), probed("cma", "csn", [0.8, 0.9]), reason]
    assert linear_probe_differences(alone) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: one["values"].update(protocol="official split"), "protocol"),
        (lambda one: one["values"]["folds"][1].update(n_test=11), "folds"),
        (lambda one: one["values"]["folds"][0].update(unscored=["B"]), "scored classes"),
        (lambda one: one["values"].update(n_patients=19), "records"),
        (lambda one: one["parameters"]["probe"].update(epochs=6), "settings of the probe"),
        (lambda one: one["inputs"].update(store="other"), "store"),
    ],
)
def test_results_that_differ_in_more_than_the_encoder_are_refused(change, named):
    results = [probed("merit", "form", [0.8, 0.7, 0.9]), probed("cma", "form", [0.7, 0.69, 0.8])]
    linear_probe_differences(results)
    change(results[1])
    with pytest.raises(ValueError, match=f"merit and cma on form: expected results with the same {named}; got"):
        linear_probe_differences(results)


def seeds() -> list[dict]:
    """Three seeds of two encoders on one task; cma lacks F1 at seed 2."""
    merit, cma = [0.80, 0.84, 0.82], [0.78, 0.80, 0.81]
    return [
        {
            "encoder_seed": seed, "encoder": name, "task": "form", "variant": "standardised",
            "scores": {"auroc": score, "f1": None if (name, seed) == ("cma", 2) else score / 2},
        }
        for name, scores in (("merit", merit), ("cma", cma)) for seed, score in enumerate(scores)
    ]  # fmt: skip


def test_over_seeds():
    rows = over_seeds(seeds(), ("task",), ("variant",))
    found = {(row["encoder"], row["metric"]): (row["mean"], row["sd"], row["n"]) for row in rows}
    assert found["merit", "auroc"] == (pytest.approx(0.82), pytest.approx(0.02), 3)
    assert found["cma", "f1"][2] == 2
    assert over_seeds(seeds()[:1], ("task",), ("variant",))[0]["sd"] is None


def test_seed_differences_are_paired_and_corrected_within_metric():
    rows = seed_differences(seeds(), ("task",), ("variant",))
    by_metric = {row["metric"]: row for row in rows}
    assert by_metric["auroc"]["mean"] == pytest.approx(np.mean([0.02, 0.04, 0.01]))
    assert (by_metric["auroc"]["n"], by_metric["f1"]["n"]) == (3, 2)
    assert by_metric["auroc"]["n_comparisons"] == 1
    shuffled = seed_differences(copy.deepcopy(seeds())[::-1], ("task",), ("variant",))
    assert {row["metric"]: row["p"] for row in shuffled} == {row["metric"]: row["p"] for row in rows}
    assert seed_differences([one for one in seeds() if one["encoder"] == "cma"], ("task",), ("variant",)) == []
