"""Out-of-fold predictions of targets: from a report, from an embedding, and from both.

Both is the report's prediction plus what the embedding, less what the report says of it, adds to it (Frisch and Waugh
1933; with left-out residuals on both sides as in Chernozhukov et al. 2018): with a penalty of its own for each side, an
embedding that holds nothing new adds nothing. The report may always be read non-linearly, so that an embedding gets no
credit for combining statements. Legend: N records, D numbers of an embedding, S of a report, K targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from merit.evaluate.kept.features import reader
from merit.evaluate.kept.ridge import Design

DECODERS = ("linear", "nonlinear")
NEVER = -1
"""Fold of a record that is trained on and never scored."""


@dataclass(frozen=True)
class Part:
    """One fold's report: who trains, who is scored, and what the report says of the targets."""

    train: np.ndarray
    test: np.ndarray
    of_train: np.ndarray
    """[n, F]: the report's features."""
    of_test: np.ndarray
    design: Design
    left_out: np.ndarray
    """[n, K]: the targets less what the report says of them."""
    predicted: np.ndarray
    """[m, K]: what the report says of the scored records."""


@dataclass(frozen=True)
class Report:
    """What reports alone say of K targets, fold by fold; fitted once for all embeddings."""

    targets: np.ndarray
    """float64 [N, K]."""
    also: np.ndarray
    """float64 [N, A]: targets that are asked of the embedding alone."""
    parts: tuple[Part, ...]
    seed: int

    @classmethod
    def fitted(
        cls, report: np.ndarray, targets: np.ndarray, folds: np.ndarray, *, also: np.ndarray | None = None,
        standardise: bool = False, seed: int = 0,
    ) -> Self:  # fmt: skip
        """report [N, S]: statements as 0 and 1, or a text's embedding (then standardise). folds int [N]: each from 0 is
        scored by what is trained on all others; `NEVER`: trained on alone. also [N, A]: see `also`.
        """
        also = np.zeros((len(targets), 0)) if also is None else also
        parts = []
        for fold in np.unique(folds[folds != NEVER]):
            train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            read = reader(report[train], standardise=standardise, nonlinear=True, seed=seed)
            of_train, of_test = read(report[train]), read(report[test])
            design = Design.of(of_train)
            fit = design.fit(targets[train])
            parts.append(Part(train, test, of_train, of_test, design, fit.left_out, fit.predict(of_test)))
        return cls(targets, also, tuple(parts), seed)

    def alone(self) -> np.ndarray:
        """float64 [N, K] out of fold; NaN where a record is never scored."""
        return self._gathered([part.predicted for part in self.parts])

    def mean(self) -> np.ndarray:
        """The same from the training folds' means: what nothing at all yields."""
        means = [np.broadcast_to(self.targets[p.train].mean(axis=0), p.predicted.shape) for p in self.parts]
        return self._gathered(means)

    def embedding(self, embedding: np.ndarray, decoder: str) -> np.ndarray:
        """float64 [N, K + A], targets and `also`, from the embedding [N, D] alone; decoder: one of `DECODERS`."""
        found, targets = [], np.hstack([self.targets, self.also])
        for part in self.parts:
            train, test = self._read(embedding, part, decoder)
            found.append(Design.of(train).fit(targets[part.train]).predict(test))
        return self._gathered(found)

    def both(self, embedding: np.ndarray, decoder: str) -> np.ndarray:
        """float64 [N, K] from the report and the embedding [N, D]."""
        found = []
        for part in self.parts:
            train, test = self._read(embedding, part, decoder)
            known = part.design.fit(train)
            added = Design.of(known.left_out).fit(part.left_out)
            found.append(part.predicted + added.predict(test - known.predict(part.of_test)))
        return self._gathered(found)

    def _read(self, embedding: np.ndarray, part: Part, decoder: str) -> tuple[np.ndarray, np.ndarray]:
        """Features of the embedding for those who train and those who are scored; ValueError for other records."""
        if len(embedding) != len(self.targets):
            raise ValueError(f"embedding: expected a row for each of {len(self.targets)} records; got {len(embedding)}")
        read = reader(embedding[part.train], standardise=True, nonlinear=decoder == "nonlinear", seed=self.seed)
        return read(embedding[part.train]), read(embedding[part.test])

    def _gathered(self, found: list[np.ndarray]) -> np.ndarray:
        whole = np.full((len(self.targets), found[0].shape[1]), np.nan)
        for part, values in zip(self.parts, found):
            whole[part.test] = values
        return whole
