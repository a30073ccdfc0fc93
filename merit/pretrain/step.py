"""One update: what is shown, forward, the terms of the objective, gradients. Nothing in it waits for a GPU.

B rows of this process.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merit.config import ModelConfig, PretrainConfig
from merit.model.attention import KERNELS, use_kernel
from merit.model.merit import Merit, Outputs
from merit.objectives import OBJECTIVES, bottleneck, info_nce, masked_mse, nt_xent, segments, weights
from merit.pretrain.feed import Batch
from merit.pretrain.network import network
from merit.pretrain.views import Drawn, way
from merit.pretrain.world import World

Terms = dict[str, Tensor]


def build(model_config: ModelConfig, config: PretrainConfig, text: Mapping[str, Tensor] | None = None) -> Merit:
    """The network with the branches that the objective needs, its weights drawn from the run's seed.

    text: weights that the trained layers of the text encoder start from.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = network(model_config, config.objective)
    if model.text_tower is not None and text is not None:
        model.text_tower.load_state_dict(text)
    return model


def make_optimiser(model: Merit, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW, fused on a GPU; no decay on vectors (norms, biases, tokens), a faster rate for the attention biases and a
    slower one for layers of the text encoder, which start pretrained.
    """
    every = list(model.named_parameters())
    read = [p for name, p in every if name.startswith("text_tower.")]
    named = [(name, p) for name, p in every if not name.startswith("text_tower.")]
    fast = [p for name, p in named if name.endswith(("offset_bias", "lead_bias"))]
    plain = [p for name, p in named if p.ndim < 2]
    taken = {id(p) for p in fast + plain}
    rest = [p for _, p in named if id(p) not in taken]
    groups = [(rest, 1.0, config.weight_decay), (plain, 1.0, 0.0), (fast, config.bias_rate_scale, 0.0)]
    groups.append(([p for p in read if p.ndim >= 2], config.text_rate_scale, config.weight_decay))
    groups.append(([p for p in read if p.ndim < 2], config.text_rate_scale, 0.0))
    return torch.optim.AdamW(
        [
            {"params": p, "weight_decay": decay, "peak_lr": config.learning_rate * factor}
            for p, factor, decay in groups
            if p
        ],
        lr=config.learning_rate,
        betas=config.betas,
        fused=named[0][1].is_cuda,
    )


def ready(
    model: Merit, world: World, compiled: bool, *, graphs: bool = False, attention: str = "sdpa"
) -> Callable[..., Outputs]:  # fmt: skip
    """The network as updates call it: compiled if asked for, and with gradients averaged over several processes.

    graphs: compiled, with its launches recorded as CUDA graphs; attention: `flex` compiles too; both need a GPU and
    change nothing but rounding. It shares its weights with `model`, which is what checkpoints hold. On several GPUs
    BatchNorm, where there is any, sees the whole batch.
    """
    require_possible(model, world.device, graphs, attention)
    if attention == "flex":
        use_kernel(model, attention)
    compiled = compiled or graphs or attention == "flex"
    if world.size > 1 and world.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if compiled and model.text_tower is not None:  # texts' shapes differ: each batch would be compiled again
        model.text_tower.forward = torch.compiler.disable(model.text_tower.forward)
    mode = "reduce-overhead" if graphs else None
    called: nn.Module = torch.compile(model, dynamic=False, mode=mode) if compiled else model
    called = called if world.size == 1 else _averaged(called, world)
    return _stepwise(called) if graphs else called


def require_possible(model: Merit, device: torch.device, graphs: bool, attention: str) -> None:
    """ValueError, with what to do, for a way of computing that this device or network does not have."""
    if attention not in KERNELS:
        raise ValueError(f"attention: expected one of {', '.join(KERNELS)}; got {attention!r}")
    if graphs and device.type != "cuda":
        raise ValueError(f"graphs: CUDA graphs need a GPU; got device {device.type}; leave --graphs out")
    if attention == "flex" and device.type != "cuda":
        raise ValueError(
            f"attention: FlexAttention has gradients on a GPU alone; got device {device.type}; use --attention sdpa"
        )
    if graphs and model.text_tower is not None:
        raise ValueError(
            "graphs: expected a frozen text encoder, since trained layers read texts of other lengths at every update; "
            "leave out --graphs or TEXT_LAYERS"
        )


def _stepwise(called: nn.Module) -> Callable[..., Outputs]:
    """Each call begins an update: what the last one left in the graphs' memory (its gradients too) may be reused."""

    def step(*inputs: Any) -> Outputs:
        torch.compiler.cudagraph_mark_step_begin()
        return called(*inputs)

    return step


def _averaged(called: nn.Module, world: World) -> nn.Module:
    where = [world.device.index] if world.device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 renames the argument, 2.11 has only this name
        return nn.parallel.DistributedDataParallel(called, device_ids=where, broadcast_buffers=False)


def update_terms(
    called: nn.Module, model: Merit, batch: Batch, config: PretrainConfig, update: int, world: World
) -> Terms:
    """The terms of an update with this process's part of the batch; masks, or what else is random, are drawn for the
    whole batch and shared out, so that they do not depend on how many processes there are.
    """
    whole = draw(model, len(batch[0]) * world.size, config, mask_generator(config.seed, update, world.device))
    part = {name: world.share(values) for name, values in whole.items()}
    return forward_terms(called, model, batch, config, part, world)


def draw(model: Merit, n: int, config: PretrainConfig, generator: torch.Generator) -> Drawn:
    """All that is random in showing n recordings to the network."""
    return way(config.objective).draw(n, model.config, config.views, generator)


def forward_terms(
    called: Callable[..., Outputs], model: Merit, batch: Batch, config: PretrainConfig, drawn: Drawn, world: World
) -> Terms:
    """The terms of the objective; bf16 autocast on a GPU, losses in float32 or wider.

    Contrasts and the bottleneck are those of all processes' rows; the masked error is this process's own.
    """
    signal, text, valid, patient = batch
    shown = way(config.objective).show(signal, drawn, model.config.encoder)
    cast = torch.autocast("cuda", torch.bfloat16) if signal.is_cuda else contextlib.nullcontext()
    with cast:
        out = called(shown.signal_mv, text, shown.visible, shown.kept)
    terms = OBJECTIVES[config.objective]
    found: Terms = {}
    if "info_nce" in terms:
        ecg, texts = world.gather(_wide(out.ecg)), world.gather(_wide(out.text))
        every = world.gather(valid.to(torch.uint8)).bool()
        found["info_nce"] = info_nce(ecg, texts, model.log_temperature.exp(), every)
        if "bottleneck" in terms:
            found["bottleneck"] = bottleneck(ecg, texts, every)
    if "masked_mse" in terms:
        found["masked_mse"] = masked_mse(_wide(out.prediction), _wide(out.target), out.hidden)
    if out.views is not None:
        views = [world.gather(_wide(view)) for view in out.views]
        if "dropout_views" in terms:
            found["dropout_views"] = info_nce(*views, model.log_temperature.exp())
        if "nt_xent" in terms:
            found["nt_xent"] = nt_xent(*views, config.views.temperature)
        if "segments" in terms:
            found["segments"] = segments(*views, world.gather(patient), config.views.temperature)
    return found


def total_loss(terms: Terms, config: PretrainConfig) -> Tensor:
    """The objective: its terms, weighted."""
    scale = weights(config.objective, asdict(config))
    return sum(scale[name] * value for name, value in terms.items())


def _wide(values: Tensor) -> Tensor:
    """At least float32."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def mask_generator(seed: int, update: int, device: torch.device) -> torch.Generator:
    """What is random in an update follows from (seed, update) alone; validation uses updates below zero."""
    words = np.random.SeedSequence([seed, update if update >= 0 else 2**40 - update]).generate_state(2, np.uint32)
    return torch.Generator(device).manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
