"""`make bench`: pretraining updates, ingest, linear probing and what is retained; printed, and written as one JSON.

What is compared takes turns in one process, so that a drift of the machine hits all alike. Updates are the loop's own
(`pretrain.train.train_step`), on recordings that are noise: no time here depends on what they show.

Shapes: B batch, N records, L leads, T samples, W text width, C classes, D width of an embedding.
"""

from __future__ import annotations

import platform
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import psutil
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from merit.bench import ingest
from merit.config import OBJECTIVE_NAMES, PAPER, ModelConfig, PretrainConfig, ProbeConfig, one_of, profile, replace
from merit.data.batches import PairedRecordings
from merit.data.cohorts import open_cohort
from merit.evaluate import probing
from merit.evaluate.retention import in_fresh_process
from merit.evaluate.tasks import Split, make_splits, select
from merit.parallel import one_thread_an_operation, peak_memory, usable_cores
from merit.pretrain.distributed import World
from merit.pretrain.loaders import SHARE, Batch, MemmapLoader, ResidentLoader, free_bytes, loader, needed_bytes
from merit.pretrain.train import FiniteCheck, build, compile_model, make_optimiser, positions, total_updates, train_step
from merit.report import cost
from merit.runs import commit, versions, write_json
from merit.studies import Workspace
from merit.studies.framework import facts

STAGES = ("updates", "ingest", "linear_probe", "kept")
ALL = (*STAGES, "full")
"""`full` alone is left out unless asked for: it needs the memory of a large GPU."""
PAPER_RECORDINGS = 745_916
"""Recordings of the paper's training part (App. A.1)."""
PTB_XL_SIZE = 21_799
"""Recordings of PTB-XL 1.0.3: the size at which probing is timed."""
PTB_XL_TASKS = ("superclass", "subclass", "form", "rhythm", "all")
GOALS_H = (4, 2)
"""Hours in which an objective should be pretrained, and might be."""
FORWARDS = 3
"""An update costs as many: the gradients of inputs and those of weights take as many FLOPs as the forward, each."""
PRODUCTS = 8
"""Matrix products that are timed beside an update: one alone is too short."""
DISTINCT = 16_000
"""Recordings that are really drawn; a larger set holds them several times, which costs the same."""
REPORTS = 64
"""Distinct reports; how many there are costs nothing."""
ENDLESS = 1_000_000_000
"""Updates that an iterator of batches could give."""
CUDA_EXTRA = 2e9
"""Bytes that compiled code, graphs and libraries take beside tensors; a guess on the safe side, not measured."""
VARIANTS: dict[str, dict[str, Any]] = {
    "compiled": {"compiled": True},
    "graphs": {"graphs": True},
    "flex": {"attention": "flex"},
    "flex_graphs": {"attention": "flex", "graphs": True},
}
"""Variants of an update beside the eager one, on resident recordings -> arguments of `compile_model`."""


# -- turns: what is timed, and how -------------------------------------------------------------------------------------


class Turn(NamedTuple):
    """Something that is timed: `go` does so many updates, or takes so many batches, of `samples` recordings each."""

    go: Callable[[int], None]
    samples: int


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long each of several things is measured; a count is of updates or of batches."""

    warmup: int = 1
    """Before anything is timed."""
    lead: int = 1
    """Not timed, at the head of every turn: what was read ahead in the meantime is used up."""
    updates: int = 3
    """Timed together in a turn."""
    rounds: int = 5
    """Turns of each."""


def now(device: torch.device) -> float:
    """Seconds of a steady clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def compare(
    turns: Mapping[str, Turn], pace: Pace, device: torch.device, until: float = float("inf")
) -> dict[str, list[float]]:
    """Seconds per recording of each, one number per round; every other round goes through them backwards.

    until: no round begins, after the second, that would be expected to end later on that clock.
    """
    for turn in turns.values():
        turn.go(pace.warmup)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    last = 0.0
    for number in range(pace.rounds):
        started = time.perf_counter()
        if number >= 2 and started + last > until:
            break
        for name in list(turns)[:: -1 if number % 2 else 1]:
            turns[name].go(pace.lead)
            began = now(device)
            turns[name].go(pace.updates)
            seconds[name].append((now(device) - began) / (pace.updates * turns[name].samples))
        last = time.perf_counter() - started
    return seconds


