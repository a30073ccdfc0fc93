"""MERL (Liu et al. 2024, ICML, arXiv 2403.06659) in its two published forms, a ResNet18 in one dimension and a
ViT-Tiny, aligned with the reports of MIMIC-IV-ECG through a frozen MedCPT.

Written from the architecture that github.com/cheliu-computation/MERL-ICML2024 shows at 38799b7 (MIT; none of its code
is here). Two kinds of files are published: `*_ckpt.pth`, everything, and `*_encoder.pth`, the ECG encoder alone, which
has no space shared with texts. Shapes: B batch, L leads, T samples, n columns or patches, D feature, d shared space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from merit.encoders import golden
from merit.encoders.base import InputSpec
from merit.encoders.blocks import MEDCPT, Attention, BertSize, PreNormBlock, TextTower
from merit.encoders.published import MIMIC_LEADS, TextAlignedEncoder, min_max, unit
from merit.encoders.weights import State

FS_HZ = 500
POOLING_HEADS = 4


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes that both forms have; the defaults, here and below, are those of the published weights."""

    n_samples: int = 5000
    hidden: int = 256
    """Width between the two layers of a projection."""
    shared: int = 256
    text: BertSize = MEDCPT


@dataclass(frozen=True, kw_only=True)
class ResNetSize(Size):
    """The ResNet's stages."""

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)


@dataclass(frozen=True, kw_only=True)
class ViTSize(Size):
    """The transformer."""

    patch: int = 50
    width: int = 192
    depth: int = 12
    heads: int = 3
    head_width: int = 64
    mlp: int = 768


# -- the ECG encoders --------------------------------------------------------------------------------------------------


class ResidualBlock(nn.Module):
    """Two convolutions of three samples beside a shortcut, which is projected where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm1d(n_out)
        self.conv2, self.bn2 = nn.Conv1d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm1d(n_out)
        changes = stride != 1 or n_in != n_out
        projection = [nn.Conv1d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm1d(n_out)] if changes else []
        self.shortcut = nn.Sequential(*projection)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n_in, T] to [B, n_out, ceil(T / stride)]."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """A ResNet18 over time with the leads as channels, without the pooling of the stem and without the classifier."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        n_in = size.widths[0]
        self.conv1, self.bn1 = nn.Conv1d(12, n_in, 7, 2, 3, bias=False), nn.BatchNorm1d(n_in)
        for i, (width, depth) in enumerate(zip(size.widths, size.depths)):
            blocks = [ResidualBlock(n_in, width, 2 if i else 1)]
            blocks += [ResidualBlock(width, width, 1) for _ in range(depth - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
            n_in = width

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, D], the 313 columns of the last stage, from [B, 12, T]; their mean is the feature."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D], the mean of the columns, from [B, 12, T]."""
        return self.tokens(x).mean(1)


class ViT(nn.Module):
    """A transformer over patches of 0.1 s that hold all leads; averaged first, normalised after."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.depth = size.depth
        self.to_patch_embedding = nn.Conv1d(12, size.width, size.patch, size.patch, bias=False)
        self.pos_embedding = nn.Parameter(torch.randn(1, size.n_samples // size.patch, size.width))
        for i in range(size.depth):
            self.add_module(f"block{i}", PreNormBlock(size.width, size.heads, size.head_width, size.mlp))
        self.norm = nn.LayerNorm(size.width)

    def _states(self, x: Tensor) -> Tensor:
        x = self.to_patch_embedding(x).transpose(1, 2) + self.pos_embedding
        for i in range(self.depth):
            x = self.get_submodule(f"block{i}")(x)
        return x

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, D], the 100 patches in order, from [B, 12, T]: each is brought through the normalisation with the
        centre and the deviation of their mean, so that the mean of these tokens is the feature.
        """
        states = self._states(x)
        mean = states.mean(1, keepdim=True)
        deviation = (mean.var(2, unbiased=False, keepdim=True) + self.norm.eps).sqrt()
        return (states - mean.mean(2, keepdim=True)) / deviation * self.norm.weight + self.norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """[B, D], the normalised mean of the patches, from [B, 12, T]."""
        return self.norm(self._states(x).mean(1))


# -- the ways into the shared space ------------------------------------------------------------------------------------


class AttentionPool(nn.Module):
    """A learned token that attends to itself and to the columns; its position is added to it twice, as published."""

    def __init__(self, width: int, n_columns: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, n_columns + 1, width) / width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.mhsa, self.c_proj = Attention(width, POOLING_HEADS), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, W] from [B, n, W]."""
        first = (self.cls_token + self.positional_embedding[:, :1]).expand(len(x), -1, -1)
        x = torch.cat((first, x), 1) + self.positional_embedding
        return self.c_proj(self.mhsa(x[:, :1], x))[:, 0]


class PooledHead(nn.Module):
    """From the ResNet's columns to the shared space."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        n_columns = -(-size.n_samples // 16)  # the stem and three stages halve the time, rounding up
        self.downconv = nn.Conv1d(size.widths[-1], size.shared, 1)
        self.att_pool_head = AttentionPool(size.shared, n_columns)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, d] from [B, n, D]."""
        return self.att_pool_head(self.downconv(tokens.transpose(1, 2)).transpose(1, 2))


class MeanHead(nn.Module):
    """From the transformer's feature, the mean of its tokens, to the shared space."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        first = [nn.Linear(size.width, size.hidden), nn.BatchNorm1d(size.hidden), nn.ReLU()]
        self.proj_e = nn.Sequential(*first, nn.Linear(size.hidden, size.shared), nn.BatchNorm1d(size.shared))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, d] from [B, n, D]."""
        return self.proj_e(tokens.mean(1))


# -- the encoders ------------------------------------------------------------------------------------------------------


class MerlText(TextTower):
    """MedCPT by BERT's pooler."""

    max_tokens, pooler = 256, True

    def pool(self, output: Any, attention: Tensor) -> Tensor:
        """[B, W]: the first token through BERT's dense layer and tanh."""
        return output.pooler_output


