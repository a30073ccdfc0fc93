"""Intervals against definitions, loops over halves and a simulation; differences against closed forms and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from merit import intervals
from merit.intervals import corrected_t, ends, over_rotations, paired_resamples, pool

# -- one value and its draws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 7, 41, 1000])
def test_the_middle_by_its_definition(n):
    drawn = np.random.default_rng(n).normal(size=n)
    expected = []
    for percent in (2.5, 97.5):  # linear between the two sorted values that the place lies between
        place, ordered = percent / 100 * (n - 1), sorted(drawn)
        below = math.floor(place)
        expected.append(ordered[below] + (place - below) * (ordered[min(below + 1, n - 1)] - ordered[below]))
    assert intervals.middle(drawn) == pytest.approx(expected, abs=1e-12)
    assert intervals.middle([*drawn, math.nan]) == intervals.middle(drawn)
    assert intervals.middle(np.arange(41)) == (1, 39)


def test_ends_by_their_definition_hold_their_value_and_there_are_none_without_draws_or_a_value():
    error = math.sqrt((0.1**2 + 0.2**2 + 0.3**2) / 3)
    assert ends(0.3, [0.2, 0.5, math.nan, 0.6]) == pytest.approx((0.3 - 1.959964 * error, 0.3 + 1.959964 * error))
    assert ends(0.9, [0.8, 0.95], share=True) == pytest.approx(slow_interval(0.9, [0.8, 0.95]))
    assert ends(0.9, [0.8, 0.95], share=True)[1] < 1 < ends(0.9, [0.8, 0.95])[1]
    for value, given in itertools.product([0.0, 1e-9, 0.3, 1 - 1e-9, 1.0], [[0.2, 0.4], [0.0, 0.0], [1.0, 1.0], [0.9]]):
        (low, high), (least, most) = ends(value, given), ends(value, given, share=True)
        assert low <= value <= high
        assert 0 <= least <= value <= most <= 1
    for given in ([], [math.nan] * 3):
        assert intervals.around(0.5, np.array(given)) == {"value": 0.5, "low": None, "high": None}
    for share in (False, True):
        assert intervals.around(math.nan, [1.0, 1.0], share) == {"value": None, "low": None, "high": None}


# -- random halves of the patients ------------------------------------------------------------------------------------


def drawn(seed: int = 0, levels: int | None = None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.random((120, 4)) < [0.5, 0.3, 0.1, 0.2]
    labels[:3], labels[3:6] = True, False
    logits = generator.normal(size=labels.shape) + labels
    logits = logits if levels is None else np.round(logits * levels)
    groups = np.array([f"p{i}" for i in generator.integers(40, size=120)], dtype=object)
    scored = np.ones_like(labels)
    return {"labels": labels, "logits": logits, "predicted": logits > 0.7, "scored": scored, "groups": groups}


def slow_values(data: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Metric -> [C] on some of the records, by scikit-learn; NaN for a class without positives or negatives there."""
    found = {name: np.full(data["labels"].shape[1], np.nan) for name in intervals.METRICS}
    for c in range(data["labels"].shape[1]):
        used = rows[data["scored"][rows, c]]
        y, s, p = (data[k][used, c] for k in ("labels", "logits", "predicted"))
        if len(y) and y.any() and not y.all():
            found["auroc"][c] = roc_auc_score(y, s)
            found["average_precision"][c] = average_precision_score(y, s)
            found["f1"][c] = f1_score(y, p, zero_division=0)
            found["accuracy"][c] = (y == p).mean()
    return found


def slow_interval(value: float, draws: list[float]) -> tuple[float, float]:
    """Value ± 1.96 root mean square distances of the halves' values, all on the scale of log-odds."""
    odds = [math.log(one / (1 - one)) for one in (min(max(one, 3e-5), 1 - 3e-5) for one in (value, *draws))]
    reach = 1.959964 * math.sqrt(sum((one - odds[0]) ** 2 for one in odds[1:]) / len(draws))
    return tuple(1 / (1 + math.exp(-(odds[0] + side * reach))) for side in (-1, 1))


