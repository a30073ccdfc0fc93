"""What is compared takes turns in one process, so that a drift of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from merit.pool import peak_memory

PRODUCTS = 8
"""Matrix products that are timed beside an update: one alone is too short."""


class Turn(NamedTuple):
    """Something that is timed: `go` does so many updates, or takes so many batches, of `samples` recordings each."""

    go: Callable[[int], None]
    samples: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """For how long each of several things is measured; a count is of updates or of batches."""

    warmup: int = 1
    """Before anything is timed."""
    lead: int = 1
    """Not timed, at the head of every turn: what was read ahead in the meantime is used up."""
    updates: int = 3
    """Timed together in a turn."""
    rounds: int = 5
    """Turns of each."""


class Watch:
    """Seconds between laps; on a GPU each lap waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, {}
        self.last = now(device)

    def lap(self, part: str) -> None:
        """End a part."""
        here = now(self.device)
        self.seconds[part], self.last = here - self.last, here


def now(device: torch.device) -> float:
    """Seconds of a steady clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def compare(turns: Mapping[str, Turn], pace: Pace, device: torch.device) -> dict[str, list[float]]:
    """Seconds a recording of each, a number a round; every other round goes through them backwards."""
    for turn in turns.values():
        turn.go(pace.warmup)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(pace.rounds):
        for name in list(turns)[:: -1 if number % 2 else 1]:
            turns[name].go(pace.lead)
            began = now(device)
            turns[name].go(pace.updates)
            seconds[name].append((now(device) - began) / (pace.updates * turns[name].samples))
    return seconds


def beside(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, float]]:
    """Recordings a second of each (median over rounds), and its speed as a multiple of the reference's in the same
    rounds: median (`ratio`), least and most.
    """
    found = {}
    for name, own in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds[reference], own, strict=True)]
        found[name] = {
            "samples_per_s": 1 / statistics.median(own),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
    return found


def product(device: torch.device, size: int) -> Turn:
    """A square matrix product, several at a time: bf16 on a GPU, else float32 on the threads that an operation has."""
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))

    def go(times: int) -> None:
        for _ in range(PRODUCTS * times):
            torch.mm(a, b)

    return Turn(go, PRODUCTS)


def product_flops(size: int) -> int:
    """FLOPs of one such product."""
    return 2 * size**3


def forget_peak(device: torch.device) -> None:
    """Let the next `peak_mb` count from here; on a CPU it always counts from the start of the process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> float:
    """Most memory taken so far, in MB of 2^20 bytes: of tensors on a GPU, else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_memory() / 2**20
