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
import pandas as pd

from merit.config import ProbeConfig
from merit.evaluate import bootstrap, metrics, probing
from merit.evaluate.label_alignment import Alignment
from merit.evaluate.probing import Heads, checked_features
from merit.evaluate.tasks import NotEnoughData, Split, TaskData


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
    heads = probing.train(features, labels, [split], config, variants=(variant,), device=device, after_epoch=choose)
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
) -> pd.DataFrame:
    """Scores of one direction: macro AUROC on the whole target with its interval, by class, and in domain.

    head, own: of the source and of the target (None where it has too little to train one). `scored` says on what:
    `target`: all of it, and every evaluation class beside the macro average; `with a class`: without the records that
    have no evaluation class, the other reading of "the full target"; then on test parts alone, over one set of classes:
    `home`: the source's head at home; `own`: the target's own head there; `transferred`: the source's head there;
    `cost`: own minus transferred, paired. Raises NotEnoughData where no evaluation class can be scored.
    """
    chosen, task, least = np.flatnonzero(target.scored), target.task, config.min_positives
    labels = alignment.target.any_of(task.labels[chosen])
    scores, reached = alignment.source.highest(head.logits(target.features[chosen]), head.usable)
    enough = countable(labels, least)
    unscored = _unscored(alignment, reached, enough, labels, least)
    if not (reached & enough).any():
        reasons = "; ".join(f"{name}: {why}" for name, why in unscored.items())
        raise NotEnoughData(f"{alignment.source.space} to {alignment.target.space}: no class can be scored ({reasons})")
    pooled = bootstrap.pool_ranks(labels, scores, reached & enough, task.groups[chosen], config)
    used = {code for codes in alignment.source.merged.values() for code in codes}
    with_class = labels.any(axis=1)
    rows = [
        {
            "scored": "target", "class": "macro", **pooled.triple(), "draws": pooled.resamples["auroc"],
            "n": len(chosen), "n_patients": len(np.unique(task.patients[chosen])),
            "n_without_class": int((~with_class).sum()), "n_classes": int((reached & enough).sum()),
            "classes": list(alignment.classes), "epoch": int(head.heads.epoch[0, 0]),
            "not_learnt": [n for n, yes in zip(alignment.source.classes, head.usable) if n in used and not yes],
            "dropped_source": list(alignment.source.dropped), "dropped_target": list(alignment.target.dropped),
        }
    ]  # fmt: skip
    for k, name in enumerate(alignment.classes):
        value, n_positive = metrics.number(pooled.per_class["auroc"][k]), int(labels[:, k].sum())
        rows.append({"scored": "target", "class": name, "value": value, "n_positive": n_positive})
        rows[-1] |= {"reason": unscored[name]} if name in unscored else {}
    counted = reached & countable(labels[with_class], least)
    if counted.any():
        part = bootstrap.pool_ranks(
            labels[with_class], scores[with_class], counted, task.groups[chosen][with_class], config
        )
        found = {**part.triple(), "n": int(with_class.sum()), "n_classes": int(counted.sum())}
    else:
        found = {"reason": "no class can be scored"}
    rows.append({"scored": "with a class", "class": "macro", **found})
    rows += in_domain(source, head, target, own, alignment, config)
    return pd.DataFrame(rows).assign(metric="auroc")


def in_domain(
    source: Domain, head: Head, target: Domain, own: Head | None, alignment: Alignment, config: ProbeConfig
) -> list[dict[str, Any]]:
    """Rows of what a transfer is held against, all over the same classes (`transfer`); or the reason for none."""
    if own is None or source.split is None or target.split is None:
        why = f"{alignment.target.space} has too few recordings to train a head of its own"
        return [{"scored": "own", "class": "macro", "reason": why}]
    home = alignment.source.any_of(source.task.labels[source.split.test])
    away = alignment.target.any_of(target.task.labels[target.split.test])
    there = target.features[target.split.test]
    at_home, reached = alignment.source.highest(head.logits(source.features[source.split.test]), head.usable)
    transferred, _ = alignment.source.highest(head.logits(there), head.usable)
    at_target, reached_own = alignment.target.highest(own.logits(there), own.usable)
    scored = reached & reached_own & countable(home, config.min_positives) & countable(away, config.min_positives)
    if not scored.any():
        why = f"no class has {config.min_positives} positives and negatives in both test parts"
        return [{"scored": "own", "class": "macro", "reason": why}]
    groups = target.task.groups[target.split.test]
    moved, trained_there = (
        bootstrap.pool_ranks(away, scores, scored, groups, config) for scores in (transferred, at_target)
    )
    stayed = bootstrap.pool_ranks(home, at_home, scored, source.task.groups[source.split.test], config)
    about = {"class": "macro", "classes": [name for name, yes in zip(alignment.classes, scored) if yes]}
    return [
        {"scored": "home", **about, **stayed.triple(), "n": len(home)},
        {"scored": "own", **about, **trained_there.triple(), "n": len(away)},
        {"scored": "transferred", **about, **moved.triple(), "n": len(away)},
        {"scored": "cost", **about, **bootstrap.paired(trained_there, moved), "n": len(away)},
    ]


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