@pytest.mark.parametrize("levels", [None, 2])
def test_intervals_equal_a_loop_over_halves(levels, monkeypatch):
    data = drawn(levels=levels)
    data["scored"][data["groups"] < "p2", 1] = False
    data["labels"][:, 3] = False
    data["labels"][:2, 3] = True  # a class that some halves leave without a positive
    data["scored"][:, 2] = False  # and one that no fold scores
    pooled = pool(**data, n_resamples=30, seed=5)
    names = np.unique(data["groups"])
    generator = np.random.default_rng(5)
    of_half = []
    for _ in range(30):
        half = names[generator.permutation(len(names))[: len(names) // 2]]
        of_half.append(slow_values(data, np.flatnonzero(np.isin(data["groups"], half))))
    whole = slow_values(data, np.arange(len(data["labels"])))
    assert any(np.isnan(one["auroc"][3]) for one in of_half)
    for name in intervals.METRICS:
        value = np.nanmean(whole[name])
        draws = [value + np.nanmean(one[name] - whole[name]) for one in of_half]
        np.testing.assert_allclose(pooled.resamples[name], draws, atol=1e-10)
        assert pooled.macro[name] == pytest.approx((value, *slow_interval(value, draws)), abs=1e-10)
        np.testing.assert_allclose(pooled.per_class[name], whole[name])
    monkeypatch.setattr(intervals, "BLOCK", 7)
    order = np.random.default_rng(0).permutation(120)
    again = pool(**{name: column[order] for name, column in data.items()}, n_resamples=30, seed=5)
    assert again.macro == pooled.macro, "neither blocks nor the order of the records change anything"


def test_a_class_that_a_half_leaves_out_does_not_move_the_mean():
    """Two classes read perfectly and one at chance, which has one positive patient: without it the mean would be 1."""
    generator = np.random.default_rng(0)
    labels = generator.random((200, 3)) < 0.5
    labels[:, 2] = np.arange(200) == 0
    logits = np.where(labels, 1.0, -1.0) + 0.1 * generator.random(labels.shape)
    logits[:, 2] = np.abs(np.arange(200) - 100)
    logits[0, 2] = 50.5
    pooled = pool(labels, logits, np.ones(3, dtype=bool), np.arange(200), n_resamples=200, seed=0)
    assert pooled.macro["auroc"][0] == pytest.approx(2.5 / 3, abs=0.01)
    assert np.abs(pooled.resamples["auroc"] - pooled.macro["auroc"][0]).max() < 0.05
    assert pooled.triple("f1") == {"value": None, "low": None, "high": None}, "nothing was predicted"


def coverage(n: int, positives: list[int], auroc: list[float], draws: int) -> dict[str, float]:
    """Metric -> share of samples whose interval holds the population's value; `difference`: of two encoders' AUROC,
    the second 0.05 worse.

    n records of patients with 1 to 4 each; so many positives of each class are expected, and more than one of a
    patient's records carry it (each with probability 0.3); half of the variance of a score is the patient's own. A
    record is predicted positive above the median of the positives.
    """
    shift = stats.norm.ppf([auroc, np.array(auroc) - 0.05]) * np.sqrt(2)  # [2, C]: how much higher a positive scores
    truths = []
    for above in shift:  # means over classes in the population, from two normal distributions
        rate, x = np.array(positives)[:, None] / n, np.linspace(-8, 12, 40001)
        hit, alarm = stats.norm.sf(x - above[:, None]), stats.norm.sf(x)
        precision, found = rate * hit / (rate * hit + (1 - rate) * alarm), rate[:, 0] * 0.5
        integral = (precision * stats.norm.pdf(x - above[:, None])).sum(axis=1).mean() * (x[1] - x[0])
        f1 = (2 * found / (rate[:, 0] + found + (1 - rate[:, 0]) * stats.norm.sf(above))).mean()
        area = stats.norm.cdf(above / np.sqrt(2)).mean()
        truths.append({"auroc": area, "average_precision": integral, "f1": f1})
    held: dict[str, list[bool]] = {name: [] for name in (*truths[0], "difference")}
    for k in range(draws):
        generator = np.random.default_rng([7, k])
        group = np.repeat(np.arange(n), generator.integers(1, 5, size=n))[:n]
        shape, labels = (n, len(positives)), np.zeros((n, len(positives)), dtype=bool)
        while (labels.sum(axis=0) < 2).any():
            patient = generator.random(shape) < np.array(positives) / n / 0.3
            labels = patient[group] & (generator.random(shape) < 0.3)
        noise = generator.normal(size=(2, *shape))[:, group] + generator.normal(size=(2, *shape))
        a, b = (
            pool(labels, s, np.ones_like(labels), group, n_resamples=150, seed=k, predicted=s > above)
            for s, above in zip(np.sqrt(0.5) * noise + labels * shift[:, None], shift)
        )
        for name, target in truths[0].items():
            value, low, high = a.macro[name]
            assert low <= value <= high
            held[name].append(low <= target <= high)
        gap = a.minus(b)
        assert gap["low"] <= gap["value"] <= gap["high"]
        held["difference"].append(gap["low"] <= truths[0]["auroc"] - truths[1]["auroc"] <= gap["high"])
    return {name: float(np.mean(one)) for name, one in held.items()}


SIX = (452, [200, 90, 45, 22, 10, 10], [0.9, 0.8, 0.85, 0.7, 0.95, 0.8])
SAMPLES = {"10 of 800": (800, [10], [0.9]), "150 of 452": (452, [150], [0.75]), "mean of six classes": SIX}


@pytest.mark.parametrize(
    ("draws", "least", "most"), [(60, 51 / 60, 1), pytest.param(500, 0.92, 0.98, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", SAMPLES)
def test_intervals_cover_what_is_true_of_all_patients(case, draws, least, most):
    """60 samples: of right intervals 57 are expected to cover, and fewer than 51 do with probability 0.003."""
    held = coverage(*SAMPLES[case], draws=draws)
    assert all(least <= share <= most for share in held.values()), held


# -- paired differences -----------------------------------------------------------------------------------------------

DIFFERENCES = [0.02, 0.05, -0.01, 0.03, 0.04]


def test_the_t_test_with_and_without_shared_training_data():
    """Without: scipy's. With: Nadeau and Bengio's Eq. 9 by hand, s² = Σ(d - mean)² / (F - 1), variance s² (1/F + r)."""
    theirs = stats.ttest_1samp(DIFFERENCES, 0)
    interval, ours = theirs.confidence_interval(0.95), corrected_t(DIFFERENCES, 0.0)
    assert (ours["low"], ours["high"], ours["p"]) == pytest.approx((interval.low, interval.high, theirs.pvalue))
    mean = sum(DIFFERENCES) / 5
    error = (sum((d - mean) ** 2 for d in DIFFERENCES) / 4 * (1 / 5 + 1 / 8)) ** 0.5
    ours, turned = corrected_t(DIFFERENCES, 1 / 8), corrected_t([-d for d in DIFFERENCES], 1 / 8)
    assert (ours["value"], ours["p"]) == pytest.approx((mean, 2 * stats.t.cdf(-mean / error, 4)))
    assert (ours["low"], ours["high"]) == pytest.approx((mean - 2.7764451052 * error, mean + 2.7764451052 * error))
    assert (turned["low"], turned["high"], turned["p"]) == pytest.approx((-ours["high"], -ours["low"], ours["p"]))


def test_edges_of_the_t_test():
    assert corrected_t([0.1], 0.1) == {"value": 0.1, "low": None, "high": None, "p": None, "n": 1, "n_dropped": 0}
    nothing = corrected_t([], 0.1)
    assert (nothing["value"], nothing["p"], nothing["n"]) == (None, None, 0)
    equal = corrected_t([0.1, 0.1, 0.1], 0.1)
    assert (equal["value"], equal["low"], equal["p"]) == (pytest.approx(0.1), None, None)
    assert corrected_t([0.0, 0.0], 0.1)["p"] == 1.0
    dropped, kept = corrected_t([0.1, None, 0.3, float("nan")], 0.1), corrected_t([0.1, 0.3], 0.1)
    assert (dropped["n"], dropped["n_dropped"]) == (2, 2)
    assert (dropped["value"], dropped["p"]) == (kept["value"], kept["p"])
    with pytest.raises(ValueError, match="test_share: expected n_test / n_train, at least 0; got -1"):
        corrected_t([0.1, 0.2], -1)


def test_resamples_against_their_definition():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.6, 0.1, 199), rng.normal(0.55, 0.1, 199)
    ours, turned = paired_resamples(0.6, a, 0.5, b), paired_resamples(0.5, b, 0.6, a)
    error = (sum((x - y - 0.1) ** 2 for x, y in zip(a, b)) / 199) ** 0.5
    assert (ours["low"], ours["high"]) == pytest.approx((0.1 - 1.959964 * error, 0.1 + 1.959964 * error))
    assert ours["p"] == pytest.approx(2 * stats.norm.cdf(-0.1 / error))
    assert (turned["low"], turned["high"], turned["p"]) == pytest.approx((-ours["high"], -ours["low"], ours["p"]))
    apart, same = paired_resamples(0.9, [0.9] * 9, 0.1, [0.1] * 9), paired_resamples(0.5, [0.4, 0.6], 0.5, [0.4, 0.6])
    assert (apart["low"], apart["high"], apart["p"]) == (pytest.approx(0.8), pytest.approx(0.8), 0)
    assert (same["value"], same["low"], same["high"], same["p"]) == (0.0, 0.0, 0.0, 1.0)
    for away in (1.9, 1.959, 1.961, 2.1):  # p is below 5 percent exactly where the interval leaves out 0
        ours = paired_resamples(away, away + np.array([-1.0, 1.0] * 50), 0.0, np.zeros(100))
        assert (ours["p"] < 0.05) == (ours["low"] > 0) == (away > 1.96)
    gaps = paired_resamples(0.6, [0.5, None, 0.7], 0.5, [0.4, 0.4, float("nan")])
    assert (gaps["n"], gaps["n_dropped"]) == (1, 2)
    assert paired_resamples(None, [0.5], 0.5, [0.4])["value"] is None
    alone = paired_resamples(0.6, [], 0.5, [])
    assert (alone["value"], alone["low"], alone["p"]) == (pytest.approx(0.1), None, None)
    with pytest.raises(ValueError, match="expected as many of both scores, drawn alike; got 2 and 1"):
        paired_resamples(0.6, [0.5, 0.6], 0.5, [0.4])


# -- rotations of cross-fitted pretraining -----------------------------------------------------------------------------


@pytest.mark.parametrize("own", [0.0, 0.01, 0.03])
def test_intervals_over_rotations_cover_with_little_and_with_much_spread_of_pretraining(own):
    """Values of five rotations: the truth, pretraining's own deviation, and that of other patients, 0.02."""
    rng, covered, n = np.random.default_rng(0), 0, 3000
    for _ in range(n):
        values = 0.8 + rng.normal(0, own, 5) + rng.normal(0, 0.02, 5)
        row = over_rotations(values, [0.02] * 5)
        assert row["low"] < row["value"] < row["high"]
        covered += row["low"] <= 0.8 <= row["high"]
        assert (row["p"] < 0.05) == (not row["low"] <= 0 <= row["high"])
    assert 0.93 <= covered / n <= 0.99


def test_over_rotations_in_closed_form():
    same = over_rotations([0.5] * 4, [0.1] * 4)  # no spread beyond the patients': their error alone, 0.1 / 2
    assert (same["value"], same["sd"], same["n"]) == (0.5, 0, 4)
    assert same["high"] - 0.5 == pytest.approx(1.96 * 0.05, abs=1e-4)
    spread = over_rotations([0.0, 1.0], [0.0, 0.0])  # pretraining's alone: Student's with one degree of freedom
    assert spread["high"] - 0.5 == pytest.approx(12.706 * 0.5, rel=1e-4)
    assert over_rotations([0.5], [0.1])["low"] is None
    assert over_rotations([0.5, 0.6], [0.1, np.nan])["low"] is None
