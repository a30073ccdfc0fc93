"""How near texts come to reference texts, with intervals from resampling patients; and what a text must be better than.

As published (MedTVT-R1's evaluate.py, whose numbers Table 3 follows): BLEU is NLTK's sentence BLEU-4 without smoothing
on word-punctuation tokens, averaged over sentences; ROUGE is the *recall* of ROUGE-L with stemming; BERTScore is its
mean *recall*. Proper: sacrebleu's corpus BLEU, the F1 of ROUGE-L, the F1 of BERTScore. All fractions, 0 to 1.
n texts, N training pairs, R resamples, D width.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from merit import intervals
from merit.evaluate.generation.texts import ABSENT, PRESENT, asserted, contradictions, find, lexicon
from merit.runs import loading

COMPARED = ("bleu", "meteor", "rouge_published", "rouge_l", "f1")
"""Scores whose differences are taken."""
BLOCK = 512
"""Test ECGs compared with all training ECGs at a time, for memory."""


# -- text by text ------------------------------------------------------------------------------------------------------


def score_texts(
    references: Sequence[str],
    texts: Sequence[str],
    bert: str | Path | None = None,
    bert_layers: int | None = None,
    device: str = "cpu",
) -> dict[str, list[float] | None]:
    """Name of a score -> its value for each text [n] against its reference [n].

    METEOR matches exact words and stems, without WordNet's synonyms, which would need a download. bert: folder of the
    model that BERTScore compares with, on `device`; its values are comparable within one model alone. None: no
    BERTScore. Repetition: share of a text's runs of four words that stood earlier in it. ValueError for nothing to
    score or counts that differ.
    """
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.bleu_score import sentence_bleu
    from nltk.translate.meteor_score import meteor_score
    from rouge_score.rouge_scorer import RougeScorer

    if len(references) != len(texts) or not texts:
        n = f"{len(texts)}, {len(references)}"
        raise ValueError(f"texts: expected as many as references, and one at least; got {n}")
    rouge_scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [rouge_scorer.score(reference, text)["rougeL"] for reference, text in zip(references, texts)]
    tokens = [([wordpunct_tokenize(reference)], wordpunct_tokenize(text)) for reference, text in zip(references, texts)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a text without a common run of four scores about 0, as published
        bleu = [float(sentence_bleu(*pair)) for pair in tokens]
    no_synonyms = SimpleNamespace(synsets=lambda word: [])  # in WordNet's place
    words = [text.lower().split() for text in texts]
    fours = [list(zip(text, text[1:], text[2:], text[3:])) for text in words]
    recall, f1 = bert_scores(references, texts, bert, bert_layers, device) if bert else (None, None)
    return {
        "bleu_published": bleu,
        "meteor": [float(meteor_score(*pair, wordnet=no_synonyms)) for pair in tokens],
        "rouge_published": [score.recall for score in rouge],
        "rouge_l": [score.fmeasure for score in rouge],
        "bertscore_published": recall,
        "bertscore": f1,
        "repetition": [1 - len(set(runs)) / len(runs) if runs else 0.0 for runs in fours],
    }


def bert_scores(
    references: Sequence[str], texts: Sequence[str], folder: str | Path, layers: int | None, device: str = "cpu"
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
        what = f"model of BERTScore {folder}: expected a model and its tokenizer"
        raise ValueError(f"{what}; {str(error).splitlines()[0]}") from error
    layers = layers or config.num_hidden_layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = BERTScorer(model_type=str(folder), num_layers=layers, idf=False, device=device)
        worded = [i for i, pair in enumerate(zip(references, texts)) if all(part.strip() for part in pair)]
        scores = np.zeros((2, len(texts)))
        if worded:
            _, *both = scorer.score([texts[i] for i in worded], [references[i] for i in worded])
            scores[:, worded] = [column.tolist() for column in both]
    return scores[0].tolist(), scores[1].tolist()


def available(model: str) -> bool:
    """Whether a model's folder, or its hub name by way of the cache or a network, gives a configuration."""
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(**loading(model))
    except (OSError, ValueError):
        return False
    return True


# -- all texts together ------------------------------------------------------------------------------------------------


