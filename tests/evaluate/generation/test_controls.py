"""Controls against their definitions: the commonest answer, the nearest training ECG, another patient's ECG."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate.generation.controls import most_common, nearest, swapped


def test_the_commonest_answer():
    assert most_common(["b", "a", "b"]) == "b"
    assert most_common(["a", "b", "b", "a"]) == "a"  # of equals what comes first


def test_of_distinct_answers_the_first_with_the_commonest_statements():
    answers = [
        "Atrial fibrillation.",
        "This is sinus rhythm.",
        "The rhythm is sinus rhythm.",
        "Left anterior fascicular block.",
    ]
    assert most_common(answers) == "This is sinus rhythm."
    with pytest.raises(ValueError, match="at least one"):
        most_common([])


def test_the_nearest_is_that_of_the_highest_cosine():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 5)), rng.normal(size=(700, 5))

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    expected = [int(np.argmax([cosine(a, b) for b in train])) for a in test]
    np.testing.assert_array_equal(nearest(train, 7 * test), expected)
    assert nearest(np.array([[1.0, 0], [2, 0]]), np.array([[3.0, 0]])).tolist() == [0]


@pytest.mark.parametrize("counts", [[1, 1], [2, 2], [3, 1, 1, 1], [5, 4, 3, 2, 1], [1] * 30, [4, 4]])
def test_every_ecg_is_used_once_and_never_for_its_own_patient(counts):
    patients = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts)).astype(str)
    given = swapped(patients)
    assert sorted(given.tolist()) == list(range(len(patients)))
    assert not (patients[given] == patients).any()
    np.testing.assert_array_equal(given, swapped(patients))


@pytest.mark.parametrize("patients", [[], ["a"], ["a", "a", "b"]])
def test_no_such_permutation_is_said(patients):
    with pytest.raises(ValueError, match="none has more than half"):
        swapped(patients)