def beside(seconds: Mapping[str, Sequence[float]], reference: str) -> dict[str, dict[str, float]]:
    """Recordings a second of each (median over rounds), and its speed as a multiple of the reference's in the same
    rounds: median (`ratio`), least and most.
    """
    rates = {}
    for name, own in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(seconds[reference], own, strict=True)]
        rates[name] = {
            "samples_per_s": 1 / statistics.median(own),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
    return rates


def product(device: torch.device, size: int) -> Turn:
    """A square matrix product, several at a time: bf16 on a GPU, else float32 on the threads that an operation has."""
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))

    def go(times: int) -> None:
        for _ in range(PRODUCTS * times):
            torch.mm(a, b)

    return Turn(go, PRODUCTS)


def use(about: Mapping[str, Any], own: Sequence[float], products: Sequence[float], size: int) -> dict[str, Any]:
    """FLOPs of a forward, FLOP/s of a matrix product, and utilisation: the share of that rate that training reaches.

    about: `studies.framework.facts`; without the columns that carry the attention biases: they are how we add a bias,
    not what the model asks for. own: seconds per recording, one number per round. products: seconds per product of
    `size` rows and columns in the same rounds.
    """
    forward = sum(part["all"] - part["biases"] for part in about["flops"]["pretraining"].values())
    whole = 2 * size**3
    shares = [FORWARDS * forward / ours / (whole / theirs) for ours, theirs in zip(own, products, strict=True)]
    rate = {"size": size, "flops_per_s": whole / statistics.median(products)}
    return {"forward_flops": forward, "product": rate, "utilisation": statistics.median(shares)}


def peak_mb(device: torch.device, *, forget: bool = False) -> float:
    """Most memory taken so far, in MB of 2^20 bytes: of tensors on a GPU, else of the whole process. forget: the next
    call counts from here; on a CPU it always counts from the start of the process.
    """
    found = (torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_memory()) / 2**20
    if forget and device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    return found


# -- recordings that are noise, and what serves them ------------------------------------------------------------------


def noise(n: int, model: ModelConfig, file: Path | None = None) -> PairedRecordings:
    """N recordings and report embeddings that are seeded white noise; of many, `DISTINCT` are gone through in turn.

    file: where the signals are written, int16 [N or fewer, L, T], and read from, as a store's are.
    """
    there = min(n, DISTINCT)
    shape = (there, model.encoder.n_leads, model.encoder.n_samples)
    signal_uv = np.random.default_rng(0).integers(-1000, 1001, shape, dtype=np.int16)
    if file is not None:
        np.save(file, signal_uv)
        signal_uv = np.load(file, mmap_mode="r")
    text = torch.from_numpy(np.random.default_rng(1).normal(size=(REPORTS, model.text_width)).astype(np.float32))
    text_row = np.arange(there, dtype=np.int64) % REPORTS
    return PairedRecordings(signal_uv, np.arange(n) % there, text, text_row, pd.DataFrame({"patient_id": range(there)}))


class OneByOne(Dataset):
    """Recordings as the peers' code serves them: each read, scaled to mV and converted by itself."""

    def __init__(self, data: PairedRecordings) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, bool, int]:
        row = self.data.rows[position]
        signal_mv = torch.from_numpy(self.data.signal_uv[row].astype(np.float32) / 1000)
        text_row = int(self.data.text_row[row])
        return signal_mv, self.data.text[max(text_row, 0)], text_row >= 0, int(self.data.patient[row])


@contextmanager
def every_loader(
    data: PairedRecordings, config: PretrainConfig, device: torch.device, workers: tuple[int, ...]
) -> Iterator[dict[str, Iterator[Batch]]]:
    """Name -> endless batches, all of the same recordings in the same order: resident, streamed, and `loader_n` by
    torch's DataLoader with n worker processes, which collates recordings one by one.
    """

    def at(update: int) -> np.ndarray:
        return positions(len(data), update, config)

    def collated(count: int) -> Iterator[Batch]:
        order, pinned = (at(update).tolist() for update in range(ENDLESS)), device.type == "cuda"
        for batch in DataLoader(OneByOne(data), batch_sampler=order, num_workers=count, pin_memory=pinned):
            yield tuple(part.to(device, non_blocking=True) for part in batch)

    every = {
        "resident": ResidentLoader(data, device).batches(at, 0, ENDLESS),
        "streamed": MemmapLoader(data, device).batches(at, 0, ENDLESS),
        **{f"loader_{count}": collated(count) for count in workers},
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(closing(batches)) for name, batches in every.items()}


