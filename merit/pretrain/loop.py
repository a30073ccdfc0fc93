"""The pretraining loop, top to bottom. CPU and GPU, from the first update or from where a killed run stopped.

Resume is exact because nothing random has a state: order and masks of an update follow from (seed, update) alone, so a
checkpoint is the weights, the optimiser and a number. On the CPU the weights equal an undisturbed run's, bit for bit.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from merit.config import ModelConfig, PretrainConfig
from merit.data.batches import PairedRecordings, hold_out_patients
from merit.model.masking import random_visible
from merit.model.merit import Merit, Outputs
from merit.objectives import OBJECTIVES, bottleneck, info_nce, masked_mse, weights
from merit.pretrain import checkpoint
from merit.pretrain.schedule import rate_factor, total_updates, updates_per_epoch
from merit.threads import one_thread_an_operation


class NonFiniteLoss(RuntimeError):
    """A term of the loss is not a number; the message names it and the update."""


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
) -> Path:
    """Pretrain one objective into `folder`, continuing what is there, and return `folder` (Eq. 7; App. A.1).

    data: what may be trained and validated on. cohort: name that `seen.parquet` gives its patients. stop_after: leave
    after that many updates, with a checkpoint (for time slices). NonFiniteLoss keeps the last good checkpoint.
    """
    with checkpoint.alone(folder):
        if not checkpoint.finished(folder):
            _run(data, model_config, config, folder, cohort, device, progress, stop_after)
    return folder


def _run(
    data: PairedRecordings, model_config: ModelConfig, config: PretrainConfig, folder: Path, cohort: str, device: str,
    progress: bool, stop_after: int | None,
) -> None:  # fmt: skip
    """The loop itself, in a folder that no other process writes to."""
    target = torch.device(device)
    training, validation = hold_out_patients(data, config.validation_share, config.seed)
    total = total_updates(config, len(training))

    # -- model and optimiser -----------------------------------------------------------------------------------------
    model = build(model_config, config).to(target)
    optimiser = make_optimiser(model, config)
    settings = {
        "model": asdict(model_config), "pretrain": asdict(config), "total_updates": total, "device": target.type,
    }  # fmt: skip
    update, before = checkpoint.resume(folder, model, optimiser, settings, target)
    history = checkpoint.History(folder / "history.jsonl", keep_until=update)
    bar = tqdm(
        total=total, initial=update, unit="update", desc=config.objective, disable=not progress, mininterval=1.0,
        postfix={"device": device},
    )  # fmt: skip

    # -- updates -----------------------------------------------------------------------------------------------------
    model.train()
    since: dict[str, list[Tensor]] = {}
    began, done = time.perf_counter(), 0
    while update < total and (stop_after is None or done < stop_after):
        for group in optimiser.param_groups:
            group["lr"] = group["peak_lr"] * rate_factor(update, total, config.warmup_share)
        batch = training.take(positions(len(training), update, config), target)
        terms = forward_terms(model, batch, config, mask_generator(config.seed, update, target))
        loss = sum(weights(config.objective, asdict(config))[name] * value for name, value in terms.items())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        require_finite({**terms, "gradient": norm}, update + 1)
        optimiser.step()
        update, done = update + 1, done + 1
        for name, value in terms.items():
            since.setdefault(name, []).append(value.detach())
        bar.update()

        # -- validation, history, checkpoint -------------------------------------------------------------------------
        if update % config.validate_every == 0 or update == total:
            means = {name: torch.stack(values).mean().item() for name, values in since.items()}
            held_out = validate(model, validation, config, target)
            require_finite({f"validation {name}": torch.tensor(value) for name, value in held_out.items()}, update)
            rate = done * config.batch / (time.perf_counter() - began)
            epoch = update / updates_per_epoch(config, len(training))
            history.append(update, epoch, optimiser.param_groups[0]["lr"], rate, means, held_out)
            bar.set_postfix({name: f"{value:.3f}" for name, value in held_out.items()})
            since.clear()
        if update % config.save_every == 0 or update == total or done == stop_after:
            require_finite({"weights": sum(p.detach().sum() for p in model.parameters())}, update)
            history.flush()
            checkpoint.save_state(folder, model, optimiser, update, before + time.perf_counter() - began, settings)
    bar.close()
    if update == total:
        seconds = before + time.perf_counter() - began
        checkpoint.finish(folder, model, settings, seen_records(data, cohort), seconds)


def build(model_config: ModelConfig, config: PretrainConfig) -> Merit:
    """The network with the branches that the objective needs, its weights drawn from the run's seed."""
    terms = OBJECTIVES[config.objective]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Merit(model_config, reconstructs="masked_mse" in terms, aligns="info_nce" in terms)