class Merl(TextAlignedEncoder):
    """The ResNet: 10 s at 500 Hz, the whole recording from its smallest value, 0, to its largest, 1."""

    name = "merl"
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=10, leads=MIMIC_LEADS, scaling="min-max of the whole recording")
    network_class, head_class = ResNet, PooledHead
    small_text = BertSize(vocabulary=100, width=24, depth=2, heads=2, positions=32)
    published: Size = ResNetSize()
    small: Size = ResNetSize(
        n_samples=410, hidden=20, shared=16, text=small_text, widths=(8, 12, 16, 24), depths=(2, 1, 2, 1)
    )
    left_out = ("ecg_encoder.linear.", "linear1.", "linear2.")
    """The ResNet's classifier, which MERL never trains, and what serves the loss between two views of an ECG alone."""
    text_class, text_prefix, text_head = MerlText, "lm_model.", "proj_t."
    texts_take = "the *_ckpt.pth"

    @classmethod
    def parts(cls, size: Size) -> dict[str, tuple[str, nn.Module]]:
        first, last = nn.Linear(size.text.width, size.hidden), nn.Linear(size.hidden, size.shared)
        return {
            "ecg_encoder.": (f"the ECG encoder of {cls.name}", cls.network_class(size)),
            "": (f"the projection of {cls.name}", cls.head_class(size)),
            "proj_t.": (f"the projection of texts of {cls.name}", nn.Sequential(first, nn.GELU(), last)),
        }

    @classmethod
    def renamed(cls, state: State, path: Path) -> State:
        """The file of the encoder alone by the names of the other."""
        whole = any(key.startswith("ecg_encoder.") for key in state)
        return state if whole else {f"ecg_encoder.{key}": value for key, value in state.items()}

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, L, T] from 0 to 1."""
        return min_max(signal_mv)

    def shared(self, x: np.ndarray) -> np.ndarray:
        """float32 [B, d], rows of length 1, from what `prepared` gives."""
        return unit(self.run(lambda batch: self.head(self.network.tokens(batch)), x))

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d], rows of length 1, from texts in lower case, as MERL's zero-shot code has them."""
        return unit(super().embed_text([text.lower() for text in texts]))

    def golden(self) -> dict[str, np.ndarray]:
        """Feature, shared vector and text vector; the second text ends in three tokens of padding."""
        x = golden.signal(2, 12, self.small.n_samples)
        text = self.text.from_tokens(golden.tokens(self.small.text.vocabulary, 2, 9), golden.padded(9, 3))
        return {"feature": self.run(self.network, x), "shared": self.shared(x), "text": unit(text)}


class MerlViT(Merl):
    """The ViT-Tiny, otherwise as MERL."""

    name = "merl-vit"
    network_class, head_class = ViT, MeanHead
    published = ViTSize()
    small = ViTSize(
        n_samples=400, hidden=20, shared=16, text=Merl.small_text, width=24, depth=2, heads=2, head_width=8, mlp=40
    )
    left_out = ("linear1.", "linear2.")
