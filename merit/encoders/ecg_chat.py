"""ECG-Chat's encoder, ECG-CoCa (Zhao et al. 2024, arXiv 2408.08849): a transformer over patches, aligned with the
reports of MIMIC-IV-ECG and two other data sets through a frozen MedCPT, in the manner of OpenCLIP's CoCa.

Written from the architecture that github.com/YubaoZhao/ECG-Chat shows at 5c11f27 (no licence stated; none of its code
is here). Its authors publish no weights: what is read is the format that their training code writes.
Shapes: B batch, T samples, n patches, W width, D feature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders import golden, weights
from merit.encoders.base import InputSpec
from merit.encoders.blocks import MEDCPT, Attention, BertSize, TextTower, named
from merit.encoders.published import TextAlignedEncoder, unit
from merit.encoders.weights import State

FS_HZ = 500


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of the network; the defaults are those of the authors' configuration."""

    n_samples: int = 5000
    patch: int = 50
    width: int = 768
    depth: int = 12
    heads: int = 12
    shared: int = 512
    text: BertSize = MEDCPT


class Block(nn.Module):
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

    def __init__(self, size: Size) -> None:
        super().__init__()
        scale = 1 / math.sqrt(size.width)
        self.conv1 = nn.Conv1d(12, size.width, size.patch, size.patch, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(size.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(size.n_samples // size.patch + 1, size.width))
        self.ln_pre, self.ln_post = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        blocks = nn.Sequential(*(Block(size.width, size.heads) for _ in range(size.depth)))
        self.transformer = named(resblocks=blocks)
        self.proj = nn.Parameter(scale * torch.randn(size.width, size.shared))

    def states(self, x: Tensor) -> Tensor:
        """[B, 1 + n, W] before the last normalisation, the class token first, from [B, 12, T]."""
        x = self.conv1(x).transpose(1, 2)
        x = torch.cat((self.class_embedding.expand(len(x), 1, -1), x), 1) + self.positional_embedding
        return self.transformer(self.ln_pre(x))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D], rows of length 1: the projected class token, from [B, 12, T]."""
        return F.normalize(self.ln_post(self.states(x)[:, 0]) @ self.proj, dim=-1)

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, W]: the patches as ECG-Chat's language model reads them, before the last normalisation.

        It reads the class token too, which has no place in time. Their mean is not the feature, the class token is.
        """
        return self.states(x)[:, 1:]


class EcgChatText(TextTower):
    """MedCPT by the mean over tokens."""

    max_tokens = 77  # OpenCLIP's context, which the tokenizer falls back to; the configuration's 76 are the decoder's

    def pool(self, output: Any, attention: Tensor) -> Tensor:
        """[B, W]: mean of the last hidden states, padding left out."""
        states, weight = output.last_hidden_state, attention[..., None].to(output.last_hidden_state.dtype)
        return (states * weight).sum(1) / weight.sum(1)


class EcgChat(TextAlignedEncoder):
    """10 s at 500 Hz in millivolts, not scaled; the feature lies in the space of texts."""

    name = "ecg-chat"
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=10, leads=LEADS, scaling="none: millivolts")
    published = Size()
    small = Size(
        n_samples=400,
        width=32,
        depth=2,
        heads=4,
        shared=24,
        text=BertSize(vocabulary=100, width=16, depth=2, heads=2, positions=80),
    )
    inside, left_out = ("state_dict",), ("text_decoder.", "logit_scale")
    text_class, text_prefix, text_head = EcgChatText, "text.transformer.", "text.proj."

    @classmethod
    def parts(cls, size: Size) -> dict[str, tuple[str, nn.Module]]:
        return {
            "ecg.": ("the ECG encoder of ECG-CoCa", EcgTransformer(size)),
            "text.proj.": ("the projection of texts of ECG-CoCa", nn.Linear(size.text.width, size.shared, bias=False)),
        }

    @classmethod
    def renamed(cls, state: State, path: Path) -> State:
        """Without `module.`, where several GPUs trained the network."""
        several = bool(state) and all(key.startswith("module.") for key in state)
        return weights.strip(state, "module.") if several else state

    def shared(self, x: np.ndarray) -> np.ndarray:
        """float32 [B, D], rows of length 1: the feature itself."""
        return self.run(self.network, x)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, D], rows of length 1."""
        return unit(super().embed_text(texts))

    def golden(self) -> dict[str, np.ndarray]:
        """Feature, states and text vector; the second text ends in three tokens of padding."""
        x, attention = golden.signal(2, 12, self.small.n_samples), golden.padded(9, 3)
        text = self.text.from_tokens(golden.tokens(self.small.text.vocabulary, 2, 9) * attention, attention)
        states = self.run(self.network.states, x)
        return {"feature": self.run(self.network, x), "states": states, "text": unit(text)}
