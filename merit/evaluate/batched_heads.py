"""Many heads as one batched problem: closed-form gradient and AdamW, a handful of operations a step for all of them.

N records, D width, C classes, F folds, V variants, B batch, S steps an epoch. A fold with fewer batches an epoch than
others rests in their last steps, so folds are ordered by falling size and those at work are always the first n.
"""

from __future__ import annotations

import numpy as np
import torch

from merit.config import ProbeConfig
from merit.evaluate.heads import Heads, epoch_order, initial_head, scaling
from merit.evaluate.splits import Split

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's other constants: torch's defaults."""


class BatchedHeads:
    """What stays (features and labels), what is trained, and the buffers of a step.

    features float32 [N, D], labels float32 [N, C]; splits by falling number of training records.
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
        self.config, self.device = config, device
        self.splits = splits
        self.n_batches = np.array([-(-len(s.train) // config.batch_size) for s in self.splits])
        self.n_classes, self.width = labels.shape[1], features.shape[1]
        self.features = torch.from_numpy(features).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        pairs = [scaling(features, split, variants) for split in splits]
        self.offset, self.scale = (torch.from_numpy(np.stack(part)[:, :, None, :]).to(device) for part in zip(*pairs))
        first = [initial_head(config.seed, s.fold, self.width, self.n_classes) for s in splits]
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
        """A copy of the weights as they stand after an epoch (from 0)."""
        weight, offset, scale = (t.cpu().numpy().copy() for t in (self.weight, self.offset, self.scale))
        return Heads(weight, offset[:, :, 0], scale[:, :, 0], np.full(weight.shape[:2], epoch + 1))


class _Views:
    """The first n folds of every buffer, cut once: slicing costs as much as arithmetic on batches this small."""

    def __init__(self, whole: BatchedHeads, n: int) -> None:
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
