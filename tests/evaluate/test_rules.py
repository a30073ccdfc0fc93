"""What a rule is worth: against the probe's own numbers, planted leaks, planted memory, and what cannot be measured."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from merit.evaluate.rules import Setting, head, worth_of_rules
from merit.evaluate.rules_forms import FORMS, PLACE, pick
from merit.evaluate.rules_splits import recording_splits

from merit.config import ProbeConfig
from merit.evaluate import rules_seen
from merit.evaluate.probing import probe
from merit.evaluate.tasks import OFFICIAL_SPLIT, NotEnoughData, TaskData

CONFIG = ProbeConfig(epochs=4, learning_rate=1e-2, n_resamples=10)
SETTING = Setting(config=CONFIG, variant="standardised")


def by_rule(rows: list[dict]) -> dict[tuple[str, str], dict]:
    return {(row["rule"], row.get("metric", "")): row for row in rows}


@pytest.fixture(scope="module")
def rows(features: np.ndarray, task: TaskData) -> dict[tuple[str, str], dict]:
    return by_rule(worth_of_rules(features, task, SETTING))


def test_pick_takes_the_epoch_that_each_rule_names():
    values = np.zeros((3, 2, len(FORMS)))
    values[:, :, PLACE["auroc"]] = [[0.5, 0.9], [0.8, 0.6], [0.7, 0.7]]
    values[:, :, PLACE["auroc_validation"]] = [[0.9, 0.1], [0.2, 0.1], [0.3, 0.1]]
    assert pick(values, "auroc", "last").tolist() == [0.7, 0.7]
    assert pick(values, "auroc", "test").tolist() == [0.8, 0.9]
    assert pick(values, "auroc", "validation").tolist() == [0.5, 0.9]  # the first of equals


def test_the_proper_values_are_those_of_table_1(rows, features, task):
    values = probe(features, task, CONFIG, variant="standardised")["standardised"]
    mean = values["mean"]
    for metric in ("f1", "accuracy"):
        assert rows["threshold", metric]["proper"] == pytest.approx(mean[metric], abs=1e-12)
    assert rows["threshold", "f1"]["published"] == pytest.approx(mean["f1_oracle"], abs=1e-12)
    assert rows["sign_oracle", "accuracy"]["published"] == pytest.approx(mean["accuracy_oracle"], abs=1e-12)
    assert rows["epoch", "auroc"]["proper"] == pytest.approx(mean["auroc"], abs=1e-12)


def test_the_epoch_chosen_on_validation_is_the_probes_own(rows, features, task):
    chosen = dataclasses.replace(CONFIG, select="best_validation")
    mean = probe(features, task, chosen, variant="standardised")["standardised"]["mean"]
    assert rows["epoch_validation", "auroc"]["proper"] == pytest.approx(mean["auroc"], abs=1e-12)


def test_worth_is_the_mean_of_the_differences_and_spread_their_sd(rows):
    for row in rows.values():
        assert row["worth"] == pytest.approx(np.mean(row["by_fold"]))
        assert row["spread"] == pytest.approx(np.std(row["by_fold"], ddof=1))
        assert row["worth"] == pytest.approx(row["published"] - row["proper"])
        assert row["spread_over"] == "folds"


def test_optimistic_rules_never_lose_within_a_fold(rows):
    for key in (("threshold", "f1"), ("epoch", "auroc"), ("epoch", "f1"), ("epoch_validation", "auroc")):
        assert min(rows[key]["by_fold"]) >= 0, key
    assert rows["threshold", "f1"]["worth"] > 0


def test_the_strict_sign_loses_a_hit_in_every_class_at_the_oracles_threshold(rows, task):
    per_fold = np.bincount(task.folds)[1:]
    expected = -1 / per_fold  # no ties: one record a class
    np.testing.assert_allclose(rows["sign_oracle", "accuracy"]["by_fold"], expected, atol=1e-12)
    assert rows["sign", "accuracy"]["worth"] == 0.0


def test_all_together_goes_by_merls_way_on_folds_by_recording(rows):
    assert rows["all", "f1"]["combined"] == ["threshold", "sign_oracle", "epoch", "by_recording"]
    assert rows["all", "f1"]["proper"] == rows["by_recording", "f1"]["proper"]
    assert rows["all", "auroc"]["published"] >= rows["by_recording", "auroc"]["published"]


def test_rows_go_into_json_and_do_not_change(rows, features, task):
    assert json.loads(json.dumps(list(rows.values()), allow_nan=False)) == list(rows.values())
    assert by_rule(worth_of_rules(features, task, SETTING)) == rows
    assert head(task, SETTING)["n_patients"] == len(set(task.patients))


def test_one_split_has_the_spread_of_resampled_patients(features, task):
    setting = dataclasses.replace(SETTING, protocol=OFFICIAL_SPLIT)
    found, again = (by_rule(worth_of_rules(features, task, setting, unseen=False)) for _ in range(2))
    assert found == again
    assert "pretrained on" in found["by_recording", ""]["reason"]
    assert found["all", "f1"]["combined"] == ["threshold", "sign_oracle", "epoch"]
    for row in (found["threshold", "f1"], found["threshold", "accuracy"], found["all", "f1"]):
        assert row["n_folds"] == 1
        assert row["spread"] > 0
        assert row["spread_over"] == "resamples of the test patients"


# -- folds by recording ----------------------------------------------------------------------------------------------


def test_both_forms_test_the_same_recordings_and_train_on_as_many(task):
    drawn = recording_splits(task)
    tested = np.concatenate([split.test for split in drawn.by_recording])
    assert sorted(tested) == list(range(len(task.rows)))
    leaking = 0
    for one, other in zip(drawn.by_recording, drawn.by_patient):
        np.testing.assert_array_equal(one.test, other.test)
        assert (len(one.train), len(one.validation)) == (len(other.train), len(other.validation))
        assert not set(one.test) & (set(one.train) | set(one.validation))
        patients = set(task.groups[other.test])
        assert not patients & set(task.groups[np.concatenate([other.train, other.validation])])
        leaking += sum(group in set(task.groups[one.train]) for group in task.groups[one.test])
    assert drawn.n_tested_leaking == leaking > 0
    several = [group for group in set(task.groups) if (task.groups == group).sum() > 1]
    assert drawn.n_patients == len(several)
    assert drawn.n_records == sum((task.groups == group).sum() for group in several)


def test_a_head_that_knows_patients_gains_by_folds_by_recording(task):
    generator = np.random.default_rng(0)
    names, patient = np.unique(task.groups, return_inverse=True)
    classes = generator.random((len(names), len(task.classes))) < 0.4
    classes[~classes.any(axis=1), 0] = True
    known = dataclasses.replace(task, labels=classes[patient])
    face = generator.normal(size=(len(names), 400)).astype(np.float32)[patient]  # says who it is and nothing else
    config = dataclasses.replace(CONFIG, epochs=15)
    found = by_rule(worth_of_rules(face, known, dataclasses.replace(SETTING, config=config)))
    assert found["by_recording", "auroc"]["proper"] == pytest.approx(0.5, abs=0.06)
    assert found["by_recording", "auroc"]["worth"] > 0.15


def test_one_recording_a_patient_has_nothing_to_leak(task):
    alone = dataclasses.replace(task, groups=np.arange(len(task.rows)).astype(str))
    with pytest.raises(NotEnoughData, match="no patient has two"):
        recording_splits(alone)


# -- labels ----------------------------------------------------------------------------------------------------------


def test_released_labels_are_trained_and_scored_on_their_own(features, task):
    wrong = task.labels.copy()
    wrong[:7, 0] = ~wrong[:7, 0]
    released = dataclasses.replace(task, labels=wrong)
    found = by_rule(worth_of_rules(features, task, SETTING, released=(features, released)))
    row = found["labels", "auroc"]
    assert row["n_changed"] == 7
    assert row["changed_classes"] == {task.classes[0]: [int(wrong[:, 0].sum()), int(task.labels[:, 0].sum())]}
    mean = probe(features, released, CONFIG, variant="standardised")["standardised"]["mean"]
    assert row["published"] == pytest.approx(mean["auroc"], abs=1e-12)
    assert found["all", "f1"]["combined"][-1] == "labels"
    same = by_rule(worth_of_rules(features, task, SETTING, released=(features, task)))["labels", "f1"]
    assert (same["worth"], same["n_changed"], same["changed_classes"]) == (0.0, 0, {})


# -- patients seen ---------------------------------------------------------------------------------------------------


def sides(n_seen: int = 120, n_held_out: int = 20) -> rules_seen.Sides:
    """Two recordings a patient."""
    patients = np.array([f"p{row // 2}" for row in range(2 * (n_seen + n_held_out))], dtype=object)
    return rules_seen.Sides(np.arange(2 * n_seen), np.arange(2 * n_seen, 2 * (n_seen + n_held_out)), patients)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_own_report_is_ranked_as_by_a_loop():
    generator = np.random.default_rng(0)
    similarity, own = np.round(generator.normal(size=(30, 40)), 1), generator.integers(0, 25, 30)
    found = rules_seen._found(similarity, np.eye(40), own)  # texts are unit vectors: products are the similarities
    gallery = sorted(set(own.tolist()))
    places = []
    for row, mine in zip(similarity, own):
        others = [row[g] for g in gallery if g != mine]
        places.append(sum((s > row[mine]) + 0.5 * (s == row[mine]) for s in others))
    assert found["recall"] == pytest.approx(np.mean([place < rules_seen.NEAREST for place in places]))
    assert found["auroc"] == pytest.approx(np.mean([1 - place / (len(gallery) - 1) for place in places]))
    assert found["n_reports"] == len(gallery)


@pytest.mark.parametrize("remembers", [True, False])
def test_pairs_that_were_learnt_by_heart_are_found_and_others_are_not(remembers):
    generator, who = np.random.default_rng(1), sides()
    n = len(who.patients)
    text = unit(generator.normal(size=(n, 64)))
    ecg = unit(generator.normal(size=(n, 64)))
    if remembers:
        ecg[who.seen] = unit(text[who.seen] + 0.15 * generator.normal(size=(len(who.seen), 64)))
    recall, auroc = rules_seen.retrieval(ecg, text, np.arange(n), who)
    assert (recall["n_held_out_patients"], recall["n_held_out"], recall["share_known_reports"]) == (20, 40, 0.0)
    assert recall["chance"] == pytest.approx(10 / 40)
    if remembers:
        assert recall["published"] > 0.6
        assert auroc["worth"] > 4 * auroc["spread"]
    else:
        assert abs(auroc["worth"]) < 3 * auroc["spread"]
    assert json.loads(json.dumps([recall, auroc], allow_nan=False)) == [recall, auroc]


@pytest.mark.parametrize("remembers", [True, False])
def test_a_head_reads_seen_patients_better_only_where_something_was_learnt_by_heart(remembers):
    generator, who = np.random.default_rng(2), sides()
    labels = generator.random((len(who.patients), 2)) < 0.5
    features = 2 * labels @ generator.normal(size=(2, 8)) + generator.normal(size=(len(labels), 8))
    if remembers:
        features[who.held_out] = generator.normal(size=(len(who.held_out), 8))
    row = rules_seen.probing(features.astype(np.float32), labels, who, CONFIG, variant="standardised")
    assert row["published"] > 0.7
    assert (row["worth"] > 3 * row["spread"]) == remembers
    assert row["n_train"] + row["n_seen"] == labels[who.seen].any(axis=1).sum()


def test_the_spread_is_how_far_chance_moves_the_difference():
    generator = np.random.default_rng(3)
    values, gaps, spreads = generator.normal(size=100), [], []
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(100)
        held_out, seen = values[order[:20]], values[order[20:]]
        drawn = [np.random.default_rng([seed, k]).choice(seen, 20, replace=False).mean() for k in range(60)]
        row = rules_seen._row("auroc", drawn, held_out.mean(), 20 / 80)
        gaps.append(row["worth"])
        spreads.append(row["spread"])
    assert np.std(gaps) == pytest.approx(np.mean(spreads), rel=0.15)


def test_too_few_patients_are_a_reason():
    who = sides(n_held_out=3)
    with pytest.raises(NotEnoughData, match="expected at least 8 patients with a report"):
        rules_seen.retrieval(np.ones((len(who.patients), 2)), np.ones((1, 2)), np.zeros(len(who.patients), int), who)
    features, labels = np.ones((len(who.patients), 2), np.float32), np.zeros((len(who.patients), 2), dtype=bool)
    with pytest.raises(NotEnoughData, match="expected at least 8 patients with a label held out of pretraining; got 0"):
        rules_seen.probing(features, labels, who, CONFIG, variant="standardised")
    few = sides(n_seen=12, n_held_out=10)
    with pytest.raises(NotEnoughData, match="twice those held out"):
        few.draws(few.seen, 10, 0)
