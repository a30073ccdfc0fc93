"""Linear probing (App. A.2.2): what a linear head is, all heads of a task trained together, and their scores, of all
recordings and within groups of people.

A head is `torch.nn.Linear` with its default initial values, trained by AdamW on the mean binary cross-entropy over
batch and classes. Its initial values depend on (seed, fold) and its batches on (seed, fold, epoch) and the order of the
task's records (by record id), so it comes out the same whatever is trained beside it; arithmetic alone differs, by less
than 1e-5 in every weight from one head at a time under `torch.optim.AdamW`.

N records, D width, C classes, F folds, V variants, B batch, S steps per epoch, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from merit import intervals
from merit.config import ProbeConfig, one_of
from merit.evaluate import metrics
from merit.evaluate.tasks import TEN_FOLDS, Split, TaskData, make_splits, scored_classes
from merit.parallel import MAX_THREADS, one_thread_an_operation, usable_cores

AS_PUBLISHED = "as_published"
"""Features as the encoder gives them."""
STANDARDISED = "standardised"
"""Each feature less its mean, divided by its standard deviation, both of the training folds."""
VARIANTS = (AS_PUBLISHED, STANDARDISED)
FOLD_METRICS = ("auroc", "average_precision", "f1", "f1_oracle", "accuracy", "accuracy_oracle")
CONSTANT = 1e-6
"""A feature whose sd is below this share of its mean is float32 noise around a constant: it is set to 0."""
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's other constants: torch's defaults."""


# -- a head: its scaling, its first values, the order of its batches --------------------------------------------------


@dataclass(frozen=True)
class Heads:
    """Trained heads, in the order of the splits they were trained on."""

    weight: np.ndarray
    """float32 [F, V, C, D + 1]; the last column is the bias."""
    offset: np.ndarray
    """float32 [F, V, D]: what is taken from each feature before it meets its weight."""
    scale: np.ndarray
    """float32 [F, V, D]: what it is then multiplied by."""
    epoch: np.ndarray
    """int [F, V]: the epoch the weights are of, from 1."""

    def logits(self, features: np.ndarray, fold: int = 0, variant: int = 0) -> np.ndarray:
        """float32 [n, C] for features [n, D], by the head at these two positions."""
        weight = self.weight[fold, variant]
        scaled = (features - self.offset[fold, variant]) * self.scale[fold, variant]
        return scaled @ weight[:, :-1].T + weight[:, -1]


def epoch_order(seed: int, fold: int, epoch: int, n_records: int) -> np.ndarray:
    """The order in which a fold's training records are met in an epoch (from 0); int [n_records]."""
    return np.random.default_rng([seed, fold, epoch]).permutation(n_records)


