"""How long linear probing takes: all folds together, and the same heads one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from merit.config import replace
from merit.evaluate.heads import STANDARDISED, VARIANTS, epoch_order, initial_head, standardisation
from merit.evaluate.linear_probe import train
from merit.evaluate.probe_tables import probe
from merit.evaluate.settings import ProbeConfig
from merit.evaluate.splits import Split, make_splits
from merit.evaluate.tasks import select

PTB_XL_TASKS = ("superclass", "subclass", "form", "rhythm", "all")


def measure(
    records: pd.DataFrame,
    *,
    dims: int = 192,
    config: ProbeConfig | None = None,
    tasks: tuple[str, ...] = PTB_XL_TASKS,
    timed_epochs: int = 2,
) -> dict[str, Any]:
    """Seconds of linear probing on random features, by task, and how much longer the folds take one after another.

    records: the table of a cohort (record_id, patient_id, fold, labels). Both variants, from features to result values.
    The comparison trains the same heads for `timed_epochs` epochs in each way; seconds scale with epochs, so the ratio
    stands for all of them.
    """
    config = config or ProbeConfig()
    embeddings = np.random.default_rng(config.seed).normal(size=(len(records), dims)).astype(np.float32)
    rows = {name: _measure_task(name, records, embeddings, config, timed_epochs) for name in tasks}
    together, one_by_one = (sum(row[k] for row in rows.values()) for k in ("train_s_per_epoch", "alone_s_per_epoch"))
    return {
        "tasks": rows,
        "probe_s": sum(row["probe_s"] for row in rows.values()),
        "ratio": one_by_one / together,
        "timed_epochs": timed_epochs,
        "epochs": config.epochs,
        "dims": dims,
        "threads": torch.get_num_threads(),
    }


def _measure_task(
    name: str, records: pd.DataFrame, embeddings: np.ndarray, config: ProbeConfig, timed_epochs: int
) -> dict[str, Any]:
    task = select(name, records, n_folds=config.folds, min_positives=config.min_positives)
    features, splits = embeddings[task.rows], make_splits(task.folds, n_folds=config.folds)
    few = replace(config, epochs=timed_epochs)
    together = _seconds(lambda: train(features, task.labels, splits, few))
    alone = _seconds(
        lambda: [train_alone(features, task.labels, split, few, variant) for variant in VARIANTS for split in splits]
    )
    return {
        "records": len(task.rows),
        "classes": len(task.classes),
        "probe_s": _seconds(lambda: probe(features, task, config)),
        "train_s_per_epoch": together / timed_epochs,
        "alone_s_per_epoch": alone / timed_epochs,
        "ratio": alone / together,
    }


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
