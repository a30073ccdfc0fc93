"""Effects of protocol rules: forms counted by hand on ties, the probe's own scores, planted leaks and memory, and what
has no score.
"""

from __future__ import annotations

import dataclasses
import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from merit import scores
from merit.config import ProbeConfig
from merit.evaluate import metrics
from merit.evaluate import protocol_effects as measures
from merit.evaluate.probing import probe
from merit.evaluate.protocol_effects import FORMS, PLACE, forms, pick, protocol_effects, recording_splits
from merit.evaluate.tasks import OFFICIAL_SPLIT, NotEnoughData, TaskData, make_splits


def slow_best(label: np.ndarray, score: np.ndarray) -> float:
    """The lowest score of the best F1."""
    return max(np.unique(score), key=lambda cut: round(f1_score(label, score >= cut), 12))


@pytest.mark.parametrize("levels", [2, 4, 50])
def test_every_form_equals_a_loop_over_records(levels):
    generator = np.random.default_rng(levels)
    labels = generator.random((40, 3)) < 0.4
    scores = np.round((labels + generator.normal(size=labels.shape)) * levels / 4)
    chosen, classes = np.median(scores, axis=0), np.array([True, False, True])
    found = forms(labels, scores, chosen, classes)
    assert found[PLACE["auroc"]] == pytest.approx(metrics.auroc(labels, scores)[classes].mean())
    pairs = [(labels[:, c], scores[:, c]) for c in (0, 2)]
    cuts = {"": chosen[classes], "_oracle": [slow_best(*own) for own in pairs]}
    for (rule, at), sign in product(cuts.items(), ("", "_strict")):
        said = [(label, score > cut if sign else score >= cut) for (label, score), cut in zip(pairs, at)]
        expected = [np.mean([count(*own) for own in said]) for count in (f1_score, accuracy_score)]
        assert [found[PLACE[f"{name}{rule}{sign}"]] for name in ("f1", "accuracy")] == pytest.approx(expected)
    assert np.isnan(forms(labels, scores, chosen, classes & False)).all(), "no class, no number"


CONFIG = ProbeConfig(epochs=4, learning_rate=1e-2, n_resamples=10)


def effects(features: np.ndarray, task: TaskData, config: ProbeConfig = CONFIG, **given) -> pd.DataFrame:
    return protocol_effects(features, task, config, variant="standardised", **given)


def value(frame: pd.DataFrame, rule: str, metric: str, scored: str = "effect", column: str = "value"):
    """One cell of a frame of effects."""
    rows = frame[(frame["rule"] == rule) & (frame["metric"] == metric) & (frame["scored"] == scored)]
    return rows[column].item()


def of_probe(features: np.ndarray, task: TaskData, config: ProbeConfig = CONFIG) -> pd.Series:
    """Metric -> mean over folds."""
    found = probe(features, task, config, variants=("standardised",))
    return found[found["scored"] == "by fold"].set_index("metric")["value"]


@pytest.fixture(scope="module")
def found(features: np.ndarray, task: TaskData) -> pd.DataFrame:
    return effects(features, task)


def test_the_corrected_scores_are_those_of_table_1_and_each_rule_picks_its_epoch(found, features, task):
    values = np.zeros((3, 2, len(FORMS)))
    values[:, :, PLACE["auroc"]] = [[0.5, 0.9], [0.8, 0.6], [0.7, 0.7]]
    values[:, :, PLACE["auroc_validation"]] = [[0.9, 0.1], [0.2, 0.1], [0.3, 0.1]]
    assert pick(values, "auroc", "last").tolist() == [0.7, 0.7]
    assert pick(values, "auroc", "test").tolist() == [0.8, 0.9]
    assert pick(values, "auroc", "validation").tolist() == [0.5, 0.9]  # the first of equals
    mean = of_probe(features, task)
    assert value(found, "epoch", "auroc", "corrected") == pytest.approx(mean["auroc"], abs=1e-12)
    for metric, rule in (("f1", "threshold"), ("accuracy", "sign_oracle")):
        both = value(found, "threshold", metric, "corrected"), value(found, rule, metric, "published")
        assert both == pytest.approx((mean[metric], mean[f"{metric}_oracle"]), abs=1e-12)
    chosen = of_probe(features, task, dataclasses.replace(CONFIG, select="best_validation"))
    assert value(found, "epoch_validation", "auroc", "corrected") == pytest.approx(chosen["auroc"], abs=1e-12)


