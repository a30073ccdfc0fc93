"""The pretraining loop, top to bottom. CPU and GPU, one process or several, from the first update or from where a run
was killed.

Resume is exact because nothing random has a state: order and masks (or views) of an update follow from (seed, update)
alone, so a checkpoint is the weights, the optimiser and a number. On the CPU the weights equal an undisturbed run's,
bit for bit. With several processes (torchrun) an update is the same except for the order in which sums are taken.

Shapes: B rows of this process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from merit import runs
from merit.config import ModelConfig, PretrainConfig
from merit.data.batches import PairedRecordings, hold_out_patients
from merit.model.attention import KERNELS, use_kernel
from merit.model.merit import Merit, Outputs
from merit.model.resnet18 import ResNet18
from merit.objectives import bottleneck, info_nce, masked_mse, nt_xent, segments, weights
from merit.parallel import one_thread_an_operation
from merit.pretrain import NOT_OF_TRAINING, checkpoint
from merit.pretrain.augmentation import AugmentParams, augmentation
from merit.pretrain.distributed import World, joined
from merit.pretrain.loaders import Batch, loader

AGREE_EVERY = 10
"""Updates between two checks of whether any of several processes was told to stop."""

Terms = dict[str, Tensor]


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
    after that many updates, with a checkpoint (for time slices). compiled: by torch.compile, the same numbers up to
    rounding; graphs and attention: as for `compile_model`. about: as `checkpoint.origin` gives it. Started by torchrun,
    all its processes train together.
    NonFiniteLoss keeps the last good checkpoint; a SIGTERM saves one and raises Preempted.
    """
    with contextlib.ExitStack() as stack:
        # -- this process among those that train together; no other run writes to the folder --------------------------
        world = stack.enter_context(joined(device))
        if world.leads:
            stack.enter_context(runs.claimed(folder, wait=False))
        world.wait()
        if checkpoint.finished(folder):
            world.wait()
            return folder
        preempted = stack.enter_context(preemption())

        # -- recordings, network, optimiser ---------------------------------------------------------------------------
        if config.batch % world.size:
            raise ValueError(
                f"batch: expected a multiple of the {world.size} processes; got {config.batch}; change either"
            )
        training, validation = hold_out_patients(data, config.validation_share, config.seed)
        total = total_updates(config, len(training))
        tokens = training.tokens
        model = build(model_config, config, None if tokens is None else tokens.weights).to(world.device)
        if (model.text_tower is None) != (tokens is None) or bool(config.text_layers) != (tokens is not None):
            raise ValueError(
                f"text_layers: expected tokens of the reports and a tower in the network where it is above 0, and "
                f"neither where it is 0; got text_layers {config.text_layers}"
            )
        optimiser = make_optimiser(model, config)

        # -- where an earlier run stopped -----------------------------------------------------------------------------
        settings = {"model": asdict(model_config), "pretrain": asdict(config)}
        settings |= {"total_updates": total, "device": world.device.type}
        update, before, since, history = 0, 0.0, {}, []
        may_differ = [f"pretrain.{name}" for name in NOT_OF_TRAINING]
        if state := runs.read_state(folder / checkpoint.STATE, settings, may_differ, world.device):
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            update, before, since, history = (state[name] for name in ("update", "seconds", "since", "history"))
            del state  # a second copy of the weights and moments, on the device
        first, last = update, total if stop_after is None else min(total, update + stop_after)
        finite, seen = FiniteCheck(world.device), seen_records(data, cohort)
        recordings = loader(training, world.device)
        called = compile_model(model, world, compiled, graphs=graphs, attention=attention)

        def shard(update: int) -> np.ndarray:
            """This process's recordings of an update."""
            size = config.batch // world.size
            return positions(len(training), update, config)[world.rank * size :][:size]

        # -- updates --------------------------------------------------------------------------------------------------
        batches = stack.enter_context(contextlib.closing(recordings.batches(shard, update, last)))
        bar = stack.enter_context(
            tqdm(
                total=total,
                initial=update,
                unit="update",
                desc=config.objective,
                disable=not (progress and world.leads),
                mininterval=1.0,
                postfix={"device": str(world.device)},
            )
        )
        began = time.perf_counter()
        model.train()
        for batch in batches:
            terms = train_step(called, model, optimiser, batch, config, update, total, world, finite)
            update += 1
            for name, value in terms.items():
                since.setdefault(name, []).append(value.detach())
            bar.update()

            # -- validation, by the leading process alone, and a line of the history
            if update % config.validate_every == 0 or update == total:
                finite.check()
                means = {name: world.mean(torch.stack(values).mean()).item() for name, values in since.items()}
                since.clear()
                if world.leads:
                    held_out = validate(model, validation, config, world.device)
                    require_finite({f"validation {n}": torch.tensor(value) for n, value in held_out.items()}, update)
                    per_second = (update - first) * config.batch / (time.perf_counter() - began)
                    line = {
                        "update": update,
                        "epoch": round(update / updates_per_epoch(config, len(training)), 4),
                        "learning_rate": optimiser.param_groups[0]["lr"],
                        "train": means,
                        "validation": held_out,
                        "samples_per_s": round(per_second, 1),
                    }
                    history.append(json.dumps(line, allow_nan=False))
                    bar.set_postfix({name: f"{value:.3f}" for name, value in held_out.items()})

            # -- a checkpoint, by the leading process alone; the weights are the same in all
            stop = (world.size == 1 or update % AGREE_EVERY == 0) and world.any(preempted.is_set())
            if update % config.save_every == 0 or update == last or stop:
                finite.check()
                require_finite({"weights": sum(p.detach().sum() for p in model.parameters())}, update)
                averaged = {name: list(world.mean(torch.stack(values))) for name, values in since.items()}
                if world.leads:
                    runs.write_text(folder / "history.jsonl", "".join(f"{line}\n" for line in history))
                    state = {"update": update, "seconds": before + time.perf_counter() - began, "history": history}
                    state |= {"since": averaged, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
                    runs.write_state(folder / checkpoint.STATE, settings, state)
            if stop and update < total:
                raise Preempted(f"{folder}: saved at update {update}; the same command goes on from there")

        # -- what stays -----------------------------------------------------------------------------------------------
        if update == total and world.leads:
            if isinstance(model.encoder, ResNet18) and model.encoder.mask_value is not None:
                whole_statistics(model, training, config, world.device)
            checkpoint.finish(folder, model, settings, seen, before + time.perf_counter() - began, about)
        world.wait()
    return folder


# -- one update -------------------------------------------------------------------------------------------------------


def train_step(
    called: Callable[..., Outputs],
    model: Merit,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    config: PretrainConfig,
    update: int,
    total: int,
    world: World,
    finite: FiniteCheck,
    lap: Callable[[str], None] = lambda part: None,
) -> Terms:
    """Update number `update` (from 0) of `total`; the terms of its loss. Nothing in it waits for a GPU.

    called: the network as `compile_model` gives it. lap: called at the end of forward, backward and optimiser.
    """
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * rate_factor(update, total, config.warmup_share)
    terms = update_terms(called, model, batch, config, update, world)
    loss = total_loss(terms, config)
    lap("forward")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    lap("backward")
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    finite.note({**terms, "gradient": norm}, update + 1)
    optimiser.step()
    lap("optimiser")
    return terms


def update_terms(
    called: Callable[..., Outputs], model: Merit, batch: Batch, config: PretrainConfig, update: int, world: World
) -> Terms:
    """The terms of an update with this process's part of the batch; masks, or what else is random, are drawn for the
    whole batch and shared out, so that they do not depend on how many processes there are.
    """
    whole = draw(model, len(batch[0]) * world.size, config, mask_generator(config.seed, update, world.device))
    part = {name: world.share(values) for name, values in whole.items()}
    return forward_terms(called, model, batch, config, part, world)


def forward_terms(
    called: Callable[..., Outputs],
    model: Merit,
    batch: Batch,
    config: PretrainConfig,
    params: AugmentParams,
    world: World,
) -> Terms:
    """The terms of the objective; bf16 autocast on a GPU, losses in float32 or wider.

    Contrasts and the bottleneck are those of all processes' rows; the masked error is this process's own.
    """

    def wide(values: Tensor) -> Tensor:
        return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values

    signal_mv, text, valid, patient = batch
    shown = augmentation(config.objective, views=bool(config.view_scale)).apply(signal_mv, params, model.config.encoder)
    cast = torch.autocast("cuda", torch.bfloat16) if signal_mv.is_cuda else contextlib.nullcontext()
    with cast:
        out = called(shown.signal_mv, text, shown.visible, shown.dropout, shown.decoded)
    wanted, terms = weights(config.objective, asdict(config)), {}
    if "info_nce" in wanted:
        ecg, texts = world.gather(wide(out.ecg)), world.gather(wide(out.text))
        every = world.gather(valid.to(torch.uint8)).bool()
        terms["info_nce"] = info_nce(ecg, texts, model.log_temperature.exp(), every)
        if "bottleneck" in wanted:
            terms["bottleneck"] = bottleneck(ecg, texts, every)
    if "masked_mse" in wanted:
        terms["masked_mse"] = masked_mse(wide(out.prediction), wide(out.target), out.hidden)
    if out.views is not None:
        views = [world.gather(wide(view)) for view in out.views]
        if "dropout_views" in wanted:
            terms["dropout_views"] = info_nce(*views, model.log_temperature.exp())
        if "nt_xent" in wanted:
            terms["nt_xent"] = nt_xent(*views, config.views.temperature)
        if "segments" in wanted:
            terms["segments"] = segments(*views, world.gather(patient), config.views.temperature)
    return terms


def total_loss(terms: Terms, config: PretrainConfig) -> Tensor:
    """The objective: its terms, weighted."""
    scale = weights(config.objective, asdict(config))
    return sum(scale[name] * value for name, value in terms.items())


def draw(model: Merit, n: int, config: PretrainConfig, generator: torch.Generator) -> AugmentParams:
    """All that is random in showing n recordings to the network."""
    return augmentation(config.objective, views=bool(config.view_scale)).draw(n, model.config, config.views, generator)


def mask_generator(seed: int, update: int, device: torch.device) -> torch.Generator:
    """What is random in an update follows from (seed, update) alone; validation uses updates below zero."""
    words = np.random.SeedSequence([seed, update if update >= 0 else 2**40 - update]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


# -- order and schedule; the one place where epochs become updates ----------------------------------------------------


def positions(n_records: int, update: int, config: PretrainConfig) -> np.ndarray:
    """Which training recordings an update uses: its slice of the epoch's permutation, drawn from (seed, epoch)."""
    epoch, place = divmod(update, updates_per_epoch(config, n_records))
    return _epoch_order(n_records, config.seed, epoch)[place * config.batch : (place + 1) * config.batch]


@functools.lru_cache(1)
def _epoch_order(n_records: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n_records)


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


# -- network and optimiser --------------------------------------------------------------------------------------------


def build(model_config: ModelConfig, config: PretrainConfig, text: Mapping[str, Tensor] | None = None) -> Merit:
    """The network with the branches that the objective needs, its weights drawn from the run's seed.

    text: weights that the trained layers of the text encoder start from.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = checkpoint.network(model_config, config.objective, views=bool(config.view_scale))
    if model.text_tower is not None and text is not None:
        model.text_tower.load_state_dict(text)
    return model


def make_optimiser(model: Merit, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW, fused on a GPU; no decay on vectors (norms, biases, tokens), a faster rate for the attention biases and a
    slower one for layers of the text encoder, which start pretrained.
    """
    decay = config.weight_decay
    groups: dict[str, tuple[float, float, list[nn.Parameter]]] = {
        "matrices": (1.0, decay, []),
        "vectors": (1.0, 0.0, []),
        "attention biases": (config.bias_rate_scale, 0.0, []),
        "matrices of texts": (config.text_rate_scale, decay, []),
        "vectors of texts": (config.text_rate_scale, 0.0, []),
    }
    for name, parameter in model.named_parameters():
        kind = "vectors" if parameter.ndim < 2 else "matrices"
        if name.startswith("text_tower."):
            kind += " of texts"
        elif name.endswith(("offset_bias", "lead_bias")):
            kind = "attention biases"
        groups[kind][2].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "peak_lr": config.learning_rate * factor}
            for factor, decay, parameters in groups.values()
            if parameters
        ],
        lr=config.learning_rate,
        betas=config.betas,
        fused=next(model.parameters()).is_cuda,
    )


