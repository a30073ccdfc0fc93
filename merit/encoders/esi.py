"""ESI (Yu et al. 2024, "ECG Semantic Integrator", TMLR, arXiv 2405.19366): a ConvNeXt V2 in one dimension, aligned with
BioLinkBERT by a contrastive and a captioning loss.

Written from the architecture that github.com/comp-well-org/ESI shows at 5c08a9b (GPL-3.0; none of its code is here).
Shapes: B batch, C channels, T samples, n columns, D feature, d shared space.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.encoders import golden, weights
from merit.encoders.base import InputSpec
from merit.encoders.blocks import BertSize, TextTower, UnitLength, named
from merit.encoders.published import MIMIC_LEADS, TextAlignedEncoder
from merit.encoders.weights import State

EPSILON = 1e-6
TOWERS = ("pretrained_text_encoder.", "unimodal_layers.")
"""Two names of one text tower."""
BIOLINKBERT = BertSize(vocabulary=28895)


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of the network; the defaults are those of the published weights."""

    widths: tuple[int, ...] = (128, 256, 512, 1024)
    depths: tuple[int, ...] = (3, 3, 27, 3)
    shared: int = 768
    """Width of the heads, of the text tower and of the shared space alike."""
    text: BertSize = BIOLINKBERT


class TimeNorm(nn.Module):
    """Each channel to mean 0 and deviation 1 over time, then gain and offset: what stands in ESI where ConvNeXt
    normalises over channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1, width, 1)), nn.Parameter(torch.zeros(1, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same."""
        centred = x - x.mean(-1, keepdim=True)
        return self.weight * centred / (x.std(-1, keepdim=True) + EPSILON) + self.bias


class GlobalResponse(nn.Module):
    """ConvNeXt V2's global response normalisation (Woo et al. 2023, section 3.2), in time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] to the same."""
        size = x.norm(dim=1, keepdim=True)
        return x + self.gamma * x * size / (size.mean(-1, keepdim=True) + EPSILON) + self.beta


class Block(nn.Module):
    """Depthwise convolution over 7 columns, then an MLP of four widths with response normalisation, beside identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.grn = GlobalResponse(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same."""
        inner = F.gelu(self.pwconv1(self.norm(self.dwconv(x).transpose(1, 2))))
        return x + self.pwconv2(self.grn(inner)).transpose(1, 2)


class ConvNeXt(nn.Module):
    """[B, 12, 5000] to the feature [B, 1024]; 85.6 million parameters. Parts are named as in the published state."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv1d(len(MIMIC_LEADS), size.widths[0], 4, 4), TimeNorm(size.widths[0]))
        between = (nn.Sequential(TimeNorm(a), nn.Conv1d(a, b, 2, 2)) for a, b in itertools.pairwise(size.widths))
        self.downsample_layers = nn.ModuleList([stem, *between])
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for width, depth in zip(size.widths, size.depths)
        )
        self.norm = nn.LayerNorm(size.widths[-1], eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] from [B, 12, T]: mean over time, then normalised over channels."""
        return self.norm(self.columns(x).mean(-1))

    def columns(self, x: Tensor) -> Tensor:
        """[B, D, n] from [B, 12, T]: the last stage, 156 columns for ten seconds."""
        for down, stage in zip(self.downsample_layers, self.stages):
            x = stage(down(x))
        return x

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, D], whose mean is the feature: each column, normalised by the statistics of the columns' mean."""
        columns = self.columns(x).transpose(1, 2)
        mean = columns.mean(1, keepdim=True)
        scale = (mean.var(-1, correction=0, keepdim=True) + self.norm.eps).rsqrt()
        return (columns - mean.mean(-1, keepdim=True)) * scale * self.norm.weight + self.norm.bias


class Gain(nn.Module):
    """Layer normalisation with a gain, and an offset that is kept in the state but not learnt."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, W] to the same."""
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


def to_latents(width: int) -> nn.Sequential:
    """[B, d] from [B, W]: a matrix into the shared space, and length 1."""
    return named(to_latents=nn.Linear(width, width, bias=False), unit=UnitLength())


class EsiText(TextTower):
    """BioLinkBERT by its first token; the pooler, which the state has, is not read."""

    max_tokens, pooler = 500, True


class Esi(TextAlignedEncoder):
    """A recording is brought to mean 0 and deviation 1 as a whole, all leads together."""

    name = "esi"
    input_spec = InputSpec(
        fs_hz=500, duration_s=10, leads=MIMIC_LEADS, scaling="mean 0, deviation 1, over all leads and samples"
    )
    published = Size()
    small = Size(
        widths=(8, 12, 16, 24),
        depths=(1, 1, 2, 1),
        shared=16,
        text=BertSize(vocabulary=100, width=16, depth=1, heads=2, positions=64),
    )
    left_out = (
        *("img_encoder.head.", "img_attn_pool.", "text_cls_norm."),
        *("multimodal_layers.", "to_logits.", "temperature"),
    )
    """A classifier that pretraining bypasses, an attention pooling and a normalisation that it never calls, the
    captioning decoder, the temperature.
    """

    text_class, text_prefix, text_head = EsiText, TOWERS[0], "text_to_latents."

    @classmethod
    def parts(cls, size: Size) -> dict[str, tuple[str, nn.Module]]:
        heads = named(
            img_token_head=nn.Linear(size.widths[-1], size.shared),
            img_attn_pool_norm=Gain(size.shared),
            img_to_latents=to_latents(size.shared),
        )
        return {
            "img_encoder.": ("ESI's ConvNeXt V2", ConvNeXt(size)),
            "": ("ESI's image heads", heads),
            "text_to_latents.": ("ESI's text head", to_latents(size.shared)),
        }

    @classmethod
    def renamed(cls, state: State, path: Path) -> State:
        """The text tower under its first name; accelerate's `save_model` lists it under one, as safetensors does, or
        under both.
        """
        states = weights.split(state, TOWERS)
        first, second = (states[name] for name in TOWERS)
        for key in first.keys() & second.keys():
            if not torch.equal(first[key], second[key]):
                raise ValueError(f"{path}: {' and '.join(TOWERS)} are one text tower, and differ in {key}")
        return {**states[""], **{TOWERS[0] + key: value for key, value in {**first, **second}.items()}}

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, T] without unit; the deviation divides by one less than the number of values, as the original's."""
        mean = signal_mv.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        deviation = signal_mv.std(axis=(1, 2), keepdims=True, ddof=1, dtype=np.float64)
        return (signal_mv - mean) / (deviation + EPSILON)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, 768] of length 1: BioLinkBERT's first token through `text_to_latents`.

        The original publishes no zero-shot code; this is the path of its contrastive loss, which there takes off the
        last column of each batch, the [SEP] of its longest texts.
        """
        return super().embed_text(texts)

    def golden(self) -> dict[str, np.ndarray]:
        """Feature, shared vector and text vector."""
        x, ids = golden.signal(2, 12, 640), golden.tokens(self.small.text.vocabulary, 2, 9)
        return {"feature": self.run(self.network, x), "shared": self.shared(x), "text": self.text.from_tokens(ids)}
