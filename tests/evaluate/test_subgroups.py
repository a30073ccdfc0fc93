"""Groups of people: who belongs where, which classes count, and values and intervals by loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from merit.config import ProbeConfig
from merit.evaluate.probing import probe
from merit.evaluate.subgroups import AGES, SEXES, UNKNOWN, age_groups, compare, out_of_fold, sex_groups
from merit.evaluate.tasks import TaskData

CONFIG = ProbeConfig(epochs=2, learning_rate=1e-2, n_resamples=12, seed=7)


def test_ages_and_sexes_fall_into_their_groups() -> None:
    ages = [0, 39.9, 40, 64, 65, 79.5, 80, 90, None, float("nan")]
    expected = [0, 0, 1, 1, 2, 2, 3, 3]
    assert age_groups(ages).tolist() == [AGES[k] for k in expected] + [UNKNOWN, UNKNOWN]
    assert sex_groups(["male", "female", None, "", float("nan")]).tolist() == ["male", "female", *[UNKNOWN] * 3]


def of(found: pd.DataFrame, group: str, name: str = "macro", scored: str = "level") -> dict:
    """One row of `compare`."""
    chosen = (found["group"] == group) & (found["class"] == name) & (found["scored"] == scored)
    (row,) = found[chosen].to_dict("records")
    return row


@pytest.fixture(scope="module")
def scores(features: np.ndarray, task: TaskData) -> tuple[np.ndarray, np.ndarray]:
    return out_of_fold(features, task, CONFIG, variant="as_published", protocol="ten folds")


@pytest.fixture(scope="module")
def member(task: TaskData) -> np.ndarray:
    """By patient: about a half female, a third male, a few unknown."""
    generator = np.random.default_rng(0)
    names = np.unique(task.patients)
    of = dict(zip(names, generator.choice(["female", "male", UNKNOWN], size=len(names), p=[0.55, 0.35, 0.1])))
    return np.array([of[one] for one in task.patients], dtype=object)


def test_logits_are_those_of_linear_probing(scores, features: np.ndarray, task: TaskData) -> None:
    """Pooled by class they give the very numbers of Table 1."""
    logits, scored = scores
    table = probe(features, task, CONFIG)
    table = table[(table["variant"] == "as_published") & (table["scored"] == "pooled") & (table["metric"] == "auroc")]
    by_class = table.set_index("class")["value"]
    for c, name in enumerate(task.classes):
        rows = scored[:, c]
        slow = roc_auc_score(task.labels[rows, c], logits[rows, c])
        assert by_class[name] == pytest.approx(slow, abs=1e-12)


def slow_macro(task: TaskData, logits: np.ndarray, scored: np.ndarray, rows: np.ndarray) -> float:
    """Mean over classes of scikit-learn's AUROC over rows, which may repeat."""
    values = []
    for c in range(len(task.classes)):
        used = rows[scored[rows, c]]
        y = task.labels[used, c]
        if y.any() and not y.all():
            values.append(roc_auc_score(y, logits[used, c]))
    return float(np.mean(values))


