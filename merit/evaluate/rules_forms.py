"""Each metric in its published and in its honest form, on the scores of one fold and after every epoch.

N records, C classes, E epochs, F folds, M forms, R resamples.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from merit.config import ProbeConfig, replace
from merit.evaluate import linear_probe, metrics, thresholds
from merit.evaluate.heads import Heads
from merit.evaluate.splits import Split

FORMS = (
    "auroc_validation", "auroc", "f1", "f1_strict", "f1_oracle", "f1_oracle_strict",
    "accuracy", "accuracy_strict", "accuracy_oracle", "accuracy_oracle_strict",
)  # fmt: skip
"""Columns of M. `oracle`: threshold chosen on the scored records; without: on the validation fold. `strict`: positive
at score > t; without: at score >= t. `thresholds.oracle`, as published, mixes f1_oracle and accuracy_oracle_strict."""

PLACE = {name: place for place, name in enumerate(FORMS)}


def forms(labels: np.ndarray, scores: np.ndarray, chosen: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """float64 [M]: macro means over `classes` (bool [C]) of every form; "auroc_validation" stays NaN.

    labels bool [N, C], scores [N, C]; chosen [C]: thresholds from the validation fold. NaN where `classes` has none.
    """
    labels, scores, chosen = labels[:, classes], scores[:, classes], chosen[classes]
    if not classes.any():
        return np.full(len(FORMS), np.nan)
    _, own = thresholds.best_f1(labels, scores)
    found = {"auroc_validation": np.nan, "auroc": metrics.auroc(labels, scores).mean()}
    for rule, threshold in (("", chosen), ("_oracle", own)):
        for sign, predicted in (("", thresholds.predict(scores, threshold)), ("_strict", scores > threshold)):
            found[f"f1{rule}{sign}"] = metrics.f1(labels, predicted).mean()
            found[f"accuracy{rule}{sign}"] = metrics.accuracy(labels, predicted).mean()
    return np.array([found[name] for name in FORMS])


@dataclass(frozen=True)
class Trace:
    """What probes of all folds would have printed after each epoch."""

    folds: np.ndarray
    """float64 [E, F, M]."""
    resamples: np.ndarray
    """float64 [E, R, M]: the one test fold under resamples of its patients; R = 0 where there are several folds."""

    def last(self) -> Trace:
        """The last epoch alone."""
        return Trace(self.folds[-1:], self.resamples[-1:])


def pick(values: np.ndarray, form: str, epoch: str) -> np.ndarray:
    """float64 [F] from [E, F, M]: a form after the "last" epoch, after the one with the best AUROC on the "validation"
    fold, or after that epoch of each fold where the form itself is best on the "test" fold (MERL's rule).
    """
    column = values[:, :, PLACE[form]]
    if epoch == "test":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a fold that scores no class is all NaN
            return np.nanmax(column, axis=0)
    if epoch == "validation":
        best = np.nan_to_num(values[:, :, PLACE["auroc_validation"]], nan=-np.inf).argmax(axis=0)
        return column[best, np.arange(column.shape[1])]
    return column[-1]


def trace(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    splits: list[Split],
    scored: np.ndarray,
    config: ProbeConfig,
    *,
    variant: str,
    device: str = "cpu",
    every_epoch: bool = True,
    n_resamples: int = 0,
) -> Trace:
    """Train the heads of all splits once and note every form after each epoch (or after the last alone).

    features float32 [N, D], labels bool [N, C], groups [N]: what is resampled together, scored bool [F, C]. With one
    split and n_resamples > 0 its test fold is also scored under resamples of its groups.
    """
    if len(splits) > 1:
        n_resamples = 0
    note = _Note(features, labels, splits, scored, _resamples(groups, splits[0], n_resamples, config.seed))
    plain = replace(config, select="last")
    heads = linear_probe.train(
        features, labels, splits, plain, variants=(variant,), device=device, choose=note if every_epoch else None
    )
    if not every_epoch:
        note(heads)
    return Trace(np.stack(note.folds), np.stack(note.resamples))


def _resamples(groups: np.ndarray, split: Split, n: int, seed: int) -> list[np.ndarray]:
    """For each resample the positions in the test fold that it holds: whole groups, drawn with replacement."""
    names, group = np.unique(groups[split.test], return_inverse=True)
    rows = [np.flatnonzero(group == g) for g in range(len(names))]
    generator = np.random.default_rng([seed, 1])
    return [np.concatenate([rows[g] for g in generator.integers(len(rows), size=len(rows))]) for _ in range(n)]


@dataclass
class _Note:
    """Called with the heads after each epoch; gives the number of the epoch, so that the last heads are kept."""

    features: np.ndarray
    labels: np.ndarray
    splits: list[Split]
    scored: np.ndarray
    drawn: list[np.ndarray]
    folds: list[np.ndarray] = field(default_factory=list)
    resamples: list[np.ndarray] = field(default_factory=list)

    def __call__(self, heads: Heads) -> np.ndarray:
        by_fold = [self._fold(heads, f) for f in range(len(self.splits))]
        self.folds.append(np.stack([values for values, _ in by_fold]))
        values, resample = by_fold[0]
        drawn = [resample(rows) for rows in self.drawn]
        for one in drawn:  # the validation fold is not resampled
            one[PLACE["auroc_validation"]] = values[PLACE["auroc_validation"]]
        self.resamples.append(np.array(drawn).reshape(len(drawn), len(FORMS)))
        return heads.epoch.astype(float)

    def _fold(self, heads: Heads, f: int) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """[M] of a fold, and what gives the same for some rows of its test part."""
        split, classes = self.splits[f], self.scored[f]
        validation, test = (heads.logits(self.features[rows], f, 0) for rows in (split.validation, split.test))
        known, labels = self.labels[split.validation], self.labels[split.test]
        _, chosen = thresholds.best_f1(known, validation)

        def of(rows: np.ndarray) -> np.ndarray:
            """A class that the rows leave without positives or negatives has no part in the means."""
            positives = labels[rows].sum(axis=0)
            both = classes & (positives > 0) & (positives < len(rows))
            return forms(labels[rows], test[rows], chosen, both)

        values = of(np.arange(len(labels)))
        if classes.any():
            values[PLACE["auroc_validation"]] = metrics.auroc(known[:, classes], validation[:, classes]).mean()
        return values, of