# -- updates ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured and for how long. The defaults suit two CPU cores; `FOR_GPU` changes them."""

    pace: Pace = Pace()
    """Of the loaders and variants, which differ least."""
    few: Pace = Pace(lead=0, updates=1, rounds=4)
    """Of growth and of the objectives."""
    slow: Pace = Pace(warmup=0, lead=0, updates=1, rounds=2)
    """Of the networks at their published sizes."""
    alone: Pace = Pace(warmup=8, lead=8, updates=30, rounds=7)
    """Of batches without a network."""
    networks: tuple[str, ...] = ("demo",)
    """Profiles whose networks are taken apart, at their own batch."""
    sizes: tuple[int, ...] = (1000, 4000, 16_000)
    """Recordings; a network is taken apart with `records` of them."""
    records: int = 4000
    batches: tuple[int, ...] = (16, 32, 64, 128)
    widths: tuple[int, ...] = (64, 128, 192)
    published_batch: int = 8
    """Batch of the networks at their published sizes; the paper's 128 would take a minute per update on two cores."""
    workers: tuple[int, ...] = (0, 2)
    """Worker processes of each DataLoader."""
    product: int = 1024
    """Rows and columns of the matrix product that sets the scale."""
    compiled: bool = False
    """Whether `VARIANTS` are timed too; without, those that need a GPU are left out, with a reason."""


FOR_GPU = Plan(
    pace=Pace(warmup=30, lead=20, updates=50, rounds=7), few=Pace(warmup=20, lead=10, updates=20, rounds=5),
    slow=Pace(warmup=20, lead=10, updates=20, rounds=5), alone=Pace(warmup=20, lead=20, updates=50, rounds=5),
    networks=("demo", "paper"), sizes=(*Plan.sizes, PAPER_RECORDINGS), records=PAPER_RECORDINGS, published_batch=128,
    product=8192, compiled=True,
)  # fmt: skip
"""Past warm-up and thermal start, at the paper's size: 745,916 recordings, batch 128; six minutes at most."""


class Trainee:
    """A network in training on noise; `step` is an update of the loop."""

    def __init__(
        self, model: ModelConfig, config: PretrainConfig, n_records: int, device: torch.device, **how: Any
    ) -> None:
        """how: arguments of `compile_model`; ValueError for what the device lacks."""
        self.config, self.world, self.update = config, World(device=device), 0
        self.model = build(model, config).to(device).train()
        self.optimiser = make_optimiser(self.model, config)
        self.called = compile_model(self.model, self.world, **{"compiled": False, **how})
        self.finite, self.total = FiniteCheck(device), total_updates(config, n_records)

    def step(self, batch: Batch, lap: Callable[[str], None] = lambda part: None) -> None:
        """One update; `lap` is told of the end of each part."""
        where = self.config, self.update, self.total, self.world, self.finite
        train_step(self.called, self.model, self.optimiser, batch, *where, lap)
        self.update += 1

    def fed(self, batches: Iterator[Batch]) -> Turn:
        """Updates with those batches, to be timed."""

        def go(updates: int) -> None:
            for _ in range(updates):
                self.step(next(batches))

        return Turn(go, self.config.batch)


def turn_of(model: ModelConfig, config: PretrainConfig, data: PairedRecordings, device: torch.device) -> Turn:
    """Updates of a network on recordings, served as the loop would choose."""
    batches = loader(data, device).batches(lambda update: positions(len(data), update, config), 0, ENDLESS)
    return Trainee(model, config, len(data), device).fed(batches)


