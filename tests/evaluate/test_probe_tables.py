from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from merit.config import ProbeConfig, replace
from merit.evaluate import metrics, probing, thresholds
from merit.evaluate.probing import FOLD_METRICS, probe
from merit.evaluate.tasks import OFFICIAL_SPLIT, TaskData, make_splits, select

CONFIG = ProbeConfig(epochs=8, learning_rate=1e-2, n_resamples=20)


@pytest.fixture(scope="module")
def values(features: np.ndarray, task: TaskData) -> dict[str, dict]:
    return probe(features, task, CONFIG, encoder="merit")


def test_values_have_the_agreed_form_and_go_into_json(values: dict[str, dict], task: TaskData) -> None:
    assert list(values) == ["as_published", "standardised"]
    for name, result in values.items():
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        assert (result["encoder"], result["variant"], result["task"]) == ("merit", name, "superclass")
        assert (result["cohort"], result["protocol"], result["n_records"]) == ("ptb-xl", "ten folds", 480)
        assert result["n_patients"] == len(set(task.patients))
        assert [row["fold"] for row in result["folds"]] == list(range(1, 11))
        assert sum(row["n_test"] for row in result["folds"]) == 480
        assert set(result["mean"]) == set(result["sd"]) == set(FOLD_METRICS)
        assert set(result["pooled"]) == {"auroc", "average_precision", "f1", "accuracy"}
        assert tuple(result["per_class"]) == task.classes


def test_folds_are_scored_by_their_own_head_and_validation_threshold(
    values: dict[str, dict], features: np.ndarray, task: TaskData
) -> None:
    splits = make_splits(task.folds)
    heads = probing.train(features, task.labels, splits, CONFIG)
    split = splits[6]
    test, validation = (heads.logits(features[rows], 6, 1) for rows in (split.test, split.validation))
    labels = task.labels[split.test]
    threshold = thresholds.best_f1(task.labels[split.validation], validation)[1]
    row = values["standardised"]["folds"][6]
    assert row["auroc"] == pytest.approx(metrics.auroc(labels, test).mean())
    assert row["average_precision"] == pytest.approx(metrics.average_precision(labels, test).mean())
    assert row["f1"] == pytest.approx(metrics.f1(labels, test >= threshold).mean())
    assert row["accuracy"] == pytest.approx(metrics.accuracy(labels, test >= threshold).mean())
    assert row["f1_oracle"] == pytest.approx(thresholds.oracle(labels, test)[0].mean())
    assert row["accuracy_oracle"] == pytest.approx(thresholds.oracle(labels, test)[1].mean())


def test_mean_and_spread_are_over_folds(values: dict[str, dict]) -> None:
    result = values["as_published"]
    for name in FOLD_METRICS:
        column = [row[name] for row in result["folds"]]
        assert result["mean"][name] == pytest.approx(np.mean(column))
        assert result["sd"][name] == pytest.approx(np.std(column, ddof=1))


def test_features_that_tell_classes_apart_are_seen_to(values: dict[str, dict]) -> None:
    for result in values.values():
        assert result["mean"]["auroc"] > 0.65
        assert result["mean"]["f1_oracle"] >= result["mean"]["f1"]
        for interval in result["pooled"].values():
            assert interval["low"] < interval["value"] < interval["high"]


def test_probing_twice_gives_the_same_bits_whatever_the_order_of_the_table(
    values: dict[str, dict], features: np.ndarray, task: TaskData, records: pd.DataFrame
) -> None:
    order = np.random.default_rng(3).permutation(len(records))
    shuffled = select("superclass", records.iloc[order])
    table = np.zeros((len(records), features.shape[1]), dtype=np.float32)
    table[task.rows] = features
    assert probe(table[order][shuffled.rows], shuffled, CONFIG, encoder="merit") == values


def test_classes_that_a_fold_cannot_score_are_named_and_left_out(records: pd.DataFrame, features: np.ndarray) -> None:
    """Fold 1 keeps one record with HYP; it tests in split 1 and validates in split 10."""
    labels = [list(codes) for codes in records["labels"]]
    in_fold = [i for i in range(len(records)) if records["fold"][i] == 1 and "LVH" in labels[i]]
    for i in in_fold[1:]:
        labels[i] = [code for code in labels[i] if code != "LVH"] + ["NORM"]
    task = select("superclass", records.assign(labels=labels))
    result = probe(features, task, CONFIG, variant="as_published")["as_published"]
    assert {row["fold"]: row["unscored"] for row in result["folds"] if row["unscored"]} == {1: ["HYP"], 10: ["HYP"]}
    assert [row["n_scored_classes"] for row in result["folds"]] == [4, 5, 5, 5, 5, 5, 5, 5, 5, 4]
    assert result["per_class"]["HYP"]["n_folds"] == 8
    assert result["per_class"]["NORM"]["n_folds"] == 10
    splits = make_splits(task.folds)
    heads = probing.train(features, task.labels, splits, CONFIG)
    rows = np.concatenate([splits[f].test for f in range(1, 9)])
    logits = np.concatenate([heads.logits(features[splits[f].test], f, 0) for f in range(1, 9)])
    hyp = task.classes.index("HYP")
    expected = metrics.auroc(task.labels[rows][:, [hyp]], logits[:, [hyp]])[0]
    assert result["per_class"]["HYP"]["auroc"] == pytest.approx(expected)


def test_a_fold_that_scores_nothing_has_no_numbers(features: np.ndarray, task: TaskData) -> None:
    config = replace(CONFIG, epochs=1, min_positives=17)
    result = probe(features, task, config, variant="as_published")["as_published"]
    empty = [row for row in result["folds"] if not row["n_scored_classes"]]
    scored = [row["auroc"] for row in result["folds"] if row["n_scored_classes"]]
    assert empty
    assert scored
    assert all(row[name] is None for row in empty for name in FOLD_METRICS)
    assert result["mean"]["auroc"] == pytest.approx(np.mean(scored))


def test_official_split_has_one_fold_and_no_spread(features: np.ndarray, task: TaskData) -> None:
    result = probe(features, task, CONFIG, protocol=OFFICIAL_SPLIT)["standardised"]
    assert [row["fold"] for row in result["folds"]] == [10]
    assert result["protocol"] == "official split (train 1-8, validate 9, test 10)"
    assert result["sd"]["auroc"] is None
    assert result["pooled"]["auroc"]["value"] == pytest.approx(result["mean"]["auroc"])


def test_best_validation_epoch_is_chosen_on_validation(features: np.ndarray, task: TaskData) -> None:
    result = probe(features, task, replace(CONFIG, select="best_validation"))["as_published"]
    split = make_splits(task.folds)[0]
    figures = []
    for epochs in range(1, CONFIG.epochs + 1):
        heads = probing.train(features, task.labels, [split], replace(CONFIG, epochs=epochs))
        logits = heads.logits(features[split.validation], 0, 0)
        figures.append(metrics.auroc(task.labels[split.validation], logits).mean())
    assert result["folds"][0]["epoch"] == int(np.argmax(figures)) + 1


def test_features_that_cannot_be_probed_are_refused(features: np.ndarray, task: TaskData) -> None:
    broken = features.copy()
    broken[5, 2], broken[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of 480 rows that are not, the first is row 5"):
        probe(broken, task, CONFIG)
    with pytest.raises(ValueError, match=r"480 records .* got shape \(479, 12\)"):
        probe(features[1:], task, CONFIG)
    with pytest.raises(ValueError, match="raw"):
        probe(features, task, CONFIG, variant="raw")
