"""Linear probing: heads trained together against the textbook loop, and scores against the metrics by themselves."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from merit import scores
from merit.bench import measure as bench
from merit.bench.measure import train_alone
from merit.config import ProbeConfig, replace
from merit.evaluate import metrics, thresholds
from merit.evaluate.probing import (
    AS_PUBLISHED,
    FOLD_METRICS,
    STANDARDISED,
    VARIANTS,
    epoch_order,
    initial_head,
    probe,
    standardisation,
    train,
)
from merit.evaluate.tasks import OFFICIAL_SPLIT, TaskData, make_splits, select

HEADS = ProbeConfig(epochs=4, batch_size=16, learning_rate=1e-2, weight_decay=0.1)


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [N, D], labels [N, C], folds [N] of very unequal size: 4 to 40 records."""
    generator = np.random.default_rng(0)
    folds = np.repeat(np.arange(1, 11), np.arange(4, 44, 4))
    labels = generator.random((len(folds), 3)) < 0.4
    features = (labels @ generator.normal(size=(3, 7)) + generator.normal(size=(len(folds), 7))) * np.geomspace(
        0.1, 9, 7
    )
    return (features + 2).astype(np.float32), labels, folds


def test_all_folds_together_equal_one_after_another(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    assert len({-(-len(s.train) // 16) for s in splits}) > 2, "the folds should differ in batches an epoch"
    assert any(len(s.train) % 16 for s in splits), "some last batch should be short"
    heads = train(features, labels, splits, HEADS)
    for f, split in enumerate(splits):
        for v, variant in enumerate(VARIANTS):
            alone = train_alone(features, labels, split, variant, HEADS)
            np.testing.assert_allclose(heads.weight[f, v], alone, atol=1e-5, rtol=0)


def test_a_head_does_not_depend_on_its_neighbours(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    together = train(features, labels, splits, HEADS)
    alone = train(features, labels, splits[4:5], HEADS, variants=(STANDARDISED,))
    np.testing.assert_allclose(together.weight[4, 1], alone.weight[0, 0], atol=1e-5, rtol=0)


def test_the_official_split_is_one_more_problem(problem: tuple) -> None:
    features, labels, folds = problem
    (split,) = make_splits(folds, OFFICIAL_SPLIT)
    heads = train(features, labels, [split], HEADS, variants=(AS_PUBLISHED,))
    alone = train_alone(features, labels, split, AS_PUBLISHED, HEADS)
    np.testing.assert_allclose(heads.weight[0, 0], alone, atol=1e-5, rtol=0)


def test_same_inputs_same_bits_whatever_the_global_seed(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = train(features, labels, splits, HEADS)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    np.testing.assert_array_equal(first.weight, train(features, labels, splits, HEADS).weight)
    assert not np.array_equal(first.weight, train(features, labels, splits, replace(HEADS, seed=1)).weight)


def test_initial_values_are_those_of_torch() -> None:
    seed = int(np.random.default_rng([3, 5]).integers(2**31))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = torch.nn.Linear(9, 4)
    expected = torch.cat([linear.weight, linear.bias[:, None]], dim=1).detach()
    np.testing.assert_allclose(initial_head(3, 5, 9, 4), expected, atol=1e-7)
    assert not torch.equal(initial_head(3, 6, 9, 4), expected)


def test_every_epoch_and_fold_has_its_own_order() -> None:
    orders = [tuple(epoch_order(0, fold, epoch, 20)) for fold in (1, 2) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert sorted(orders[0]) == list(range(20))


def test_standardisation_is_by_mean_and_sd_of_the_rows() -> None:
    rows = np.random.default_rng(0).normal(3, 2, size=(500, 4)).astype(np.float32)
    mean, inverse = standardisation(rows)
    scaled = (rows - mean) * inverse
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 1 / 3, 1e6])
def test_constant_features_vanish_when_standardised(problem: tuple, constant: float) -> None:
    features, labels, folds = problem
    features = features.copy()
    features[:, 2] = constant
    heads = train(features, labels, make_splits(folds), replace(HEADS, epochs=1), variants=(STANDARDISED,))
    assert np.isfinite(heads.weight).all()
    assert (heads.scale[:, 0, 2] == 0).all()
    assert np.isfinite(heads.logits(features, 0, 0)).all()


def test_standardised_heads_use_training_folds_alone(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    changed = features.copy()
    changed[splits[3].test] += 100
    changed[splits[3].validation] -= 50
    config = replace(HEADS, epochs=1)
    first, second = (train(x, labels, splits[3:4], config) for x in (features, changed))
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.offset, second.offset)


def test_chosen_epoch_is_the_first_of_the_best(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)[:2]
    figures = iter([[[0.1, 0.9], [np.nan, 0.2]], [[0.3, 0.8], [np.nan, 0.2]], [[0.3, 0.95], [0.5, 0.1]]])
    heads = train(features, labels, splits, replace(HEADS, epochs=3), after_epoch=lambda _: np.array(next(figures)))
    assert heads.epoch.tolist() == [[2, 3], [3, 1]]
    for epochs, f, v in ((2, 0, 0), (3, 0, 1), (1, 1, 1)):
        reference = train(features, labels, splits, replace(HEADS, epochs=epochs))
        np.testing.assert_array_equal(heads.weight[f, v], reference.weight[f, v])


def test_threads_change_no_bit_and_are_given_back(problem: tuple) -> None:
    features, labels, folds = problem
    before = torch.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append(train(features, labels, make_splits(folds), HEADS).weight)
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.gpu
def test_cuda_gives_the_same_heads(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_cpu, on_gpu = (train(features, labels, splits, HEADS, device=d).weight for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cpu, on_gpu, atol=1e-5, rtol=0)


# -- scores -----------------------------------------------------------------------------------------------------------

CONFIG = ProbeConfig(epochs=8, learning_rate=1e-2, n_resamples=20)


@pytest.fixture(scope="module")
def probed(features: np.ndarray, task: TaskData) -> pd.DataFrame:
    return probe(features, task, CONFIG)


def by_fold(probed: pd.DataFrame, variant: str = AS_PUBLISHED) -> pd.DataFrame:
    """The rows of means over folds, by metric."""
    return probed[(probed["scored"] == "by fold") & (probed["variant"] == variant)].set_index("metric")


def pooled(probed: pd.DataFrame, variant: str = AS_PUBLISHED) -> pd.DataFrame:
    """The rows of pooled predictions, by class and metric."""
    return probed[(probed["scored"] == "pooled") & (probed["variant"] == variant)].set_index(["class", "metric"])


def test_scores_have_a_row_per_variant_metric_and_class(probed: pd.DataFrame, task: TaskData) -> None:
    packed = scores.pack(probed)
    assert json.loads(json.dumps(packed, allow_nan=False)) == packed
    assert list(probed["variant"].unique()) == list(VARIANTS)
    for variant in VARIANTS:
        own, out_of_fold = by_fold(probed, variant), pooled(probed, variant)
        assert tuple(own.index) == FOLD_METRICS
        assert tuple(out_of_fold.loc["macro"].index) == ("auroc", "average_precision", "f1", "accuracy")
        assert set(out_of_fold.index.get_level_values(0)) == {"macro", *task.classes}
        row = own.loc["auroc"]
        assert (row["protocol"], row["n"], row["n_patients"]) == ("ten folds", 480, len(set(task.patients)))
        assert row["test_folds"] == list(range(1, 11))
        assert sum(row["n_test"]) == 480
        assert row["test_share"] == pytest.approx(np.mean([n / 384 for n in row["n_test"]]), rel=0.02)


def test_folds_are_scored_by_their_own_head_and_validation_threshold(
    probed: pd.DataFrame, features: np.ndarray, task: TaskData
) -> None:
    splits = make_splits(task.folds)
    heads = train(features, task.labels, splits, CONFIG)
    split = splits[6]
    test, validation = (heads.logits(features[rows], 6, 1) for rows in (split.test, split.validation))
    labels = task.labels[split.test]
    threshold = thresholds.best_f1(task.labels[split.validation], validation)[1]
    expected = {
        "auroc": metrics.auroc(labels, test),
        "average_precision": metrics.average_precision(labels, test),
        "f1": metrics.f1(labels, test >= threshold),
        "accuracy": metrics.accuracy(labels, test >= threshold),
        "f1_oracle": thresholds.oracle(labels, test)[0],
        "accuracy_oracle": thresholds.oracle(labels, test)[1],
    }
    for name, by_class in expected.items():
        assert by_fold(probed, STANDARDISED)["folds"][name][6] == pytest.approx(by_class.mean())


def test_mean_and_spread_are_over_folds(probed: pd.DataFrame) -> None:
    for _, row in by_fold(probed).iterrows():
        assert row["value"] == pytest.approx(np.mean(row["folds"]))
        assert row["sd"] == pytest.approx(np.std(row["folds"], ddof=1))


def test_features_that_tell_classes_apart_are_seen_to(probed: pd.DataFrame) -> None:
    for variant in VARIANTS:
        values = by_fold(probed, variant)["value"]
        assert values["auroc"] > 0.65
        assert values["f1_oracle"] >= values["f1"]
        macro = pooled(probed, variant).loc["macro"]
        assert ((macro["low"] < macro["value"]) & (macro["value"] < macro["high"])).all()
        assert {len(drawn) for drawn in macro["draws"]} == {CONFIG.n_resamples}


def test_probing_twice_gives_the_same_bits_whatever_the_order_of_the_table(
    probed: pd.DataFrame, features: np.ndarray, task: TaskData, records: pd.DataFrame
) -> None:
    order = np.random.default_rng(3).permutation(len(records))
    shuffled = select("superclass", records.iloc[order])
    table = np.zeros((len(records), features.shape[1]), dtype=np.float32)
    table[task.rows] = features
    assert scores.pack(probe(table[order][shuffled.rows], shuffled, CONFIG)) == scores.pack(probed)


def test_classes_that_a_fold_cannot_score_are_named_and_left_out(records: pd.DataFrame, features: np.ndarray) -> None:
    """Fold 1 keeps one record with HYP; it tests in split 1 and validates in split 10."""
    labels = [list(codes) for codes in records["labels"]]
    in_fold = [i for i in range(len(records)) if records["fold"][i] == 1 and "LVH" in labels[i]]
    for i in in_fold[1:]:
        labels[i] = [code for code in labels[i] if code != "LVH"] + ["NORM"]
    task = select("superclass", records.assign(labels=labels))
    found = probe(features, task, CONFIG, variants=(AS_PUBLISHED,))
    assert by_fold(found)["unscored"]["auroc"] == [["HYP"], *[[]] * 8, ["HYP"]]
    by_class = pooled(found)
    assert by_class["n_folds"]["HYP", "auroc"] == 8
    assert by_class["n_folds"]["NORM", "auroc"] == 10
    splits = make_splits(task.folds)
    heads = train(features, task.labels, splits, CONFIG)
    rows = np.concatenate([splits[f].test for f in range(1, 9)])
    logits = np.concatenate([heads.logits(features[splits[f].test], f, 0) for f in range(1, 9)])
    hyp = task.classes.index("HYP")
    expected = metrics.auroc(task.labels[rows][:, [hyp]], logits[:, [hyp]])[0]
    assert by_class["value"]["HYP", "auroc"] == pytest.approx(expected)


def test_a_fold_that_scores_nothing_has_no_numbers(features: np.ndarray, task: TaskData) -> None:
    config = replace(CONFIG, epochs=1, min_positives=17)
    found = by_fold(probe(features, task, config, variants=(AS_PUBLISHED,)))
    empty = [len(names) == len(task.classes) for names in found["unscored"]["auroc"]]
    assert 0 < sum(empty) < 10
    for folds in found["folds"]:
        assert [value is None for value in folds] == empty
    known = [value for value in found["folds"]["auroc"] if value is not None]
    assert found["value"]["auroc"] == pytest.approx(np.mean(known))


def test_official_split_has_one_fold_and_no_spread(features: np.ndarray, task: TaskData) -> None:
    found = probe(features, task, CONFIG, protocol=OFFICIAL_SPLIT)
    row = by_fold(found, STANDARDISED).loc["auroc"]
    assert (row["test_folds"], row["protocol"]) == ([10], "official split (train 1-8, validate 9, test 10)")
    assert np.isnan(row["sd"])
    assert row["test_share"] == 0
    assert pooled(found, STANDARDISED)["value"]["macro", "auroc"] == pytest.approx(row["value"])


def test_best_validation_epoch_is_chosen_on_validation(features: np.ndarray, task: TaskData) -> None:
    found = by_fold(probe(features, task, replace(CONFIG, select="best_validation")))
    split = make_splits(task.folds)[0]
    figures = []
    for epochs in range(1, CONFIG.epochs + 1):
        heads = train(features, task.labels, [split], replace(CONFIG, epochs=epochs))
        logits = heads.logits(features[split.validation], 0, 0)
        figures.append(metrics.auroc(task.labels[split.validation], logits).mean())
    assert found["epochs"]["auroc"][0] == int(np.argmax(figures)) + 1


def test_features_that_cannot_be_probed_are_refused(features: np.ndarray, task: TaskData) -> None:
    broken = features.copy()
    broken[5, 2], broken[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of 480 rows that are not, the first is row 5"):
        probe(broken, task, CONFIG)
    with pytest.raises(ValueError, match=r"480 records .* got shape \(479, 12\)"):
        probe(features[1:], task, CONFIG)
    with pytest.raises(ValueError, match="raw"):
        probe(features, task, CONFIG, variants=("raw",))


# -- how long it takes ------------------------------------------------------------------------------------------------


def test_each_task_is_timed_in_both_ways(records: pd.DataFrame) -> None:
    found = bench.measure_probing(records, dims=8, config=ProbeConfig(epochs=2, n_resamples=2), tasks=("superclass",))
    row = found["tasks"]["superclass"]
    assert (row["records"], row["classes"]) == (480, 5)
    assert row["alone_s"] / row["together_s"] == pytest.approx(row["ratio"]) == pytest.approx(found["ratio"])
    assert found["probe_s"] == row["probe_s"] > 0


def test_a_whole_run_is_extrapolated_from_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])

    def run(config: ProbeConfig) -> None:
        clock[0] += 5 + 2 * config.epochs

    assert bench.whole_run(run, ProbeConfig(epochs=100), 3) == pytest.approx(5 + 2 * 100)