def make_optimiser(model: Merit, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW; no decay on vectors (norms, biases, tokens), a faster rate for the attention biases."""
    named = list(model.named_parameters())
    fast = [p for name, p in named if name.endswith(("offset_bias", "lead_bias"))]
    plain = [p for name, p in named if p.ndim < 2]
    taken = {id(p) for p in fast + plain}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [(rest, 1.0, config.weight_decay), (plain, 1.0, 0.0), (fast, config.bias_rate_scale, 0.0)]
    return torch.optim.AdamW(
        [
            {"params": p, "weight_decay": decay, "peak_lr": config.learning_rate * factor}
            for p, factor, decay in groups
            if p
        ],
        lr=config.learning_rate,
        betas=config.betas,
    )


def forward_terms(
    model: Merit, batch: tuple[Tensor, Tensor, Tensor], config: PretrainConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """The terms of the objective on a batch with freshly drawn masks; bf16 autocast on a GPU, losses in float32."""
    signal, text, valid = batch
    encoder = model.config.encoder
    visible = random_visible((len(signal), encoder.n_leads, encoder.n_patches), model.config.mask_ratio, generator)
    cast = torch.autocast("cuda", torch.bfloat16) if signal.is_cuda else contextlib.nullcontext()
    with cast:
        out = model(signal, text, visible)
    return {name: TERMS[name](out, model.log_temperature.exp(), valid) for name in OBJECTIVES[config.objective]}


def _info_nce(out: Outputs, temperature: Tensor, valid: Tensor) -> Tensor:
    return info_nce(out.ecg.float(), out.text.float(), temperature, valid)


def _masked_mse(out: Outputs, temperature: Tensor, valid: Tensor) -> Tensor:
    return masked_mse(out.prediction.float(), out.target.float(), out.hidden)


def _bottleneck(out: Outputs, temperature: Tensor, valid: Tensor) -> Tensor:
    return bottleneck(out.ecg.float(), out.text.float(), valid)


TERMS = {"info_nce": _info_nce, "masked_mse": _masked_mse, "bottleneck": _bottleneck}


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


def mask_generator(seed: int, update: int, device: torch.device) -> torch.Generator:
    """The masks of an update follow from (seed, update) alone; validation uses updates below zero."""
    words = np.random.SeedSequence([seed, update if update >= 0 else 2**40 - update]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)


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
        for name, value in forward_terms(
            model, batch, config, mask_generator(config.seed, -1 - number, device)
        ).items():
            sums[name] = sums.get(name, 0.0) + value.item()
    model.train()
    return {name: total / len(starts) for name, total in sums.items()}


def require_finite(values: dict[str, Tensor], update: int) -> None:
    """Stop at the first value that is not finite, by name; the last checkpoint stays as it is."""
    for name, value in values.items():
        if not torch.isfinite(value):
            raise NonFiniteLoss(
                f"update {update}: expected a finite {name}; got {value.item()}; the last good checkpoint is kept; "
                "lower the learning rate or look at the recordings of this update"
            )


def seen_records(data: PairedRecordings, cohort: str) -> pd.DataFrame:
    """The patients and records that training or its validation used, for `seen.parquet`."""
    frame = data.records.iloc[data.rows][["patient_id", "record_id"]].reset_index(drop=True)
    frame.insert(0, "cohort", cohort)
    return frame
