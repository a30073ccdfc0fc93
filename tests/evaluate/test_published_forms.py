"""Each metric's published and honest form, counted by hand on scores with ties."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate import metrics, thresholds
from merit.evaluate.protocol_effects import FORMS, PLACE, forms

VALIDATION = [(3, 1), (2, 0), (1, 1), (0, 0)]
"""(score, label). F1 at >= 3, 2, 1, 0: 2/3, 1/2, 4/5, 2/3. The honest threshold is 1."""
TEST = [(3, 1), (2, 1), (2, 0), (1, 0), (0, 0)]
"""F1 at >= 3, 2, 1, 0: 2/3, 4/5, 2/3, 4/7. The oracle's threshold is 2, where a positive and a negative tie."""

BY_HAND = {
    "auroc": 5.5 / 6,  # 3 beats three negatives; 2 beats two and ties with one
    "f1": 4 / 6,  # score >= 1: hits 3 and 2, wrong 2 and 1
    "f1_strict": 4 / 5,  # score > 1: hits 3 and 2, wrong 2
    "f1_oracle": 4 / 5,  # score >= 2: as > 1
    "f1_oracle_strict": 2 / 3,  # score > 2: hit 3, missed 2
    "accuracy": 3 / 5,
    "accuracy_strict": 4 / 5,
    "accuracy_oracle": 4 / 5,
    "accuracy_oracle_strict": 4 / 5,  # wrong: the missed 2; right at last: the negative 2
}


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """(labels [N, 1], scores [N, 1])."""
    return np.array([[bool(y)] for _, y in pairs]), np.array([[float(s)] for s, _ in pairs])


def honest_threshold() -> np.ndarray:
    return thresholds.best_f1(*columns(VALIDATION))[1]


def slow(pairs: list[tuple[float, bool]], cut: float, strict: bool) -> tuple[float, float]:
    """(F1, accuracy) of one class, a record at a time."""
    hit = wrong = missed = right = 0
    for score, label in pairs:
        said = score > cut if strict else score >= cut
        hit += said and label
        wrong += said and not label
        missed += label and not said
        right += said == label
    return 2 * hit / (2 * hit + wrong + missed), right / len(pairs)


def slow_best(pairs: list[tuple[float, bool]]) -> float:
    """The lowest score of the best F1."""
    return max(sorted({score for score, _ in pairs}), key=lambda cut: round(slow(pairs, cut, False)[0], 12))


def test_the_thresholds_are_those_found_by_hand():
    assert honest_threshold()[0] == 1.0
    assert thresholds.best_f1(*columns(TEST))[1][0] == 2.0


@pytest.mark.parametrize("form", sorted(BY_HAND))
def test_every_form_is_the_one_counted_by_hand(form):
    found = forms(*columns(TEST), honest_threshold(), np.array([True]))
    assert found[PLACE[form]] == pytest.approx(BY_HAND[form])


def test_the_published_pair_is_two_classifiers():
    labels, scores = columns(TEST)
    f1, accuracy = thresholds.oracle(labels, scores)
    found = forms(labels, scores, honest_threshold(), np.array([True]))
    assert (f1[0], accuracy[0]) == (found[PLACE["f1_oracle"]], found[PLACE["accuracy_oracle_strict"]])
    said = scores > thresholds.best_f1(labels, scores)[1]
    assert metrics.f1(labels, said)[0] == pytest.approx(2 / 3)  # the F1 of the classifier whose accuracy is printed


def test_without_ties_the_strict_sign_loses_one_hit_and_nothing_else():
    labels, scores = columns([(5, 1), (4, 0), (3, 1), (2, 0), (1, 0)])
    found = forms(labels, scores, np.array([2.5]), np.array([True]))
    assert found[PLACE["accuracy_oracle"]] - found[PLACE["accuracy_oracle_strict"]] == pytest.approx(1 / 5)
    assert found[PLACE["accuracy_strict"]] == found[PLACE["accuracy"]]  # no score equals 2.5
    assert found[PLACE["f1_strict"]] == found[PLACE["f1"]]


@pytest.mark.parametrize("levels", [2, 4, 50])
def test_every_form_equals_a_loop_over_records(levels):
    generator = np.random.default_rng(levels)
    labels = generator.random((40, 3)) < 0.4
    scores = np.round((labels + generator.normal(size=labels.shape)) * levels / 4)
    chosen = np.median(scores, axis=0)
    classes = np.array([True, False, True])
    expected = {form: [] for form in FORMS if not form.startswith("auroc")}
    for c in np.flatnonzero(classes):
        pairs = list(zip(scores[:, c].tolist(), labels[:, c].tolist()))
        for rule, cut in (("", chosen[c]), ("_oracle", slow_best(pairs))):
            for sign in ("", "_strict"):
                f1, accuracy = slow(pairs, cut, bool(sign))
                expected[f"f1{rule}{sign}"].append(f1)
                expected[f"accuracy{rule}{sign}"].append(accuracy)
    found = forms(labels, scores, chosen, classes)
    for form, values in expected.items():
        assert found[PLACE[form]] == pytest.approx(np.mean(values)), form


def test_no_class_gives_no_number():
    assert np.isnan(forms(*columns(TEST), honest_threshold(), np.array([False]))).all()
