"""What a text must be better than: the commonest answer, the answer of the nearest training ECG, another patient's ECG.

N training pairs, n test pairs, D width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from merit.evaluate.generation.findings import asserted

BLOCK = 512
"""Test ECGs compared with all training ECGs at a time, for memory."""


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
    unit_train, unit_test = (_unit(z) for z in (train, test))
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


def _unit(z: np.ndarray) -> np.ndarray:
    wide = np.asarray(z, np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
