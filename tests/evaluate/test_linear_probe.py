from __future__ import annotations

import numpy as np
import pytest
import torch
from merit.evaluate.probe_bench import train_alone

from merit.config import ProbeConfig, replace
from merit.evaluate.probing import (
    AS_PUBLISHED,
    STANDARDISED,
    VARIANTS,
    epoch_order,
    initial_head,
    standardisation,
    train,
)
from merit.evaluate.tasks import OFFICIAL_SPLIT, make_splits

CONFIG = ProbeConfig(epochs=4, batch_size=16, learning_rate=1e-2, weight_decay=0.1)


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
    heads = train(features, labels, splits, CONFIG)
    for f, split in enumerate(splits):
        for v, variant in enumerate(VARIANTS):
            alone = train_alone(features, labels, split, CONFIG, variant)
            np.testing.assert_allclose(heads.weight[f, v], alone, atol=1e-5, rtol=0)


def test_a_head_does_not_depend_on_its_neighbours(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    together = train(features, labels, splits, CONFIG)
    alone = train(features, labels, splits[4:5], CONFIG, variants=(STANDARDISED,))
    np.testing.assert_allclose(together.weight[4, 1], alone.weight[0, 0], atol=1e-5, rtol=0)


def test_the_official_split_is_one_more_problem(problem: tuple) -> None:
    features, labels, folds = problem
    (split,) = make_splits(folds, OFFICIAL_SPLIT)
    heads = train(features, labels, [split], CONFIG, variants=(AS_PUBLISHED,))
    alone = train_alone(features, labels, split, CONFIG, AS_PUBLISHED)
    np.testing.assert_allclose(heads.weight[0, 0], alone, atol=1e-5, rtol=0)


def test_same_inputs_same_bits_whatever_the_global_seed(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = train(features, labels, splits, CONFIG)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(2)
    np.testing.assert_array_equal(first.weight, train(features, labels, splits, CONFIG).weight)
    assert not np.array_equal(first.weight, train(features, labels, splits, replace(CONFIG, seed=1)).weight)


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
    heads = train(features, labels, make_splits(folds), replace(CONFIG, epochs=1), variants=(STANDARDISED,))
    assert np.isfinite(heads.weight).all()
    assert (heads.scale[:, 0, 2] == 0).all()
    assert np.isfinite(heads.logits(features, 0, 0)).all()


def test_standardised_heads_use_training_folds_alone(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)
    changed = features.copy()
    changed[splits[3].test] += 100
    changed[splits[3].validation] -= 50
    config = replace(CONFIG, epochs=1)
    first, second = (train(x, labels, splits[3:4], config) for x in (features, changed))
    np.testing.assert_array_equal(first.weight, second.weight)
    np.testing.assert_array_equal(first.offset, second.offset)


def test_chosen_epoch_is_the_first_of_the_best(problem: tuple) -> None:
    features, labels, folds = problem
    splits = make_splits(folds)[:2]
    figures = iter([[[0.1, 0.9], [np.nan, 0.2]], [[0.3, 0.8], [np.nan, 0.2]], [[0.3, 0.95], [0.5, 0.1]]])
    heads = train(features, labels, splits, replace(CONFIG, epochs=3), choose=lambda _: np.array(next(figures)))
    assert heads.epoch.tolist() == [[2, 3], [3, 1]]
    for epochs, f, v in ((2, 0, 0), (3, 0, 1), (1, 1, 1)):
        reference = train(features, labels, splits, replace(CONFIG, epochs=epochs))
        np.testing.assert_array_equal(heads.weight[f, v], reference.weight[f, v])


def test_threads_change_no_bit_and_are_given_back(problem: tuple) -> None:
    features, labels, folds = problem
    before = torch.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append(train(features, labels, make_splits(folds), CONFIG).weight)
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
    on_cpu, on_gpu = (train(features, labels, splits, CONFIG, device=d).weight for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cpu, on_gpu, atol=1e-5, rtol=0)
