"""Transfer without adaptation: a linear head of one data set scored on another, over the classes they share (Table 7).

A head is trained on all classes of its own data set; Table 5 merges what it says and what the other publisher wrote.
The whole target is scored, records without any shared class among them: they are negatives throughout. Beside it stand
the numbers that a transfer is held against, on test parts only: the same head at home, and the target's own head.

N records, D width, C classes of a data set, K evaluation classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from merit.config import ProbeConfig
from merit.evaluate import bootstrap, linear_probe, metrics
from merit.evaluate.heads import Heads
from merit.evaluate.label_alignment import Alignment
from merit.evaluate.probe_tables import checked_features
from merit.evaluate.splits import NotEnoughData, Split
from merit.evaluate.tasks import TaskData


@dataclass(frozen=True)
class Domain:
    """A data set as both source and target."""

    task: TaskData
    features: np.ndarray
    """float32 [N, D], a row for each record of the task."""
    split: Split | None
    """Training, validation and test part; None where one of them is empty."""
    scored: np.ndarray
    """bool [N]: what may be scored when it is the target; all, or what was not seen in pretraining."""


@dataclass(frozen=True)
class Head:
    """One trained head, with the classes that it could learn."""

    heads: Heads
    usable: np.ndarray
    """bool [C]: classes with enough positives and negatives in the training part."""

    def logits(self, features: np.ndarray) -> np.ndarray:
        """float32 [n, C]; features are scaled as the head's own training part was."""
        return self.heads.logits(features, 0, 0)


def train_head(domain: Domain, config: ProbeConfig, variant: str, device: str = "cpu") -> Head:
    """A head on the training part, of the last epoch or the one with the best macro AUROC on the validation part.

    The validation part counts the classes that have `config.min_positives` positives and negatives in it and in the
    training part. Raises NotEnoughData where the training part has no such class.
    """
    labels, split = domain.task.labels, domain.split
    if split is None:
        raise NotEnoughData(f"{domain.task.task}: no head, since training, validation or test part is empty")
    usable = countable(labels[split.train], config.min_positives)
    if not usable.any():
        raise NotEnoughData(
            f"{domain.task.task}: no class has {config.min_positives} positives and negatives among the "
            f"{len(split.train)} training recordings"
        )
    features = checked_features(domain.features, len(labels))
    choose = _validation_auroc(features, labels, split, usable, config) if config.select == "best_validation" else None
    heads = linear_probe.train(features, labels, [split], config, variants=(variant,), device=device, choose=choose)
    return Head(heads, usable)


def _validation_auroc(
    features: np.ndarray, labels: np.ndarray, split: Split, usable: np.ndarray, config: ProbeConfig
) -> Callable[[Heads], np.ndarray]:
    """What the epoch is chosen by: macro AUROC on the validation part, [1, 1]; NaN where it has no class to count."""
    rows, held_out = features[split.validation], labels[split.validation]
    counted = usable & countable(held_out, config.min_positives)

    def choose(heads: Heads) -> np.ndarray:
        """The figure after an epoch."""
        return np.array([[metrics.macro(metrics.auroc(held_out, heads.logits(rows, 0, 0)), counted)]])

    return choose


def countable(labels: np.ndarray, min_positives: int) -> np.ndarray:
    """bool [C]: classes with at least min_positives positives, and negatives, among labels bool [N, C]."""
    positives = labels.sum(axis=0)
    return (positives >= min_positives) & (len(labels) - positives >= min_positives)


