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

from merit.runs import loading

NAMES = (
    "bleu_published", "bleu", "meteor", "rouge_published", "rouge_l", "bertscore_published", "bertscore", "repetition"
)  # fmt: skip


class NoSynonyms:
    """In WordNet's place: METEOR by exact words and stems ("METEOR (exact + stem)"), which needs no download."""

    def synsets(self, word: str) -> list:
        """No synonyms."""
        return []


def score_texts(
    references: Sequence[str],
    texts: Sequence[str],
    bert: Path | None = None,
    bert_layers: int | None = None,
    device: str = "cpu",
) -> dict[str, list[float] | float | None]:
    """Scores of texts [n] against references [n]: each text's own under "per_text", means or corpus values beside.

    bert: folder of the model that BERTScore compares with, on `device`; its values are comparable within one model
    alone. None: no BERTScore. Raises ValueError for nothing to score or counts that differ.
    """
    if len(references) != len(texts) or not texts:
        raise ValueError(
            f"texts: expected as many as references, and one at least; got {len(texts)}, {len(references)}"
        )
    rouge = [_rouge(reference, text) for reference, text in zip(references, texts)]
    recall, f1 = bert_scores(references, texts, bert, bert_layers, device) if bert else (None, None)
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


def bleu_statistics(references: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """int64 [n, 10]: what corpus BLEU adds up over texts: runs of 1 to 4 words found, runs there are, both lengths."""
    from sacrebleu.metrics import BLEU

    metric = BLEU(effective_order=True)
    found = [metric.sentence_score(text, [reference]) for reference, text in zip(references, texts, strict=True)]
    return np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found], np.int64)


def bleu_of(statistics: np.ndarray) -> float:
    """Corpus BLEU of added-up statistics [10] (`bleu_statistics`), as `corpus_bleu`."""
    from sacrebleu.metrics import BLEU

    counts, totals, lengths = statistics[:4].tolist(), statistics[4:8].tolist(), statistics[8:].tolist()
    return BLEU.compute_bleu(counts, totals, *lengths, smooth_method="exp").score / 100


def bert_scores(
    references: Sequence[str], texts: Sequence[str], folder: Path, layers: int | None, device: str = "cpu"
) -> tuple[list[float], list[float]]:
    """Recall and F1 of BERTScore (Zhang et al. 2020) under the model in a folder, from its last layer by default.

    device: where the model computes. A text or reference without a word scores 0; bert-score 0.3.13 says so too, but
    fails on them with transformers 5.
    """
    from bert_score import BERTScorer
    from transformers import AutoConfig, AutoTokenizer

    # bert-score loads both without a word on code that comes with a model, about which transformers then asks.
    try:
        config = AutoConfig.from_pretrained(**loading(folder))
        AutoTokenizer.from_pretrained(**loading(folder))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model of BERTScore {folder}: expected a model and its tokenizer; {str(error).splitlines()[0]}"
        ) from error
    layers = layers or config.num_hidden_layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = BERTScorer(model_type=str(folder), num_layers=layers, idf=False, device=device)
        worded = [i for i, pair in enumerate(zip(references, texts)) if all(part.strip() for part in pair)]
        found = np.zeros((2, len(texts)))
        if worded:
            _, *both = scorer.score([texts[i] for i in worded], [references[i] for i in worded])
            found[:, worded] = [column.tolist() for column in both]
    return found[0].tolist(), found[1].tolist()


def available(model: str) -> bool:
    """Whether a model's folder, or its hub name by way of the cache or a network, gives a configuration."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(**loading(model))
    except (OSError, ValueError):
        return False
    return True


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
