"""From scores to yes or no: the two threshold rules, which the names of the metrics tell apart.

`f1_oracle`, `accuracy_oracle`: the literature's rule. For each class the threshold t with the best F1 is looked for on
the very records that are scored. The published code takes the F1 that is reached with "score >= t", but counts accuracy
with "score > t": two different classifiers, and the record at t is lost to the second. Kept as published, so that
numbers can be set against the paper's. It is optimistic: it has seen the answers.

`f1`, `accuracy`: the honest rule. The threshold is chosen in the same way on the validation fold, and both are
counted on the test fold with "score >= t".
"""

from __future__ import annotations

import numpy as np

from merit.evaluate import metrics


def best_f1(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best F1 of each class over all thresholds, and the lowest score that reaches it with >=; both float64 [C].

    Without positives there is nothing to choose: F1 is NaN and the threshold infinite, so that nothing is predicted.
    """
    ranking = metrics.rank(labels, scores)
    tp, fp = ranking.true_positives, ranking.false_positives
    n_positive = tp[:, -1:]
    # Precision and recall first and F1 from them, though 2 TP / (2 TP + FP + FN) is shorter: equal F1 values then
    # round as in the published code, and the same one of two tied thresholds is found.
    precision, recall = tp / (tp + fp), tp / np.maximum(n_positive, 1)
    total = precision + recall
    values = np.divide(2 * recall * precision, total, out=np.zeros_like(total), where=total != 0)
    values[~ranking.last_of_tie] = -1.0
    best = values.shape[1] - 1 - np.argmax(values[:, ::-1], axis=1)
    classes = np.arange(len(best))
    none = n_positive[:, 0] == 0
    return (
        np.where(none, np.nan, values[classes, best]),
        np.where(none, np.inf, ranking.scores[classes, best].astype(np.float64)),
    )


def oracle(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(f1_oracle, accuracy_oracle) of each class, float64 [C], the threshold chosen on the scored records."""
    value, threshold = best_f1(labels, scores)
    return value, metrics.accuracy(labels, scores > threshold)


def predict(scores: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """bool [N, C]: score >= threshold, for scores [N, C] and thresholds [C]."""
    return np.asarray(scores) >= threshold