def test_values_differences_and_intervals_equal_loops(scores, task: TaskData, member: np.ndarray) -> None:
    logits, scored = scores
    found = compare(task, logits, scored, member, SEXES, CONFIG)
    assert of(found, "male")["classes"] == list(task.classes)
    assert of(found, "male", scored="difference")["against"] == "female"
    names = np.unique(task.groups)
    generator = np.random.default_rng(CONFIG.seed)
    draws: dict[str, list[float]] = {sex: [] for sex in SEXES}
    for _ in range(CONFIG.n_resamples):
        half = names[generator.permutation(len(names))[: len(names) // 2]]
        rows = np.flatnonzero(np.isin(task.groups, half))
        for sex in SEXES:
            draws[sex].append(slow_macro(task, logits, scored, rows[member[rows] == sex]))
    whole = {sex: slow_macro(task, logits, scored, np.flatnonzero(member == sex)) for sex in SEXES}
    for sex in SEXES:
        own = of(found, sex)
        odds = [np.log(one / (1 - one)) for one in (whole[sex], *draws[sex])]
        reach = 1.959964 * np.sqrt(np.mean(np.square(np.array(odds[1:]) - odds[0])))
        low, high = (1 / (1 + np.exp(-(odds[0] + side * reach))) for side in (-1, 1))
        assert (own["value"], own["low"], own["high"]) == pytest.approx((whole[sex], low, high), abs=1e-10)
    difference, gap = of(found, "male", scored="difference"), whole["male"] - whole["female"]
    reach = 1.959964 * np.sqrt(np.mean(np.square(np.subtract(draws["male"], draws["female"]) - gap)))
    expected = (gap, gap - reach, gap + reach)
    assert (difference["value"], difference["low"], difference["high"]) == pytest.approx(expected, abs=1e-10)


def test_counts_are_those_of_the_records(scores, task: TaskData, member: np.ndarray) -> None:
    found = compare(task, *scores, member, SEXES, CONFIG)
    for group in (*SEXES, UNKNOWN):
        row, rows = of(found, group), member == group
        assert row["n"] == rows.sum()
        assert row["n_patients"] == len(set(task.patients[rows]))
        assert [of(found, group, c)["n_positive"] for c in task.classes] == task.labels[rows].sum(axis=0).tolist()
    assert sum(of(found, g)["n"] for g in (*SEXES, UNKNOWN)) == len(task.rows)
    assert np.isnan(of(found, UNKNOWN)["value"])


def test_a_class_that_one_group_lacks_is_compared_in_none(scores, task: TaskData, member: np.ndarray) -> None:
    logits, scored = scores
    column = task.classes.index("HYP")
    changed = scored.copy()
    changed[(member == "male") & task.labels[:, column], column] = False
    found = compare(task, logits, changed, member, SEXES, CONFIG)
    assert of(found, "male", "HYP")["reason"] == of(found, "female", "HYP")["reason"] == "male: 0 positives"
    assert "HYP" not in of(found, "female")["classes"]
    kept = [c for c in range(len(task.classes)) if c != column]
    slow = np.mean([
        roc_auc_score(task.labels[member == "female", c], logits[member == "female", c]) for c in kept
    ])  # fmt: skip
    assert of(found, "female")["value"] == pytest.approx(slow)


def test_small_groups_are_counted_and_not_compared(scores, task: TaskData, member: np.ndarray) -> None:
    few = member.copy()
    few[np.flatnonzero(member == "male")[12:]] = UNKNOWN
    found = compare(task, *scores, few, SEXES, CONFIG)
    assert of(found, "female")["reason"] == "fewer than two groups have 50 scored recordings"
    assert of(found, "male")["n"] == 12
    assert set(found["scored"]) == {"level"}
    none = compare(task, *scores, member, SEXES, CONFIG, min_positives=1000)
    wanted = "no class has 1000 scored recordings with it and without it in each of female, male"
    assert of(none, "male")["reason"] == wanted
    nothing = compare(task, scores[0], np.zeros_like(scores[1]), member, SEXES, CONFIG)
    assert of(nothing, "female")["n"] == 0


def test_equal_groups_differ_by_nothing(scores, task: TaskData) -> None:
    """The same records under two names: each resample gives both the same value."""
    per_record = ("rows", "labels", "folds", "patients", "groups")
    twice = replace(task, **{name: np.concatenate([getattr(task, name)] * 2) for name in per_record})
    logits, scored = (np.concatenate([one] * 2) for one in scores)
    member = np.repeat(np.array(["male", "female"], dtype=object), len(task.rows))
    found = compare(twice, logits, scored, member, SEXES, CONFIG)
    (difference,) = found[found["scored"] == "difference"].to_dict("records")
    assert difference["value"] == difference["low"] == difference["high"] == 0