def compile_model(
    model: Merit, world: World, compiled: bool, *, graphs: bool = False, attention: str = "sdpa"
) -> Callable[..., Outputs]:
    """The network as updates call it: compiled if asked for, and with gradients averaged over several processes.

    graphs: compiled, with its launches recorded as CUDA graphs; attention: `flex` compiles too; both need a GPU and
    change nothing but rounding. It shares its weights with `model`, which is what checkpoints hold. On several GPUs
    BatchNorm, where there is any, sees the whole batch. ValueError, with what to do, for what this device or network
    does not have.
    """
    on_gpu = world.device.type == "cuda"
    if attention not in KERNELS:
        raise ValueError(f"attention: expected one of {', '.join(KERNELS)}; got {attention!r}")
    if graphs and not on_gpu:
        raise ValueError(f"graphs: CUDA graphs need a GPU; got device {world.device.type}; leave --graphs out")
    if attention == "flex" and not on_gpu:
        raise ValueError(
            f"attention: FlexAttention has gradients on a GPU alone; got device {world.device.type}; use "
            "--attention sdpa"
        )
    if graphs and model.text_tower is not None:
        raise ValueError(
            "graphs: expected a frozen text encoder, since trained layers read texts of other lengths at every update; "
            "leave out --graphs or TEXT_LAYERS"
        )
    if attention == "flex":
        use_kernel(model, attention)
    compiled = compiled or graphs or attention == "flex"
    if world.size > 1 and on_gpu:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if compiled and model.text_tower is not None:  # texts' shapes differ: each batch would be compiled again
        model.text_tower.forward = torch.compiler.disable(model.text_tower.forward)
    called: nn.Module = model
    if compiled:
        called = torch.compile(model, dynamic=False, mode="reduce-overhead" if graphs else None)
    if world.size > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 renames the argument, 2.11 has only this name
            devices = [world.device.index] if on_gpu else None
            called = nn.parallel.DistributedDataParallel(called, device_ids=devices, broadcast_buffers=False)
    if not graphs:
        return called

    def step(*inputs: Any) -> Outputs:
        """Each call begins an update: what the last one left in the graphs' memory, gradients too, may be reused."""
        torch.compiler.cudagraph_mark_step_begin()
        return called(*inputs)

    return step