def able(
    variants: Mapping[str, Mapping[str, Any]],
    make: Callable[[Mapping[str, Any]], Turn],
    enough: Callable[[], bool] = bool,
) -> tuple[dict[str, Turn], dict[str, str]]:
    """Those variants that do an update here, compiled by it, and for the others the first line of the reason.

    enough: whether there is no time to begin another.
    """
    turns: dict[str, Turn] = {}
    skipped: dict[str, str] = {}
    for name, how in variants.items():
        if enough():
            skipped[name] = "no time was left to compile it"
            continue
        try:
            turn = make(how)
            turn.go(1)
            turns[name] = turn
        except (ValueError, RuntimeError) as reason:  # whatever a compiler or a kernel lacks here
            skipped[name] = str(reason).strip().partition("\n")[0]
    return turns, skipped


def measure_network(model: ModelConfig, config: PretrainConfig, device: torch.device, plan: Plan) -> dict[str, Any]:
    """One network at one batch: seconds of an update and of its parts, the loaders beside the resident one, compiled
    beside eager, share of the device's arithmetic, memory. Streamed recordings lie in a file, as a store's do.
    """
    room = int(SHARE * free_bytes(device)) // (model.encoder.n_leads * model.encoder.n_samples * 2)
    records = min(plan.records, room)
    peak_mb(device, forget=True)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = noise(records, model, Path(folder) / "signal_uv.npy")
        loaders = stack.enter_context(every_loader(data, config, device, plan.workers))
        trainee = Trainee(model, config, len(data), device)
        trainee.fed(loaders["resident"]).go(plan.pace.warmup)
        memory = peak_mb(device)
        laps: dict[str, list[float]] = {}
        for _ in range(plan.pace.rounds * plan.pace.updates):
            last = now(device)

            def lap(part: str) -> None:
                """End a part; on a GPU it is waited for, so their sum exceeds an undisturbed update."""
                nonlocal last
                here = now(device)
                laps.setdefault(part, []).append(here - last)
                last = here

            batch = next(loaders["resident"])
            lap("data")
            trainee.step(batch, lap)
        turns = {name: trainee.fed(batches) for name, batches in loaders.items()}
        more, skipped = able(
            VARIANTS if plan.compiled else {},
            lambda how: Trainee(model, config, len(data), device, **how).fed(loaders["resident"]),
        )
        seconds = compare({**turns, **more, "product": product(device, plan.product)}, plan.pace, device)

        alone = {
            name: Turn(lambda count, batches=batches: deque(islice(batches, count), 0), config.batch)
            for name, batches in loaders.items()
        }
        alone = beside(compare(alone, plan.alone, device), "resident")
    used = use(facts(model), seconds["resident"], seconds.pop("product"), plan.product)
    paths = beside(seconds, "resident")
    update_s = config.batch / paths["resident"]["samples_per_s"]
    parts_s = {part: statistics.median(seconds) for part, seconds in laps.items()}
    return {"batch": config.batch, "records": records, "objective": config.objective, "update_s": update_s} | {
        "parts_s": parts_s,
        "paths": paths,
        "feeds_alone": alone,
        **used,
        "peak_mb": memory,
        "skipped": skipped,
    }


def growth(
    model: ModelConfig, config: PretrainConfig, device: torch.device, plan: Plan
) -> dict[str, list[dict[str, Any]]]:
    """`records`, `batch`, `width`, one changed at a time, and `objective`: one row per value, with samples a second and
    the speed beside the first value's.
    """
    seen = {n: noise(n, model) for n in plan.sizes}
    few = seen[plan.sizes[0]]
    widened = {width: replace(model, encoder=replace(model.encoder, width=width)) for width in plan.widths}
    families = {
        "records": {n: (model, config, seen[n]) for n in plan.sizes},
        "batch": {size: (model, replace(config, batch=size), few) for size in plan.batches},
        "width": {width: (wider, config, few) for width, wider in widened.items()},
        "objective": {name: (model, replace(config, objective=name), few) for name in OBJECTIVE_NAMES},
    }
    rows = {}
    for name, members in families.items():
        turns = {str(value): turn_of(*member, device) for value, member in members.items()}
        rates = beside(compare(turns, plan.few, device), next(iter(turns)))
        rows[name] = [{"value": value, **rates[str(value)]} for value in members]
    return rows


