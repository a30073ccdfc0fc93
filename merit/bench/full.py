"""The bench at full size: the paper's network at its own batch on as many recordings as the paper's, all in the memory
of the device, past warm-up and thermal start, by every way of computing an update that the device has.

It ends by itself within `FullSize.seconds`, so that a machine lent for ten minutes is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from merit.bench.clock import Turn, beside, forget_peak, now, peak_mb, product
from merit.bench.feeds import ENDLESS, Noise
from merit.bench.growth import PAPER_RECORDINGS
from merit.bench.updates import STEPS, Trainee, able, use
from merit.config import ModelConfig, PretrainConfig
from merit.pretrain.feed import free_bytes
from merit.pretrain.loop import positions
from merit.profiles import paper
from merit.studies.framework import facts
from merit.threads import one_thread_an_operation

CUDA_EXTRA = 2e9
"""Bytes that compiled code, graphs and libraries take beside tensors; a guess on the safe side, not measured."""


@dataclass(frozen=True, kw_only=True)
class FullSize:
    """What is measured, and for how long; the defaults are the paper's and a GPU's."""

    records: int = PAPER_RECORDINGS
    model: ModelConfig = field(default_factory=lambda: paper().model)
    config: PretrainConfig = field(default_factory=lambda: paper().pretrain)
    seconds: float = 360.0
    """All of it, at most; half of that at most for getting ready."""
    settle_s: float = 30.0
    """Of updates that are not timed, so that the device is warm."""
    lead: int = 10
    updates: int = 50
    """Timed together in a turn, after `lead` that are not."""
    least_rounds: int = 2
    most_rounds: int = 20
    product: int = 8192


@one_thread_an_operation()
def measure_full(device: torch.device, size: FullSize, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Speed of each way beside the eager one, memory, utilisation; ValueError with the memory needed where it does not
    fit.
    """
    if device.type == "cpu" and size.records >= PAPER_RECORDINGS:
        raise ValueError(
            f"full: expected a GPU, whose memory holds {size.records:,} recordings; got a CPU, where an update takes a "
            "minute; `merit bench` without --full measures what a CPU can"
        )
    began = now(device)
    needed, free = _fitting(device, size, say)
    noise = Noise(size.records, size.model, device)
    batches = noise.batches(lambda update: positions(size.records, update, size.config), 0, ENDLESS)

    def made(way: dict[str, Any]) -> Turn:
        return Trainee(size.model, size.config, size.records, device, **way).fed(batches)

    forget_peak(device)
    turns, skipped = able({"eager": {}, **STEPS}, made, lambda: now(device) - began > size.seconds / 2)
    if "eager" not in turns:
        raise RuntimeError(f"full: expected at least the eager update to run; {skipped['eager']}")
    memory = peak_mb(device)
    turns["product"] = product(device, size.product)
    settled = now(device)
    while now(device) - settled < min(size.settle_s, size.seconds / 10):
        turns["eager"].go(size.lead)
    seconds = _rounds(turns, size, device, began + size.seconds)
    products = seconds.pop("product")
    return {
        "records": size.records, "batch": size.config.batch, "paper_recordings": PAPER_RECORDINGS,
        "needed_gb": needed, "free_gb": free, "paths": beside(seconds, "eager"), "skipped": skipped, "peak_mb": memory,
        **use(facts(size.model), seconds["eager"], products, size.product),
        "rounds": len(products), "seconds": now(device) - began,
    }  # fmt: skip


def _fitting(device: torch.device, size: FullSize, say: Callable[[str], None]) -> tuple[dict[str, float], float]:
    """What is needed and what is free, in GB; said, and refused where it does not suffice."""
    free = free_bytes(device) / 1e9
    encoder = size.model.encoder
    needed = {"recordings": size.records * (encoder.n_leads * encoder.n_samples * 2 + 16) / 1e9, "update": 0.0}
    if needed["recordings"] <= free:
        needed["update"] = _update_gb(device, size)
    whole = sum(needed.values())
    say(
        f"{size.records:,} recordings take {needed['recordings']:.1f} GB and an update {needed['update']:.1f} GB; "
        f"{device.type} has {free:.1f} GB free"
    )
    if whole > free:
        raise ValueError(
            f"full: expected {whole:.1f} GB of free memory; {device.type} has {free:.1f} GB; `merit bench` without "
            "--full measures what fits"
        )
    return needed, free


def _update_gb(device: torch.device, size: FullSize) -> float:
    """Most that one eager update takes, weights and optimiser among it; on a CPU, where the peak is the process's, what
    weights, gradients and moments take.
    """
    forget_peak(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    trainee = Trainee(size.model, size.config, size.records, device)
    if device.type == "cpu":
        return 4 * sum(p.numel() * p.element_size() for p in trainee.model.parameters()) / 1e9
    trainee.one(Noise(size.config.batch, size.model, device).take(positions(size.config.batch, 0, size.config)))
    return (peak_mb(device) * 2**20 - before + CUDA_EXTRA) / 1e9


def _rounds(turns: dict[str, Turn], size: FullSize, device: torch.device, until: float) -> dict[str, list[float]]:
    """Seconds a recording of each, a number a round, for as long as a round is expected to end in time."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    last = 0.0
    for number in range(size.most_rounds):
        started = time.perf_counter()
        if number >= size.least_rounds and started + last > until:
            break
        for name in list(turns)[:: -1 if number % 2 else 1]:
            turns[name].go(size.lead)
            begun = now(device)
            turns[name].go(size.updates)
            seconds[name].append((now(device) - begun) / (size.updates * turns[name].samples))
        last = time.perf_counter() - started
    return seconds
