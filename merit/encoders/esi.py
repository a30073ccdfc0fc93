"""ESI (Yu et al. 2024, "ECG Semantic Integrator", TMLR, arXiv 2405.19366): a ConvNeXt V2 in one dimension, aligned with
BioLinkBERT by a contrastive and a captioning loss.

Written from the architecture that github.com/comp-well-org/ESI shows at 5c08a9b (GPL-3.0; none of its code is here);
the weights are the user's to bring. Shapes: B batch, C channels, T samples, n columns, D feature, d shared space.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.encoders import bert_text, outside, published
from merit.encoders import golden as gold
from merit.encoders.base import InputSpec
from merit.encoders.bert_text import BertSize, FrozenBert
from merit.encoders.peer import MIMIC_LEADS, Peer

MAX_TOKENS = 500
EPSILON = 1e-6
NOT_RUN = (
    "img_encoder.head.", "img_attn_pool.", "text_cls_norm.", "multimodal_layers.", "to_logits.", "temperature",
)  # fmt: skip
"""Parts of the published state that neither the feature nor the shared space needs: a classifier that pretraining
bypasses, an attention pooling and a normalisation that it never calls, the captioning decoder, the temperature.
"""
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


PUBLISHED = Size()
SMALL = Size(
    widths=(8, 12, 16, 24), depths=(1, 1, 2, 1), shared=16,
    text=BertSize(vocabulary=100, width=16, depth=1, heads=2, positions=64),
)  # fmt: skip


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

    def __init__(self, size: Size = PUBLISHED) -> None:
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

    def in_time(self, x: Tensor) -> Tensor:
        """[B, n, D], whose mean is `forward`: each column, normalised by the statistics of the columns' mean."""
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


class ToLatents(nn.Module):
    """A matrix into the shared space, and length 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_latents = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, d] from [B, W]."""
        return F.normalize(self.to_latents(x), dim=-1)


class Heads(nn.Module):
    """The ECG's way from the feature into the shared space."""

    def __init__(self, size: Size = PUBLISHED) -> None:
        super().__init__()
        self.img_token_head = nn.Linear(size.widths[-1], size.shared)
        self.img_attn_pool_norm = Gain(size.shared)
        self.img_to_latents = ToLatents(size.shared)

    def forward(self, feature: Tensor) -> Tensor:
        """[B, d] from [B, D]."""
        return self.img_to_latents(self.img_attn_pool_norm(self.img_token_head(feature)))