def published() -> dict[str, ModelConfig]:
    """The paper profile's network, and the other reading of "one-dimensional TinyViT" at its published size."""
    model = PAPER.model
    return {"vit": model, "tiny_vit": replace(model, encoder=replace(model.encoder, kind="tiny_vit"))}


def networks(device: torch.device, plan: Plan) -> list[dict[str, Any]]:
    """One row per published network: samples a second beside the first, parameters, FLOPs, utilisation, on a GPU
    memory.
    """
    config = replace(PAPER.pretrain, batch=plan.published_batch)
    memory: dict[str, float | None] = {}
    turns = {}
    for name, model in published().items():
        n = 2 * config.batch
        peak_mb(device, forget=True)
        turns[name] = turn_of(model, config, noise(n, model), device)
        turns[name].go(1)
        memory[name] = peak_mb(device) if device.type == "cuda" else None  # a CPU's would be that of what ran before
    turns["product"] = product(device, plan.product)
    turns["product"].go(1)
    seconds = compare(turns, plan.slow, device)
    products = seconds.pop("product")
    rates = beside(seconds, next(iter(seconds)))
    rows = []
    for name, model in published().items():
        about = facts(model)
        size = {"batch": config.batch, "parameters": sum(about["parameters"].values()), "peak_mb": memory[name]}
        rows.append({"value": name, **size, **rates[name], **use(about, seconds[name], products, plan.product)})
    return rows


def projection(network: Mapping[str, Any], price_per_hour: float) -> dict[str, Any]:
    """The paper's run at the measured rate of its network: hours, money, and what its goals would need.

    network: a row of `networks`. `arithmetic_h`: hours at the rate of a matrix product, which nothing can beat.
    """
    config = PAPER.pretrain
    samples = config.epochs * PAPER_RECORDINGS
    hours = samples / network["samples_per_s"] / 3600
    run = {"recordings": PAPER_RECORDINGS, "epochs": config.epochs, "batch": config.batch}
    measured = {"measured_batch": network["batch"], "samples_per_s": network["samples_per_s"], "hours": hours}
    price = {"price_per_hour": price_per_hour, "currency": "USD", "price": hours * price_per_hour}
    goals = [{"hours": goal, "samples_per_s": samples / goal / 3600} for goal in GOALS_H]
    return {**run, **measured, "arithmetic_h": hours * network["utilisation"], **price, "goals": goals}


@one_thread_an_operation()
def measure_updates(device: str, plan: Plan, price_per_hour: float) -> dict[str, Any]:
    """Updates of pretraining, on noise; operations use one thread on a CPU, as the loop's do."""
    target, demo = torch.device(device), profile("demo")
    chosen = {name: profile(name) for name in plan.networks}
    taken_apart = {name: measure_network(own.model, own.pretrain, target, plan) for name, own in chosen.items()}
    grown, rows = growth(demo.model, demo.pretrain, target, plan), networks(target, plan)
    return {"networks": taken_apart, "growth": grown, "published": rows} | {
        "projection": projection(rows[0], price_per_hour)
    }


# -- at full size -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FullSize:
    """What is measured at full size, and for how long; the defaults are the paper's and a GPU's."""

    records: int = PAPER_RECORDINGS
    model: ModelConfig = PAPER.model
    config: PretrainConfig = PAPER.pretrain
    seconds: float = 360.0
    """All of it, at most; half of that at most for getting ready."""
    settle_s: float = 30.0
    """Of updates that are not timed, so that the device is warm."""
    pace: Pace = Pace(warmup=0, lead=10, updates=50, rounds=20)
    product: int = 8192