# -- validation -------------------------------------------------------------------------------------------------------


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
        params = draw(model, size, config, mask_generator(config.seed, -1 - number, device))
        for name, value in forward_terms(model, model, batch, config, params, World(device=device)).items():
            sums[name] = sums.get(name, 0.0) + value.item()
    model.train()
    return {name: total / len(starts) for name, total in sums.items()}


@torch.no_grad()
def whole_statistics(model: Merit, data: PairedRecordings, config: PretrainConfig, device: torch.device) -> None:
    """BatchNorm's running statistics anew, as the plain mean over batches of whole recordings, as the encoder is used:
    at most 64 batches of the first epoch's order ("precise BN"; Wu and Johnson, 2021, arXiv 2105.07576).
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    for update in range(min(64, updates_per_epoch(config, len(data)))):
        model.train().embed(data.take(positions(len(data), update, config), device)[0])
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum


def seen_records(data: PairedRecordings, cohort: str) -> pd.DataFrame:
    """The patients and records that training or its validation used, for `seen.parquet`."""
    frame = data.records.iloc[data.rows][["patient_id", "record_id"]].reset_index(drop=True)
    frame.insert(0, "cohort", cohort)
    return frame


# -- what ends a run early: a value that is not a number, and a cluster's warning -------------------------------------


class NonFiniteLoss(RuntimeError):
    """A term of the loss is not a number; the message names it and the update."""

    def __init__(self, name: str, got: str, update: int) -> None:
        super().__init__(
            f"update {update}: expected a finite {name}; got {got}; the last good checkpoint is kept; lower the "
            "learning rate or look at the recordings of this update"
        )


class Preempted(RuntimeError):
    """SIGTERM came; a checkpoint was written and the run ended."""

    exit_code = 75
    """"Temporary failure" in sysexits.h: the same command goes on."""


class FiniteCheck:
    """Looks at values at every update; on a GPU without waiting for them: `check` reads what was noted."""

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type == "cpu"
        self.first: dict[str, Tensor] = {}

    def note(self, values: Mapping[str, Tensor], update: int) -> None:
        """Remember the first update at which a value was not finite; on a CPU raise at once."""
        if self.waits:
            require_finite(values, update)
            return
        for name, value in values.items():
            before = self.first.get(name, torch.full_like(value, -1, dtype=torch.int64))
            self.first[name] = torch.where((before < 0) & ~value.isfinite(), update, before)

    def check(self) -> None:
        """Raise NonFiniteLoss where any value was not finite since the beginning; waits for the device."""
        for name, first in self.first.items():
            if first.item() >= 0:
                raise NonFiniteLoss(name, "none", int(first.item()))


def require_finite(values: Mapping[str, Tensor], update: int) -> None:
    """Stop at the first value that is not finite, by name; the last checkpoint stays as it is."""
    for name, value in values.items():
        if not torch.isfinite(value):
            raise NonFiniteLoss(name, str(value.item()), update)


@contextlib.contextmanager
def preemption() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, in place of ending the process; outside the main thread it is never set."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