def test_an_effect_is_the_mean_of_the_differences_and_its_sd_theirs(found, task):
    for row in found[found["scored"] == "effect"].to_dict("records"):
        both = [value(found, row["rule"], row["metric"], way) for way in ("published", "corrected")]
        assert row["value"] == pytest.approx(np.mean(row["folds"])) == pytest.approx(both[0] - both[1])
        assert row["sd"] == pytest.approx(np.std(row["folds"], ddof=1))
        assert (row["sd_over"], row["test_share"]) == ("folds", 1 / 8)
    for place in (("threshold", "f1"), ("epoch", "auroc"), ("epoch", "f1"), ("epoch_validation", "auroc")):
        assert min(value(found, *place, column="folds")) >= 0, "optimistic rules never lose within a fold"
    assert found["n_patients"].unique() == [len(set(task.patients))]
    # The strict sign loses a hit in every class at the oracle's threshold.
    expected = -1 / np.bincount(task.folds)[1:]  # no ties: one record per class
    np.testing.assert_allclose(value(found, "sign_oracle", "accuracy", column="folds"), expected, atol=1e-12)
    assert value(found, "sign", "accuracy") == 0.0
    # All together goes by MERL's way, on folds by recording.
    assert value(found, "all", "f1", column="combined") == ["threshold", "sign_oracle", "epoch", "by_recording"]
    assert value(found, "all", "f1", "corrected") == value(found, "by_recording", "f1", "corrected")
    assert value(found, "all", "auroc", "published") >= value(found, "by_recording", "auroc", "published")


def test_one_split_has_the_spread_of_resampled_patients(features, task):
    given = {"protocol": OFFICIAL_SPLIT, "unseen": False}
    found, again = (effects(features, task, **given) for _ in range(2))
    assert scores.pack(found) == scores.pack(again)
    assert "pretrained on" in found[found["rule"] == "by_recording"]["reason"].item()
    assert value(found, "all", "f1", column="combined") == ["threshold", "sign_oracle", "epoch"]
    (split,) = make_splits(task.folds, OFFICIAL_SPLIT)
    everything = np.ones((1, len(task.classes)), dtype=bool)
    folds, resamples = measures.trace(features, task, [split], everything, CONFIG, variant="standardised")
    validation = PLACE["auroc_validation"]  # not resampled: the same epoch is chosen in every resample
    np.testing.assert_array_equal(resamples[:, :, validation], np.tile(folds[:, :, validation], measures.N_RESAMPLES))
    for place in (("threshold", "f1"), ("threshold", "accuracy"), ("all", "f1")):
        assert value(found, *place, column="n_folds") == 1
        assert value(found, *place, column="sd") > 0
        assert value(found, *place, column="sd_over") == "resamples of the test patients"


def test_both_forms_test_the_same_recordings_and_train_on_as_many(task):
    by_recording, by_patient, counts = recording_splits(task)
    tested = np.concatenate([split.test for split in by_recording])
    assert sorted(tested) == list(range(len(task.rows)))
    leaking = 0
    for one, other in zip(by_recording, by_patient):
        np.testing.assert_array_equal(one.test, other.test)
        assert (len(one.train), len(one.validation)) == (len(other.train), len(other.validation))
        assert not set(one.test) & (set(one.train) | set(one.validation))
        patients = set(task.groups[other.test])
        assert not patients & set(task.groups[np.concatenate([other.train, other.validation])])
        leaking += sum(group in set(task.groups[one.train]) for group in task.groups[one.test])
    assert counts["n_leaking"] == leaking > 0
    several = [group for group in set(task.groups) if (task.groups == group).sum() > 1]
    assert counts["n_several"] == len(several)
    assert counts["n_several_records"] == sum((task.groups == group).sum() for group in several)
    with pytest.raises(NotEnoughData, match="no patient has two"):
        recording_splits(dataclasses.replace(task, groups=np.arange(len(task.rows)).astype(str)))


def test_a_head_that_knows_patients_gains_by_folds_by_recording(task):
    generator = np.random.default_rng(0)
    names, patient = np.unique(task.groups, return_inverse=True)
    classes = generator.random((len(names), len(task.classes))) < 0.4
    classes[~classes.any(axis=1), 0] = True
    known = dataclasses.replace(task, labels=classes[patient])
    face = generator.normal(size=(len(names), 400)).astype(np.float32)[patient]  # says who it is and nothing else
    config = dataclasses.replace(CONFIG, epochs=15)
    found = effects(face, known, config)
    assert value(found, "by_recording", "auroc", "corrected") == pytest.approx(0.5, abs=0.06)
    assert value(found, "by_recording", "auroc") > 0.15


def test_released_labels_are_trained_and_scored_on_their_own(features, task):
    wrong = task.labels.copy()
    wrong[:7, 0] = ~wrong[:7, 0]
    released = dataclasses.replace(task, labels=wrong)
    found = effects(features, task, released=(features, released))
    counts = {task.classes[0]: [int(wrong[:, 0].sum()), int(task.labels[:, 0].sum())]}
    assert value(found, "labels", "auroc", column="n_changed") == 7
    assert value(found, "labels", "auroc", column="changed_classes") == counts
    mean = of_probe(features, released)
    assert value(found, "labels", "auroc", "published") == pytest.approx(mean["auroc"], abs=1e-12)
    assert value(found, "all", "f1", column="combined")[-1] == "labels"
    same = effects(features, task, released=(features, task))
    told = [value(same, "labels", "f1", column=name) for name in ("value", "n_changed", "changed_classes")]
    assert told == [0.0, 0, {}]


