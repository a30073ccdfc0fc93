"""Linear probing (App. A.2.2): what a linear head is, all heads of a task trained together, and their scores.

A head is `torch.nn.Linear` with its default initial values, trained by AdamW on the mean binary cross-entropy over
batch and classes. Its initial values depend on (seed, fold) and its batches on (seed, fold, epoch) and the order of the
task's records (by record id), so it comes out the same whatever is trained beside it; arithmetic alone differs, by less
than 1e-5 in every weight from one head at a time under `torch.optim.AdamW`.

N records, D width, C classes, F folds, V variants, B batch, S steps per epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import torch

from merit.config import ProbeConfig, one_of
from merit.evaluate import bootstrap, metrics, thresholds
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

    def logits(self, features: np.ndarray, fold: int, variant: int) -> np.ndarray:
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


class BatchedHeads:
    """Heads of several folds and variants, trained by a handful of operations per step for all of them.

    features float32 [N, D], labels float32 [N, C]; splits by falling number of training records: a fold with fewer
    batches per epoch than others rests in their last steps, so those at work are always the first n.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        splits: list[Split],
        config: ProbeConfig,
        variants: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self.config, self.device, self.splits = config, device, splits
        n_folds, n_variants, size = len(splits), len(variants), config.batch_size
        self.n_batches = np.array([-(-len(s.train) // size) for s in splits])
        self.n_classes, self.width = labels.shape[1], features.shape[1]
        self.features = torch.from_numpy(features).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        raw = np.zeros(self.width, dtype=np.float32), np.ones(self.width, dtype=np.float32)
        pairs = [
            [standardisation(features[split.train]) if v == STANDARDISED else raw for v in variants] for split in splits
        ]
        self.offset, self.scale = (
            torch.from_numpy(np.array([[pair[k] for pair in own] for own in pairs])[:, :, None, :]).to(device)
            for k in (0, 1)
        )
        first = [initial_head(config.seed, s.fold, self.width, self.n_classes) for s in splits]
        self.weight = torch.stack(first)[:, None].repeat(1, n_variants, 1, 1).to(device)
        self.mean, self.square, self.gradient, self.update = (torch.zeros_like(self.weight) for _ in range(4))
        # The constant last column of the input meets the bias, so one product serves both.
        self.input = torch.ones(n_folds, n_variants, size, self.width + 1, device=device)
        self.logit = torch.zeros(n_folds, n_variants, size, self.n_classes, device=device)
        self.gathered = torch.zeros(n_folds * size, self.width, device=device)
        self.target = torch.zeros(n_folds * size, self.n_classes, device=device)
        # [S, F, 1, B, 1]: each row's share of the mean; 0 where a fold's last batch is filled up.
        shares = np.zeros((self.n_batches.max(), n_folds, size), dtype=np.float32)
        for f, split in enumerate(splits):
            rows = np.zeros(self.n_batches[f] * size)
            rows[: len(split.train)] = 1.0
            rows = rows.reshape(-1, size)
            shares[: len(rows), f] = rows / (rows.sum(axis=1, keepdims=True) * self.n_classes)
        self.row_weight = torch.from_numpy(shares[:, :, None, :, None]).to(device)
        self.at_work = [int((self.n_batches > s).sum()) for s in range(self.n_batches.max())]
        self.steps = {n: self._step_of_first(n) for n in set(self.at_work)}

    def run_epoch(self, epoch: int) -> None:
        """One pass of every head over its training folds."""
        # [S, F, B]: the records of every step, each fold in its own order; filled up with record 0.
        size, n_steps = self.config.batch_size, self.n_batches.max()
        rows = np.zeros((n_steps, len(self.splits), size), dtype=np.int64)
        for f, split in enumerate(self.splits):
            shuffled = split.train[epoch_order(self.config.seed, split.fold, epoch, len(split.train))]
            filled = np.zeros(self.n_batches[f] * size, dtype=np.int64)
            filled[: len(shuffled)] = shuffled
            rows[: self.n_batches[f], f] = filled.reshape(-1, size)
        rows = torch.from_numpy(rows).to(self.device)
        # AdamW's step size and epsilon with the bias corrections of each fold's own step, two [S, F, 1, 1, 1]:
        # lr / c1 * m / (sqrt(v) / c2 + eps) = (lr c2 / c1) * m / (sqrt(v) + eps c2), c1 = 1 - b1^t, c2 = sqrt(1 - b2^t)
        step = epoch * self.n_batches[None, :] + np.arange(1, n_steps + 1)[:, None]
        second = np.sqrt(1 - BETA2**step)
        length, epsilon = (
            torch.from_numpy(table.astype(np.float32)[:, :, None, None, None]).to(self.device)
            for table in (self.config.learning_rate * second / (1 - BETA1**step), EPSILON * second)
        )
        for s, n in enumerate(self.at_work):
            self.steps[n](rows[s, :n].view(-1), self.row_weight[s, :n], length[s, :n], epsilon[s, :n])

    def _step_of_first(self, n: int) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], None]:
        """One update of the first n folds. Buffers are cut once: slicing costs as much as arithmetic on such batches.

        The step takes rows int64 [n B], their shares of the mean, AdamW's step size and epsilon.
        """
        size, decay = self.config.batch_size, 1 - self.config.learning_rate * self.config.weight_decay
        features, labels, offset, scale = self.features, self.labels, self.offset[:n], self.scale[:n]
        gathered, target = self.gathered[: n * size], self.target[: n * size]
        gathered_by_fold = gathered.view(n, 1, size, self.width)
        target_by_fold = target.view(n, 1, size, self.n_classes)
        weight, gradient, logit = self.weight[:n], self.gradient[:n], self.logit[:n]
        mean, square, update = self.mean[:n], self.square[:n], self.update[:n]
        input_features, flat_input = self.input[:n, ..., : self.width], self.input[:n].flatten(0, 1)
        flat_logit, flat_gradient = logit.flatten(0, 1), gradient.flatten(0, 1)
        flat_weight_t, flat_logit_t = weight.flatten(0, 1).transpose(1, 2), flat_logit.transpose(1, 2)

        def step(rows: torch.Tensor, share: torch.Tensor, length: torch.Tensor, epsilon: torch.Tensor) -> None:
            # Gradient of the mean binary cross-entropy: (sigmoid(z) - y) times the input.
            torch.index_select(features, 0, rows, out=gathered)
            torch.sub(gathered_by_fold, offset, out=input_features)
            input_features.mul_(scale)
            torch.bmm(flat_input, flat_weight_t, out=flat_logit)
            torch.index_select(labels, 0, rows, out=target)
            logit.sigmoid_().sub_(target_by_fold).mul_(share)
            torch.bmm(flat_logit_t, flat_input, out=flat_gradient)
            # AdamW with decoupled decay (Loshchilov and Hutter 2019), in place.
            mean.lerp_(gradient, 1 - BETA1)
            square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            torch.sqrt(square, out=update).add_(epsilon)
            torch.div(mean, update, out=update).mul_(length)
            weight.mul_(decay).sub_(update)

        return step

    def heads(self, epoch: int) -> Heads:
        """A copy of the weights as they stand after an epoch (from 0)."""
        weight, offset, scale = (t.cpu().numpy().copy() for t in (self.weight, self.offset, self.scale))
        return Heads(weight, offset[:, :, 0], scale[:, :, 0], np.full(weight.shape[:2], epoch + 1))


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
    where = torch.device(device)
    targets = labels.astype(np.float32)
    n_threads = min(usable_cores() if where.type == "cpu" else 1, MAX_THREADS, len(splits))
    falling = sorted(range(len(splits)), key=lambda f: -len(splits[f].train))
    blocks = [falling[first::n_threads] for first in range(n_threads)]
    back = np.argsort(np.concatenate(blocks))

    def joined(epoch: int) -> Heads:
        """The heads of all threads as they stand, in the order of the splits."""
        parts = [heads.heads(epoch) for heads in batched]
        names = ("weight", "offset", "scale", "epoch")
        return Heads(*(np.concatenate([getattr(part, name) for part in parts])[back] for name in names))

    best, highest = None, None
    with one_thread_an_operation(), ThreadPoolExecutor(len(blocks)) as threads:
        batched = [
            BatchedHeads(features, targets, [splits[f] for f in block], config, variants, where) for block in blocks
        ]
        for epoch in range(config.epochs):
            list(threads.map(BatchedHeads.run_epoch, batched, repeat(epoch)))
            if after_epoch is None or (figure := after_epoch(now := joined(epoch))) is None:
                continue
            figure = np.nan_to_num(figure, nan=-np.inf)
            if best is None:
                best, highest = now, figure
                continue
            better = figure > highest
            weight = np.where(better[:, :, None, None], now.weight, best.weight)
            best = Heads(weight, now.offset, now.scale, np.where(better, now.epoch, best.epoch))
            highest = np.maximum(figure, highest)
    return joined(config.epochs - 1) if best is None else best


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
    scored = np.stack([scored_classes(task.labels, split, config.min_positives) for split in splits])  # [F, C]

    def validation_auroc(heads: Heads) -> np.ndarray:
        """What `best_validation` looks at: macro AUROC of each head on its validation fold, [F, V]."""
        figure = np.full(heads.epoch.shape, np.nan)
        for f, v in np.ndindex(figure.shape):
            rows = splits[f].validation
            values = metrics.auroc(task.labels[rows], heads.logits(features[rows], f, v))
            figure[f, v] = metrics.macro(values, scored[f])
        return figure

    after_epoch = validation_auroc if config.select == "best_validation" else None
    heads = train(features, task.labels, splits, config, variants=variants, device=device, after_epoch=after_epoch)
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
            _, threshold = thresholds.best_f1(task.labels[split.validation], validation)
            test, labels = heads.logits(features[split.test], f, v), task.labels[split.test]
            logits[split.test], record_scored[split.test] = test, scored[f]
            predicted[split.test] = decided = thresholds.predict(test, threshold)
            f1_oracle, accuracy_oracle = thresholds.oracle(labels, test)
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
            rows.append(
                {
                    "variant": variant,
                    "scored": "by fold",
                    "class": "macro",
                    "metric": name,
                    "value": float(np.mean(known)) if known else None,
                    "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
                    "folds": column,
                    **about,
                    "epochs": heads.epoch[:, v].tolist(),
                }
            )
        pooled = bootstrap.pool(
            task.labels,
            logits,
            predicted,
            record_scored,
            task.groups,
            n_resamples=config.n_resamples,
            seed=config.seed,
        )
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
