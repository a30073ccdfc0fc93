"""Scores by hand and by their libraries, intervals against loops over resamples, controls by their definitions."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit import intervals
from merit.config import TextConfig
from merit.evaluate.generation import scores
from merit.evaluate.generation.scores import most_common, nearest, score_statements, score_texts, summarise, swapped
from merit.evaluate.generation.texts import asserted

REFERENCE = "there is atrial fibrillation with rapid response"
TEXT = "there is atrial fibrillation with slow response ."


def test_scores_by_hand() -> None:
    found = {name: values and values[0] for name, values in score_texts([REFERENCE], [TEXT]).items()}
    # 8 tokens against 7: runs of 1..4 in common 6/8, 4/7, 3/6, 2/5; the text is longer, so no penalty for brevity.
    assert found["bleu_published"] == pytest.approx(math.exp(np.mean(np.log([6 / 8, 4 / 7, 3 / 6, 2 / 5]))))
    # there is atrial fibrillation with … response; punctuation is no token of ROUGE.
    assert (found["rouge_published"], found["rouge_l"]) == pytest.approx((6 / 7, 6 / 7))
    # METEOR: 6 matches of 8 and 7 tokens in two chunks: F = P R / (0.9 P + 0.1 R), penalty 0.5 (2 / 6)^3.
    precision, recall = 6 / 8, 6 / 7
    f = precision * recall / (0.9 * precision + 0.1 * recall)
    assert found["meteor"] == pytest.approx(f * (1 - 0.5 * (2 / 6) ** 3))
    assert found["bertscore"] is found["bertscore_published"] is None
    assert score_texts([REFERENCE, "normal ecg"], [TEXT, "normal ecg"])["bleu_published"][1] < 1e-70, "no smoothing"
    assert score_texts(["inverted waves"], ["inverting wave"])["rouge_published"] == [1], "words are stemmed"
    # recall rewards a long text, F1 does not; repetition counts runs of four; an empty text scores nothing
    longer = score_texts([REFERENCE] * 2, [TEXT, TEXT + " and so on and so forth until the end of the page" * 3])
    assert longer["rouge_published"][1] >= longer["rouge_published"][0]
    assert longer["rouge_l"][1] < longer["rouge_l"][0]
    texts = ["a b c d A b c d", "one two three", "x " * 10]
    assert score_texts(texts, texts)["repetition"] == pytest.approx([1 / 5, 0, 6 / 7])
    nothing = score_texts([REFERENCE], [""])
    assert [nothing[name] for name in ("bleu_published", "rouge_l", "meteor", "repetition")] == [[0]] * 4
    for references, texts, got in (([], [], "got 0, 0"), (["a", "b"], ["a"], "got 1, 2")):
        with pytest.raises(ValueError, match=got):
            score_texts(references, texts)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    from merit.model.text import train_text_encoder

    size = TextConfig(width=16, depth=2, heads=2, updates=2, batch=4, vocabulary=300)
    return train_text_encoder([REFERENCE, TEXT], size, tmp_path_factory.mktemp("bert") / "b", progress=False)


def test_bertscore_by_hand(bert) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    recall, f1 = scores.bert_scores([REFERENCE, REFERENCE], [TEXT, REFERENCE], bert, None)
    assert (recall[1], f1[1]) == pytest.approx((1, 1), abs=1e-5)
    tokenizer, model = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()

    def states(text: str) -> torch.Tensor:
        """Unit vectors of the tokens; the two special ones count in the maxima and not in the means."""
        with torch.inference_mode():
            out = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return torch.nn.functional.normalize(out, dim=-1)

    similarity = states(REFERENCE) @ states(TEXT).T
    r, p = similarity.max(1).values[1:-1].mean().item(), similarity.max(0).values[1:-1].mean().item()
    assert recall[0] == pytest.approx(r, abs=1e-4)
    assert f1[0] == pytest.approx(2 * p * r / (p + r), abs=1e-4)


def test_bertscore_runs_on_the_device_that_is_asked_for(bert, monkeypatch) -> None:
    import bert_score

    devices: list[str] = []
    halves = SimpleNamespace(score=lambda texts, references: (np.full(len(texts), 0.5),) * 3)
    monkeypatch.setattr(bert_score, "BERTScorer", lambda device, **_: devices.append(device) or halves)
    score_texts([REFERENCE], [TEXT], bert, device="cuda")
    assert devices == ["cuda"]


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


def test_statements_by_hand() -> None:
    there = [{"SR", "LVH"}, {"AFIB"}, {"NORM", "SR"}, {"unknown code"}]
    texts = ["Sinus rhythm.", "Sinus rhythm, no atrial fibrillation.", "Normal ECG with sinus rhythm.", "Nothing."]
    found = score_statements(there, texts)
    assert [found[name] for name in ("precision", "recall", "f1")] == [3 / 4, 3 / 5, 6 / 9]
    (sinus,) = (row for row in found["per_statement"] if row["code"] == "SR")
    assert sinus == {"code": "SR", "n": 2, "said": 3, "hit": 2, "precision": 2 / 3, "recall": 1.0, "f1": 4 / 5}
    assert found["macro_f1"] == pytest.approx(np.mean([4 / 5, 0, 0, 1]))
    assert [found[name] for name in ("exact", "denied", "contradictory")] == [2 / 4, 1 / 5, 0]
    nothing = score_statements([set()], ["Nothing at all."])
    assert [nothing[name] for name in ("precision", "recall", "f1", "macro_f1", "exact")] == [None] * 4 + [1]
    with pytest.raises(ValueError, match="shorter"):
        score_statements([set(), set()], ["one"])


@pytest.fixture(scope="module")
def found() -> pd.DataFrame:
    return summarise(REFERENCES, TEXTS, GROUPS, n_resamples=40, seed=3)[0].set_index("metric")


def slowly(rows: list[int]) -> dict[str, float]:
    """All scores of some of the texts, without weights: means over texts, sacrebleu's corpus BLEU, findings."""
    from sacrebleu.metrics import BLEU

    references, texts = [REFERENCES[i] for i in rows], [TEXTS[i] for i in rows]
    means = {name: np.mean(values) for name, values in score_texts(references, texts).items() if values}
    said = score_statements([asserted(reference) for reference in references], texts)
    names = ("precision", "recall", "f1", "macro_f1", "exact", "denied", "contradictory")
    bleu = BLEU().corpus_score(texts, [references]).score / 100
    return means | {"bleu": bleu} | {name: said[name] for name in names}


