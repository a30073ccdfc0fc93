"""Three encoders that are aligned with reports through a frozen BERT: MERL, ESI and ECG-Chat.

Shapes: B batch, L leads, C channels, T samples, n columns or patches, W width, D feature, d shared space, R texts.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders.base import InputSpec
from merit.encoders.published import (
    MEDCPT,
    MIMIC_LEADS,
    Apply,
    Attention,
    BertSize,
    MeanOfTokens,
    PreNormBlock,
    TextAlignedEncoder,
    TextTower,
    named,
    unit,
)

FS_HZ = 500

# -- MERL --------------------------------------------------------------------------------------------------------------
# Liu et al. 2024, ICML, arXiv 2403.06659, in its two published forms, a ResNet18 in one dimension and a ViT-Tiny, with
# the reports of MIMIC-IV-ECG through MedCPT. Written from the architecture that github.com/cheliu-computation/MERL-
# ICML2024 shows at 38799b7 (MIT; none of its code is here). Two kinds of files are published: `*_ckpt.pth`, everything,
# and `*_encoder.pth`, the ECG encoder alone, which has no space shared with texts.


@dataclass(frozen=True, kw_only=True)
class MerlSize:
    """Sizes that both forms have; the defaults, here and below, are those of the published weights."""

    n_samples: int = 5000
    hidden: int = 256
    """Width between the two layers of a projection."""
    shared: int = 256
    text: BertSize = MEDCPT


@dataclass(frozen=True, kw_only=True)
class ResNetSize(MerlSize):
    """The ResNet's stages."""

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)


@dataclass(frozen=True, kw_only=True)
class ViTSize(MerlSize):
    """The transformer."""

    patch: int = 50
    width: int = 192
    depth: int = 12
    heads: int = 3
    head_width: int = 64
    mlp: int = 768


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


class ResNet(MeanOfTokens, nn.Sequential):
    """A ResNet18 over time with the leads as channels, without the pooling of the stem and without the classifier."""

    def __init__(self, size: ResNetSize) -> None:
        n_in = size.widths[0]
        parts = {"conv1": nn.Conv1d(12, n_in, 7, 2, 3, bias=False), "bn1": nn.BatchNorm1d(n_in), "relu": nn.ReLU()}
        for i, (width, depth) in enumerate(zip(size.widths, size.depths)):
            blocks = [ResidualBlock(n_in, width, 2 if i else 1)]
            blocks += [ResidualBlock(width, width, 1) for _ in range(depth - 1)]
            parts[f"layer{i + 1}"], n_in = nn.Sequential(*blocks), width
        super().__init__(OrderedDict(parts))

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, D], the 313 columns of the last stage, from [B, 12, T]; their mean is the feature."""
        return nn.Sequential.forward(self, x).transpose(1, 2)


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


class AttentionPool(nn.Module):
    """A learned token that attends to itself and to the columns; its position is added to it twice, as published."""

    def __init__(self, width: int, n_columns: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(1, n_columns + 1, width) / width)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.mhsa, self.c_proj = Attention(width, 4), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, W] from [B, n, W]."""
        first = (self.cls_token + self.positional_embedding[:, :1]).expand(len(x), -1, -1)
        x = torch.cat((first, x), 1) + self.positional_embedding
        return self.c_proj(self.mhsa(x[:, :1], x))[:, 0]


class MerlText(TextTower):
    """MedCPT by BERT's pooler; texts in lower case, as MERL's zero-shot code has them."""

    max_tokens, pooler, pooling, lower, unit = 256, True, "pooler", True, True


