"""The pretraining loop, top to bottom. CPU and GPU, one process or several, from the first update or from where a run
was killed.

Resume is exact because nothing random has a state: order and masks (or views) of an update follow from (seed, update)
alone, so a checkpoint is the weights, the optimiser and a number. On the CPU the weights equal an undisturbed run's,
bit for bit. With several processes (torchrun) an update is the same but for the order in which sums are taken.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from merit.config import ModelConfig, PretrainConfig
from merit.data.batches import PairedRecordings, hold_out_patients
from merit.model.merit import Merit, Outputs
from merit.pretrain import checkpoint
from merit.pretrain.feed import Batch, feed
from merit.pretrain.schedule import rate_factor, total_updates, updates_per_epoch
from merit.pretrain.step import (
    build,
    draw,
    forward_terms,
    make_optimiser,
    mask_generator,
    ready,
    total_loss,
    update_terms,
)
from merit.pretrain.watch import Finite, Warned, require_finite, warning
from merit.pretrain.world import World, joined
from merit.runs import claimed
from merit.threads import one_thread_an_operation

AGREE_EVERY = 10
"""Updates between two looks at whether any of several processes was warned."""


@one_thread_an_operation()
def pretrain(
    data: PairedRecordings,
    model_config: ModelConfig,
    config: PretrainConfig,
    folder: Path,
    *,
    cohort: str,
    device: str = "cpu",
    progress: bool = True,
    stop_after: int | None = None,
    compiled: bool = False,
    graphs: bool = False,
    attention: str = "sdpa",
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Pretrain one objective into `folder`, continuing what is there, and return `folder` (Eq. 7; App. A.1).

    data: what may be trained and validated on. cohort: name that `seen.parquet` gives its patients. stop_after: leave
    after that many updates, with a checkpoint (for time slices). compiled: by torch.compile, the same numbers but for
    rounding; graphs and attention: as `step.ready` takes them. about: what `origin.about` gives. Started by torchrun,
    all its processes train together.
    NonFiniteLoss keeps the last good checkpoint; a SIGTERM saves one and raises Warned.
    """
    with joined(device) as world, claimed(folder, wait=False) if world.leads else contextlib.nullcontext():
        world.wait()
        if not checkpoint.finished(folder):
            with warning() as warned:
                run = _Run(data, model_config, config, folder, cohort, world, progress and world.leads)
                run.called = ready(run.model, world, compiled, graphs=graphs, attention=attention)
                run.go(stop_after, warned, about)
        world.wait()
    return folder


