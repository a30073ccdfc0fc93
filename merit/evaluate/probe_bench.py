"""How long linear probing takes: all folds together, and the same heads one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from merit.config import ProbeConfig, replace
from merit.evaluate.heads import STANDARDISED, VARIANTS, epoch_order, initial_head, standardisation
from merit.evaluate.linear_probe import train
from merit.evaluate.probe_tables import probe
from merit.evaluate.splits import Split, make_splits
from merit.evaluate.tasks import select

PTB_XL_TASKS = ("superclass", "subclass", "form", "rhythm", "all")


def measure(
    records: pd.DataFrame,
    *,
    dims: int = 192,
    config: ProbeConfig | None = None,
    tasks: tuple[str, ...] = PTB_XL_TASKS,
    timed_epochs: int = 1,
) -> dict[str, Any]:
    """Seconds of linear probing on random features, by task, and how much longer the folds take one after another.

    records: the table of a cohort (record_id, patient_id, fold, labels). `probe_s` is measured in full: both variants,
    from features to result values. `together_s` and `alone_s` are training only, of the same heads in the two ways,
    extrapolated to all epochs from runs of 1 and of 1 + `timed_epochs`; `ratio` is alone over together.
    """
    config = config or ProbeConfig()
    embeddings = np.random.default_rng(config.seed).normal(size=(len(records), dims)).astype(np.float32)
    rows = {name: _measure_task(name, records, embeddings, config, timed_epochs) for name in tasks}
    total = {key: sum(row[key] for row in rows.values()) for key in ("probe_s", "together_s", "alone_s")}
    return {
        "tasks": rows,
        **total,
        "ratio": total["alone_s"] / total["together_s"],
        "timed_epochs": timed_epochs,
        "epochs": config.epochs,
        "dims": dims,
        "threads": torch.get_num_threads(),
    }


def _measure_task(
    name: str, records: pd.DataFrame, embeddings: np.ndarray, config: ProbeConfig, timed_epochs: int
) -> dict[str, Any]:
    """One row of the table that `measure` gives."""
    task = select(name, records, n_folds=config.folds, min_positives=config.min_positives)
    features, splits = embeddings[task.rows], make_splits(task.folds, n_folds=config.folds)

    def one_after_another(few: ProbeConfig) -> None:
        for variant in VARIANTS:
            for split in splits:
                train_alone(features, task.labels, split, few, variant)

    # The first optimiser of a process loads half of torch.
    train_alone(features, task.labels, splits[0], replace(config, epochs=1), STANDARDISED)
    together = _whole_run(lambda few: train(features, task.labels, splits, few), config, timed_epochs)
    alone = _whole_run(one_after_another, config, timed_epochs)
    return {
        "records": len(task.rows),
        "classes": len(task.classes),
        "probe_s": _seconds(lambda: probe(features, task, config)),
        "together_s": together,
        "alone_s": alone,
        "ratio": alone / together,
    }


def _whole_run(run: Callable[[ProbeConfig], Any], config: ProbeConfig, timed_epochs: int) -> float:
    """Seconds for all epochs, from what one epoch takes with everything around it and what further ones add."""
    one = _seconds(lambda: run(replace(config, epochs=1)))
    more = _seconds(lambda: run(replace(config, epochs=1 + timed_epochs)))
    return one + (more - one) / timed_epochs * (config.epochs - 1)


def train_alone(
    features: np.ndarray, labels: np.ndarray, split: Split, config: ProbeConfig, variant: str
) -> np.ndarray:
    """One head by the textbook loop (autograd, `torch.optim.AdamW`); float32 [C, D + 1], the bias last."""
    x = torch.from_numpy(features[split.train])
    y = torch.from_numpy(labels[split.train].astype(np.float32))
    if variant == STANDARDISED:
        mean, inverse = standardisation(features[split.train])
        x = (x - torch.from_numpy(mean)) * torch.from_numpy(inverse)
    first = initial_head(config.seed, split.fold, features.shape[1], labels.shape[1])
    head = torch.nn.utils.skip_init(torch.nn.Linear, features.shape[1], labels.shape[1])
    with torch.no_grad():
        head.weight.copy_(first[:, :-1])
        head.bias.copy_(first[:, -1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        order = torch.from_numpy(epoch_order(config.seed, split.fold, epoch, len(x)))
        for batch in order.split(config.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(head(x[batch]), y[batch]).backward()
            optimizer.step()
    return torch.cat([head.weight, head.bias[:, None]], dim=1).detach().numpy()


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
