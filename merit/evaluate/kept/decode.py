"""Out-of-fold predictions of targets: from a report, from an embedding, and from both.

Both is the report's prediction plus what the embedding, less what the report says of it, adds to it (Frisch and Waugh
1933; with left-out residuals on both sides as in Chernozhukov et al. 2018): with a penalty of its own for each side, an
embedding that holds nothing new adds nothing. The report may always be read non-linearly, so that an embedding gets no
credit for combining statements. Legend: N records, D numbers of an embedding, S of a report, K targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from merit.evaluate.kept.features import Features, reader
from merit.evaluate.kept.ridge import Design

DECODERS = ("linear", "nonlinear")
NEVER = -1
"""Fold of a record that is trained on and never scored."""


@dataclass(frozen=True)
class Report:
    """What reports alone say of K targets, fold by fold, and what embeddings add.

    A fold's report is decomposed when it is needed and forgotten after it: for PTB-XL's words, all folds together would
    take tens of gigabytes.
    """

    report: np.ndarray
    """[all, S], as it comes; shared by the groups of factors."""
    rows: np.ndarray
    """int [N]: which of them."""
    targets: np.ndarray
    """float64 [N, K]."""
    also: np.ndarray
    """float64 [N, A]: targets that are asked of the embedding alone."""
    folds: np.ndarray
    """int [N]."""
    standardise: bool
    seed: int
    predicted: np.ndarray
    """float64 [N, K] out of fold, from the report alone; NaN where a record is never scored."""

    @classmethod
    def fitted(
        cls, report: np.ndarray, targets: np.ndarray, folds: np.ndarray, *, also: np.ndarray | None = None,
        rows: np.ndarray | None = None, standardise: bool = False, seed: int = 0,
    ) -> Self:  # fmt: skip
        """report [N, S], or more of which `rows` [N] are meant: statements as 0 and 1, or a text's embedding (then
        standardise). folds int [N]: each from 0 is scored by what is trained on all others; `NEVER`: trained on alone.
        also [N, A]: see `also`.
        """
        rows = np.arange(len(targets)) if rows is None else rows
        also = np.zeros((len(targets), 0)) if also is None else also
        predicted = np.full(targets.shape, np.nan)
        found = cls(report, rows, targets, also, folds, standardise, seed, predicted)
        for train, test in found.splits():
            design, of_test = found._read_report(train, test)
            predicted[test] = design.fit(targets[train]).predict(of_test)
        return found

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of those who train and of those who are scored, a fold at a time."""
        for fold in np.unique(self.folds[self.folds != NEVER]):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)

    def mean(self) -> np.ndarray:
        """`predicted` from the training folds' means: what nothing at all yields."""
        found = np.full(self.targets.shape, np.nan)
        for train, test in self.splits():
            found[test] = self.targets[train].mean(axis=0)
        return found

    def embedding(self, embedding: np.ndarray, decoder: str) -> np.ndarray:
        """float64 [N, K + A], targets and `also`, from the embedding [N, D] alone; decoder: one of `DECODERS`."""
        targets = np.hstack([self.targets, self.also])
        found = np.full(targets.shape, np.nan)
        for train, test in self.splits():
            of_train, of_test = self._read(embedding, train, test, decoder)
            found[test] = Design.of(of_train).fit(targets[train]).predict(of_test)
        return found

    def both(self, embedding: np.ndarray, decoders: Sequence[str] = DECODERS) -> dict[str, np.ndarray]:
        """Decoder -> float64 [N, K] from the report and the embedding [N, D]."""
        found = {decoder: np.full(self.targets.shape, np.nan) for decoder in decoders}
        n_targets = self.targets.shape[1]
        for train, test in self.splits():
            design, report_of_test = self._read_report(train, test)
            of_train, of_test = self._read(embedding, train, test, "nonlinear" if "nonlinear" in decoders else "linear")
            fit = design.fit(np.hstack([self.targets[train], of_train]))
            said = fit.predict(report_of_test)
            alone, known = said[:, :n_targets], said[:, n_targets:]
            for decoder, values in found.items():
                width = embedding.shape[1] if decoder == "linear" else of_train.shape[1]  # linear features come first
                added = Design.of(fit.left_out[:, n_targets:][:, :width]).fit(fit.left_out[:, :n_targets])
                values[test] = alone + added.predict((of_test - known)[:, :width])
        return found

    def _read_report(self, train: np.ndarray, test: np.ndarray) -> tuple[Design, Features]:
        """The report of those who train, decomposed, and the features of those who are scored."""
        values = self.report[self.rows[train]]
        read = reader(values, standardise=self.standardise, nonlinear=True, seed=self.seed)
        return Design.of(Features(values, read)), Features(self.report[self.rows[test]], read)

    def _read(
        self, embedding: np.ndarray, train: np.ndarray, test: np.ndarray, decoder: str
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Features of the embedding for those who train and those who are scored; ValueError for other records."""
        if len(embedding) != len(self.targets):
            raise ValueError(f"embedding: expected a row for each of {len(self.targets)} records; got {len(embedding)}")
        values = embedding[train]
        read = reader(values, standardise=True, nonlinear=decoder == "nonlinear", seed=self.seed)
        return read(values), read(embedding[test])
