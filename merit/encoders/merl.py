"""MERL (Liu et al. 2024, ICML, arXiv 2403.06659) in its two published forms, a ResNet18 in one dimension and a
ViT-Tiny, aligned with the reports of MIMIC-IV-ECG through a frozen MedCPT.

Written from the architecture that github.com/cheliu-computation/MERL-ICML2024 shows at 38799b7 (MIT; none of its code
is here); the weights are the user's to bring. Two kinds of files are published: `*_ckpt.pth`, everything, and
`*_encoder.pth`, the ECG encoder alone, which has no space shared with texts.
Shapes: B batch, L leads, T samples, n columns or patches, D feature, d shared space.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from merit.encoders import bert_text, published
from merit.encoders import golden as gold
from merit.encoders.attention import JointAttention, attend
from merit.encoders.base import InputSpec
from merit.encoders.bert_text import BertSize, Tower
from merit.encoders.outside import NoWeights
from merit.encoders.peer import MIMIC_LEADS, Peer, min_max, unit

FS_HZ = 500
MAX_TOKENS = 256
POOLING_HEADS = 4
MEDCPT = BertSize()


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

    @property
    def n_columns(self) -> int:
        """Columns of the last stage: the stem and three stages halve the time, rounding up."""
        return -(-self.n_samples // 16)


@dataclass(frozen=True, kw_only=True)
class ViTSize(Size):
    """The transformer."""

    patch: int = 50
    width: int = 192
    depth: int = 12
    heads: int = 3
    head_width: int = 64
    mlp: int = 768


PUBLISHED: dict[str, ResNetSize | ViTSize] = {"merl": ResNetSize(), "merl-vit": ViTSize()}
_SMALL_TEXT = BertSize(vocabulary=100, width=24, depth=2, heads=2, positions=32)
SMALL: dict[str, ResNetSize | ViTSize] = {
    "merl": ResNetSize(
        n_samples=410, hidden=20, shared=16, text=_SMALL_TEXT, widths=(8, 12, 16, 24), depths=(2, 1, 2, 1)
    ),
    "merl-vit": ViTSize(
        n_samples=400, hidden=20, shared=16, text=_SMALL_TEXT, width=24, depth=2, heads=2, head_width=8, mlp=40
    ),
}


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
        """[B, n, D], the columns of the last stage, from [B, 12, T]."""
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D], the mean of the columns, from [B, 12, T]."""
        return self.tokens(x).mean(1)


class SplitAttention(nn.Module):
    """Self-attention whose heads together may be wider or narrower than its input."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        inner, self.heads = size.heads * size.head_width, size.heads
        self.to_qkv = nn.Linear(size.width, 3 * inner)
        self.to_out = nn.Sequential(nn.Linear(inner, size.width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, D] to [B, n, D]."""
        return self.to_out(attend(*self.to_qkv(x).chunk(3, dim=2), self.heads))


class Block(nn.Module):
    """Attention, then a perceptron, each behind a layer normalisation and added to its input."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        net = nn.Sequential(
            nn.Linear(size.width, size.mlp), nn.GELU(), nn.Identity(), nn.Linear(size.mlp, size.width)
        )  # fmt: skip
        perceptron = nn.Sequential(OrderedDict(net=net))
        self.attn = nn.Sequential(OrderedDict(norm=nn.LayerNorm(size.width), fn=SplitAttention(size)))
        self.ff = nn.Sequential(OrderedDict(norm=nn.LayerNorm(size.width), fn=perceptron))

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, D] to [B, n, D]."""
        x = x + self.attn(x)
        return x + self.ff(x)


class ViT(nn.Module):
    """A transformer over patches of 0.1 s that hold all leads; averaged first, normalised after."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.depth = size.depth
        self.to_patch_embedding = nn.Conv1d(12, size.width, size.patch, size.patch, bias=False)
        self.pos_embedding = nn.Parameter(torch.randn(1, size.n_samples // size.patch, size.width))
        for i in range(size.depth):
            self.add_module(f"block{i}", Block(size))
        self.norm = nn.LayerNorm(size.width)

    def _states(self, x: Tensor) -> Tensor:
        x = self.to_patch_embedding(x).transpose(1, 2) + self.pos_embedding
        for i in range(self.depth):
            x = self.get_submodule(f"block{i}")(x)
        return x

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, D], the patches in order, from [B, 12, T]: each is brought through the normalisation as their mean is,
        with the mean's own centre and deviation, so that the mean of these tokens is the feature.
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
        self.mhsa, self.c_proj = JointAttention(width, POOLING_HEADS), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, W] from [B, n, W]."""
        first = (self.cls_token + self.positional_embedding[:, :1]).expand(len(x), -1, -1)
        x = torch.cat((first, x), 1) + self.positional_embedding
        return self.c_proj(self.mhsa(x[:, :1], x))[:, 0]


class PooledHead(nn.Module):
    """From the ResNet's columns to the shared space."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        self.downconv = nn.Conv1d(size.widths[-1], size.shared, 1)
        self.att_pool_head = AttentionPool(size.shared, size.n_columns)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, d] from [B, n, D]."""
        return self.att_pool_head(self.downconv(tokens.transpose(1, 2)).transpose(1, 2))