@one_thread_an_operation()
def measure_full(device: torch.device, size: FullSize, log: Callable[[str], None] = print) -> dict[str, Any]:
    """The paper's network at its own batch on as many recordings as the paper's, all in the memory of the device, past
    warm-up and thermal start: speed of each variant beside the eager one, memory, utilisation. It ends by itself within
    `FullSize.seconds`. ValueError with the memory needed where it does not fit.
    """
    if device.type == "cpu" and size.records >= PAPER_RECORDINGS:
        raise ValueError(
            f"full: expected a GPU, whose memory holds {size.records:,} recordings; got a CPU, where an update takes a "
            "minute; `merit bench` without --full measures what a CPU can"
        )
    began, config, free = now(device), size.config, free_bytes(device) / 1e9
    data = noise(size.records, size.model)

    # -- does it fit: recordings, and one eager update with weights and optimiser; on a CPU, where the peak is the
    #    process's, what weights, gradients and moments take
    needed = {"recordings": needed_bytes(data) / 1e9, "update": 0.0}
    if needed["recordings"] <= free:
        peak_mb(device, forget=True)
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        trainee = Trainee(size.model, config, size.records, device)
        if device.type == "cpu":
            needed["update"] = 4 * sum(p.numel() * p.element_size() for p in trainee.model.parameters()) / 1e9
        else:
            trainee.step(data.take(positions(size.records, 0, config), device))
            needed["update"] = (peak_mb(device) * 2**20 - before + CUDA_EXTRA) / 1e9
        del trainee
    log(
        f"{size.records:,} recordings take {needed['recordings']:.1f} GB and an update {needed['update']:.1f} GB; "
        f"{device.type} has {free:.1f} GB free"
    )
    if (whole := sum(needed.values())) > free:
        raise ValueError(
            f"full: expected {whole:.1f} GB of free memory; {device.type} has {free:.1f} GB; `merit bench` without "
            "--full measures what fits"
        )

    # -- every variant that there is, warm, in turns
    resident = ResidentLoader(data, device)
    batches = resident.batches(lambda update: positions(size.records, update, config), 0, ENDLESS)
    peak_mb(device, forget=True)
    turns, skipped = able(
        {"eager": {}, **VARIANTS},
        lambda how: Trainee(size.model, config, size.records, device, **how).fed(batches),
        lambda: now(device) - began > size.seconds / 2,
    )
    if "eager" not in turns:
        raise RuntimeError(f"full: expected at least the eager update to run; {skipped['eager']}")
    memory = peak_mb(device)
    turns["product"] = product(device, size.product)
    settled = now(device)
    while now(device) - settled < min(size.settle_s, size.seconds / 10):
        turns["eager"].go(size.pace.lead)
    seconds = compare(turns, size.pace, device, began + size.seconds)
    products = seconds.pop("product")
    asked = {"records": size.records, "batch": config.batch, "paper_recordings": PAPER_RECORDINGS}
    room = {"needed_gb": needed, "free_gb": free, "peak_mb": memory}
    paths, used = beside(seconds, "eager"), use(facts(size.model), seconds["eager"], products, size.product)
    took = {"rounds": len(products), "seconds": now(device) - began}
    return {**asked, **room, "paths": paths, "skipped": skipped, **used, **took}


# -- linear probing: all folds together, and the same heads one after another ------------------------------------------