class _Run:
    """One run in a folder that no other run writes to; every process of it holds one."""

    def __init__(
        self, data: PairedRecordings, model_config: ModelConfig, config: PretrainConfig, folder: Path, cohort: str,
        world: World, progress: bool,
    ) -> None:  # fmt: skip
        if config.batch % world.size:
            raise ValueError(
                f"batch: expected a multiple of the {world.size} processes; got {config.batch}; change either"
            )
        self.config, self.folder, self.world, self.progress = config, folder, world, progress
        self.training, self.validation = hold_out_patients(data, config.validation_share, config.seed)
        self.total = total_updates(config, len(self.training))
        tokens = self.training.tokens
        self.model = build(model_config, config, None if tokens is None else tokens.weights).to(world.device)
        if (self.model.text_tower is None) != (tokens is None) or bool(config.text_layers) != (tokens is not None):
            raise ValueError(
                f"text_layers: expected tokens of the reports and a tower in the network where it is above 0, and "
                f"neither where it is 0; got text_layers {config.text_layers}; see merit.pipeline.text_states"
            )
        self.optimiser = make_optimiser(self.model, config)
        self.settings = {
            "model": asdict(model_config), "pretrain": asdict(config), "total_updates": self.total,
            "device": world.device.type,
        }  # fmt: skip
        self.update, self.before, self.since, lines = checkpoint.resume(
            folder, self.model, self.optimiser, self.settings, world.device
        )
        self.called: Callable[..., Outputs] = self.model
        self.feed = feed(self.training, world.device)
        self.history = checkpoint.History(folder / "history.jsonl", lines)
        self.finite = Finite(world.device)
        self.seen = seen_records(data, cohort)

    def go(self, stop_after: int | None, warned: threading.Event, about: Mapping[str, Any] | None) -> None:
        """Updates until the end, until `stop_after` of them are done, or until a warning comes."""
        config, world = self.config, self.world
        self.began, self.done = time.perf_counter(), 0
        last = self.total if stop_after is None else min(self.total, self.update + stop_after)
        bar = tqdm(
            total=self.total, initial=self.update, unit="update", desc=config.objective, disable=not self.progress,
            mininterval=1.0, postfix={"device": str(world.device)},
        )  # fmt: skip
        self.model.train()
        with contextlib.closing(self.feed.batches(self._positions, self.update, last)) as batches:
            for batch in batches:
                self._one(batch)
                bar.update()
                if self.update % config.validate_every == 0 or self.update == self.total:
                    bar.set_postfix({name: f"{value:.3f}" for name, value in self._look().items()})
                asked = world.size == 1 or self.update % AGREE_EVERY == 0
                stop = asked and world.any(warned.is_set())
                if self.update % config.save_every == 0 or self.update == last or stop:
                    self._save()
                if stop and self.update < self.total:
                    bar.close()
                    raise Warned(f"{self.folder}: saved at update {self.update}; the same command goes on from there")
        bar.close()
        if self.update == self.total and world.leads:
            checkpoint.finish(self.folder, self.model, self.settings, self.seen, self._seconds(), about)

    def _positions(self, update: int) -> np.ndarray:
        """This process's recordings of an update."""
        part = self.config.batch // self.world.size
        return positions(len(self.training), update, self.config)[self.world.rank * part :][:part]

    def _one(self, batch: Batch) -> None:
        """One update."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * rate_factor(self.update, self.total, self.config.warmup_share)
        terms = update_terms(self.called, self.model, batch, self.config, self.update, self.world)
        self.optimiser.zero_grad(set_to_none=True)
        total_loss(terms, self.config).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.finite.note({**terms, "gradient": norm}, self.update + 1)
        self.optimiser.step()
        self.update, self.done = self.update + 1, self.done + 1
        for name, value in terms.items():
            self.since.setdefault(name, []).append(value.detach())

    def _look(self) -> dict[str, float]:
        """Validation, by the leading process alone, and a line of the history."""
        self.finite.check()
        means = {name: self.world.mean(torch.stack(values).mean()).item() for name, values in self.since.items()}
        self.since.clear()
        if not self.world.leads:
            return {}
        held_out = validate(self.model, self.validation, self.config, self.world.device)
        require_finite({f"validation {name}": torch.tensor(value) for name, value in held_out.items()}, self.update)
        rate = self.done * self.config.batch / (time.perf_counter() - self.began)
        epoch = self.update / updates_per_epoch(self.config, len(self.training))
        self.history.append(self.update, epoch, self.optimiser.param_groups[0]["lr"], rate, means, held_out)
        return held_out

    def _save(self) -> None:
        """A checkpoint, by the leading process alone; the weights are the same in all."""
        self.finite.check()
        require_finite({"weights": sum(p.detach().sum() for p in self.model.parameters())}, self.update)
        since = {name: list(self.world.mean(torch.stack(values))) for name, values in self.since.items()}
        if self.world.leads:
            self.history.flush()
            checkpoint.save_state(
                self.folder, self.model, self.optimiser, self.update, self._seconds(), self.settings, since,
                self.history.lines,
            )  # fmt: skip

    def _seconds(self) -> float:
        return self.before + time.perf_counter() - self.began


def positions(n_records: int, update: int, config: PretrainConfig) -> np.ndarray:
    """Which training recordings an update uses: its slice of the epoch's permutation, drawn from (seed, epoch)."""
    epoch, place = divmod(update, updates_per_epoch(config, n_records))
    order = _epoch_order(n_records, config.seed, epoch)
    return order[place * config.batch : (place + 1) * config.batch]


_last_order: dict[tuple[int, int, int], np.ndarray] = {}


def _epoch_order(n_records: int, seed: int, epoch: int) -> np.ndarray:
    key = (n_records, seed, epoch)
    if key not in _last_order:
        _last_order.clear()
        _last_order[key] = np.random.default_rng([seed, epoch]).permutation(n_records)
    return _last_order[key]


@torch.no_grad()
def validate(model: Merit, data: PairedRecordings, config: PretrainConfig, device: torch.device) -> dict[str, float]:
    """Mean of each term over whole batches of held-out recordings, the same masks and batches at every call.

    The order is a fixed permutation, so that one patient's recordings are not each other's negatives; what is left
    after the last whole batch takes no part, since InfoNCE depends on the size of a batch.
    """
    model.eval()
    size = min(config.batch, len(data))
    sums: dict[str, float] = {}
    starts = range(0, len(data) - size + 1, size)
    order = np.random.default_rng(config.seed).permutation(len(data))
    for number, start in enumerate(starts):
        batch = data.take(order[start : start + size], device)
        drawn = draw(model, size, config, mask_generator(config.seed, -1 - number, device))
        for name, value in forward_terms(model, model, batch, config, drawn, World(device=device)).items():
            sums[name] = sums.get(name, 0.0) + value.item()
    model.train()
    return {name: total / len(starts) for name, total in sums.items()}


def seen_records(data: PairedRecordings, cohort: str) -> pd.DataFrame:
    """The patients and records that training or its validation used, for `seen.parquet`."""
    frame = data.records.iloc[data.rows][["patient_id", "record_id"]].reset_index(drop=True)
    frame.insert(0, "cohort", cohort)
    return frame