class MeanHead(nn.Module):
    """From the transformer's feature, the mean of its tokens, to the shared space."""

    def __init__(self, size: ViTSize) -> None:
        super().__init__()
        self.proj_e = nn.Sequential(
            nn.Linear(size.width, size.hidden), nn.BatchNorm1d(size.hidden), nn.ReLU(),
            nn.Linear(size.hidden, size.shared), nn.BatchNorm1d(size.shared),
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, d] from [B, n, D]."""
        return self.proj_e(tokens.mean(1))


def network(name: str, size: ResNetSize | ViTSize | None = None) -> ResNet | ViT:
    """The ECG encoder, random weights: 3.8 million parameters (merl), 5.5 million (merl-vit)."""
    size = size or PUBLISHED[name]
    return ResNet(size) if isinstance(size, ResNetSize) else ViT(size)


def spec(name: str = "merl", n_samples: int = Size.n_samples) -> InputSpec:
    """What it is fed."""
    return InputSpec(
        fs_hz=FS_HZ, duration_s=n_samples / FS_HZ, leads=MIMIC_LEADS, scaling="min-max of the whole recording"
    )


def _head(size: ResNetSize | ViTSize) -> PooledHead | MeanHead:
    return PooledHead(size) if isinstance(size, ResNetSize) else MeanHead(size)


def _text_head(size: Size) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size.text.width, size.hidden), nn.GELU(), nn.Linear(size.hidden, size.shared))


class MerlEncoder(Peer):
    """MERL as an encoder: 10 s at 500 Hz, the whole recording from its smallest value, 0, to its largest, 1."""

    def __init__(
        self, name: str, network: ResNet | ViT, n_samples: int, path: Path, head: nn.Module | None = None,
        text: Tower | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        super().__init__(network, device)
        self.name, self.path, self.text = name, path, text
        self.head = head.eval().requires_grad_(False).to(device) if head else None
        self.input_spec = spec(name, n_samples)

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, L, T] from 0 to 1."""
        return min_max(signal_mv)

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, n, D]: 313 columns (merl) or 100 patches (merl-vit), first to last; their mean is the feature."""
        return self.run(self.network.tokens, self.prepared(signal_mv, fs_hz))

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, d], rows of length 1. NoWeights where the file holds the encoder alone."""
        return self.shared(self.prepared(signal_mv, fs_hz))

    def shared(self, x: np.ndarray) -> np.ndarray:
        """float32 [B, d], rows of length 1, from what `prepared` gives."""
        head = self._needed(self.head)
        return unit(self.run(lambda batch: head(self.network.tokens(batch)), x))

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d], rows of length 1, from texts in lower case, as MERL's zero-shot code has them."""
        return self._needed(self.text).embed([text.lower() for text in texts])

    def _needed(self, part):
        if part is None:
            raise NoWeights(f"{self.name}: {self.path.name} holds the ECG encoder alone; texts take the *_ckpt.pth")
        return part


def load(path: Path, device: str = "cpu", name: str = "merl", size: ResNetSize | ViTSize | None = None) -> MerlEncoder:
    """The encoder from either published file, every key accounted for; ValueError for any other."""
    return _built(published.read(path), path, device, name, size or PUBLISHED[name])


def _built(state: published.State, path: Path, device: str, name: str, size: ResNetSize | ViTSize) -> MerlEncoder:
    """Left out: `linear.`, the ResNet's classifier, which MERL never trains; `linear1.` and `linear2.`, which serve the
    loss between two views of an ECG alone.
    """
    whole = any(key.startswith("ecg_encoder.") for key in state)
    own = published.take(state, "ecg_encoder.") if whole else state
    ecg = network(name, size)
    published.fill(ecg, published.leave(own, "linear.") if name == "merl" else own, path, f"the ECG encoder of {name}")
    if not whole:
        return MerlEncoder(name, ecg, size.n_samples, path, device=device)
    head, text_head = _head(size), _text_head(size)
    rest = published.leave(state, "ecg_encoder.", "lm_model.", "proj_t.", "linear1.", "linear2.")
    published.fill(head, rest, path, f"the projection of {name}")
    published.fill(text_head, published.take(state, "proj_t."), path, f"the projection of texts of {name}")
    text = Tower(
        name, path, published.take(state, "lm_model."), size=size.text, pool=bert_text.pooler, head=text_head,
        max_length=MAX_TOKENS, device=device,
    )  # fmt: skip
    return MerlEncoder(name, ecg, size.n_samples, path, head, text, device)


def shapes(name: str, size: ResNetSize | ViTSize) -> published.State:
    """What is read of a `*_ckpt.pth`, on the meta device, by its names there."""
    with torch.device("meta"):
        parts = (("ecg_encoder.", network(name, size)), ("", _head(size)), ("proj_t.", _text_head(size)))
    return {
        **{prefix + key: value for prefix, part in parts for key, value in part.state_dict().items()},
        **{f"lm_model.{key}": value for key, value in bert_text.shapes(size.text).items()},
    }


def golden(name: str) -> dict[str, np.ndarray]:
    """Outputs at the small size for `merit.encoders.golden`; the second text ends in three tokens of padding."""
    size = SMALL[name]
    encoder = _built(gold.weights(shapes(name, size)), Path(name), "cpu", name, size)
    x = gold.signal(2, 12, size.n_samples)
    ids, attention = torch.from_numpy(gold.tokens(size.text.vocabulary, 2, 9)), torch.ones(2, 9, dtype=torch.int64)
    attention[1, -3:] = 0
    text = encoder.text.from_tokens(ids, attention)
    return {"feature": encoder.run(encoder.network, x), "shared": encoder.shared(x), "text": text}
