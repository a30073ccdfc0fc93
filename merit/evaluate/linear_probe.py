"""Linear heads on frozen features, those of all folds and both variants trained together (App. A.2.2).

Each head is `torch.nn.Linear` with its default initial values, trained by AdamW on the mean binary cross-entropy over
batch and classes. A head's initial values depend on (seed, fold) and its batches on (seed, fold, epoch) and the order
of the task's records (by record id), so it comes out the same whatever is trained beside it; arithmetic alone differs,
by less than 1e-5 in every weight from one head at a time under `torch.optim.AdamW`.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import torch

from merit.config import ProbeConfig
from merit.evaluate.batched_heads import BatchedHeads
from merit.evaluate.heads import VARIANTS, Heads
from merit.evaluate.splits import Split
from merit.threads import MAX_THREADS, one_thread_an_operation, usable_cores


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
    highest (the first of equals). Without it, the last epoch stands. The weights do not depend on the number of
    threads.
    """
    where = torch.device(device)
    targets = labels.astype(np.float32)
    blocks = _dealt(splits, usable_cores() if where.type == "cpu" else 1)
    best = None
    with one_thread_an_operation(), ThreadPoolExecutor(len(blocks)) as threads:
        batched = [
            BatchedHeads(features, targets, [splits[f] for f in block], config, variants, where) for block in blocks
        ]
        for epoch in range(config.epochs):
            list(threads.map(BatchedHeads.run_epoch, batched, repeat(epoch)))
            if choose is not None:
                best = _keep_better(best, _joined(batched, blocks, epoch), choose)
    return _joined(batched, blocks, config.epochs - 1) if best is None else best[0]


def _dealt(splits: list[Split], n_threads: int) -> list[list[int]]:
    """Positions of the splits, in about equal parts of about equal sizes, one part a thread."""
    falling = sorted(range(len(splits)), key=lambda f: -len(splits[f].train))
    n = min(n_threads, MAX_THREADS, len(splits))
    return [falling[first::n] for first in range(n)]


def _joined(batched: list[BatchedHeads], blocks: list[list[int]], epoch: int) -> Heads:
    """The heads of all threads as they stand, in the order of the splits."""
    parts = [heads.heads(epoch) for heads in batched]
    back = np.argsort(np.concatenate(blocks))
    return Heads(
        *(
            np.concatenate([getattr(part, name) for part in parts])[back]
            for name in ("weight", "offset", "scale", "epoch")
        )
    )


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
