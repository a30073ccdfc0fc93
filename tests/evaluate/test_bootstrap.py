from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from merit.evaluate import bootstrap, metrics


def drawn(seed: int = 0, levels: int | None = None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    n, n_classes = 120, 4
    labels = generator.random((n, n_classes)) < [0.5, 0.3, 0.1, 0.2]
    labels[:3], labels[3:6] = True, False
    logits = generator.normal(size=labels.shape) + labels
    logits = logits if levels is None else np.round(logits * levels)
    return {
        "labels": labels,
        "logits": logits,
        "predicted": logits > 0.7,
        "scored": np.ones_like(labels),
        "groups": np.array([f"p{i}" for i in generator.integers(40, size=n)], dtype=object),
    }


def slow_macro(data: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, float]:
    """The four macro metrics on records taken one by one, those drawn twice taken twice, by scikit-learn."""
    found = {name: [] for name in bootstrap.METRICS}
    for c in range(data["labels"].shape[1]):
        used = rows[data["scored"][rows, c]]
        y, s, p = (data[k][used, c] for k in ("labels", "logits", "predicted"))
        if len(y) and y.any() and not y.all():
            for name, value in zip(
                bootstrap.METRICS,
                (roc_auc_score(y, s), average_precision_score(y, s), f1_score(y, p, zero_division=0), (y == p).mean()),
            ):
                found[name].append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


@pytest.mark.parametrize("levels", [None, 2])
def test_intervals_equal_a_loop_over_resamples(levels: int | None) -> None:
    data = drawn(levels=levels)
    data["scored"][data["groups"] < "p2", 1] = False
    pooled = bootstrap.pool(**data, n_resamples=30, seed=5)
    names = np.unique(data["groups"])
    generator = np.random.default_rng(5)
    draws = []
    for _ in range(30):
        drawn_groups = names[generator.integers(len(names), size=len(names))]
        rows = np.concatenate([np.flatnonzero(data["groups"] == g) for g in drawn_groups])
        draws.append(slow_macro(data, rows))
    value = slow_macro(data, np.arange(len(data["labels"])))
    for name in bootstrap.METRICS:
        low, high = np.percentile([d[name] for d in draws], [2.5, 97.5])
        assert pooled.macro[name] == pytest.approx((value[name], low, high), abs=1e-10)


def test_values_are_those_of_the_plain_metrics() -> None:
    data = drawn(seed=1, levels=3)
    pooled = bootstrap.pool(**data, n_resamples=1, seed=0)
    np.testing.assert_allclose(pooled.per_class["auroc"], metrics.auroc(data["labels"], data["logits"]))
    np.testing.assert_allclose(
        pooled.per_class["average_precision"], metrics.average_precision(data["labels"], data["logits"])
    )
    np.testing.assert_allclose(pooled.per_class["f1"], metrics.f1(data["labels"], data["predicted"]))
    np.testing.assert_allclose(pooled.per_class["accuracy"], metrics.accuracy(data["labels"], data["predicted"]))


def test_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(seed=2)
    whole = bootstrap.pool(**data, n_resamples=40, seed=0).macro
    monkeypatch.setattr(bootstrap, "BLOCK", 7)
    assert bootstrap.pool(**data, n_resamples=40, seed=0).macro == whole


def test_order_of_records_changes_nothing() -> None:
    data = drawn(seed=3, levels=2)
    order = np.random.default_rng(0).permutation(len(data["labels"]))
    shuffled = {name: column[order] for name, column in data.items()}
    assert (
        bootstrap.pool(**data, n_resamples=20, seed=0).macro == bootstrap.pool(**shuffled, n_resamples=20, seed=0).macro
    )


def test_copies_of_one_patient_widen_the_interval() -> None:
    """Ten copies of each record under its own patient carry no new information; as strangers they would seem to."""
    data = drawn(seed=4)
    copies = {name: np.repeat(column, 10, axis=0) for name, column in data.items()}
    strangers = copies | {"groups": np.arange(len(copies["labels"]))}

    def width(d: dict[str, np.ndarray]) -> float:
        _, low, high = bootstrap.pool(**d, n_resamples=100, seed=0).macro["auroc"]
        return high - low

    assert width(copies) == pytest.approx(width(data))
    assert width(strangers) < 0.6 * width(data)


def test_a_class_that_no_fold_scores_has_no_value() -> None:
    data = drawn(seed=5)
    data["scored"][:, 2] = False
    pooled = bootstrap.pool(**data, n_resamples=5, seed=0)
    assert np.isnan([pooled.per_class[name][2] for name in bootstrap.METRICS]).all()
    kept = [0, 1, 3]
    assert pooled.macro["auroc"][0] == pytest.approx(metrics.auroc(data["labels"], data["logits"])[kept].mean())