def test_values_and_resamples_equal_a_loop_that_repeats_the_texts_of_drawn_patients(found):
    values = found["value"].dropna().to_dict()
    assert set(found.index) - set(values) == {"bertscore", "bertscore_published"}
    assert values == pytest.approx(slowly(list(range(5))))
    weights = intervals.weights_of(GROUPS, 40, 3)
    np.testing.assert_array_equal(weights[0], weights[1])  # both recordings of patient a
    for draw in (1, 7, 40):
        slow = slowly([i for i in range(5) for _ in range(int(weights[i, draw]))])
        for name in scores.COMPARED:
            assert found.loc[name, "draws"][draw - 1] == pytest.approx(slow[name]), name


def test_intervals_hold_their_values_and_without_resamples_there_is_none(found):
    ends = found.dropna(subset=["low"])
    assert ends["value"].between(ends["low"], ends["high"]).all()
    without = {"macro_f1", "exact", "denied", "contradictory", "bertscore", "bertscore_published"}
    assert set(found.index) - set(ends.index) == without
    perfect = summarise(REFERENCES, REFERENCES, GROUPS, n_resamples=40, seed=3)[0].set_index("metric")
    assert (perfect.loc["f1", "draws"] == 1).all()
    assert perfect.loc["exact", "value"] == 1
    f1 = summarise(REFERENCES, TEXTS, GROUPS, n_resamples=0, seed=0)[0].set_index("metric").loc["f1"]
    assert f1[["low", "high"]].isna().all()
    assert f1["value"] == found.loc["f1", "value"]


def test_the_commonest_answer_or_the_first_with_the_commonest_statements_and_the_nearest_by_cosine():
    assert most_common(["b", "a", "b"]) == "b"
    assert most_common(["a", "b", "b", "a"]) == "a"  # of equals what comes first
    answers = ["Atrial fibrillation.", "This is sinus rhythm.", "The rhythm is sinus rhythm.", "LBBB."]
    assert most_common(answers) == "This is sinus rhythm."
    with pytest.raises(ValueError, match="at least one"):
        most_common([])
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(40, 5)), rng.normal(size=(700, 5))
    cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in train] for a in test]
    np.testing.assert_array_equal(nearest(train, 7 * test), np.argmax(cosine, 1))
    assert nearest(np.array([[1.0, 0], [2, 0]]), np.array([[3.0, 0]])).tolist() == [0]


def test_every_ecg_is_used_once_and_never_for_its_own_patient_or_that_is_refused():
    for counts in ([1, 1], [3, 1, 1, 1], [5, 4, 3, 2, 1], [1] * 30, [4, 4]):
        patients = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts)).astype(str)
        given = swapped(patients)
        assert sorted(given.tolist()) == list(range(len(patients)))
        assert not (patients[given] == patients).any()
        np.testing.assert_array_equal(given, swapped(patients))
    for patients in ([], ["a"], ["a", "a", "b"]):
        with pytest.raises(ValueError, match="none has more than half"):
            swapped(patients)
