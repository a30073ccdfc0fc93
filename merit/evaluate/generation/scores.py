"""How near texts come to reference texts: the literature's scores as published and as they are meant, by libraries.

As published (MedTVT-R1's evaluate.py, whose numbers Table 3 follows): BLEU is NLTK's sentence BLEU-4 without smoothing
on word-punctuation tokens, averaged over sentences; ROUGE is the *recall* of ROUGE-L with stemming; BERTScore is its
mean *recall*. Proper: sacrebleu's corpus BLEU, the F1 of ROUGE-L, the F1 of BERTScore. All fractions, 0 to 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAMES = (
    "bleu_published", "bleu", "meteor", "rouge_published", "rouge_l", "bertscore_published", "bertscore", "repetition"
)  # fmt: skip


class NoSynonyms:
    """In WordNet's place: METEOR by exact words and stems ("METEOR (exact + stem)"), which needs no download."""

    def synsets(self, word: str) -> list:
        """No synonyms."""
        return []


def score_texts(
    references: Sequence[str], texts: Sequence[str], bert: Path | None = None, bert_layers: int | None = None
) -> dict[str, list[float] | float | None]:
    """Scores of texts [n] against references [n]: each text's own under "per_text", means or corpus values beside.

    bert: folder of the model that BERTScore compares with; its values are comparable within one model alone. None: no
    BERTScore. Raises ValueError for nothing to score or counts that differ.
    """
    if len(references) != len(texts) or not texts:
        raise ValueError(
            f"texts: expected as many as references, and one at least; got {len(texts)}, {len(references)}"
        )
    rouge = [_rouge(reference, text) for reference, text in zip(references, texts)]
    recall, f1 = bert_scores(references, texts, bert, bert_layers) if bert else (None, None)
    per_text = {
        "bleu_published": [_published_bleu(reference, text) for reference, text in zip(references, texts)],
        "meteor": [_meteor(reference, text) for reference, text in zip(references, texts)],
        "rouge_published": [one.recall for one in rouge],
        "rouge_l": [one.fmeasure for one in rouge],
        "bertscore_published": recall,
        "bertscore": f1,
        "repetition": [repetition(text) for text in texts],
    }
    means = {name: None if values is None else float(np.mean(values)) for name, values in per_text.items()}
    return {**means, "bleu": corpus_bleu(references, texts), "n": len(texts), "per_text": per_text}


def corpus_bleu(references: Sequence[str], texts: Sequence[str]) -> float:
    """sacrebleu's corpus BLEU-4 (13a tokens, exponential smoothing)."""
    from sacrebleu.metrics import BLEU

    return BLEU().corpus_score(list(texts), [list(references)]).score / 100


def bert_scores(
    references: Sequence[str], texts: Sequence[str], folder: Path, layers: int | None
) -> tuple[list[float], list[float]]:
    """Recall and F1 of BERTScore (Zhang et al. 2020) under the model in a folder, from its last layer by default."""
    from bert_score import BERTScorer
    from transformers import AutoConfig

    layers = layers or AutoConfig.from_pretrained(folder).num_hidden_layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = BERTScorer(model_type=str(folder), num_layers=layers, idf=False, device="cpu")
        _, recall, f1 = scorer.score(list(texts), list(references))
    return recall.tolist(), f1.tolist()


def repetition(text: str, n: int = 4) -> float:
    """Share of the runs of n words that stood earlier in the same text; 0 for a text shorter than that."""
    words = text.lower().split()
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _published_bleu(reference: str, text: str) -> float:
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.bleu_score import sentence_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a text without a common run of four scores about 0, as published
        return float(sentence_bleu([wordpunct_tokenize(reference)], wordpunct_tokenize(text)))


def _meteor(reference: str, text: str) -> float:
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.meteor_score import meteor_score

    return float(meteor_score([wordpunct_tokenize(reference)], wordpunct_tokenize(text), wordnet=NoSynonyms()))


def _rouge(reference: str, text: str):
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True).score(reference, text)["rougeL"]
