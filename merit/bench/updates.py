"""An update of one network as the loop does it: by part, whole, on every feed, and how much of the device it uses."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from merit.bench.clock import Pace, Turn, Watch, beside, compare, forget_peak, peak_mb, product, product_flops
from merit.bench.feeds import every_way, on_disk, room
from merit.config import ModelConfig, PretrainConfig
from merit.pretrain.feed import Batch
from merit.pretrain.schedule import rate_factor, total_updates
from merit.pretrain.step import build, make_optimiser, ready, total_loss, update_terms
from merit.pretrain.watch import Finite
from merit.pretrain.world import World
from merit.studies.framework import facts

FORWARDS = 3
"""An update costs as many: the gradients of inputs and those of weights take as many FLOPs as the forward, each."""


STEPS: dict[str, dict[str, Any]] = {
    "compiled": {"compiled": True},
    "graphs": {"graphs": True},
    "flex": {"attention": "flex"},
    "flex_graphs": {"attention": "flex", "graphs": True},
}
"""Ways of an update beside the eager one, on resident recordings -> how the network is made ready for them."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured and for how long. The defaults suit two CPU cores; `for_gpu` changes them."""

    pace: Pace = field(default_factory=Pace)
    """Of the feeds, which differ least."""
    few: Pace = field(default_factory=lambda: Pace(lead=0, updates=1, rounds=4))
    """Of growth and of the objectives."""
    slow: Pace = field(default_factory=lambda: Pace(warmup=0, lead=0, updates=1, rounds=2))
    """Of the networks at their published sizes."""
    alone: Pace = field(default_factory=lambda: Pace(warmup=8, lead=8, updates=30, rounds=7))
    """Of batches without a network."""
    networks: tuple[str, ...] = ("demo",)
    """Profiles whose networks are taken apart, at their own batch."""
    records: int = 4000
    sizes: tuple[int, ...] = (1000, 4000, 16_000)
    batches: tuple[int, ...] = (16, 32, 64, 128)
    widths: tuple[int, ...] = (64, 128, 192)
    published_batch: int = 8
    """Batch of the networks at their published sizes; the paper's 128 would take a minute an update on two cores."""
    workers: tuple[int, ...] = (0, 2)
    """Worker processes of each DataLoader."""
    product: int = 1024
    """Rows and columns of the matrix product that sets the scale."""
    compiled: bool = False
    """Whether the other ways of an update are timed too; those that need a GPU are left out, with a reason, without."""


def for_gpu() -> Plan:
    """Past warm-up and thermal start, at the paper's size: 745,916 recordings, batch 128; six minutes at most."""
    return Plan(
        pace=Pace(warmup=30, lead=20, updates=50, rounds=7), few=Pace(warmup=20, lead=10, updates=20, rounds=5),
        slow=Pace(warmup=20, lead=10, updates=20, rounds=5), alone=Pace(warmup=20, lead=20, updates=50, rounds=5),
        networks=("demo", "paper"), records=745_916, sizes=(1000, 4000, 16_000, 745_916), published_batch=128,
        product=8192, compiled=True,
    )  # fmt: skip


