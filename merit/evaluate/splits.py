"""Which folds train, validate and test, and which classes such a split can score."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

TEN_FOLDS = "ten folds"
"""Fold k tests, the next one validates, the others train; every record is tested once."""
OFFICIAL_SPLIT = "official split (train 1-8, validate 9, test 10)"
"""PTB-XL's own split, for checkpoints that were pretrained on its folds 1-8."""
UNSEEN_FOLDS = (9, 10)
"""PTB-XL's folds that are scored where its others are pretrained on."""
PROTOCOLS = (TEN_FOLDS, OFFICIAL_SPLIT)


class NotEnoughData(ValueError):
    """A task cannot be scored on what is there; the message says what is missing, for print in place of numbers."""


@dataclass(frozen=True)
class Split:
    """One division of a task's records; the arrays hold positions in the task, rising."""

    fold: int
    """The test fold, counted from 1; names the split and seeds its weights and shuffles."""
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def parts(self) -> dict[str, np.ndarray]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def make_splits(folds: np.ndarray, protocol: str = TEN_FOLDS, n_folds: int = 10) -> list[Split]:
    """The splits of a protocol, from each record's fold (int [N], 1 to n_folds).

    Raises NotEnoughData when a fold that the protocol needs is empty.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {list(PROTOCOLS)}")
    if len(folds) and folds.max() > n_folds:
        raise ValueError(f"folds: expected {n_folds} in the records; got {folds.max()}, whose records would be lost")
    if protocol == OFFICIAL_SPLIT:
        _need_folds(folds, UNSEEN_FOLDS, "the official split")
        _need_folds(np.where(folds <= 8, 8, folds), [8], "the official split (8 stands for 1 to 8)")
        return [_split(folds, 10, 9, range(1, 9))]
    everything = range(1, n_folds + 1)
    _need_folds(folds, everything, f"{n_folds}-fold cross-validation")
    following = {k: k % n_folds + 1 for k in everything}
    return [_split(folds, k, following[k], [j for j in everything if j not in (k, following[k])]) for k in everything]


def _need_folds(folds: np.ndarray, needed: Iterable[int], what: str) -> None:
    empty = sorted(set(needed) - set(np.unique(folds).tolist()))
    if empty:
        raise NotEnoughData(f"{what} needs folds that hold no record here: {empty} ({len(folds)} records in all)")


def _split(folds: np.ndarray, test: int, validation: int, train: range | list[int]) -> Split:
    return Split(
        test,
        np.flatnonzero(np.isin(folds, list(train))),
        np.flatnonzero(folds == validation),
        np.flatnonzero(folds == test),
    )


def scored_classes(labels: np.ndarray, split: Split, min_positives: int = 2) -> np.ndarray:
    """bool [C]: classes with at least min_positives positives, and negatives, in each part of a split."""
    enough = np.ones(labels.shape[1], dtype=bool)
    for rows in split.parts().values():
        positives = labels[rows].sum(axis=0)
        enough &= (positives >= min_positives) & (len(rows) - positives >= min_positives)
    return enough
