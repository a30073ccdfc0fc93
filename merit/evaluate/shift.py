"""Transfer without adaptation: a linear head of one data set scored on another, over the classes they share (Table 7).

A head is trained on all classes of its own data set; Table 5 merges what it says and what the other publisher wrote.
The whole target is scored, records without any shared class among them: they are negatives throughout. Beside it stand
the numbers that a transfer is held against, on test parts only: the same head at home, and the target's own head.

N records, D width, C classes of a data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from merit import intervals
from merit.config import ProbeConfig
from merit.evaluate import metrics, probing
from merit.evaluate.probing import Heads, checked_features
from merit.evaluate.tasks import Alignment, NotEnoughData, Split, TaskData, countable


@dataclass(frozen=True)
class Domain:
    """A data set as both source and target."""

    task: TaskData
    features: np.ndarray
    """float32 [N, D], a row for each record of the task."""
    scored: np.ndarray
    """bool [N]: what may be scored when it is the target; all, or what was not seen in pretraining."""
    split: Split | None
    """Training, validation and test part; None where one of them is empty."""
    head: tuple[Heads, np.ndarray] | NotEnoughData
    """What `train_head` gives, or why it gives none."""


def train_head(
    task: TaskData, features: np.ndarray, split: Split | None, config: ProbeConfig, variant: str, device: str = "cpu"
) -> tuple[Heads, np.ndarray]:
    """A head on the training part, of the last epoch or the one with the best macro AUROC on the validation part; and
    the classes, bool [C], that it could learn: those with `config.min_positives` positives and negatives there.

    The validation part counts the classes that have `config.min_positives` positives and negatives in it and in the
    training part. Raises NotEnoughData where the training part has no such class, or a part is empty.
    """
    if split is None:
        raise NotEnoughData(f"{task.task}: no head, since training, validation or test part is empty")
    usable = countable(task.labels[split.train], config.min_positives)
    if not usable.any():
        raise NotEnoughData(
            f"{task.task}: no class has {config.min_positives} positives and negatives among the "
            f"{len(split.train)} training recordings"
        )
    features, labels, choose = checked_features(features, len(task.labels)), task.labels, None
    if config.select == "best_validation":
        counted = usable & countable(labels[split.validation], config.min_positives)
        choose = probing.validation_auroc(features, labels, [split], [counted])
    heads = probing.train(features, labels, [split], config, variants=(variant,), device=device, after_epoch=choose)
    return heads, usable


def transfer(source: Domain, target: Domain, alignment: Alignment, config: ProbeConfig) -> pd.DataFrame:
    """Scores of one direction: macro AUROC on the whole target with its interval, by class, and in domain.

    The source has a head. `scored` says on what: `target`: all of it, and every evaluation class beside the macro
    average; `with a class`: without the records that have no evaluation class, the other reading of "the full target";
    then on test parts alone, over one set of classes, or the reason for none: `home`: the source's head at home; `own`:
    the target's own head there; `transferred`: the source's head there; `cost`: own minus transferred, paired. Raises
    NotEnoughData where no evaluation class can be scored.
    """
    (head, usable), task, least = source.head, target.task, config.min_positives
    names, (here, there) = list(alignment.source.merged), (alignment.source.space, alignment.target.space)
    resampled = {"n_resamples": config.n_resamples, "seed": config.seed}

    # -- the whole target
    chosen = np.flatnonzero(target.scored)
    labels, groups = alignment.target.any_of(task.labels[chosen]), task.groups[chosen]
    scores, reached = alignment.source.highest(head.logits(target.features[chosen]), usable)
    counted = reached & countable(labels, least)
    positives = labels.sum(axis=0).tolist()
    unscored: dict[str, str] = {}
    for name, learnt, enough, n in zip(names, reached, counted, positives):
        if not learnt:
            unscored[name] = f"fewer than {least} positives or negatives to train on in {here}"
        elif not enough:
            unscored[name] = f"{n} positives, {len(labels) - n} negatives in {there}"
    if not counted.any():
        reasons = "; ".join(f"{name}: {why}" for name, why in unscored.items())
        raise NotEnoughData(f"{here} to {there}: no class can be scored ({reasons})")
    pooled = intervals.pool(labels, scores, counted, groups, **resampled)
    used = {code for codes in alignment.source.merged.values() for code in codes}
    with_class = labels.any(axis=1)
    rows: list[dict[str, Any]] = [
        {
            "scored": "target", "class": "macro", **pooled.triple(), "draws": pooled.resamples["auroc"],
            "n": len(chosen), "n_patients": len(np.unique(task.patients[chosen])),
            "n_without_class": int((~with_class).sum()), "n_classes": int(counted.sum()),
            "classes": names, "epoch": int(head.epoch[0, 0]),
            "not_learnt": [n for n, yes in zip(source.task.classes, usable) if n in used and not yes],
            "dropped_source": alignment.source.dropped, "dropped_target": alignment.target.dropped,
        }
    ]  # fmt: skip
    for name, value, n in zip(names, pooled.per_class["auroc"], positives):
        rows.append({"scored": "target", "class": name, "value": metrics.number(value), "n_positive": n})
        rows[-1] |= {"reason": unscored[name]} if name in unscored else {}

    # -- without the records that have no evaluation class
    counted = reached & countable(labels[with_class], least)
    result: dict[str, Any] = {"reason": "no class can be scored"}
    if counted.any():
        part = intervals.pool(labels[with_class], scores[with_class], counted, groups[with_class], **resampled)
        result = {**part.triple(), "n": int(with_class.sum()), "n_classes": int(counted.sum())}
    rows.append({"scored": "with a class", "class": "macro", **result})

    # -- what a transfer is held against, on test parts, all over the same classes
    if isinstance(target.head, NotEnoughData):
        why = f"{there} has too few recordings to train a head of its own"
        rows.append({"scored": "own", "class": "macro", "reason": why})
        return pd.DataFrame(rows).assign(metric="auroc")
    (own, usable_own), at_home, away = target.head, source.split.test, target.split.test
    truth_home = alignment.source.any_of(source.task.labels[at_home])
    truth_away = alignment.target.any_of(task.labels[away])
    home_scores, reached = alignment.source.highest(head.logits(source.features[at_home]), usable)
    moved_scores, _ = alignment.source.highest(head.logits(target.features[away]), usable)
    own_scores, reached_own = alignment.target.highest(own.logits(target.features[away]), usable_own)
    counted = reached & reached_own & countable(truth_home, least) & countable(truth_away, least)
    if not counted.any():
        why = f"no class has {least} positives and negatives in both test parts"
        rows.append({"scored": "own", "class": "macro", "reason": why})
        return pd.DataFrame(rows).assign(metric="auroc")
    moved, trained_there = (
        intervals.pool(truth_away, scores, counted, task.groups[away], **resampled)
        for scores in (moved_scores, own_scores)
    )
    stayed = intervals.pool(truth_home, home_scores, counted, source.task.groups[at_home], **resampled)
    about = {"class": "macro", "classes": [name for name, yes in zip(names, counted) if yes]}
    rows += [
        {"scored": "home", **about, **stayed.triple(), "n": len(at_home)},
        {"scored": "own", **about, **trained_there.triple(), "n": len(away)},
        {"scored": "transferred", **about, **moved.triple(), "n": len(away)},
        {"scored": "cost", **about, **trained_there.minus(moved), "n": len(away)},
    ]
    return pd.DataFrame(rows).assign(metric="auroc")