class Trainee:
    """A network in training; `one` is an update of `merit.pretrain.loop`, whose weights it gives bit for bit."""

    def __init__(
        self, model: ModelConfig, config: PretrainConfig, n_records: int, device: torch.device, **way: Any
    ) -> None:
        """way: compiled, graphs and attention, as `step.ready` takes them; ValueError for what the device lacks."""
        self.config, self.world, self.update = config, World(device=device), 0
        self.model = build(model, config).to(device).train()
        self.optimiser = make_optimiser(self.model, config)
        self.called = ready(self.model, self.world, **{"compiled": False, **way})
        self.finite, self.total = Finite(device), total_updates(config, n_records)

    def one(self, batch: Batch, lap: Callable[[str], None] = lambda part: None) -> None:
        """One update; `lap` is told of the end of each part."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak_lr"] * rate_factor(self.update, self.total, self.config.warmup_share)
        terms = update_terms(self.called, self.model, batch, self.config, self.update, self.world)
        loss = total_loss(terms, self.config)
        lap("forward")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        lap("backward")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.finite.note({**terms, "gradient": norm}, self.update + 1)
        self.optimiser.step()
        lap("optimiser")
        self.update += 1

    def fed(self, batches: Iterator[Batch]) -> Turn:
        """Updates with those batches, to be timed."""

        def go(updates: int) -> None:
            for _ in range(updates):
                self.one(next(batches))

        return Turn(go, self.config.batch)


def measure(model: ModelConfig, config: PretrainConfig, device: torch.device, plan: Plan) -> dict[str, Any]:
    """One network at one batch: seconds of an update and of its parts, the feeds beside the resident one, compiled
    beside eager, share of the device's arithmetic, memory.
    """
    records = min(plan.records, room(model, device))
    forget_peak(device)
    with (
        tempfile.TemporaryDirectory() as folder,
        on_disk(records, model, Path(folder)) as data,
        every_way(data, config, device, plan.workers) as ways,
    ):
        trainee = Trainee(model, config, len(data), device)
        trainee.fed(ways["resident"]).go(plan.pace.warmup)
        memory = peak_mb(device)
        parts = by_part(trainee, ways["resident"], plan.pace, device)
        turns = {name: trainee.fed(batches) for name, batches in ways.items()}
        asked = STEPS if plan.compiled else {}
        more, skipped = able(asked, lambda way: Trainee(model, config, len(data), device, **way).fed(ways["resident"]))
        turns |= more
        turns["product"] = product(device, plan.product)
        seconds = compare(turns, plan.pace, device)
        alone = {name: Turn(_drawing(batches), config.batch) for name, batches in ways.items()}
        alone = beside(compare(alone, plan.alone, device), "resident")
    used = use(facts(model), seconds["resident"], seconds.pop("product"), plan.product)
    paths = beside(seconds, "resident")
    return {
        "batch": config.batch, "records": records, "objective": config.objective,
        "update_s": config.batch / paths["resident"]["samples_per_s"], "parts_s": parts, "paths": paths,
        "feeds_alone": alone, **used, "peak_mb": memory, "skipped": skipped,
    }  # fmt: skip


def able(
    ways: Mapping[str, Mapping[str, Any]], make: Callable[[Mapping[str, Any]], Turn], enough: Callable[[], bool] = bool
) -> tuple[dict[str, Turn], dict[str, str]]:
    """Those ways that do an update here, compiled by it, and for the others the first line of the reason.

    enough: whether there is no time to begin another.
    """
    turns: dict[str, Turn] = {}
    skipped: dict[str, str] = {}
    for name, way in ways.items():
        if enough():
            skipped[name] = "no time was left to compile it"
            continue
        try:
            turn = make(way)
            turn.go(1)
            turns[name] = turn
        except (ValueError, RuntimeError) as reason:  # whatever a compiler or a kernel lacks here
            skipped[name] = str(reason).strip().partition("\n")[0]
    return turns, skipped


def by_part(trainee: Trainee, batches: Iterator[Batch], pace: Pace, device: torch.device) -> dict[str, float]:
    """Median seconds of data, forward (with the losses), backward, and clipping with the optimiser.

    On a GPU each part is waited for, so their sum exceeds an undisturbed update.
    """
    laps: dict[str, list[float]] = {}
    for _ in range(pace.rounds * pace.updates):
        watch = Watch(device)
        batch = next(batches)
        watch.lap("data")
        trainee.one(batch, watch.lap)
        for part, seconds in watch.seconds.items():
            laps.setdefault(part, []).append(seconds)
    return {part: statistics.median(seconds) for part, seconds in laps.items()}


def forward_flops(about: Mapping[str, Any]) -> int:
    """FLOPs of a recording's forward in pretraining (objective merit), of `studies.framework.facts`.

    Without the columns that carry the attention biases: they are how we add a bias, not what the model asks for.
    """
    return sum(part["all"] - part["biases"] for part in about["flops"]["pretraining"].values())


def use(about: Mapping[str, Any], own: Sequence[float], products: Sequence[float], size: int) -> dict[str, Any]:
    """FLOPs of a forward, FLOP/s of a matrix product, and utilisation: the share of that rate that training reaches.

    about: `studies.framework.facts`. own: seconds a recording, a number a round. products: seconds a product of `size`
    rows in the same rounds. An update costs three forwards.
    """
    forward, whole = forward_flops(about), product_flops(size)
    shares = [FORWARDS * forward / ours / (whole / theirs) for ours, theirs in zip(own, products, strict=True)]
    return {
        "forward_flops": forward,
        "product": {"size": size, "flops_per_s": whole / statistics.median(products)},
        "utilisation": statistics.median(shares),
    }


def _drawing(batches: Iterator[Batch]) -> Callable[[int], None]:
    def go(count: int) -> None:
        for _ in range(count):
            next(batches)

    return go
