"""How long linear probing takes: all folds together, and the same heads one after another by the textbook loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch

from merit.config import ProbeConfig, replace
from merit.evaluate.probing import STANDARDISED, VARIANTS, epoch_order, initial_head, probe, standardisation, train
from merit.evaluate.tasks import Split, make_splits, select

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
    rows = {}
    for name in tasks:
        task = select(name, records, n_folds=config.folds, min_positives=config.min_positives)
        features, splits = embeddings[task.rows], make_splits(task.folds, n_folds=config.folds)

        def one_after_another(few: ProbeConfig, x=features, task=task, splits=splits) -> None:
            for variant in VARIANTS:
                for split in splits:
                    train_alone(x, task.labels, split, few, variant)

        def together(few: ProbeConfig, x=features, task=task, splits=splits) -> None:
            train(x, task.labels, splits, few)

        # The first optimiser of a process loads half of torch.
        train_alone(features, task.labels, splits[0], replace(config, epochs=1), STANDARDISED)
        seconds = {
            "together_s": _whole_run(together, config, timed_epochs),
            "alone_s": _whole_run(one_after_another, config, timed_epochs),
        }
        began = time.perf_counter()
        probe(features, task, config)
        rows[name] = {
            "records": len(task.rows),
            "classes": len(task.classes),
            "probe_s": time.perf_counter() - began,
            **seconds,
            "ratio": seconds["alone_s"] / seconds["together_s"],
        }
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


def _whole_run(run: Callable[[ProbeConfig], Any], config: ProbeConfig, timed_epochs: int) -> float:
    """Seconds for all epochs, from what one epoch takes with everything around it and what further ones add."""
    seconds = []
    for epochs in (1, 1 + timed_epochs):
        began = time.perf_counter()
        run(replace(config, epochs=epochs))
        seconds.append(time.perf_counter() - began)
    return seconds[0] + (seconds[1] - seconds[0]) / timed_epochs * (config.epochs - 1)


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