def initial_head(seed: int, fold: int, width: int, n_classes: int) -> torch.Tensor:
    """float32 [C, D + 1]: weight and bias of a fresh `torch.nn.Linear(width, n_classes)`, the bias last.

    Drawn as torch draws them, but from a generator of its own, so that no global random state is read or changed.
    """
    generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, fold]).integers(2**31)))
    weight, bias = torch.empty(n_classes, width), torch.empty(n_classes, 1)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    bias.uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
    return torch.cat([weight, bias], dim=1)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, 1 / sd) of each feature over the rows, float32 [D], summed in float64; 0 for 1 / sd of a constant."""
    mean, sd = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    varies = sd > CONSTANT * np.abs(mean)
    inverse = np.divide(1.0, sd, out=np.zeros_like(sd), where=varies)
    return mean.astype(np.float32), inverse.astype(np.float32)


# -- all heads as one batched problem: closed-form gradient and AdamW -------------------------------------------------


def train_block(
    features: np.ndarray,
    labels: np.ndarray,
    splits: list[Split],
    config: ProbeConfig,
    variants: tuple[str, ...],
    device: torch.device,
) -> Iterator[Heads]:
    """Heads of several folds and variants, trained by a handful of operations per step for all of them; yields a copy
    after every epoch.

    features float32 [N, D], labels float32 [N, C]; splits by falling number of training records: a fold with fewer
    batches per epoch than others rests in their last steps, so those at work are always the first n.
    """
    n_folds, size, width, n_classes = len(splits), config.batch_size, features.shape[1], labels.shape[1]
    n_batches = np.array([-(-len(split.train) // size) for split in splits])
    n_steps = int(n_batches.max())

    # -- scaling and first values
    raw = np.zeros(width, dtype=np.float32), np.ones(width, dtype=np.float32)
    pairs = [[standardisation(features[s.train]) if v == STANDARDISED else raw for v in variants] for s in splits]
    offset_of, scale_of = (np.array([[pair[k] for pair in own] for own in pairs]) for k in (0, 1))  # [F, V, D]
    offsets, scales = (torch.from_numpy(table[:, :, None]).to(device) for table in (offset_of, scale_of))
    first = [initial_head(config.seed, split.fold, width, n_classes) for split in splits]
    weights = torch.stack(first)[:, None].repeat(1, len(variants), 1, 1).to(device)

    # -- buffers; the constant last column of the input meets the bias, so one product serves both
    all_features, all_labels = torch.from_numpy(features).to(device), torch.from_numpy(labels).to(device)
    means, squares, gradients, updates = (torch.zeros_like(weights) for _ in range(4))
    inputs = torch.ones(n_folds, len(variants), size, width + 1, device=device)
    logits = torch.zeros(n_folds, len(variants), size, n_classes, device=device)
    all_gathered = torch.zeros(n_folds * size, width, device=device)
    all_targets = torch.zeros(n_folds * size, n_classes, device=device)
    # [S, F, 1, B, 1]: each row's share of the mean; 0 where a fold's last batch is filled up.
    shares = np.zeros((n_steps, n_folds, size), dtype=np.float32)
    for f, split in enumerate(splits):
        rows = np.zeros(n_batches[f] * size)
        rows[: len(split.train)] = 1.0
        rows = rows.reshape(-1, size)
        shares[: len(rows), f] = rows / (rows.sum(axis=1, keepdims=True) * n_classes)
    row_weight = torch.from_numpy(shares[:, :, None, :, None]).to(device)

    def step_of_first(n: int) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]:
        """One update of the first n folds. Buffers are cut once: slicing costs as much as arithmetic on such batches.

        The step takes rows int64 [n B], their shares of the mean, AdamW's step size and epsilon.
        """
        decay = 1 - config.learning_rate * config.weight_decay
        offset, scale, gathered, target = offsets[:n], scales[:n], all_gathered[: n * size], all_targets[: n * size]
        gathered_by_fold, target_by_fold = gathered.view(n, 1, size, width), target.view(n, 1, size, n_classes)
        weight, gradient, logit, mean = weights[:n], gradients[:n], logits[:n], means[:n]
        square, update = squares[:n], updates[:n]
        input_features, flat_input = inputs[:n, ..., :width], inputs[:n].flatten(0, 1)
        flat_logit, flat_gradient = logit.flatten(0, 1), gradient.flatten(0, 1)
        flat_weight_t, flat_logit_t = weight.flatten(0, 1).transpose(1, 2), flat_logit.transpose(1, 2)

        def step(rows: torch.Tensor, share: torch.Tensor, length: torch.Tensor, epsilon: torch.Tensor) -> None:
            # Gradient of the mean binary cross-entropy: (sigmoid(z) - y) times the input.
            torch.index_select(all_features, 0, rows, out=gathered)
            torch.sub(gathered_by_fold, offset, out=input_features)
            input_features.mul_(scale)
            torch.bmm(flat_input, flat_weight_t, out=flat_logit)
            torch.index_select(all_labels, 0, rows, out=target)
            logit.sigmoid_().sub_(target_by_fold).mul_(share)
            torch.bmm(flat_logit_t, flat_input, out=flat_gradient)
            # AdamW with decoupled decay (Loshchilov and Hutter 2019), in place.
            mean.lerp_(gradient, 1 - BETA1)
            square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            torch.sqrt(square, out=update).add_(epsilon)
            torch.div(mean, update, out=update).mul_(length)
            weight.mul_(decay).sub_(update)

        return step

    at_work = [int((n_batches > s).sum()) for s in range(n_steps)]
    steps = {n: step_of_first(n) for n in set(at_work)}
    for epoch in range(config.epochs):
        # [S, F, B]: the records of every step, each fold in its own order; filled up with record 0.
        order = np.zeros((n_steps, n_folds, size), dtype=np.int64)
        for f, split in enumerate(splits):
            filled = np.zeros(n_batches[f] * size, dtype=np.int64)
            filled[: len(split.train)] = split.train[epoch_order(config.seed, split.fold, epoch, len(split.train))]
            order[: n_batches[f], f] = filled.reshape(-1, size)
        rows = torch.from_numpy(order).to(device)
        # AdamW's step size and epsilon with the bias corrections of each fold's own step, two [S, F, 1, 1, 1]:
        # lr / c1 * m / (sqrt(v) / c2 + eps) = (lr c2 / c1) * m / (sqrt(v) + eps c2), c1 = 1 - b1^t, c2 = sqrt(1 - b2^t)
        t = epoch * n_batches[None, :] + np.arange(1, n_steps + 1)[:, None]
        second = np.sqrt(1 - BETA2**t)
        length, epsilon = (
            torch.from_numpy(table.astype(np.float32)[:, :, None, None, None]).to(device)
            for table in (config.learning_rate * second / (1 - BETA1**t), EPSILON * second)
        )
        for s, n in enumerate(at_work):
            steps[n](rows[s, :n].view(-1), row_weight[s, :n], length[s, :n], epsilon[s, :n])
        copied = weights.cpu().numpy().copy()
        yield Heads(copied, offset_of, scale_of, np.full(copied.shape[:2], epoch + 1))


def train(
    features: np.ndarray,
    labels: np.ndarray,
    splits: list[Split],
    config: ProbeConfig,
    *,
    variants: tuple[str, ...] = VARIANTS,
    device: str = "cpu",
    after_epoch: Callable[[Heads], np.ndarray | None] | None = None,
) -> Heads:
    """Train one head for each split and variant; features float32 [N, D], labels bool [N, C].

    after_epoch: is given the heads after each epoch; where it returns a figure [F, V], each head returns in the end to
    the epoch where its own was highest (the first of equals). Without it, the last epoch stands. The weights do not
    depend on the number of threads.
    """
    where, targets = torch.device(device), labels.astype(np.float32)
    n_threads = min(usable_cores() if where.type == "cpu" else 1, MAX_THREADS, len(splits))
    falling = sorted(range(len(splits)), key=lambda f: -len(splits[f].train))
    owned = [falling[first::n_threads] for first in range(n_threads)]
    back = np.argsort(np.concatenate(owned))
    blocks = [train_block(features, targets, [splits[f] for f in own], config, variants, where) for own in owned]
    best, highest = None, None
    with one_thread_an_operation(), ThreadPoolExecutor(n_threads) as threads:
        for _ in range(config.epochs):
            # The heads of all threads as they stand, in the order of the splits.
            parts = [vars(heads).values() for heads in threads.map(next, blocks)]
            now = Heads(*(np.concatenate(arrays)[back] for arrays in zip(*parts)))
            figure = None if after_epoch is None else after_epoch(now)
            if figure is None:
                continue
            figure = np.nan_to_num(figure, nan=-np.inf)
            better = np.ones(figure.shape, dtype=bool) if best is None else figure > highest
            best = now if best is None else best
            weight = np.where(better[:, :, None, None], now.weight, best.weight)
            best = Heads(weight, now.offset, now.scale, np.where(better, now.epoch, best.epoch))
            highest = figure if highest is None else np.maximum(figure, highest)
    return now if best is None else best


# -- scores -----------------------------------------------------------------------------------------------------------


def checked_features(features: np.ndarray, n_records: int) -> np.ndarray:
    """Features as contiguous float32 [N, D]; ValueError, with count and first row, for what cannot be probed."""
    features = np.ascontiguousarray(features, dtype=np.float32)
    if features.ndim != 2 or len(features) != n_records:
        raise ValueError(
            f"features: expected one row for each of the task's {n_records} records (embeddings[task.rows]); "
            f"got shape {features.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise ValueError(
            f"features: expected finite values; got {len(bad)} of {n_records} rows that are not, the first is row "
            f"{bad[0]}: look at the encoder's output for that recording"
        )
    return features


def validation_auroc(
    features: np.ndarray, labels: np.ndarray, splits: Sequence[Split], counted: Sequence[np.ndarray]
) -> Callable[[Heads], np.ndarray]:
    """What `select="best_validation"` looks at after an epoch: macro AUROC [F, V] of each head on its validation fold.

    counted: for each split the classes, bool [C], that the mean is over; NaN where there is none.
    """

    def choose(heads: Heads) -> np.ndarray:
        """The figure of heads as they stand."""
        figure = np.full(heads.epoch.shape, np.nan)
        for f, v in np.ndindex(figure.shape):
            rows = splits[f].validation
            figure[f, v] = metrics.macro(metrics.auroc(labels[rows], heads.logits(features[rows], f, v)), counted[f])
        return figure

    return choose


def probe(
    features: np.ndarray,
    task: TaskData,
    config: ProbeConfig,
    *,
    variants: tuple[str, ...] = VARIANTS,
    protocol: str = TEN_FOLDS,
    device: str = "cpu",
) -> pd.DataFrame:
    """Scores of linear probing by variant, metric, class and `scored`, as fractions.

    `by fold`: mean over test folds of the macro average (value, sd, `folds`: one value per fold, None where a fold
    scores no class), and what was scored: `classes`, per fold `test_folds`, `n_test`, `unscored` classes and `epochs`;
    test_share: n_test / n_train, 0 for a single split. `pooled`: the out-of-fold predictions of all folds together,
    each record scored once, with the interval from random halves of the patients (`draws`), then class by class.

    features: float32 [N, D], one row for each record of the task (`embeddings[task.rows]`). Raises ValueError for
    features that do not fit or are not finite, NotEnoughData where the protocol cannot be run. The scores depend on the
    arguments alone: no global random state is read or left changed.
    """
    features = checked_features(features, len(task.rows))
    for variant in variants:
        one_of("variant", variant, VARIANTS)
    splits = make_splits(task.folds, protocol, config.folds)
    scored = scored_classes(task.labels, splits, config.min_positives)
    choose = validation_auroc(features, task.labels, splits, scored) if config.select == "best_validation" else None
    heads = train(features, task.labels, splits, config, variants=variants, device=device, after_epoch=choose)
    sizes = [len(split.test) for split in splits]
    training = [len(task.rows) - size - after for size, after in zip(sizes, sizes[1:] + sizes[:1])]
    test_share = float(np.mean([size / rest for size, rest in zip(sizes, training)])) if len(sizes) > 1 else 0.0
    about = {
        "n": len(task.rows),
        "n_patients": len(np.unique(task.patients)),
        "n_classes": len(task.classes),
        "n_left_out": task.n_left_out,
        "protocol": protocol,
        "test_share": test_share,
        "test_folds": [split.fold for split in splits],
        "n_test": sizes,
        "classes": list(task.classes),
        "unscored": [[name for name, yes in zip(task.classes, row) if not yes] for row in scored],
    }
    rows: list[dict[str, Any]] = []
    for v, variant in enumerate(variants):
        # Each test fold under its own head, with thresholds from its own validation fold.
        logits = np.zeros(task.labels.shape, dtype=np.float32)
        predicted, record_scored = np.zeros_like(task.labels), np.zeros_like(task.labels)
        folds: dict[str, list[float | None]] = {name: [] for name in FOLD_METRICS}
        for f, split in enumerate(splits):
            validation = heads.logits(features[split.validation], f, v)
            _, threshold = metrics.best_f1(task.labels[split.validation], validation)
            test, labels = heads.logits(features[split.test], f, v), task.labels[split.test]
            logits[split.test], record_scored[split.test] = test, scored[f]
            predicted[split.test] = decided = test >= threshold
            f1_oracle, accuracy_oracle = metrics.oracle(labels, test)
            values = {
                "auroc": metrics.auroc(labels, test),
                "average_precision": metrics.average_precision(labels, test),
                "f1": metrics.f1(labels, decided),
                "f1_oracle": f1_oracle,
                "accuracy": metrics.accuracy(labels, decided),
                "accuracy_oracle": accuracy_oracle,
            }
            for name, by_class in values.items():
                folds[name].append(metrics.number(metrics.macro(by_class, scored[f])))
        for name, column in folds.items():
            known = [value for value in column if value is not None]
            mean, sd = (
                float(np.mean(known)) if known else None,
                float(np.std(known, ddof=1)) if len(known) > 1 else None,
            )
            front = {"variant": variant, "scored": "by fold", "class": "macro", "metric": name, "value": mean, "sd": sd}
            rows.append({**front, "folds": column, **about, "epochs": heads.epoch[:, v].tolist()})
        resampled = {"n_resamples": config.n_resamples, "seed": config.seed}
        pooled = intervals.pool(task.labels, logits, record_scored, task.groups, predicted=predicted, **resampled)
        front = {"variant": variant, "scored": "pooled"}
        for name in pooled.macro:
            draws = [metrics.number(value) for value in pooled.resamples[name]]
            rows.append({**front, "class": "macro", "metric": name, **pooled.triple(name), "draws": draws})
        for c, label in enumerate(task.classes):
            counts = {"n_positive": int(task.labels[:, c].sum()), "n_folds": int(scored[:, c].sum())}
            for name in ("auroc", "average_precision"):
                value = metrics.number(pooled.per_class[name][c])
                rows.append({**front, "class": label, "metric": name, "value": value, **counts})
    return pd.DataFrame(rows)


# -- within groups of people: by sex and by age, over the classes that every group can score --------------------------
#
# Two groups are compared only on classes that each of them has in sufficient number, so that the same mean is compared.
# The logits are out of fold, as above. One draw of patients serves all groups of an attribute, so a difference of two
# groups has its interval from paired resamples.

UNKNOWN = "unknown"
ATTRIBUTES = {"sex": ("female", "male"), "age": ("under 40", "40 to 64", "65 to 79", "80 and over")}
"""Attribute -> its groups. PTB-XL writes an age of 300 for everybody above 89, which stores hold as 90: they are in
the last group and not unknown."""
AGE_EDGES = (40, 65, 80)
"""Years below which the first three groups of age end."""


def members(records: pd.DataFrame) -> dict[str, np.ndarray]:
    """Attribute -> str [N], the group of each record of a table with sex and age (years); unknown for whatever else."""
    sex, years = records["sex"], records["age"].to_numpy(dtype=float, na_value=np.nan)
    ages = np.array(ATTRIBUTES["age"], dtype=object)[np.digitize(np.nan_to_num(years), AGE_EDGES)]
    return {
        "sex": sex.where(sex.isin(ATTRIBUTES["sex"]), UNKNOWN).to_numpy(dtype=object),
        "age": np.where(np.isnan(years), UNKNOWN, ages),
    }


def out_of_fold(
    features: np.ndarray, task: TaskData, config: ProbeConfig, *, variant: str, protocol: str, device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """(logits float32 [N, C], scored bool [N, C]) of linear probing, each record by the head that did not train on it.

    The heads are those of the last epoch. scored: the record lies in a test fold that scores the class; elsewhere its
    logit is 0 and means nothing.
    """
    features = checked_features(features, len(task.rows))
    splits = make_splits(task.folds, protocol, config.folds)
    heads = train(features, task.labels, splits, config, variants=(variant,), device=device)
    logits, scored = np.zeros(task.labels.shape, dtype=np.float32), np.zeros_like(task.labels)
    for f, (split, classes) in enumerate(zip(splits, scored_classes(task.labels, splits, config.min_positives))):
        logits[split.test], scored[split.test] = heads.logits(features[split.test], f), classes
    return logits, scored


def compare_groups(
    task: TaskData,
    logits: np.ndarray,
    scored: np.ndarray,
    member: np.ndarray,
    names: Sequence[str],
    config: ProbeConfig,
    min_records: int,
    min_positives: int,
) -> pd.DataFrame:
    """The groups of one attribute: one row per group and class, macro AUROC over `classes` in that of class "macro".

    member: str [N], the group of each record. names: those to compare, in order; records of others (unknown) are
    counted and not scored. min_records: what a group needs to be compared; min_positives: what every compared group
    needs of a class, with it and without it, for the class to count. `scored` is "level", or "difference" for what a
    group has less the one `against` which it is held, the compared group with most recordings. A class that some
    compared group has too seldom has a reason in all of them; a macro row has one where fewer than two groups, or no
    class, can be compared.
    """
    tested = scored.any(axis=1)
    rows_of = {name: tested & (member == name) for name in (*names, UNKNOWN)}
    able = [name for name in names if rows_of[name].sum() >= min_records]
    positives = {name: (task.labels & scored)[rows].sum(axis=0) for name, rows in rows_of.items()}
    negatives = {name: scored[rows].sum(axis=0) - positives[name] for name, rows in rows_of.items()}
    why: dict[str, str] = {}
    for c, code in enumerate(task.classes):
        sides = (("positive", positives), ("negative", negatives))
        counts = [(name, kind, int(number[name][c])) for name in able for kind, number in sides]
        if few := [f"{name}: {n} {kind}{'s' * (n != 1)}" for name, kind, n in counts if n < min_positives]:
            why[code] = ", ".join(few) if any(n for _, _, n in counts) else "no fold scores it"
    classes = [code for code in task.classes if code not in why]
    reason = None
    if len(able) < 2:
        reason = f"fewer than two groups have {min_records} scored recordings"
    elif not classes:
        reason = f"no class has {min_positives} scored recordings with it and without it in each of {', '.join(able)}"
    counted = scored & np.isin(np.array(task.classes, dtype=object), classes)
    resampled = {"n_resamples": config.n_resamples, "seed": config.seed}
    pooled = {  # all patients are drawn, so that resamples of two groups are of the same draw
        name: intervals.pool(task.labels, logits, counted & (member == name)[:, None], task.groups, **resampled)
        for name in (able if reason is None else ())
    }
    against = max(able, key=lambda name: rows_of[name].sum()) if pooled else None
    result: list[dict[str, Any]] = []
    for name, rows in rows_of.items():
        about = {"group": name, "scored": "level", "compared": name in able}
        patients = len(np.unique(task.patients[rows]))
        every = {**about, "class": "macro", "n": int(rows.sum()), "n_patients": patients, "classes": classes}
        result.append({**every, **(pooled[name].triple() if name in pooled else {"reason": reason})})
        for c, code in enumerate(task.classes):
            counts = {"n_positive": int(positives[name][c]), "n_negative": int(negatives[name][c])}
            value = metrics.number(pooled[name].per_class["auroc"][c]) if name in pooled else None
            result.append({**about, "class": code, **counts, "value": value, "reason": why.get(code)})
        if name in pooled and name != against:
            difference = pooled[name].minus(pooled[against])
            result.append({**every, "scored": "difference", "against": against, **difference})
    return pd.DataFrame(result).assign(metric="auroc")