class Merl(TextAlignedEncoder):
    """The ResNet: 10 s at 500 Hz, the whole recording from its smallest value, 0, to its largest, 1."""

    name = "merl"
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=10, leads=MIMIC_LEADS, scaling="min-max of the whole recording")
    network_class, min_max, lacking = ResNet, np.float32, "ecg_encoder."
    small_text = BertSize(vocabulary=100, width=24, depth=2, heads=2, positions=32)
    published: MerlSize = ResNetSize()
    small: MerlSize = ResNetSize(
        n_samples=410, hidden=20, shared=16, text=small_text, widths=(8, 12, 16, 24), depths=(2, 1, 2, 1)
    )
    left_out = ("ecg_encoder.linear.", "linear1.", "linear2.")
    """The ResNet's classifier, which MERL never trains, and what serves the loss between two views of an ECG alone."""
    text_class, text_prefix, text_head = MerlText, "lm_model.", "proj_t."
    texts_take = "the *_ckpt.pth"

    @classmethod
    def parts(cls, size: MerlSize) -> dict[str, tuple[str, nn.Module]]:
        first, last = nn.Linear(size.text.width, size.hidden), nn.Linear(size.hidden, size.shared)
        if isinstance(size, ViTSize):  # from the mean of the tokens, which is the feature
            inner = [nn.Linear(size.width, size.hidden), nn.BatchNorm1d(size.hidden), nn.ReLU()]
            outer = [nn.Linear(size.hidden, size.shared), nn.BatchNorm1d(size.shared)]
            head = named(mean=Apply(partial(torch.mean, dim=1)), proj_e=nn.Sequential(*inner, *outer))
        else:
            n_columns = -(-size.n_samples // 16)  # the stem and three stages halve the time, rounding up
            turned = partial(torch.transpose, dim0=1, dim1=2)
            head = named(
                turned=Apply(turned),
                downconv=nn.Conv1d(size.widths[-1], size.shared, 1),
                back=Apply(turned),
                att_pool_head=AttentionPool(size.shared, n_columns),
            )
        return {
            "ecg_encoder.": (f"the ECG encoder of {cls.name}", cls.network_class(size)),
            "": (f"the projection of {cls.name}", head),
            "proj_t.": (f"the projection of texts of {cls.name}", nn.Sequential(first, nn.GELU(), last)),
        }

    def shared(self, x: np.ndarray) -> np.ndarray:
        """float32 [B, d], rows of length 1, from what `prepared` gives."""
        return unit(self.run(lambda batch: self.head(self.network.tokens(batch)), x))


class MerlViT(Merl):
    """The ViT-Tiny, otherwise as MERL."""

    name = "merl-vit"
    network_class = ViT
    published = ViTSize()
    small = ViTSize(
        n_samples=400, hidden=20, shared=16, text=Merl.small_text, width=24, depth=2, heads=2, head_width=8, mlp=40
    )
    left_out = ("linear1.", "linear2.")


# -- ESI ---------------------------------------------------------------------------------------------------------------
# Yu et al. 2024, "ECG Semantic Integrator", TMLR, arXiv 2405.19366: a ConvNeXt V2 in one dimension, aligned with
# BioLinkBERT by a contrastive and a captioning loss. Written from the architecture that github.com/comp-well-org/ESI
# shows at 5c08a9b (GPL-3.0; none of its code is here).

EPSILON = 1e-6
BIOLINKBERT = BertSize(vocabulary=28895)


@dataclass(frozen=True, kw_only=True)
class EsiSize:
    """Sizes of the network; the defaults are those of the published weights."""

    widths: tuple[int, ...] = (128, 256, 512, 1024)
    depths: tuple[int, ...] = (3, 3, 27, 3)
    shared: int = 768
    """Width of the heads, of the text tower and of the shared space alike."""
    text: BertSize = BIOLINKBERT


def time_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """[B, C, T] to the same: each channel to mean 0 and deviation 1 over time, then gain and offset [1, C, 1]; what
    stands in ESI where ConvNeXt normalises over channels.
    """
    centred = x - x.mean(-1, keepdim=True)
    return weight * centred / (x.std(-1, keepdim=True) + EPSILON) + bias


def global_response(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """[B, T, C] to the same: ConvNeXt V2's global response normalisation (Woo et al. 2023, section 3.2), in time."""
    size = x.norm(dim=1, keepdim=True)
    return x + gamma * x * size / (size.mean(-1, keepdim=True) + EPSILON) + beta


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over 7 columns, then an MLP of four widths with response normalisation, beside identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        gamma, beta = torch.zeros(1, 1, 4 * width), torch.zeros(1, 1, 4 * width)
        self.grn = Apply(global_response, gamma=gamma, beta=beta)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to the same."""
        inner = F.gelu(self.pwconv1(self.norm(self.dwconv(x).transpose(1, 2))))
        return x + self.pwconv2(self.grn(inner)).transpose(1, 2)


class ConvNeXt(nn.Module):
    """[B, 12, 5000] to the feature [B, 1024]; 85.6 million parameters. Parts are named as in the published state."""

    def __init__(self, size: EsiSize) -> None:
        super().__init__()
        norms = [
            Apply(time_norm, weight=torch.ones(1, width, 1), bias=torch.zeros(1, width, 1))
            for width in (size.widths[0], *size.widths[:-1])
        ]
        stem = nn.Sequential(nn.Conv1d(len(MIMIC_LEADS), size.widths[0], 4, 4), norms[0])
        halved = [nn.Conv1d(a, b, 2, 2) for a, b in itertools.pairwise(size.widths)]
        self.downsample_layers = nn.ModuleList([stem, *map(nn.Sequential, norms[1:], halved)])
        stages = (
            nn.Sequential(*(ConvNeXtBlock(w) for _ in range(depth))) for w, depth in zip(size.widths, size.depths)
        )
        self.stages = nn.ModuleList(stages)
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


class EsiText(TextTower):
    """BioLinkBERT by its first token; the pooler, which the state has, is not read."""

    max_tokens, pooler = 500, True


class Esi(TextAlignedEncoder):
    """A recording is brought to mean 0 and deviation 1 as a whole, all leads together.

    The original publishes no zero-shot code; texts take the path of its contrastive loss, which there takes off the
    last column of each batch, the [SEP] of its longest texts.
    """

    name = "esi"
    input_spec = InputSpec(
        fs_hz=FS_HZ, duration_s=10, leads=MIMIC_LEADS, scaling="mean 0, deviation 1, over all leads and samples"
    )
    published = EsiSize()
    small_text = BertSize(vocabulary=100, width=16, depth=1, heads=2, positions=64)
    small = EsiSize(widths=(8, 12, 16, 24), depths=(1, 1, 2, 1), shared=16, text=small_text)
    left_out = (
        *("img_encoder.head.", "img_attn_pool.", "text_cls_norm."),
        *("multimodal_layers.", "to_logits.", "temperature"),
    )
    """A classifier that pretraining bypasses, an attention pooling and a normalisation that it never calls, the
    captioning decoder, the temperature.
    """
    renames = ((r"^unimodal_layers\.", "pretrained_text_encoder."),)
    """Two names of the text tower; accelerate's `save_model` lists it under one, as safetensors does, or under both."""
    text_class, text_prefix, text_head = EsiText, "pretrained_text_encoder.", "text_to_latents."

    @classmethod
    def parts(cls, size: EsiSize) -> dict[str, tuple[str, nn.Module]]:
        first, width = nn.Linear(size.widths[-1], size.shared), size.shared
        # Layer normalisation with a gain, and an offset that is kept in the state but not learnt.
        norm = Apply(
            lambda x, gamma, beta: F.layer_norm(x, x.shape[-1:], gamma, beta),
            gamma=torch.ones(width), beta=torch.zeros(width),
        )  # fmt: skip
        # Into the shared space, on either side: a matrix, and length 1.
        ecg, text = (nn.Linear(width, width, bias=False) for _ in range(2))
        length_1 = Apply(partial(F.normalize, dim=-1))
        latents, text_latents = (named(to_latents=matrix, unit=length_1) for matrix in (ecg, text))
        heads = named(img_token_head=first, img_attn_pool_norm=norm, img_to_latents=latents)
        return {
            "img_encoder.": ("ESI's ConvNeXt V2", ConvNeXt(size)),
            "": ("ESI's image heads", heads),
            "text_to_latents.": ("ESI's text head", text_latents),
        }

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, T] without unit; the deviation divides by one less than the number of values, as the original's."""
        mean = signal_mv.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        deviation = signal_mv.std(axis=(1, 2), keepdims=True, ddof=1, dtype=np.float64)
        return (signal_mv - mean) / (deviation + EPSILON)


# -- ECG-Chat ----------------------------------------------------------------------------------------------------------
# Its encoder, ECG-CoCa (Zhao et al. 2024, arXiv 2408.08849): a transformer over patches, aligned with the reports of
# MIMIC-IV-ECG and two other data sets through MedCPT, in the manner of OpenCLIP's CoCa. Written from the architecture
# that github.com/YubaoZhao/ECG-Chat shows at 5c11f27 (no licence stated; none of its code is here). Its authors publish
# no weights: what is read is the format that their training code writes.


@dataclass(frozen=True, kw_only=True)
class EcgChatSize:
    """Sizes of the network; the defaults are those of the authors' configuration."""

    n_samples: int = 5000
    patch: int = 50
    width: int = 768
    depth: int = 12
    heads: int = 12
    shared: int = 512
    text: BertSize = MEDCPT


class CoCaBlock(nn.Module):
    """Attention, then a perceptron of four widths, each behind a layer normalisation and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        self.mlp = named(c_fc=nn.Linear(width, 4 * width), gelu=nn.GELU(), c_proj=nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, W] to [B, n, W]."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class EcgTransformer(nn.Module):
    """A transformer over patches of 0.1 s that hold all leads, and a class token, which becomes the feature."""

    def __init__(self, size: EcgChatSize) -> None:
        super().__init__()
        scale = 1 / math.sqrt(size.width)
        self.conv1 = nn.Conv1d(12, size.width, size.patch, size.patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(size.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(size.n_samples // size.patch + 1, size.width))
        self.ln_pre, self.ln_post = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        blocks = nn.Sequential(*(CoCaBlock(size.width, size.heads) for _ in range(size.depth)))
        self.transformer = named(resblocks=blocks)
        self.proj = nn.Parameter(scale * torch.randn(size.width, size.shared))

    def tokens(self, x: Tensor) -> Tensor:
        """[B, 1 + n, W] before the last normalisation, as ECG-Chat's language model reads them, from [B, 12, T]: the
        class token, which becomes the feature, then the patches, whose mean is not the feature.
        """
        x = self.conv1(x).transpose(1, 2)
        x = torch.cat((self.class_embedding.expand(len(x), 1, -1), x), 1) + self.positional_embedding
        return self.transformer(self.ln_pre(x))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D], rows of length 1: the projected class token, from [B, 12, T]."""
        return F.normalize(self.ln_post(self.tokens(x)[:, 0]) @ self.proj, dim=-1)


class EcgChatText(TextTower):
    """MedCPT by the mean over tokens."""

    max_tokens = 77  # OpenCLIP's context, which the tokenizer falls back to; the configuration's 76 are the decoder's
    pooling, unit = "mean", True


class EcgChat(TextAlignedEncoder):
    """10 s at 500 Hz in millivolts, not scaled; the feature lies in the space of texts."""

    name = "ecg-chat"
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=10, leads=LEADS, scaling="none: millivolts")
    published = EcgChatSize()
    small_text = BertSize(vocabulary=100, width=16, depth=2, heads=2, positions=80)
    small = EcgChatSize(n_samples=400, width=32, depth=2, heads=4, shared=24, text=small_text)
    inside, left_out = ("state_dict",), ("text_decoder.", "logit_scale")
    within = "module."  # where several GPUs trained the network
    class_token = True
    text_class, text_prefix, text_head = EcgChatText, "text.transformer.", "text.proj."

    @classmethod
    def parts(cls, size: EcgChatSize) -> dict[str, tuple[str, nn.Module]]:
        return {
            "ecg.": ("the ECG encoder of ECG-CoCa", EcgTransformer(size)),
            "text.proj.": ("the projection of texts of ECG-CoCa", nn.Linear(size.text.width, size.shared, bias=False)),
        }
