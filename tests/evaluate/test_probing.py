"""Linear probing: heads trained together against the textbook loop, scores against the metrics by themselves; groups of
people: who belongs where, which classes count, values and intervals by loops.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from merit import scores
from merit.bench import measure as bench
from merit.bench.measure import train_alone
from merit.config import ProbeConfig
from merit.evaluate import metrics, probing
from merit.evaluate.probing import AS_PUBLISHED, STANDARDISED, UNKNOWN, VARIANTS, probe, train
from merit.evaluate.tasks import OFFICIAL_SPLIT, TaskData, make_splits, select

HEADS = ProbeConfig(epochs=4, batch_size=16, learning_rate=1e-2, weight_decay=0.1)


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [N, D], labels [N, C], folds [N] of very unequal size: 4 to 40 records."""
    generator = np.random.default_rng(0)
    folds = np.repeat(np.arange(1, 11), np.arange(4, 44, 4))
    labels = generator.random((len(folds), 3)) < 0.4
    features = labels @ generator.normal(size=(3, 7)) + generator.normal(size=(len(folds), 7))
    return (features * np.geomspace(0.1, 9, 7) + 2).astype(np.float32), labels, folds


def test_all_folds_together_equal_one_after_another(problem: tuple) -> None:
    """Folds differ in batches an epoch, and some last batch is short."""
    features, labels, folds = problem
    splits = [*make_splits(folds), *make_splits(folds, OFFICIAL_SPLIT)]
    heads = train(features, labels, splits, HEADS)
    for (f, split), (v, variant) in product(enumerate(splits), enumerate(VARIANTS)):
        alone = train_alone(features, labels, split, variant, HEADS)
        np.testing.assert_allclose(heads.weight[f, v], alone, atol=1e-5, rtol=0)
    alone = train(features, labels, splits[4:5], HEADS, variants=(STANDARDISED,))
    np.testing.assert_allclose(heads.weight[4, 1], alone.weight[0, 0], atol=1e-5, rtol=0)


def test_same_inputs_same_bits_whatever_the_global_seed_and_the_threads(problem: tuple) -> None:
    features, labels, folds = problem
    splits, threads = make_splits(folds), torch.get_num_threads()
    before = torch.random.get_rng_state()
    first = train(features, labels, splits, HEADS).weight
    assert torch.equal(before, torch.random.get_rng_state())
    assert not np.array_equal(first, train(features, labels, splits, replace(HEADS, seed=1)).weight)
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(n)
                np.testing.assert_array_equal(first, train(features, labels, splits, HEADS).weight)
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)


def test_initial_values_are_torchs_folds_have_orders_of_their_own_and_the_first_best_epoch_is_chosen(
    problem: tuple,
):
    seed = int(np.random.default_rng([3, 5]).integers(2**31))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        linear = torch.nn.Linear(9, 4)
    expected = torch.cat([linear.weight, linear.bias[:, None]], dim=1).detach()
    np.testing.assert_allclose(probing.initial_head(3, 5, 9, 4), expected, atol=1e-7)
    assert not torch.equal(probing.initial_head(3, 6, 9, 4), expected)
    orders = [tuple(probing.epoch_order(0, fold, epoch, 20)) for fold in (1, 2) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert sorted(orders[0]) == list(range(20))
    features, labels, folds = problem
    splits = make_splits(folds)[:2]
    figures = iter([[[0.1, 0.9], [np.nan, 0.2]], [[0.3, 0.8], [np.nan, 0.2]], [[0.3, 0.95], [0.5, 0.1]]])
    heads = train(features, labels, splits, replace(HEADS, epochs=3), after_epoch=lambda _: np.array(next(figures)))
    assert heads.epoch.tolist() == [[2, 3], [3, 1]]
    for epochs, f, v in ((2, 0, 0), (3, 0, 1), (1, 1, 1)):
        reference = train(features, labels, splits, replace(HEADS, epochs=epochs))
        np.testing.assert_array_equal(heads.weight[f, v], reference.weight[f, v])


@pytest.mark.parametrize("constant", [0.0, 1 / 3, 1e6])
def test_standardisation_is_by_the_training_folds_and_constant_features_vanish(problem: tuple, constant: float) -> None:
    features, labels, folds = problem
    features, splits, config = features.copy(), make_splits(folds), replace(HEADS, epochs=1)
    features[:, 2] = constant
    heads = train(features, labels, splits, config, variants=(STANDARDISED,))
    assert (heads.scale[:, 0, 2] == 0).all()
    assert np.isfinite(heads.logits(features)).all()
    scaled = (features[splits[3].train] - heads.offset[3, 0]) * heads.scale[3, 0]
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.delete(scaled.std(axis=0), 2), 1, atol=1e-5)
    changed = features.copy()
    changed[splits[3].test] += 100
    changed[splits[3].validation] -= 50
    again = train(changed, labels, splits[3:4], config)
    np.testing.assert_array_equal(train(features, labels, splits[3:4], config).weight, again.weight)