def score_statements(there: Sequence[Collection[str]], texts: Sequence[str]) -> dict[str, Any]:
    """Statements asserted by texts [n] against those that are there [n]; statements outside the lexicon are left out.

    tallies: int64 [n, 3], for each text the statements asserted that are there, asserted, and there. Shares in [0, 1],
    None where they are a share of nothing: precision, recall and f1 over all mentions; macro_f1: mean F1 over the
    statements that occur; exact: texts that assert just what is there; denied: of what is there, the share that the
    text denies; contradictory: texts that contradict themselves. per_statement: rows of code, counts and rates.
    """

    def share(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    def rates(hit: int, n_said: int, n_there: int) -> dict[str, float | None]:
        return {"precision": share(hit, n_said), "recall": share(hit, n_there), "f1": share(2 * hit, n_said + n_there)}

    known, states = set(lexicon()), [find(text) for text in texts]
    pairs = [
        (known & set(codes), {code for code, state in made.items() if state == PRESENT})
        for codes, made in zip(there, states, strict=True)
    ]
    tallies = np.array([[len(real & said), len(said), len(real)] for real, said in pairs], np.int64).reshape(-1, 3)
    per_statement = []
    for code in sorted(set().union(*(real | said for real, said in pairs))):
        n, said = (sum(code in side for side in sides) for sides in zip(*pairs))
        hit = sum(code in real & made for real, made in pairs)
        per_statement.append({"code": code, "n": n, "said": said, "hit": hit, **rates(hit, said, n)})
    occurring = [row["f1"] or 0.0 for row in per_statement if row["n"]]
    denied = sum(made.get(code) == ABSENT for (real, _), made in zip(pairs, states) for code in real)
    return {
        "tallies": tallies,
        **rates(*tallies.sum(0).tolist()),
        "macro_f1": share(sum(occurring), len(occurring)),
        "exact": share(sum(real == said for real, said in pairs), len(pairs)),
        "denied": share(denied, int(tallies[:, 2].sum())),
        "contradictory": share(sum(bool(contradictions(text)) for text in texts), len(pairs)),
        "per_statement": per_statement,
    }


def summarise(
    references: Sequence[str],
    texts: Sequence[str],
    groups: Sequence[str],
    *,
    bert: str | Path | None = None,
    bert_layers: int | None = None,
    device: str = "cpu",
    n_resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Scores of texts [n] against references [n], and the statements that they assert, as rows of `score_statements`.

    Columns of the scores: metric, value, low, high (None without resamples, and for what has no interval), draws
    (float64 [R] of COMPARED; two calls with the same groups, R and seed draw the same patients). groups [n]: what is
    drawn together (patients). bert, bert_layers, device: of BERTScore, as in `score_texts`.
    """
    from sacrebleu.metrics import BLEU

    per_text = score_texts(references, texts, bert, bert_layers, device)
    said = score_statements([asserted(reference) for reference in references], texts)
    weights = intervals.weights_of(groups, n_resamples, seed)  # [n, 1 + R], the first column all ones
    scored = {name: np.asarray(values, np.float64) for name, values in per_text.items() if values is not None}
    drawn = {name: values @ weights / weights.sum(0) for name, values in scored.items()}
    # Corpus BLEU-4 (13a tokens, exponential smoothing) adds up runs of 1 to 4 words found, all runs, both lengths.
    each = [BLEU(effective_order=True).sentence_score(text, [ref]) for ref, text in zip(references, texts)]
    counts = np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in each], np.int64)
    totals = np.rint(counts.T @ weights).astype(np.int64).T.tolist()
    corpus = [BLEU.compute_bleu(t[:4], t[4:8], *t[8:], smooth_method="exp").score for t in totals]
    drawn["bleu"] = np.array(corpus) / 100
    hit, n_said, n_there = said["tallies"].T @ weights
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = {"precision": hit / n_said, "recall": hit / n_there, "f1": 2 * hit / (n_said + n_there)}
    drawn |= {name: np.where(np.isfinite(values), values, np.nan) for name, values in rates.items()}

    rows = [{"metric": name, **intervals.around(values[0], values[1:], share=True)} for name, values in drawn.items()]
    alone = {name: said[name] for name in ("macro_f1", "exact", "denied", "contradictory")}
    alone |= dict.fromkeys(name for name in per_text if name not in scored)
    rows += [{"metric": name, "value": value, "low": None, "high": None} for name, value in alone.items()]
    rows = [row | {"draws": drawn[row["metric"]][1:] if row["metric"] in COMPARED else None} for row in rows]
    return pd.DataFrame(rows), said["per_statement"]


# -- controls: the commonest answer, the answer of the nearest training ECG, another patient's ECG ---------------------


def most_common(answers: Sequence[str]) -> str:
    """The commonest of the answers. Where none occurs twice: the first that asserts the commonest set of statements.

    Ties go to what comes first. ValueError without an answer.
    """
    if not answers:
        raise ValueError("answers: expected at least one")
    text, count = Counter(answers).most_common(1)[0]
    if count > 1:
        return text
    said = [frozenset(asserted(answer)) for answer in answers]
    commonest, _ = Counter(said).most_common(1)[0]
    return answers[said.index(commonest)]


def nearest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """int64 [n]: for each test embedding [n, D] the training one [N, D] at the highest cosine, the first of equals."""
    wide = [np.asarray(z, np.float64) for z in (train, test)]
    unit_train, unit_test = (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) for z in wide)
    starts = range(0, len(unit_test), BLOCK)
    return np.concatenate([(unit_test[s : s + BLOCK] @ unit_train.T).argmax(1) for s in starts]).astype(np.int64)


def swapped(patients: Sequence[str], seed: int = 0) -> np.ndarray:
    """int64 [n], a permutation that gives every question the ECG of another patient; each ECG is used once.

    ValueError where one patient has more than half of the recordings, so that no such permutation exists.
    """
    names = np.asarray(patients, dtype=object)
    n = len(names)
    _, patient, counts = np.unique(names, return_inverse=True, return_counts=True)
    most = int(counts.max()) if n else 0
    if n < 2 or 2 * most > n:
        raise ValueError(f"patients: expected that none has more than half of the recordings; got {most} of {n}")
    shuffled = np.random.default_rng(seed).permutation(n)
    order = shuffled[np.argsort(patient[shuffled], kind="stable")]  # patients in blocks, within them at random
    given = np.empty(n, np.int64)
    given[order] = np.roll(order, -most)  # a step as long as the longest block leaves every block
    return given
