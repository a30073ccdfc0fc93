"""What the scale of the reconstruction's target does (Eq. 7): gradients of both terms, and short runs at one scale.

A target of s times the z-scored signal makes the masked error s² times as large and leaves InfoNCE as it is. The
decoder's output is scaled by s too, unless said otherwise: it then starts in the target's unit, and the sum of both
terms is InfoNCE + s² · error exactly, so that nothing differs between scales but the weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from merit.config import ModelConfig, PretrainConfig, replace
from merit.data.batches import PairedRecordings
from merit.model.merit import FLAT_MV, Merit, scale
from merit.objectives import info_nce, masked_mse
from merit.parallel import one_thread_an_operation
from merit.pretrain.distributed import World
from merit.pretrain.loaders import Batch
from merit.pretrain.train import FiniteCheck, build, draw, make_optimiser, mask_generator, positions, train_step


def gradient_norms(
    model: Merit, batch: Batch, visible: Tensor, scales: Sequence[float], *, own_unit: bool = True
) -> tuple[float, list[float]]:
    """Norm of the gradient on the encoder's weights of InfoNCE, and of the masked error at each scale.

    own_unit: the decoder's output is scaled along with the target, not the target alone.
    """
    weights = [p for p in model.encoder.parameters() if p.requires_grad]
    signal, text, valid, _ = batch
    out = model(signal, text, visible)

    def norm(loss: Tensor) -> float:
        gradients = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
        return float(torch.sqrt(sum(g.double().square().sum() for g in gradients if g is not None)))

    aligned = norm(info_nce(out.ecg, out.text, model.log_temperature.exp(), valid))
    errors = [norm(masked_mse(out.prediction * (s if own_unit else 1), s * out.target, out.hidden)) for s in scales]
    return aligned, errors


@one_thread_an_operation()
def gradients(
    model: Merit,
    data: PairedRecordings,
    config: PretrainConfig,
    scales: Sequence[float],
    n_batches: int,
    *,
    own_unit: bool = True,
    device: str = "cpu",
) -> np.ndarray:
    """float64 [n_batches, 1 + scales]: InfoNCE's norm and the masked error's, on batches of recordings of their own.

    The batches and masks are the same at every call: those of updates below zero, which training never draws.
    """
    where = torch.device(device)
    order = np.random.default_rng([config.seed, 1]).permutation(len(data))
    rows = []
    for number in range(n_batches):
        chosen = np.resize(np.roll(order, -number * config.batch), config.batch)
        visible = draw(model, config.batch, config, mask_generator(config.seed, -1 - number, where))["visible"]
        aligned, errors = gradient_norms(model, data.take(chosen, where), visible, scales, own_unit=own_unit)
        rows.append([aligned, *errors])
    return np.array(rows)


@one_thread_an_operation()
def short_run(
    data: PairedRecordings, model_config: ModelConfig, config: PretrainConfig, weight: float, *, device: str = "cpu"
) -> Merit:
    """The network after `config.updates` updates of InfoNCE + weight · masked error, for evaluation.

    In memory, without checkpoints or validation; the updates are those of `train.pretrain`. config: objective merit.
    """
    world = World(device=torch.device(device))
    model = build(model_config, config).to(world.device).train()
    optimiser, finite, total = make_optimiser(model, config), FiniteCheck(world.device), config.updates
    config = replace(config, masked_mse_scale=weight)
    for update in range(total):
        batch = data.take(positions(len(data), update, config), world.device)
        train_step(model, model, optimiser, batch, config, update, total, world, finite)
    finite.check()
    return model.eval()


def first_samples(data: PairedRecordings, n_samples: int) -> PairedRecordings:
    """The same recordings, cut to their first samples."""
    return PairedRecordings(data.signal_uv[..., :n_samples], data.rows, data.text, data.text_row, data.records)


def target_spreads(data: PairedRecordings, most: int = 1000) -> dict[str, np.ndarray]:
    """Scaling -> sd of each recording's target around its mean, [N]: its scale s beside a z-scored target.

    Recordings that are flat are left out.
    """
    chosen = np.random.default_rng(0).permutation(len(data))[:most]
    signal, *_ = data.take(np.sort(chosen), torch.device("cpu"))
    signal = signal[signal.flatten(1).std(1, correction=0) > 10 * FLAT_MV].double()
    return {how: scale(signal, how).flatten(1).std(1, correction=0).numpy() for how in ("minmax", "mv", "zscore")}
