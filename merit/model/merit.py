"""The dual-branch network of Fig. 1: one encoder, a decoder for the hidden patches, two heads into the shared space.

The text encoder is not part of it, except for last layers of it that are trained: what is frozen of it gives inputs.
What peers contrast in place of texts, two views of one recording, has heads of its own. Shapes: B batch, L leads,
T samples, N patches, K visible, D encoder width, d shared width. Signals in millivolts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from merit.config import ModelConfig
from merit.model.resnet18 import ResNet18
from merit.model.text import TextTower
from merit.model.tiny_vit import SampleHead, TinyVit
from merit.model.vit import Decoder, Encoder, hidden_from

FLAT_MV = 1e-6
"""A recording that varies less than this is divided by it, so that it stays finite."""


def scale(signal_mv: Tensor, how: str) -> Tensor:
    """[B, L, T] scaled per recording over all leads: zscore, minmax to [0, 1] (MERL), or mv (left as it is)."""
    if how == "mv":
        return signal_mv
    if how == "minmax":
        low, high = signal_mv.amin((1, 2), keepdim=True), signal_mv.amax((1, 2), keepdim=True)
        return (signal_mv - low) / (high - low).clamp(min=FLAT_MV)
    centred = signal_mv - signal_mv.mean((1, 2), keepdim=True)
    return centred / centred.square().mean((1, 2), keepdim=True).sqrt().clamp(min=FLAT_MV)


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch by its own mean and variance, [..., patch] (the target of MAE and ST-MEM)."""
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()


@dataclass(frozen=True)
class Outputs:
    """One forward of pretraining; the parts that the objective does not need are None."""

    ecg: Tensor | None
    """[B, d], not yet normalised."""
    text: Tensor | None
    """[B, d], not yet normalised."""
    prediction: Tensor | None
    """[B, L, N, patch]."""
    target: Tensor | None
    """[B, L, N, patch]."""
    hidden: Tensor | None
    """[B, L, N], True = masked and predicted; None: whole recordings were shown."""
    views: Tensor | None = None
    """[2, B, d], not yet normalised."""


class Merit(nn.Module):
    """Encoder, decoder and projection heads (Sec. 3.3); `reconstructs` and `aligns` say which branches exist.

    `contrasts`: a head on two views that follow each other in a batch (SimCLR, CLOCS); `drops`: two linear maps with
    dropout on their outputs (MERL); `masks`: patches are hidden, for which a resnet18 needs a value to put there.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        reconstructs: bool = True,
        aligns: bool = True,
        contrasts: bool = False,
        drops: bool = False,
        masks: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        kind, width, shared = config.encoder.kind, config.encoder.embedding_width, config.shared_width
        kinds = {"vit": Encoder, "tiny_vit": TinyVit, "resnet18": partial(ResNet18, masks=masks)}
        self.encoder, self.decoder = kinds[kind](config.encoder), None
        if reconstructs:
            self.decoder = Decoder(config.decoder, config.encoder) if kind == "vit" else SampleHead(config.encoder)
        self.ecg_head = projection_head(width, shared) if aligns else None
        self.text_head = projection_head(config.text_width, shared) if aligns else None
        log_temperature = torch.tensor(math.log(config.temperature))
        if aligns and config.learn_temperature:
            self.log_temperature = nn.Parameter(log_temperature)
        else:
            self.register_buffer("log_temperature", log_temperature)
        self.view_head = projection_head(width, shared) if contrasts else None
        self.view_maps = nn.ModuleList(nn.Linear(width, shared, bias=False) for _ in range(2)) if drops else None
        # last, so that everything else starts from the same random numbers with and without it
        self.text_tower = TextTower(config.text_tower) if aligns and config.text_tower is not None else None

    def forward(
        self,
        signal_mv: Tensor,
        text: Tensor | tuple | None,
        visible: Tensor | None,
        dropout: Tensor | None = None,
        decoded: Tensor | None = None,
    ) -> Outputs:
        """signal_mv: [B, L, T]; text: [B, Dt], embeddings of the frozen text encoder, or `Words` for layers of it that
        are trained; visible: int64 [B, L, K], None: all; dropout: [B, 2, d], factors on the outputs of the two maps;
        decoded: int64 [B, L, M], the hidden patches that are predicted, None: all of them.

        The contrastive branch sees the same masked view as the decoder: one forward (Sec. 3.3). Where two views are
        contrasted, the first half of the batch holds the first views and the second half the second ones.
        """
        embedded = text if self.text_tower is None else self.text_tower(text)  # first: it is not compiled, the rest is
        signal = scale(signal_mv, self.config.scaling)
        tokens = self.encoder(signal, visible)
        ecg = text_out = prediction = target = views = None
        if self.ecg_head is not None:
            ecg, text_out = self.ecg_head(self.encoder.pool(tokens)), self.text_head(embedded)
        if self.decoder is not None:
            prediction, target = self.decoder(tokens, visible, decoded), self.encoder.patches(signal)
            target = normalise_patches(target) if self.config.patch_target else target
        hidden = None if visible is None else hidden_from(visible, self.config.encoder.n_patches)
        if decoded is not None:
            hidden = ~hidden_from(decoded, self.config.encoder.n_patches)
        if self.view_head is not None:
            views = self.view_head(self.encoder.pool(tokens)).unflatten(0, (2, -1))
        elif self.view_maps is not None:
            pooled = self.encoder.pool(tokens)
            views = torch.stack([linear(pooled) for linear in self.view_maps]) * dropout.transpose(0, 1)
        return Outputs(ecg, text_out, prediction, target, hidden, views)

    def embed(self, signal_mv: Tensor) -> Tensor:
        """The representation that is evaluated, [B, D]: nothing hidden, tokens averaged; signal_mv: [B, L, T]."""
        return self.encoder.pool(self.encoder(scale(signal_mv, self.config.scaling)))


def projection_head(width: int, shared: int) -> nn.Sequential:
    """Linear-GELU-Linear into the shared space (MERL's projection)."""
    return nn.Sequential(nn.Linear(width, shared), nn.GELU(), nn.Linear(shared, shared))