@pytest.mark.gpu
def test_cuda_gives_the_same_heads(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_cpu, on_gpu = (train(features, labels, splits, HEADS, device=d).weight for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cpu, on_gpu, atol=1e-5, rtol=0)


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
    for variant in VARIANTS:
        own, out = by_fold(probed, variant), pooled(probed, variant)
        assert tuple(own.index) == probing.FOLD_METRICS
        assert set(out.index.get_level_values(0)) == {"macro", *task.classes}
        row = own.loc["auroc"]
        assert (row["n"], row["n_patients"]) == (480, len(set(task.patients)))
        assert (row["test_folds"], sum(row["n_test"])) == (list(range(1, 11)), 480)
        assert row["test_share"] == pytest.approx(np.mean([n / 384 for n in row["n_test"]]), rel=0.02)
        assert own["value"].tolist() == pytest.approx(own["folds"].map(np.mean).tolist())
        assert own["sd"].tolist() == pytest.approx(own["folds"].map(lambda folds: np.std(folds, ddof=1)).tolist())
        assert own.loc["auroc", "value"] > 0.65
        macro = out.loc["macro"]
        assert ((macro["low"] < macro["value"]) & (macro["value"] < macro["high"])).all()
        assert {len(drawn) for drawn in macro["draws"]} == {CONFIG.n_resamples}


def test_folds_are_scored_by_their_own_head_and_threshold_whatever_the_order_of_the_table(
    probed, features, task, records
):
    splits = make_splits(task.folds)
    heads = train(features, task.labels, splits, CONFIG)
    test, validation = (heads.logits(features[rows], 6, 1) for rows in (splits[6].test, splits[6].validation))
    labels = task.labels[splits[6].test]
    said = test >= metrics.best_f1(task.labels[splits[6].validation], validation)[1]
    ranked = metrics.auroc(labels, test), metrics.average_precision(labels, test)
    f1, accuracy = metrics.oracle(labels, test)
    by_class = [*ranked, metrics.f1(labels, said), f1, metrics.accuracy(labels, said), accuracy]
    for name, values in zip(probing.FOLD_METRICS, by_class):
        assert by_fold(probed, STANDARDISED)["folds"][name][6] == pytest.approx(values.mean()), name
    order = np.random.default_rng(3).permutation(len(records))
    shuffled = select("superclass", records.iloc[order])
    table = np.zeros((len(records), features.shape[1]), dtype=np.float32)
    table[task.rows] = features
    assert scores.pack(probe(table[order][shuffled.rows], shuffled, CONFIG)) == scores.pack(probed)


def test_classes_that_a_fold_cannot_score_are_named_and_left_out(records, features):
    """Fold 1 keeps one record with HYP; it tests in split 1 and validates in split 10."""
    labels = [list(codes) for codes in records["labels"]]
    in_fold = [i for i in range(len(records)) if records["fold"][i] == 1 and "LVH" in labels[i]]
    for i in in_fold[1:]:
        labels[i] = [code for code in labels[i] if code != "LVH"] + ["NORM"]
    task = select("superclass", records.assign(labels=labels))
    found = probe(features, task, CONFIG, variants=(AS_PUBLISHED,))
    assert by_fold(found)["unscored"]["auroc"] == [["HYP"], *[[]] * 8, ["HYP"]]
    by_class = pooled(found)
    assert (by_class["n_folds"]["HYP", "auroc"], by_class["n_folds"]["NORM", "auroc"]) == (8, 10)
    splits = make_splits(task.folds)
    heads = train(features, task.labels, splits, CONFIG)
    rows, hyp = np.concatenate([split.test for split in splits[1:9]]), task.classes.index("HYP")
    logits = np.concatenate([heads.logits(features[splits[f].test], f, 0) for f in range(1, 9)])
    assert by_class["value"]["HYP", "auroc"] == pytest.approx(roc_auc_score(task.labels[rows, hyp], logits[:, hyp]))
    # A fold that scores nothing has no numbers.
    config = replace(CONFIG, epochs=1, min_positives=17)
    found = by_fold(probe(features, task, config, variants=(AS_PUBLISHED,)))
    empty = [len(names) == len(task.classes) for names in found["unscored"]["auroc"]]
    assert 0 < sum(empty) < 10
    assert all([value is None for value in folds] == empty for folds in found["folds"])
    known = [value for value in found["folds"]["auroc"] if value is not None]
    assert found["value"]["auroc"] == pytest.approx(np.mean(known))


def test_the_official_split_has_one_fold_and_features_that_cannot_be_probed_are_refused(features, task):
    found = probe(features, task, CONFIG, protocol=OFFICIAL_SPLIT)
    row = by_fold(found, STANDARDISED).loc["auroc"]
    assert (row["test_folds"], row["protocol"]) == ([10], "official split (train 1-8, validate 9, test 10)")
    assert np.isnan(row["sd"])
    assert row["test_share"] == 0
    assert pooled(found, STANDARDISED)["value"]["macro", "auroc"] == pytest.approx(row["value"])
    broken = features.copy()
    broken[5, 2], broken[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of 480 rows that are not, the first is row 5"):
        probe(broken, task, CONFIG)
    with pytest.raises(ValueError, match=r"480 records .* got shape \(479, 12\)"):
        probe(features[1:], task, CONFIG)
    with pytest.raises(ValueError, match="raw"):
        probe(features, task, CONFIG, variants=("raw",))


GROUPS = ProbeConfig(epochs=2, learning_rate=1e-2, n_resamples=12, seed=7)
SEXES = probing.ATTRIBUTES["sex"]


def test_logits_are_those_of_linear_probing_and_people_fall_into_their_groups(out, features, task):
    ages = [0, 39.9, 40, 64, 65, 79.5, 80, 90, None, float("nan")]
    given = pd.DataFrame({"age": pd.Series(ages, dtype=object), "sex": ["male", "female", None, "", np.nan] * 2})
    found = probing.members(given)
    assert found["age"].tolist() == [probing.ATTRIBUTES["age"][k // 2] for k in range(8)] + [UNKNOWN, UNKNOWN]
    assert found["sex"].tolist() == ["male", "female", *[UNKNOWN] * 3] * 2
    # Pooled by class they give the very numbers of Table 1.
    logits, scored = out
    by_class = pooled(probe(features, task, GROUPS))["value"]
    for c, name in enumerate(task.classes):
        slow = roc_auc_score(task.labels[scored[:, c], c], logits[scored[:, c], c])
        assert by_class[name, "auroc"] == pytest.approx(slow, abs=1e-12)


def of(found: pd.DataFrame, group: str, name: str = "macro", scored: str = "level") -> dict:
    """One row of `compare_groups`."""
    chosen = (found["group"] == group) & (found["class"] == name) & (found["scored"] == scored)
    (row,) = found[chosen].to_dict("records")
    return row


def compared(task: TaskData, logits: np.ndarray, scored: np.ndarray, member: np.ndarray, least: int = 10):
    return probing.compare_groups(task, logits, scored, member, SEXES, GROUPS, 50, least)


@pytest.fixture(scope="module")
def out(features: np.ndarray, task: TaskData) -> tuple[np.ndarray, np.ndarray]:
    return probing.out_of_fold(features, task, GROUPS, variant="as_published", protocol="ten folds")


@pytest.fixture(scope="module")
def member(task: TaskData) -> np.ndarray:
    """By patient: about a half female, a third male, a few unknown."""
    names, patient = np.unique(task.patients, return_inverse=True)
    chosen = np.random.default_rng(0).choice(["female", "male", UNKNOWN], size=len(names), p=[0.55, 0.35, 0.1])
    return chosen.astype(object)[patient]


def slow_macro(task: TaskData, logits: np.ndarray, scored: np.ndarray, rows: np.ndarray) -> float:
    """Mean over classes of scikit-learn's AUROC."""
    used = [rows[column[rows]] for column in scored.T]
    return float(np.mean([roc_auc_score(task.labels[r, c], logits[r, c]) for c, r in enumerate(used) if len(r)]))


def test_values_counts_differences_and_intervals_equal_loops(out, task: TaskData, member: np.ndarray) -> None:
    found, names, generator = compared(task, *out, member), np.unique(task.groups), np.random.default_rng(GROUPS.seed)
    halves = [names[generator.permutation(len(names))[: len(names) // 2]] for _ in range(GROUPS.n_resamples)]
    drawn = {}
    for sex in SEXES:
        parts = [member == sex, *((member == sex) & np.isin(task.groups, half) for half in halves)]
        drawn[sex] = np.array([slow_macro(task, *out, np.flatnonzero(part)) for part in parts])
        odds = np.log(drawn[sex] / (1 - drawn[sex]))
        reach = 1.959964 * np.sqrt(np.mean(np.square(odds[1:] - odds[0])))
        low, high = (1 / (1 + np.exp(-(odds[0] + side * reach))) for side in (-1, 1))
        own = of(found, sex)
        assert (own["value"], own["low"], own["high"]) == pytest.approx((drawn[sex][0], low, high), abs=1e-10)
    difference, gap = of(found, "male", scored="difference"), drawn["male"] - drawn["female"]
    reach = 1.959964 * np.sqrt(np.mean(np.square(gap[1:] - gap[0])))
    expected = (gap[0], gap[0] - reach, gap[0] + reach)
    assert (difference["value"], difference["low"], difference["high"]) == pytest.approx(expected, abs=1e-10)
    assert (difference["against"], difference["classes"]) == ("female", list(task.classes))
    for group in (*SEXES, UNKNOWN):
        row, rows = of(found, group), member == group
        assert (row["n"], row["n_patients"]) == (rows.sum(), len(set(task.patients[rows])))
        assert [of(found, group, c)["n_positive"] for c in task.classes] == task.labels[rows].sum(axis=0).tolist()
    assert np.isnan(of(found, UNKNOWN)["value"])


def test_a_class_that_one_group_lacks_and_a_small_group_are_compared_in_none(out, task: TaskData, member: np.ndarray):
    logits, scored = out
    column = task.classes.index("HYP")
    changed = scored.copy()
    changed[(member == "male") & task.labels[:, column], column] = False
    found = compared(task, logits, changed, member)
    assert of(found, "male", "HYP")["reason"] == of(found, "female", "HYP")["reason"] == "male: 0 positives"
    assert "HYP" not in of(found, "female")["classes"]
    changed[:, column] = False
    expected = slow_macro(task, logits, changed, np.flatnonzero(member == "female"))
    assert of(found, "female")["value"] == pytest.approx(expected)
    few = member.copy()
    few[np.flatnonzero(member == "male")[12:]] = UNKNOWN
    found = compared(task, *out, few)
    assert of(found, "female")["reason"] == "fewer than two groups have 50 scored recordings"
    assert (of(found, "male")["n"], set(found["scored"])) == (12, {"level"})
    wanted = "no class has 1000 scored recordings with it and without it in each of female, male"
    assert of(compared(task, *out, member, 1000), "male")["reason"] == wanted
    assert of(compared(task, out[0], np.zeros_like(out[1]), member), "female")["n"] == 0


def test_each_task_is_timed_in_both_ways_and_a_whole_run_is_extrapolated(records, monkeypatch):
    found = bench.measure_probing(records, dims=8, config=ProbeConfig(epochs=2, n_resamples=2), tasks=("superclass",))
    row = found["tasks"]["superclass"]
    assert (row["records"], row["classes"]) == (480, 5)
    assert row["alone_s"] / row["together_s"] == pytest.approx(row["ratio"]) == pytest.approx(found["ratio"])
    assert found["probe_s"] == row["probe_s"] > 0
    clock = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])

    def run(config: ProbeConfig) -> None:
        clock[0] += 5 + 2 * config.epochs

    assert bench.whole_run(run, ProbeConfig(epochs=100), 3) == pytest.approx(5 + 2 * 100)


def test_best_validation_epoch_is_chosen_on_validation(features: np.ndarray, task: TaskData) -> None:
    found = by_fold(probe(features, task, replace(CONFIG, select="best_validation")))
    split = make_splits(task.folds)[0]
    figures = []
    for epochs in range(1, CONFIG.epochs + 1):
        heads = train(features, task.labels, [split], replace(CONFIG, epochs=epochs))
        figures.append(metrics.auroc(task.labels[split.validation], heads.logits(features[split.validation])).mean())
    assert found["epochs"]["auroc"][0] == int(np.argmax(figures)) + 1
