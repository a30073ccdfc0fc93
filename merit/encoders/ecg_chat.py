"""ECG-Chat's encoder, ECG-CoCa (Zhao et al. 2024, arXiv 2408.08849): a transformer over patches, aligned with the
reports of MIMIC-IV-ECG and two other data sets through a frozen MedCPT, in the manner of OpenCLIP's CoCa.

Written from the architecture that github.com/YubaoZhao/ECG-Chat shows at 5c11f27 (no licence stated; none of its code
is here). Its authors publish no weights: what is read is the format that their training code writes.
Shapes: B batch, T samples, n patches, W width, D feature.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders import bert_text, published
from merit.encoders import golden as gold
from merit.encoders.attention import JointAttention
from merit.encoders.base import InputSpec
from merit.encoders.bert_text import BertSize, Tower
from merit.encoders.peer import Peer

FS_HZ = 500
MAX_TOKENS = 77
"""OpenCLIP's context, which the tokenizer falls back to; the 76 of the configuration is the captioning decoder's."""
MEDCPT = BertSize()


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


PUBLISHED = Size()
SMALL = Size(
    n_samples=400, width=32, depth=2, heads=4, shared=24,
    text=BertSize(vocabulary=100, width=16, depth=2, heads=2, positions=80),
)  # fmt: skip


class Block(nn.Module):
    """Attention, then a perceptron of four widths, each behind a layer normalisation and added to its input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), JointAttention(width, heads), nn.LayerNorm(width)
        layers = (("c_fc", nn.Linear(width, 4 * width)), ("gelu", nn.GELU()), ("c_proj", nn.Linear(4 * width, width)))
        self.mlp = nn.Sequential(OrderedDict(layers))

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
        self.transformer = nn.Sequential(OrderedDict(resblocks=blocks))
        self.proj = nn.Parameter(scale * torch.randn(size.width, size.shared))

    def states(self, x: Tensor) -> Tensor:
        """[B, 1 + n, W] before the last normalisation, the class token first, from [B, 12, T]."""
        x = self.conv1(x).transpose(1, 2)
        x = torch.cat((self.class_embedding.expand(len(x), 1, -1), x), 1) + self.positional_embedding
        return self.transformer(self.ln_pre(x))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D], rows of length 1: the projected class token, from [B, 12, T]."""
        return F.normalize(self.ln_post(self.states(x)[:, 0]) @ self.proj, dim=-1)


def network(name: str = "ecg-chat", size: Size = PUBLISHED) -> EcgTransformer:
    """The ECG encoder with its projection, random weights: 86 million parameters."""
    return EcgTransformer(size)


class EcgChatEncoder(Peer):
    """ECG-CoCa as an encoder: 10 s at 500 Hz in millivolts, not scaled; the feature lies in the space of texts."""

    def __init__(
        self, name: str, network: EcgTransformer, n_samples: int, text: Tower, device: str = "cpu"
    ) -> None:  # fmt: skip
        super().__init__(network, device)
        self.name, self.text = name, text
        self.input_spec = spec(name, n_samples)

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 100, 768]: the patches as ECG-Chat's language model reads them, before the last normalisation.

        It reads the class token too, which has no place in time. Their mean is not the feature, the class token is.
        """
        return self.run(lambda x: self.network.states(x)[:, 1:], self.prepared(signal_mv, fs_hz))

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D], rows of length 1: the feature itself."""
        return self.embed(signal_mv, fs_hz)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, D], rows of length 1."""
        return self.text.embed(texts)


def spec(name: str = "ecg-chat", n_samples: int = PUBLISHED.n_samples) -> InputSpec:
    """What it is fed."""
    return InputSpec(fs_hz=FS_HZ, duration_s=n_samples / FS_HZ, leads=LEADS, scaling="none: millivolts")


def load(path: Path, device: str = "cpu", name: str = "ecg-chat", size: Size = PUBLISHED) -> EcgChatEncoder:
    """The encoder from a checkpoint of the authors' training code: the state under `state_dict`, its names behind
    `module.` where several GPUs trained it. Every key is accounted for; ValueError for any other file.
    """
    state = published.read(path, ("state_dict",))
    several = bool(state) and all(key.startswith("module.") for key in state)
    return _built(published.take(state, "module.") if several else state, path, device, name, size)


def _built(state: published.State, path: Path, device: str, name: str, size: Size) -> EcgChatEncoder:
    ecg, head = network(name, size), nn.Linear(size.text.width, size.shared, bias=False)
    if rest := published.leave(state, "ecg.", "text.transformer.", "text.proj.", "text_decoder.", "logit_scale"):
        raise ValueError(f"{path}: expected the parts ecg, text, text_decoder and logit_scale; got {min(rest)}")
    published.fill(ecg, published.take(state, "ecg."), path, "the ECG encoder of ECG-CoCa")
    published.fill(head, published.take(state, "text.proj."), path, "the projection of texts of ECG-CoCa")
    text = Tower(
        name, path, published.take(state, "text.transformer."), size=size.text, pool=bert_text.mean, head=head,
        max_length=MAX_TOKENS, device=device,
    )  # fmt: skip
    return EcgChatEncoder(name, ecg, size.n_samples, text, device)


def shapes(size: Size) -> published.State:
    """What is read of a checkpoint, on the meta device, by its names there without `module.`."""
    with torch.device("meta"):
        ecg, head = network(size=size), nn.Linear(size.text.width, size.shared, bias=False)
    return {
        **{f"ecg.{key}": value for key, value in ecg.state_dict().items()},
        **{f"text.transformer.{key}": value for key, value in bert_text.shapes(size.text, False).items()},
        "text.proj.weight": head.weight,
    }


def golden(name: str) -> dict[str, np.ndarray]:
    """Outputs at the small size for `merit.encoders.golden`; the second text ends in three tokens of padding."""
    encoder = _built(gold.weights(shapes(SMALL)), Path(name), "cpu", name, SMALL)
    x = gold.signal(2, 12, SMALL.n_samples)
    ids = torch.from_numpy(gold.tokens(SMALL.text.vocabulary, 2, 9))
    ids[1, -3:] = 0
    text = encoder.text.from_tokens(ids, (ids != 0).long())
    states = encoder.run(encoder.network.states, x)
    return {"feature": encoder.run(encoder.network, x), "states": states, "text": text}