class EsiEncoder(Peer):
    """ConvNeXt V2 on a recording that is brought to mean 0 and deviation 1 as a whole, all leads together.

    heads, text_head: the ways into the shared space. tower: gives BioLinkBERT when it is first asked for.
    """

    name = "esi"
    input_spec = InputSpec(
        fs_hz=500, duration_s=10, leads=MIMIC_LEADS, scaling="mean 0, deviation 1, over all leads and samples"
    )

    def __init__(
        self,
        network: ConvNeXt,
        heads: Heads,
        text_head: ToLatents,
        tower: Callable[[], FrozenBert],
        device: str = "cpu",
    ) -> None:
        super().__init__(network, device)
        self.heads, self.text_head = (part.eval().requires_grad_(False).to(device) for part in (heads, text_head))
        self.tower = functools.cache(tower)

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, T] without unit; the deviation divides by one less than the number of values, as the original's."""
        mean = signal_mv.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        deviation = signal_mv.std(axis=(1, 2), keepdims=True, ddof=1, dtype=np.float64)
        return (signal_mv - mean) / (deviation + EPSILON)

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 156, 1024], first to last; their mean is the embedding."""
        return self.run(self.network.in_time, self.prepared(signal_mv, fs_hz))

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 768] of length 1 from [B, 12, T] millivolts."""
        return self.run(lambda x: self.heads(self.network(x)), self.prepared(signal_mv, fs_hz))

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, 768] of length 1: BioLinkBERT's first token through `text_to_latents`, at most 500 tokens.

        The original publishes no zero-shot code; this is the path of its contrastive loss, which there takes off the
        last column of each batch, the [SEP] of its longest texts. Raises NoWeights where the tokenizer is not there.
        """
        return self.tower().embed(texts, MAX_TOKENS, bert_text.cls, self.text_head)


def spec(name: str = "esi") -> InputSpec:
    """What it is fed."""
    return EsiEncoder.input_spec


def network(name: str = "esi", size: Size = PUBLISHED) -> ConvNeXt:
    """The ECG side with random weights, [B, 12, 5000] to [B, 1024]."""
    return ConvNeXt(size)


def load(path: Path, device: str = "cpu", name: str = "esi", size: Size = PUBLISHED) -> EsiEncoder:
    """The encoder from a file that accelerate's `save_model` wrote, every key accounted for.

    The text tower must be a BERT of `size.text`; its tokenizer and configuration come from the folder `text` when
    `embed_text` is first called. Raises ValueError for other files.
    """
    network, heads, text_head, tower = _filled(published.read(path), path, size)

    def ask() -> FrozenBert:
        return bert_text.from_folder(outside.text_folder(name, path), tower, path, device)

    return EsiEncoder(network, heads, text_head, ask, device)


def _filled(state: Mapping[str, Tensor], path: Path, size: Size) -> tuple[ConvNeXt, Heads, ToLatents, published.State]:
    """The parts with a published state's weights, and the weights of the text tower, checked."""
    state = published.leave(state, *NOT_RUN)
    network, heads, text_head = ConvNeXt(size), Heads(size), ToLatents(size.shared)
    published.fill(network, published.take(state, "img_encoder."), path, "ESI's ConvNeXt V2")
    published.fill(text_head, published.take(state, "text_to_latents."), path, "ESI's text head")
    tower = _tower(state, path)
    bert_text.check(size.text, tower, path)
    rest = published.leave(state, "img_encoder.", "text_to_latents.", *TOWERS)
    published.fill(heads, rest, path, "ESI's image heads")
    return network, heads, text_head, tower


def _tower(state: Mapping[str, Tensor], path: Path) -> published.State:
    """The text tower's weights, which the file lists under one name, as safetensors does, or under both."""
    one, other = (published.take(state, name) for name in TOWERS)
    for key in one.keys() & other.keys():
        if not torch.equal(one[key], other[key]):
            raise ValueError(f"{path}: {' and '.join(TOWERS)} are one text tower, and differ in {key}")
    return {**one, **other}


def expected(size: Size = PUBLISHED) -> dict[str, Tensor]:
    """Every entry of a published state that is read, by the file's own names, on the meta device."""
    from transformers import BertModel

    with torch.device("meta"):
        parts = {
            "img_encoder.": ConvNeXt(size), "": Heads(size), "text_to_latents.": ToLatents(size.shared),
            TOWERS[0]: BertModel(size.text.config()),
        }  # fmt: skip
    return {prefix + key: value for prefix, part in parts.items() for key, value in part.state_dict().items()}


@torch.inference_mode()
def golden(name: str = "esi") -> dict[str, np.ndarray]:
    """Feature, shared vector and text vector of the small network, for `merit.encoders.golden.agreement`."""
    path = Path(name)
    network, heads, text_head, tower = _filled(gold.weights(expected(SMALL)), path, SMALL)
    text = FrozenBert(bert_text.bert(SMALL.text.config(), tower, path))
    states = text.outputs(torch.from_numpy(gold.tokens(SMALL.text.vocabulary, 2, 9)))
    feature = network.eval()(torch.from_numpy(gold.signal(2, 12, 640)))
    found = {"feature": feature, "shared": heads(feature), "text": text_head(bert_text.cls(*states))}
    return {key: value.numpy() for key, value in found.items()}
