"""Learning rate over a run, and the one place where epochs become updates."""

from __future__ import annotations

import math

from merit.config import PretrainConfig


def total_updates(config: PretrainConfig, n_records: int) -> int:
    """Updates of a run: `updates`, or epochs times the whole batches of an epoch, at least one."""
    if config.updates is not None:
        return config.updates
    return max(1, round(config.epochs * updates_per_epoch(config, n_records)))


def updates_per_epoch(config: PretrainConfig, n_records: int) -> int:
    """Whole batches of an epoch; the rest is left out of that epoch. A ValueError when there is not one."""
    if n_records < config.batch:
        raise ValueError(f"batch: expected at most the {n_records} training recordings; got {config.batch}")
    return n_records // config.batch


def rate_factor(update: int, total: int, warmup_share: float) -> float:
    """Factor on the learning rate at an update (from 0): linear warm-up, then cosine to 0 (App. A.1)."""
    warmup = max(1, round(warmup_share * total))
    if update < warmup:
        return (update + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (update - warmup) / max(1, total - warmup)))
