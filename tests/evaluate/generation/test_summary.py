"""Scores of a set of texts and their intervals, against loops over resamples."""

from __future__ import annotations

import numpy as np
import pytest

from merit.evaluate import bootstrap
from merit.evaluate.generation import findings, scores
from merit.evaluate.generation.summary import difference, summarise

REFERENCES = [
    "The rhythm is sinus rhythm. There is left bundle branch block.",
    "Atrial fibrillation is present. No sign of myocardial infarction was found.",
    "This is a normal ECG in sinus rhythm.",
    "Sinus bradycardia. First degree AV block is seen.",
    "The rhythm is sinus rhythm. One finds left ventricular hypertrophy.",
]
TEXTS = [
    "The rhythm is sinus rhythm. There is right bundle branch block.",
    "Atrial fibrillation is present. Left ventricular hypertrophy.",
    "This is a normal ECG in sinus rhythm.",
    "Sinus rhythm.",
    "No left ventricular hypertrophy. The rhythm is sinus rhythm.",
]
GROUPS = np.array(["a", "a", "b", "c", "d"])


@pytest.fixture(scope="module")
def found():
    return summarise(REFERENCES, TEXTS, GROUPS, n_resamples=40, seed=3)


def test_values_are_those_of_the_scores_themselves(found):
    there = [findings.asserted(reference) for reference in REFERENCES]
    text, said = scores.score_texts(REFERENCES, TEXTS), findings.score(there, TEXTS)
    values = {name: one["value"] for name, one in found.values["scores"].items()}
    for name in ("bleu_published", "bleu", "meteor", "rouge_published", "rouge_l", "repetition"):
        assert values[name] == pytest.approx(text[name]), name
    for name in ("precision", "recall", "f1"):
        assert values[name] == pytest.approx(said["micro"][name]), name
    for name in ("macro_f1", "exact", "denied", "contradictory"):
        assert values[name] == said[name]
    assert values["bertscore"] is None


def test_resamples_equal_a_loop_that_repeats_the_texts_of_drawn_patients(found):
    there = [findings.asserted(reference) for reference in REFERENCES]
    weights = bootstrap.weights_of(GROUPS, 40, 3)
    for draw in (1, 7, 40):
        rows = [i for i in range(5) for _ in range(int(weights[i, draw]))]
        references, texts = [REFERENCES[i] for i in rows], [TEXTS[i] for i in rows]
        slow = scores.score_texts(references, texts)
        assert found.resamples["bleu"][draw - 1] == pytest.approx(scores.corpus_bleu(references, texts))
        assert found.resamples["meteor"][draw - 1] == pytest.approx(slow["meteor"])
        f1 = findings.score([there[i] for i in rows], texts)["micro"]["f1"]
        assert found.resamples["f1"][draw - 1] == pytest.approx(f1)


def test_patients_are_drawn_whole():
    weights = bootstrap.weights_of(GROUPS, 200, 0)
    assert (weights[:, 0] == 1).all()
    np.testing.assert_array_equal(weights[0], weights[1])  # both recordings of patient a
    assert set(np.unique(weights)) == {0, 1}
    np.testing.assert_array_equal(weights[[0, 2, 3, 4], 1:].sum(0), 2)  # a half of the four


def test_a_difference_is_paired(found):
    same = difference(found, found)
    assert all(one == {"value": 0.0, "low": 0.0, "high": 0.0} for one in same.values())
    other = summarise(REFERENCES, REFERENCES, GROUPS, n_resamples=40, seed=3)
    gap = difference(other, found)
    assert gap["f1"]["value"] == pytest.approx(1 - found.values["scores"]["f1"]["value"])
    assert gap["f1"]["low"] <= gap["f1"]["value"] <= gap["f1"]["high"]


def test_without_resamples_there_is_no_interval():
    found = summarise(REFERENCES, TEXTS, GROUPS, n_resamples=0, seed=0)
    assert found.values["scores"]["f1"]["low"] is None
    assert found.values["scores"]["f1"]["value"] is not None