def sides(n_seen: int = 120, n_held_out: int = 20) -> measures.Sides:
    """Two recordings a patient."""
    patients = np.array([f"p{row // 2}" for row in range(2 * (n_seen + n_held_out))], dtype=object)
    return measures.Sides(np.arange(2 * n_seen), np.arange(2 * n_seen, 2 * (n_seen + n_held_out)), patients)


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_own_report_is_ranked_as_by_a_loop():
    generator = np.random.default_rng(0)
    similarity, own = np.round(generator.normal(size=(30, 40)), 1), generator.integers(0, 25, 30)
    found = measures.own_report_found(similarity, np.eye(40), own)  # of unit vectors: products are the similarities
    gallery = sorted(set(own.tolist()))
    places = []
    for row, mine in zip(similarity, own):
        others = [row[g] for g in gallery if g != mine]
        places.append(sum((s > row[mine]) + 0.5 * (s == row[mine]) for s in others))
    assert found["recall"] == pytest.approx(np.mean([place < measures.NEAREST for place in places]))
    assert found["auroc"] == pytest.approx(np.mean([1 - place / (len(gallery) - 1) for place in places]))


@pytest.mark.parametrize("remembers", [True, False])
def test_pairs_that_were_learnt_by_heart_are_found_and_others_are_not(remembers):
    generator, who = np.random.default_rng(1), sides()
    n = len(who.patients)
    text = unit(generator.normal(size=(n, 64)))
    ecg = unit(generator.normal(size=(n, 64)))
    if remembers:
        ecg[who.seen] = unit(text[who.seen] + 0.15 * generator.normal(size=(len(who.seen), 64)))
    rows = measures.retrieval(ecg, text, np.arange(n), who)
    recall, auroc = (row for row in rows if row["scored"] == "effect")
    assert recall["n_held_out_patients"] == 20
    assert recall["chance"] == pytest.approx(10 / 40)
    if remembers:
        assert rows[0]["value"] > 0.6
        assert auroc["value"] > 4 * auroc["sd"]
    else:
        assert abs(auroc["value"]) < 3 * auroc["sd"]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


@pytest.mark.parametrize("remembers", [True, False])
def test_a_head_reads_seen_patients_better_only_where_something_was_learnt_by_heart(remembers):
    generator, who = np.random.default_rng(2), sides()
    labels = generator.random((len(who.patients), 2)) < 0.5
    features = 2 * labels @ generator.normal(size=(2, 8)) + generator.normal(size=(len(labels), 8))
    if remembers:
        features[who.held_out] = generator.normal(size=(len(who.held_out), 8))
    rows = measures.held_out_probe(features.astype(np.float32), labels, who, CONFIG, variant="standardised")
    seen, _, effect = rows
    assert seen["value"] > 0.7
    assert (effect["value"] > 3 * effect["sd"]) == remembers
    assert effect["n_held_out_patients"] == len(set(who.patients[who.held_out[labels[who.held_out].any(axis=1)]]))


def test_the_spread_is_how_far_chance_moves_the_difference():
    generator = np.random.default_rng(3)
    values, gaps, spreads = generator.normal(size=100), [], []
    for seed in range(200):
        order = np.random.default_rng(seed).permutation(100)
        held_out, seen = values[order[:20]], values[order[20:]]
        drawn = [np.random.default_rng([seed, k]).choice(seen, 20, replace=False).mean() for k in range(60)]
        effect = measures.seen_effect("auroc", drawn, held_out.mean(), 20 / 80)[-1]
        gaps.append(effect["value"])
        spreads.append(effect["sd"])
    assert np.std(gaps) == pytest.approx(np.mean(spreads), rel=0.15)


def test_too_few_patients_are_a_reason():
    who = sides(n_held_out=3)
    with pytest.raises(NotEnoughData, match="expected at least 8 patients with a report"):
        measures.retrieval(np.ones((len(who.patients), 2)), np.ones((1, 2)), np.zeros(len(who.patients), int), who)
    features, labels = np.ones((len(who.patients), 2), np.float32), np.zeros((len(who.patients), 2), dtype=bool)
    with pytest.raises(NotEnoughData, match="expected at least 8 patients with a label held out of pretraining; got 0"):
        measures.held_out_probe(features, labels, who, CONFIG, variant="standardised")
    few = sides(n_seen=12, n_held_out=10)
    with pytest.raises(NotEnoughData, match="twice those held out"):
        few.draws(few.seen, 10, 0)
