from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
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


def slow_values(data: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> [C] on some of the records, by scikit-learn; NaN for a class without positives or negatives there."""
    found = {name: np.full(data["labels"].shape[1], np.nan) for name in bootstrap.METRICS}
    for c in range(data["labels"].shape[1]):
        used = rows[data["scored"][rows, c]]
        y, s, p = (data[k][used, c] for k in ("labels", "logits", "predicted"))
        if len(y) and y.any() and not y.all():
            found["auroc"][c] = roc_auc_score(y, s)
            found["average_precision"][c] = average_precision_score(y, s)
            found["f1"][c] = f1_score(y, p, zero_division=0)
            found["accuracy"][c] = (y == p).mean()
    return found


def odds(share: float) -> float:
    share = min(max(share, 3e-5), 1 - 3e-5)
    return math.log(share / (1 - share))


def slow_interval(value: float, drawn: list[float]) -> tuple[float, float]:
    """Value ± 1.96 root mean square distances of the halves' values, all on the scale of log-odds."""
    reach = 1.959964 * math.sqrt(sum((odds(one) - odds(value)) ** 2 for one in drawn) / len(drawn))
    return tuple(1 / (1 + math.exp(-(odds(value) + side * reach))) for side in (-1, 1))


@pytest.mark.parametrize("levels", [None, 2])
def test_intervals_equal_a_loop_over_halves(levels: int | None) -> None:
    data = drawn(levels=levels)
    data["scored"][data["groups"] < "p2", 1] = False
    data["labels"][:, 3] = False
    data["labels"][:2, 3] = True  # a class that some halves leave without a positive
    pooled = bootstrap.pool(**data, n_resamples=30, seed=5)
    names = np.unique(data["groups"])
    generator = np.random.default_rng(5)
    of_half = []
    for _ in range(30):
        half = names[generator.permutation(len(names))[: len(names) // 2]]
        of_half.append(slow_values(data, np.flatnonzero(np.isin(data["groups"], half))))
    whole = slow_values(data, np.arange(len(data["labels"])))
    assert any(np.isnan(one["auroc"][3]) for one in of_half)
    for name in bootstrap.METRICS:
        value = np.nanmean(whole[name])
        draws = [value + np.nanmean(one[name] - whole[name]) for one in of_half]
        np.testing.assert_allclose(pooled.resamples[name], draws, atol=1e-10)
        assert pooled.macro[name] == pytest.approx((value, *slow_interval(value, draws)), abs=1e-10)


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


def test_a_class_that_a_half_leaves_out_does_not_move_the_mean() -> None:
    """Two classes read perfectly and one at chance, which has one positive patient: without it the mean would be 1."""
    generator = np.random.default_rng(0)
    labels = generator.random((200, 3)) < 0.5
    labels[:, 2] = np.arange(200) == 0
    logits = np.where(labels, 1.0, -1.0) + 0.1 * generator.random(labels.shape)
    logits[:, 2] = np.abs(np.arange(200) - 100)
    logits[0, 2] = 50.5
    everything = np.ones_like(labels)
    pooled = bootstrap.pool(labels, logits, labels, everything, np.arange(200), n_resamples=200, seed=0)
    assert pooled.macro["auroc"][0] == pytest.approx(2.5 / 3, abs=0.01)
    assert np.abs(pooled.resamples["auroc"] - pooled.macro["auroc"][0]).max() < 0.05


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


# ---- Coverage -------------------------------------------------------------------------------------------------------


def sample(
    generator: np.random.Generator, n: int, positives: list[int], shift: np.ndarray, often: float = 0.3
) -> dict[str, np.ndarray]:
    """n records of patients with 1 to 4 each; so many positives of each class are expected, and more than one of a
    patient's records carry it (each with probability `often`); two encoders' scores, half of whose variance is the
    patient's own. A record is predicted positive above the median of the positives.

    shift [2, C]: how much higher a positive scores.
    """
    group = np.repeat(np.arange(n), generator.integers(1, 5, size=n))[:n]
    shape = (n, len(positives))
    labels = np.zeros(shape, dtype=bool)
    while (labels.sum(axis=0) < 2).any():
        patient = generator.random(shape) < np.array(positives) / n / often
        labels = patient[group] & (generator.random(shape) < often)
    noise = generator.normal(size=(2, *shape))[:, group] + generator.normal(size=(2, *shape))
    scores = np.sqrt(0.5) * noise + labels * shift[:, None]
    return {"group": group, "labels": labels, "scores": scores, "predicted": scores > shift[:, None]}


def truth(n: int, positives: list[int], shift: np.ndarray) -> dict[str, float]:
    """The means over classes in the population, from two normal distributions."""
    rate = np.array(positives)[:, None] / n
    x = np.linspace(-8, 12, 40001)
    hit, alarm = norm.sf(x - shift[:, None]), norm.sf(x)
    precision = rate * hit / (rate * hit + (1 - rate) * alarm)
    found = rate[:, 0] * 0.5
    return {
        "auroc": norm.cdf(shift / np.sqrt(2)).mean(),
        "average_precision": (precision * norm.pdf(x - shift[:, None])).sum(axis=1).mean() * (x[1] - x[0]),
        "f1": (2 * found / (rate[:, 0] + found + (1 - rate[:, 0]) * norm.sf(shift))).mean(),
    }


def coverage(n: int, positives: list[int], auroc: list[float], draws: int) -> dict[str, float]:
    """Metric -> share of samples whose interval holds the population's value; `difference`: of two encoders' AUROC,
    the second 0.05 worse.
    """
    shift = norm.ppf([auroc, np.array(auroc) - 0.05]) * np.sqrt(2)
    wanted, other = (truth(n, positives, one) for one in shift)
    held: dict[str, list[bool]] = {name: [] for name in (*wanted, "difference")}
    for k in range(draws):
        data = sample(np.random.default_rng([7, k]), n, positives, shift)
        everywhere = np.ones_like(data["labels"])
        a, b = (
            bootstrap.pool(
                data["labels"], scores, predicted, everywhere, data["group"], n_resamples=150, seed=k
            ) for scores, predicted in zip(data["scores"], data["predicted"])
        )  # fmt: skip
        for name, target in wanted.items():
            value, low, high = a.macro[name]
            assert low <= value <= high
            held[name].append(low <= target <= high)
        gap = bootstrap.paired(a, b)
        assert gap["low"] <= gap["value"] <= gap["high"]
        held["difference"].append(gap["low"] <= wanted["auroc"] - other["auroc"] <= gap["high"])
    return {name: float(np.mean(one)) for name, one in held.items()}


RARE, MANY, MACRO = (
    (800, [10], [0.9]),
    (452, [150], [0.75]),
    (452, [200, 90, 45, 22, 10, 10], [0.9, 0.8, 0.85, 0.7, 0.95, 0.8]),
)


@pytest.mark.parametrize("case", [RARE, MANY, MACRO], ids=["10 of 800", "150 of 452", "mean of six classes"])
def test_intervals_cover_what_is_true_of_all_patients(case) -> None:
    """60 samples: of right intervals 57 are expected to cover, and fewer than 51 do with probability 0.003."""
    assert min(coverage(*case, draws=60).values()) >= 51 / 60


@pytest.mark.slow
@pytest.mark.parametrize("case", [RARE, MANY, MACRO], ids=["10 of 800", "150 of 452", "mean of six classes"])
def test_intervals_cover_in_92_to_98_of_100_samples(case) -> None:
    held = coverage(*case, draws=500)
    assert all(0.92 <= share <= 0.98 for share in held.values()), held
