"""Linear heads on frozen features, those of all folds and both variants trained together (App. A.2.2).

Each head is `torch.nn.Linear` with its default initial values, trained by AdamW on the mean binary cross-entropy over
batch and classes. A head's initial values depend on (seed, fold) and its batches on (seed, fold, epoch) and the order
of the task's records (by record id), so it comes out the same whatever is trained beside it; arithmetic alone differs,
by less than 1e-5 in every weight from one head at a time under `torch.optim.AdamW`.

N records, D width, C classes, F folds, V variants, B batch, S steps an epoch. A fold with fewer batches an epoch than
others rests in their last steps, so folds are ordered by falling size and those at work are always the first A.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from merit.evaluate.settings import ProbeConfig
from merit.evaluate.splits import Split

AS_PUBLISHED = "as_published"
"""Features as the encoder gives them."""
STANDARDISED = "standardised"
"""Each feature less its mean, divided by its standard deviation, both of the training folds."""
VARIANTS = (AS_PUBLISHED, STANDARDISED)

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's other constants: torch's defaults."""
CONSTANT = 1e-6
"""A feature whose sd is below this share of its mean is float32 noise around a constant: it is set to 0."""


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


def train(
    features: np.ndarray,
    labels: np.ndarray,
    splits: list[Split],
    config: ProbeConfig,
    *,
    variants: tuple[str, ...] = VARIANTS,
    device: str = "cpu",
    choose: Callable[[Heads], np.ndarray] | None = None,
) -> Heads:
    """Train one head for each split and variant; features float32 [N, D], labels bool [N, C].

    choose: gives, from the heads after an epoch, a figure [F, V]; each head then returns to the epoch where its own was
    highest (the first of equals). Without it, the last epoch stands.
    """
    batched = _Batched(features, labels, splits, config, variants, torch.device(device))
    best = None
    for epoch in range(config.epochs):
        batched.run_epoch(epoch)
        if choose is not None:
            best = _keep_better(best, batched.heads(epoch), choose)
    return batched.heads(config.epochs - 1) if best is None else best[0]


def _keep_better(
    best: tuple[Heads, np.ndarray] | None, now: Heads, choose: Callable[[Heads], np.ndarray]
) -> tuple[Heads, np.ndarray]:
    """For each head the better of its best so far and now, with the figure that says so."""
    figure = np.nan_to_num(choose(now), nan=-np.inf)
    if best is None:
        return now, figure
    before, highest = best
    better = figure > highest
    return Heads(
        np.where(better[:, :, None, None], now.weight, before.weight),
        now.offset,
        now.scale,
        np.where(better, now.epoch, before.epoch),
    ), np.maximum(figure, highest)


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


