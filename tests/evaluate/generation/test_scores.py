from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from merit.config import TextConfig
from merit.evaluate.generation import scores

REFERENCE = "there is atrial fibrillation with rapid response"
TEXT = "there is atrial fibrillation with slow response ."


def test_published_bleu_by_hand() -> None:
    # 8 tokens against 7: runs of 1..4 in common 6/8, 4/7, 3/6, 2/5; the text is longer, so no penalty for brevity.
    by_hand = math.exp(np.mean(np.log([6 / 8, 4 / 7, 3 / 6, 2 / 5])))
    assert scores.score_texts([REFERENCE], [TEXT])["bleu_published"] == pytest.approx(by_hand)


def test_published_bleu_is_a_mean_over_sentences_and_a_corpus_is_not() -> None:
    found = scores.score_texts([REFERENCE, "normal ecg"], [TEXT, "normal ecg"])
    per = found["per_text"]["bleu_published"]
    assert found["bleu_published"] == pytest.approx(np.mean(per))
    assert per[1] < 1e-70, "two words have no run of four, and nothing is smoothed"
    # Corpus: the same eight tokens and two more; runs in common over all texts: 8/10, 5/8, 3/6, 2/5, no penalty.
    by_hand = math.exp(np.mean(np.log([8 / 10, 5 / 8, 3 / 6, 2 / 5])))
    assert found["bleu"] == pytest.approx(by_hand, abs=1e-6)


def test_rouge_by_hand() -> None:
    found = scores.score_texts([REFERENCE], [TEXT])
    common = 6  # there is atrial fibrillation with … response; punctuation is no token
    recall, precision = common / 7, common / 7
    assert found["rouge_published"] == pytest.approx(recall)
    assert found["rouge_l"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_recall_rewards_a_long_text_and_f1_does_not() -> None:
    padded = TEXT + " and so on and so forth until the end of the page" * 3
    short, long = (scores.score_texts([REFERENCE], [text]) for text in (TEXT, padded))
    assert long["rouge_published"] >= short["rouge_published"]
    assert long["rouge_l"] < short["rouge_l"]


def test_rouge_stems_words() -> None:
    assert scores.score_texts(["inverted waves"], ["inverting wave"])["rouge_published"] == 1


def test_meteor_by_hand() -> None:
    # 6 matches of 8 and 7 tokens in two chunks: F = P R / (0.9 P + 0.1 R), penalty 0.5 (2 / 6)^3.
    precision, recall = 6 / 8, 6 / 7
    f = precision * recall / (0.9 * precision + 0.1 * recall)
    by_hand = f * (1 - 0.5 * (2 / 6) ** 3)
    assert scores.score_texts([REFERENCE], [TEXT])["meteor"] == pytest.approx(by_hand)


def test_repetition() -> None:
    assert scores.repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert scores.repetition("one two three") == 0
    assert scores.repetition("x " * 10) == pytest.approx(6 / 7)


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


def test_nothing_and_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0, 0"):
        scores.score_texts([], [])
    with pytest.raises(ValueError, match="got 1, 2"):
        scores.score_texts(["a", "b"], ["a"])


def test_an_empty_text_scores_nothing_and_breaks_nothing() -> None:
    found = scores.score_texts([REFERENCE], [""])
    assert (found["bleu_published"], found["rouge_l"], found["meteor"], found["repetition"]) == (0, 0, 0, 0)


def test_added_up_statistics_give_corpus_bleu():
    references = ["sinus rhythm with left bundle branch block", "normal ecg", "a b c d e f"]
    texts = ["sinus rhythm with right bundle branch block", "atrial flutter", "a b c d x f g"]
    statistics = scores.bleu_statistics(references, texts)
    assert statistics.shape == (3, 10)
    assert scores.bleu_of(statistics.sum(0)) == pytest.approx(scores.corpus_bleu(references, texts))
    assert scores.bleu_of(statistics[1]) == pytest.approx(scores.corpus_bleu(references[1:2], texts[1:2]))


def test_bertscore_runs_on_the_device_that_is_asked_for(bert, monkeypatch) -> None:
    import bert_score

    class Scorer:
        def __init__(self, **settings) -> None:
            asked.append(settings["device"])

        def score(self, texts, references):
            return tuple(np.full(len(texts), 0.5) for _ in range(3))

    asked: list[str] = []
    monkeypatch.setattr(bert_score, "BERTScorer", Scorer)
    scores.score_texts([REFERENCE], [TEXT], bert, device="cuda")
    assert asked == ["cuda"]
