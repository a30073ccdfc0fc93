"""The dual-branch network of Fig. 1: one encoder, a decoder for the hidden patches, two heads into the shared space.

The text encoder is not in here: it is frozen, so its embeddings are inputs. Shapes: B batch, L leads, T samples,
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
from merit.model.scaling import normalise_patches, scale
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
    hidden: Tensor
    """[B, L, N], True = masked."""


class Merit(nn.Module):
    """Encoder, decoder and projection heads (Sec. 3.3); `reconstructs` and `aligns` say which branches exist."""

    def __init__(self, config: ModelConfig, *, reconstructs: bool = True, aligns: bool = True) -> None:
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

    def forward(self, signal_mv: Tensor, text: Tensor | None, visible: Tensor) -> Outputs:
        """signal_mv: [B, L, T]; text: [B, Dt], embeddings of the frozen text encoder; visible: int64 [B, L, K].

        The contrastive branch sees the same masked view as the decoder: one forward (Sec. 3.3).
        """
        signal = scale(signal_mv, self.config.scaling)
        tokens = self.encoder(signal, visible)
        ecg = text_out = prediction = target = None
        if self.ecg_head is not None:
            ecg, text_out = self.ecg_head(self.encoder.pool(tokens)), self.text_head(text)
        if self.decoder is not None:
            prediction, target = self.decoder(tokens, visible), self.encoder.patches(signal)
            target = normalise_patches(target) if self.config.patch_target else target
        return Outputs(ecg, text_out, prediction, target, hidden_from(visible, self.config.encoder.n_patches))

    def embed(self, signal_mv: Tensor) -> Tensor:
        """The representation that is evaluated, [B, D]: nothing hidden, tokens averaged; signal_mv: [B, L, T]."""
        return self.encoder.pool(self.encoder(scale(signal_mv, self.config.scaling)))


def _encoder(config: ModelConfig) -> Encoder | TinyVit:
    return TinyVit(config.encoder) if config.encoder.kind == "tiny_vit" else Encoder(config.encoder)


def _decoder(config: ModelConfig) -> Decoder | SampleHead:
    """The decoder that reads the tokens of the encoder's kind."""
    return SampleHead(config.encoder) if config.encoder.kind == "tiny_vit" else Decoder(config.decoder, config.encoder)


def _head(width: int, shared: int) -> nn.Sequential:
    """Linear-GELU-Linear into the shared space (MERL's projection)."""
    return nn.Sequential(nn.Linear(width, shared), nn.GELU(), nn.Linear(shared, shared))