def _scaling(features: np.ndarray, split: Split, variants: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(offset, scale) [V, D] that turn raw features into those of each variant."""
    width = features.shape[1]
    raw = np.zeros(width, dtype=np.float32), np.ones(width, dtype=np.float32)
    pairs = [standardisation(features[split.train]) if v == STANDARDISED else raw for v in variants]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


class _Batched:
    """All heads as one problem: what stays (features, labels), what is trained, and the buffers of a step."""

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        splits: list[Split],
        config: ProbeConfig,
        variants: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self.config, self.device = config, device
        self.order = sorted(range(len(splits)), key=lambda f: -len(splits[f].train))
        self.splits = [splits[f] for f in self.order]
        self.n_batches = np.array([-(-len(s.train) // config.batch_size) for s in self.splits])
        self.n_classes, self.width = labels.shape[1], features.shape[1]
        self.features = torch.from_numpy(features).to(device)
        self.labels = torch.from_numpy(labels.astype(np.float32)).to(device)
        scaling = [_scaling(features, split, variants) for split in self.splits]
        self.offset, self.scale = (torch.from_numpy(np.stack(part)[:, :, None, :]).to(device) for part in zip(*scaling))
        first = [initial_head(config.seed, s.fold, self.width, self.n_classes) for s in self.splits]
        self.weight = torch.stack(first)[:, None].repeat(1, len(variants), 1, 1).to(device)
        self.mean, self.square, self.gradient, self.update = (torch.zeros_like(self.weight) for _ in range(4))
        # The constant last column of the input meets the bias, so one product serves both.
        self.input = torch.ones(len(splits), len(variants), config.batch_size, self.width + 1, device=device)
        self.logit = torch.zeros(len(splits), len(variants), config.batch_size, self.n_classes, device=device)
        self.gathered = torch.zeros(len(splits) * config.batch_size, self.width, device=device)
        self.target = torch.zeros(len(splits) * config.batch_size, self.n_classes, device=device)
        self.row_weight = torch.from_numpy(self._row_weights()).to(device)
        at_work = [int((self.n_batches > s).sum()) for s in range(self.n_batches.max())]
        views = {a: _Views(self, a) for a in set(at_work)}
        self.steps = [views[a] for a in at_work]

    def _row_weights(self) -> np.ndarray:
        """float32 [S, F, 1, B, 1]: each row's share of the mean; 0 where a fold's last batch is filled up."""
        size = self.config.batch_size
        weights = np.zeros((self.n_batches.max(), len(self.splits), size), dtype=np.float32)
        for f, split in enumerate(self.splits):
            rows = np.zeros(self.n_batches[f] * size)
            rows[: len(split.train)] = 1.0
            rows = rows.reshape(-1, size)
            weights[: len(rows), f] = rows / (rows.sum(axis=1, keepdims=True) * self.n_classes)
        return weights[:, :, None, :, None]

    def _rows(self, epoch: int) -> torch.Tensor:
        """int64 [S, F, B]: the records of every step, each fold in its own order; filled up with record 0."""
        size = self.config.batch_size
        rows = np.zeros((self.n_batches.max(), len(self.splits), size), dtype=np.int64)
        for f, split in enumerate(self.splits):
            shuffled = split.train[epoch_order(self.config.seed, split.fold, epoch, len(split.train))]
            filled = np.zeros(self.n_batches[f] * size, dtype=np.int64)
            filled[: len(shuffled)] = shuffled
            rows[: self.n_batches[f], f] = filled.reshape(-1, size)
        return torch.from_numpy(rows).to(self.device)

    def _corrections(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Two float32 [S, F, 1, 1, 1]: AdamW's step size and epsilon with the bias corrections of each fold's own step.

        lr / c1 * m / (sqrt(v) / c2 + eps) = (lr c2 / c1) * m / (sqrt(v) + eps c2), c1 = 1 - b1^t, c2 = sqrt(1 - b2^t).
        """
        step = epoch * self.n_batches[None, :] + np.arange(1, self.n_batches.max() + 1)[:, None]
        second = np.sqrt(1 - BETA2**step)
        size = self.config.learning_rate * second / (1 - BETA1**step)
        return tuple(
            torch.from_numpy(table.astype(np.float32)[:, :, None, None, None]).to(self.device)
            for table in (size, EPSILON * second)
        )

    def run_epoch(self, epoch: int) -> None:
        """One pass of every head over its training folds."""
        rows = self._rows(epoch)
        size, epsilon = self._corrections(epoch)
        decay = 1 - self.config.learning_rate * self.config.weight_decay
        for s, views in enumerate(self.steps):
            a = views.n
            views.gradient_of(rows[s, :a].view(-1), self.row_weight[s, :a])
            views.adamw(size[s, :a], epsilon[s, :a], decay)

    def heads(self, epoch: int) -> Heads:
        """The weights as they stand, in the order of the splits that came in."""
        back = np.argsort(self.order)
        weight, offset, scale = (t.cpu().numpy()[back] for t in (self.weight, self.offset, self.scale))
        return Heads(weight, offset[:, :, 0], scale[:, :, 0], np.full(weight.shape[:2], epoch + 1))


class _Views:
    """The first n folds of every buffer, cut once: slicing costs as much as arithmetic on batches this small."""

    def __init__(self, whole: _Batched, n: int) -> None:
        self.n = n
        self.features, self.labels = whole.features, whole.labels
        size, width, n_classes = whole.config.batch_size, whole.width, whole.n_classes
        self.gathered, self.target = whole.gathered[: n * size], whole.target[: n * size]
        self.gathered_by_fold = self.gathered.view(n, 1, size, width)
        self.target_by_fold = self.target.view(n, 1, size, n_classes)
        self.offset, self.scale = whole.offset[:n], whole.scale[:n]
        self.logit = whole.logit[:n]
        self.input_features = whole.input[:n, ..., :width]
        self.flat_input = whole.input[:n].flatten(0, 1)
        self.flat_logit = self.logit.flatten(0, 1)
        self.weight, self.gradient = whole.weight[:n], whole.gradient[:n]
        self.flat_weight_t = self.weight.flatten(0, 1).transpose(1, 2)
        self.flat_logit_t = self.flat_logit.transpose(1, 2)
        self.flat_gradient = self.gradient.flatten(0, 1)
        self.mean, self.square, self.update = whole.mean[:n], whole.square[:n], whole.update[:n]

    def gradient_of(self, rows: torch.Tensor, row_weight: torch.Tensor) -> None:
        """Gradient of the mean binary cross-entropy: (sigmoid(z) - y) times the input, in closed form."""
        torch.index_select(self.features, 0, rows, out=self.gathered)
        torch.sub(self.gathered_by_fold, self.offset, out=self.input_features)
        self.input_features.mul_(self.scale)
        torch.bmm(self.flat_input, self.flat_weight_t, out=self.flat_logit)
        torch.index_select(self.labels, 0, rows, out=self.target)
        self.logit.sigmoid_().sub_(self.target_by_fold).mul_(row_weight)
        torch.bmm(self.flat_logit_t, self.flat_input, out=self.flat_gradient)

    def adamw(self, size: torch.Tensor, epsilon: torch.Tensor, decay: float) -> None:
        """One step of AdamW with decoupled decay (Loshchilov and Hutter 2019), in place."""
        self.mean.lerp_(self.gradient, 1 - BETA1)
        self.square.mul_(BETA2).addcmul_(self.gradient, self.gradient, value=1 - BETA2)
        torch.sqrt(self.square, out=self.update).add_(epsilon)
        torch.div(self.mean, self.update, out=self.update).mul_(size)
        self.weight.mul_(decay).sub_(self.update)
