"""Ten folds where a data set publishes none, and the groups that must not be divided between folds.

Legend: N records.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

N_FOLDS = 10
SEED = 0


def groups(patient_ids: Sequence[str], digests: Sequence[str]) -> list[str]:
    """Per record the name of its group: records of one patient, or with identical signals, share one (transitively).

    The name is the patient id of the group's first record.
    """
    parent = list(range(len(patient_ids)))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for keys in (patient_ids, digests):
        first: dict[str, int] = {}
        for row, key in enumerate(keys):
            a, b = sorted((find(row), find(first.setdefault(key, row))))
            parent[b] = a
    return [patient_ids[find(row)] for row in range(len(patient_ids))]


def duplicates(digests: Sequence[str]) -> list[list[int]]:
    """Rows of each set of records with identical signals, sets and rows in order of appearance."""
    rows: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        rows.setdefault(digest, []).append(row)
    return [same for same in rows.values() if len(same) > 1]


def assign(group_names: Sequence[str], labels: Sequence[Collection[str]], seed: int = SEED) -> np.ndarray:
    """int [N], folds 1 to 10: every group in one fold, each label spread over the folds as evenly as its groups allow.

    A group counts once, with all labels of its records together. A label with fewer groups than folds is missing in
    some of them. Without any label, or with fewer groups than folds, groups are dealt out at random.
    """
    names, unit = np.unique(np.asarray(group_names, dtype=str), return_inverse=True)
    known = sorted({label for row in labels for label in row})
    column = {label: index for index, label in enumerate(known)}
    matrix = np.zeros((len(names), len(known)), dtype=int)
    for row, row_labels in zip(unit, labels):
        matrix[row, [column[label] for label in row_labels]] = 1
    return _unit_folds(matrix, seed)[unit]


def _unit_folds(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Fold of each unit from its labels, int [units, labels]."""
    n_units, n_labels = matrix.shape
    if n_units < N_FOLDS or n_labels == 0:
        return np.random.default_rng(seed).permutation(n_units) % N_FOLDS + 1
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    folds = np.zeros(n_units, dtype=int)
    splitter = MultilabelStratifiedKFold(n_splits=N_FOLDS, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros((n_units, 1)), matrix), start=1):
        folds[held_out] = fold
    return folds