def measure_probing(
    records: pd.DataFrame,
    *,
    dims: int = 192,
    config: ProbeConfig | None = None,
    tasks: tuple[str, ...] = PTB_XL_TASKS,
    timed_epochs: int = 2,
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
        x, splits = embeddings[task.rows], make_splits(task.folds, n_folds=config.folds)
        heads = [(x, task.labels, split, variant) for variant in probing.VARIANTS for split in splits]
        train_alone(*heads[0], replace(config, epochs=1))  # the first optimiser of a process loads half of torch
        seconds = {
            "together_s": whole_run(partial(probing.train, x, task.labels, splits), config, timed_epochs),
            "alone_s": whole_run(lambda few, h=heads: [train_alone(*head, few) for head in h], config, timed_epochs),
        }
        began = time.perf_counter()
        probing.probe(x, task, config)
        own = {"records": len(task.rows), "classes": len(task.classes), "probe_s": time.perf_counter() - began}
        rows[name] = {**own, **seconds, "ratio": seconds["alone_s"] / seconds["together_s"]}
    total = {key: sum(row[key] for row in rows.values()) for key in ("probe_s", "together_s", "alone_s")}
    about = {"timed_epochs": timed_epochs, "epochs": config.epochs, "dims": dims, "threads": torch.get_num_threads()}
    return {"tasks": rows, **total, "ratio": total["alone_s"] / total["together_s"], **about}


def whole_run(run: Callable[[ProbeConfig], Any], config: ProbeConfig, timed_epochs: int) -> float:
    """Seconds for all epochs, from what one epoch takes with everything around it and what further ones add."""
    seconds = []
    for epochs in (1, 1 + timed_epochs):
        began = time.perf_counter()
        run(replace(config, epochs=epochs))
        seconds.append(time.perf_counter() - began)
    return seconds[0] + (seconds[1] - seconds[0]) / timed_epochs * (config.epochs - 1)


def train_alone(
    features: np.ndarray, labels: np.ndarray, split: Split, variant: str, config: ProbeConfig
) -> np.ndarray:
    """One head by the textbook loop (autograd, `torch.optim.AdamW`); float32 [C, D + 1], the bias last."""
    x = torch.from_numpy(features[split.train])
    y = torch.from_numpy(labels[split.train].astype(np.float32))
    if variant == probing.STANDARDISED:
        mean, inverse = probing.standardisation(features[split.train])
        x = (x - torch.from_numpy(mean)) * torch.from_numpy(inverse)
    first = probing.initial_head(config.seed, split.fold, features.shape[1], labels.shape[1])
    head = torch.nn.utils.skip_init(torch.nn.Linear, features.shape[1], labels.shape[1])
    with torch.no_grad():
        head.weight.copy_(first[:, :-1])
        head.bias.copy_(first[:, -1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        order = torch.from_numpy(probing.epoch_order(config.seed, split.fold, epoch, len(x)))
        for batch in order.split(config.batch_size):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(head(x[batch]), y[batch]).backward()
            optimizer.step()
    return torch.cat([head.weight, head.bias[:, None]], dim=1).detach().numpy()


# -- all of it --------------------------------------------------------------------------------------------------------


def run(
    out: Path | None = None,
    data: Path | None = None,
    device: str = "auto",
    stages: Sequence[str] = STAGES,
    *,
    compiled: bool = False,
    price_per_hour: float = 3.0,
    plan: Plan | None = None,
    size: FullSize | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure, report each figure as it comes, and write a JSON where `out` says.

    data: folder with real data sets, whose PTB-XL is read and whose labels are probed; None: the demo's hospitals.
    compiled: also torch.compile on a CPU, which takes a minute; a GPU does so anyway. price_per_hour: of such a
    machine, in USD, an example. plan: for how long; None: as suits the device. size: of stage full, which is the
    paper's.
    """
    for stage in stages:
        one_of("stages", stage, ALL)
    workspace, began = Workspace.open("demo", data, device), time.perf_counter()
    kind = workspace.torch_device()
    if plan is None:
        plan = replace(Plan(), compiled=compiled) if kind == "cpu" else FOR_GPU
    machine = {"kind": kind.partition(":")[0], "device": device_name(kind), "cores": usable_cores()}
    machine["memory_gb"] = psutil.virtual_memory().total / 1e9
    results: dict[str, Any] = {"about": {"format": cost.FORMAT, **machine, "commit": commit(), "versions": versions()}}

    def probe() -> dict[str, Any]:
        """PTB-XL's five tasks at its real size, its records as often as that takes."""
        refs = open_cohort("ptb-xl", workspace.sources["ptb-xl"]).refs()
        records = pd.concat([refs] * -(-PTB_XL_SIZE // len(refs)), ignore_index=True).head(PTB_XL_SIZE)
        return measure_probing(records.assign(record_id=[str(i) for i in range(len(records))]))

    measured = {
        "updates": lambda: measure_updates(kind, plan, price_per_hour),
        "ingest": lambda: ingest.measure(workspace.sources),
        "linear_probe": probe,
        "kept": in_fresh_process,
        "full": lambda: measure_full(torch.device(kind), size or FullSize(), log),
    }
    for stage in ALL:
        if stage in stages:
            results[stage] = measured[stage]()
            log(cost.lines(stage, results))
    synthetic = workspace.synthetic if {"ingest", "linear_probe"} & set(stages) else None
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    results["about"] |= {"synthetic": synthetic, "seconds": time.perf_counter() - began, "finished": finished}
    if out is not None:
        write_json(out, results)
        log(f"written to {out}")
    return results


def device_name(device: str) -> str:
    """What the maker calls the GPU, or the processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
