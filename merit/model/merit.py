"""The dual-branch network of Fig. 1: one encoder, a decoder for the hidden patches, two heads into the shared space.

The text encoder is not in here, but for last layers of it that are trained: what is frozen of it gives inputs. What
peers contrast in place of texts, two views of one recording, has maps of its own. Shapes: B batch, L leads, T samples,
N patches, K visible, D encoder width, d shared width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from merit.config import ModelConfig
from merit.model.decoder import Decoder
from merit.model.masking import hidden_from
from merit.model.resnet18 import ResNet18
from merit.model.scaling import normalise_patches, scale
from merit.model.text_tower import TextTower
from merit.model.tiny_vit import SampleHead, TinyVit
from merit.model.vit import Encoder


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
    """[B, L, N], True = masked; None: whole recordings were shown."""
    views: Tensor | None = None
    """[2, B, d], not yet normalised."""


class Merit(nn.Module):
    """Encoder, decoder and projection heads (Sec. 3.3); `reconstructs` and `aligns` say which branches exist.

    Of peers: `contrasts`, a head on two views that come one after the other in a batch (SimCLR, CLOCS); `drops`, two
    maps whose outputs are dropped in part (MERL).
    """

    def __init__(
        self, config: ModelConfig, *, reconstructs: bool = True, aligns: bool = True, contrasts: bool = False,
        drops: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = config
        width, shared = config.encoder.embedding_width, config.shared_width
        self.encoder = _encoder(config)
        self.decoder = _decoder(config) if reconstructs else None
        self.ecg_head = _head(width, shared) if aligns else None
        self.text_head = _head(config.text_width, shared) if aligns else None
        log_temperature = torch.tensor(math.log(config.temperature))
        if aligns and config.learn_temperature:
            self.log_temperature = nn.Parameter(log_temperature)
        else:
            self.register_buffer("log_temperature", log_temperature)
        self.view_head = _head(width, shared) if contrasts else None
        self.view_maps = nn.ModuleList(nn.Linear(width, shared, bias=False) for _ in range(2)) if drops else None
        # last, so that everything else starts from the same random numbers with and without it
        self.text_tower = TextTower(config.text_tower) if aligns and config.text_tower is not None else None

    def forward(
        self, signal_mv: Tensor, text: Tensor | tuple | None, visible: Tensor | None, kept: Tensor | None = None
    ) -> Outputs:
        """signal_mv: [B, L, T]; text: [B, Dt], embeddings of the frozen text encoder, or `Words` for layers of it that
        are trained; visible: int64 [B, L, K], None: all; kept: [B, 2, d], what dropout multiplies the two maps' outputs
        with.

        The contrastive branch sees the same masked view as the decoder: one forward (Sec. 3.3). Where two views are
        contrasted, the first half of the batch holds the first views and the second half the second ones.
        """
        embedded = text if self.text_tower is None else self.text_tower(text)  # first: it is not compiled, the rest is
        signal = scale(signal_mv, self.config.scaling)
        tokens = self.encoder(signal, visible)
        ecg = text_out = prediction = target = None
        if self.ecg_head is not None:
            ecg, text_out = self.ecg_head(self.encoder.pool(tokens)), self.text_head(embedded)
        if self.decoder is not None:
            prediction, target = self.decoder(tokens, visible), self.encoder.patches(signal)
            target = normalise_patches(target) if self.config.patch_target else target
        hidden = None if visible is None else hidden_from(visible, self.config.encoder.n_patches)
        return Outputs(ecg, text_out, prediction, target, hidden, self._views(tokens, kept))

    def _views(self, tokens: Tensor, kept: Tensor | None) -> Tensor | None:
        """Both views in the space that they are contrasted in, [2, B, d]; None where no views are."""
        if self.view_head is not None:
            return self.view_head(self.encoder.pool(tokens)).unflatten(0, (2, -1))
        if self.view_maps is not None:
            pooled = self.encoder.pool(tokens)
            return torch.stack([linear(pooled) for linear in self.view_maps]) * kept.transpose(0, 1)
        return None

    def embed(self, signal_mv: Tensor) -> Tensor:
        """The representation that is evaluated, [B, D]: nothing hidden, tokens averaged; signal_mv: [B, L, T]."""
        return self.encoder.pool(self.encoder(scale(signal_mv, self.config.scaling)))


def _encoder(config: ModelConfig) -> Encoder | TinyVit | ResNet18:
    return {"vit": Encoder, "tiny_vit": TinyVit, "resnet18": ResNet18}[config.encoder.kind](config.encoder)


def _decoder(config: ModelConfig) -> Decoder | SampleHead:
    """The decoder that reads the tokens of the encoder's kind; ValueError for one without."""
    if config.encoder.kind == "resnet18":
        raise ValueError("kind: expected vit or tiny_vit for an objective that reconstructs; got resnet18")
    return SampleHead(config.encoder) if config.encoder.kind == "tiny_vit" else Decoder(config.decoder, config.encoder)


def _head(width: int, shared: int) -> nn.Sequential:
    """Linear-GELU-Linear into the shared space (MERL's projection)."""
    return nn.Sequential(nn.Linear(width, shared), nn.GELU(), nn.Linear(shared, shared))
