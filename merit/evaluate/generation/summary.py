"""All scores of a set of texts, with intervals from resampling patients. n texts, R resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from merit import intervals
from merit.evaluate import bootstrap
from merit.evaluate.generation import findings, scores

MEANS = ("bleu_published", "meteor", "rouge_published", "rouge_l", "bertscore_published", "bertscore", "repetition")
"""Means over texts."""
RATES = ("precision", "recall", "f1")
"""Of statements, over all texts together."""
COMPARED = ("bleu", "meteor", "rouge_published", "rouge_l", "f1")
"""Scores whose differences are taken."""


@dataclass(frozen=True)
class Summary:
    """Values with intervals, and what differences are taken from."""

    values: dict[str, Any]
    """JSON-like: "scores" (metric -> value, low, high; the last two None without resamples) and "per_statement"."""
    resamples: dict[str, np.ndarray]
    """Metric -> float64 [R]; two summaries with the same groups, R and seed draw the same patients."""


def summarise(
    references: Sequence[str],
    texts: Sequence[str],
    groups: Sequence[str],
    *,
    bert: Path | None = None,
    bert_layers: int | None = None,
    device: str = "cpu",
    n_resamples: int,
    seed: int,
) -> Summary:
    """Scores of texts [n] against references [n]; there is what the reference asserts. groups [n]: what is drawn
    together (patients). device: of BERTScore.
    """
    found = scores.score_texts(references, texts, bert, bert_layers, device)
    there = [findings.asserted(reference) for reference in references]
    said = findings.score(there, texts)
    weights = bootstrap.weights_of(groups, n_resamples, seed)  # [n, 1 + R], the first column all ones
    drawn = {name: _means(found["per_text"][name], weights) for name in MEANS if found[name] is not None}
    drawn["bleu"] = _bleu(scores.bleu_statistics(references, texts), weights)
    drawn |= _rates(findings.tallies(there, texts), weights)
    values = {name: intervals.around(column[0], column[1:], share=True) for name, column in drawn.items()}
    for name in MEANS:
        values.setdefault(name, {"value": None, "low": None, "high": None})
    for name in ("macro_f1", "exact", "denied", "contradictory"):
        values[name] = {"value": said[name], "low": None, "high": None}
    resamples = {name: drawn[name][1:] for name in COMPARED}
    return Summary({"scores": values, "per_statement": said["per_statement"]}, resamples)


def difference(one: Summary, other: Summary) -> dict[str, dict[str, float | None]]:
    """Score -> value, low, high of one minus the other, paired by resample."""
    out = {}
    for name in COMPARED:
        a, b = (summary.values["scores"][name]["value"] for summary in (one, other))
        value = np.nan if a is None or b is None else a - b
        out[name] = intervals.around(value, one.resamples[name] - other.resamples[name])
    return out


def _means(per_text: Sequence[float], weights: np.ndarray) -> np.ndarray:
    return np.asarray(per_text, np.float64) @ weights / weights.sum(0)


def _bleu(statistics: np.ndarray, weights: np.ndarray) -> np.ndarray:
    totals = np.rint(statistics.T @ weights).astype(np.int64)
    return np.array([scores.bleu_of(column) for column in totals.T])


def _rates(tallies: np.ndarray, weights: np.ndarray) -> Mapping[str, np.ndarray]:
    hit, said, there = tallies.T @ weights
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"precision": hit / said, "recall": hit / there, "f1": 2 * hit / (said + there)}
    return {name: np.where(np.isfinite(column), column, np.nan) for name, column in found.items()}