def transfer(
    source: Domain, head: Head, target: Domain, own: Head | None, alignment: Alignment, config: ProbeConfig
) -> dict[str, Any]:
    """Values of one direction, JSON-ready: macro AUROC on the whole target with its interval, by class, and in domain.

    head, own: of the source and of the target (None where it has too little to train one). Raises NotEnoughData where
    no evaluation class can be scored.
    """
    rows, task = np.flatnonzero(target.scored), target.task
    labels = alignment.target.any_of(task.labels[rows])
    scores, reached = alignment.source.highest(head.logits(target.features[rows]), head.usable)
    enough = countable(labels, config.min_positives)
    unscored = _unscored(alignment, reached, enough, labels, config.min_positives)
    if not (reached & enough).any():
        reasons = "; ".join(f"{name}: {why}" for name, why in unscored.items())
        raise NotEnoughData(f"{alignment.source.space} to {alignment.target.space}: no class can be scored ({reasons})")
    pooled = bootstrap.pool_ranks(labels, scores, reached & enough, task.groups[rows], config)
    return {
        "classes": list(alignment.classes),
        "n_classes": int((reached & enough).sum()),
        "unscored": unscored,
        "not_learnt": _not_learnt(alignment, head),
        "dropped_source": list(alignment.source.dropped),
        "dropped_target": list(alignment.target.dropped),
        "n_records": len(rows),
        "n_patients": len(np.unique(task.patients[rows])),
        "n_without_class": int((~labels.any(axis=1)).sum()),
        "epoch": int(head.heads.epoch[0, 0]),
        "auroc": pooled.triple(),
        "resamples": {"auroc": [metrics.number(x) for x in pooled.resamples["auroc"]]},
        "per_class": {
            name: {"n_positive": int(labels[:, k].sum()), "auroc": metrics.number(pooled.per_class["auroc"][k])}
            for k, name in enumerate(alignment.classes)
        },
        "with_class_only": _with_class_only(labels, scores, reached, task.groups[rows], config),
        "in_domain": in_domain(source, head, target, own, alignment, config),
    }


def _with_class_only(
    labels: np.ndarray, scores: np.ndarray, reached: np.ndarray, groups: np.ndarray, config: ProbeConfig
) -> dict[str, Any]:
    """The other reading of "the full target": only records with one of the shared classes."""
    rows = labels.any(axis=1)
    scored = reached & countable(labels[rows], config.min_positives)
    if not scored.any():
        return {"reason": "no class can be scored"}
    pooled = bootstrap.pool_ranks(labels[rows], scores[rows], scored, groups[rows], config)
    return {**pooled.triple(), "n_records": int(rows.sum()), "n_classes": int(scored.sum())}


def in_domain(
    source: Domain, head: Head, target: Domain, own: Head | None, alignment: Alignment, config: ProbeConfig
) -> dict[str, Any]:
    """What the transfer is held against, all over the same classes; or a reason where there is none.

    source: the source's head on the source's test part. target: the target's own head on the target's test part.
    transfer_on_target_test: the source's head there. drop: the difference of the last two, its interval paired.
    """
    if own is None or source.split is None or target.split is None:
        return {"reason": f"{alignment.target.space} has too few recordings to train a head of its own"}
    home = alignment.source.any_of(source.task.labels[source.split.test])
    away = alignment.target.any_of(target.task.labels[target.split.test])
    there = target.features[target.split.test]
    at_home, reached = alignment.source.highest(head.logits(source.features[source.split.test]), head.usable)
    transferred, _ = alignment.source.highest(head.logits(there), head.usable)
    at_target, reached_own = alignment.target.highest(own.logits(there), own.usable)
    scored = reached & reached_own & countable(home, config.min_positives) & countable(away, config.min_positives)
    if not scored.any():
        return {"reason": f"no class has {config.min_positives} positives and negatives in both test parts"}
    groups = target.task.groups[target.split.test]
    moved, trained_there = (
        bootstrap.pool_ranks(away, scores, scored, groups, config) for scores in (transferred, at_target)
    )
    return {
        "classes": [name for name, yes in zip(alignment.classes, scored) if yes],
        "n_source_test": len(home),
        "n_target_test": len(away),
        "source": bootstrap.pool_ranks(home, at_home, scored, source.task.groups[source.split.test], config).triple(),
        "target": trained_there.triple(),
        "transfer_on_target_test": moved.triple(),
        "drop": bootstrap.paired(trained_there, moved),
    }


def _unscored(
    alignment: Alignment, reached: np.ndarray, enough: np.ndarray, labels: np.ndarray, min_positives: int
) -> dict[str, str]:
    """Evaluation class -> why it has no score."""
    found = {}
    for k, name in enumerate(alignment.classes):
        positives = int(labels[:, k].sum())
        if not reached[k]:
            found[name] = f"fewer than {min_positives} positives or negatives to train on in {alignment.source.space}"
        elif not enough[k]:
            found[name] = f"{positives} positives, {len(labels) - positives} negatives in {alignment.target.space}"
    return found


def _not_learnt(alignment: Alignment, head: Head) -> list[str]:
    """Source classes of Table 5 that had too few positives to train on, and take no part in the highest score."""
    used = {code for codes in alignment.source.merged.values() for code in codes}
    return [name for name, usable in zip(alignment.source.classes, head.usable) if name in used and not usable]
