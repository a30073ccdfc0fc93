"""QoQ-Med's ECG tower, which is ECG-JEPA's encoder (Kim, arXiv 2410.08559), behind the protocol.

Written from facts read in sehunfromdaegu/ECG_JEPA at d937ad2 (MIT; ecg_jepa.py, pos_encoding.py, models.py) and in
DDVD233/QoQ_Med at 97f7f3d (MIT; modeling_time_series_qwen2_5_vl.py and its index of weights). QoQ-Med's own weights of
the tower sit inside its language model's checkpoint; `load` reads both files. Shapes: B batch, L leads, T samples,
n patches of a lead, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from merit.encoders import published
from merit.encoders.attention import attend, sin_cos
from merit.encoders.base import InputSpec
from merit.encoders.golden import signal, weights
from merit.encoders.peer import Peer

FS_HZ, N_PATCHES, PATCH = 250, 50, 50
LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The limb leads that are sums of I and II are left out."""
TOWER = "time_series_embedding"
"""QoQ-Med's name for the tower and the layer that leads into the language model."""
LEFT_OUT = (f"{TOWER}.linear.", "lm_head.", "model.", "visual.")
"""What a file of QoQ-Med's weights holds besides the tower."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of the transformer; the hidden layers are four times as wide."""

    width: int = 768
    depth: int = 12
    heads: int = 16


PUBLISHED = Size()
SMALL = Size(width=16, depth=2, heads=2)


class Attention(nn.Module):
    """Self-attention; queries, keys and values without biases."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width, bias=False)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """[B, tokens, W] to the same shape. allowed: bool [tokens, tokens]."""
        return self.proj(attend(*self.qkv(x).chunk(3, dim=2), self.heads, allowed))


class FeedForward(nn.Module):
    """Two layers with a GELU."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] to the same shape."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and feed-forward layers, each on normalised input and added to it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(size.width), Attention(size)
        self.norm2, self.mlp = nn.LayerNorm(size.width), FeedForward(size)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """[B, tokens, W] to the same shape."""
        x = x + self.attn(self.norm1(x), allowed)
        return x + self.mlp(self.norm2(x))


class Blocks(nn.Module):
    """The blocks; positions are added before every one of them, not the first alone."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.depth))

    def forward(self, x: Tensor, positions: Tensor, allowed: Tensor) -> Tensor:
        """[B, tokens, W] to the same shape."""
        for block in self.blocks:
            x = block(x + positions, allowed)
        return x


class EcgJepa(nn.Module):
    """Patches of 0.2 s of each lead; a token reads those of its lead and those of its time. Names are the state's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.W_P = nn.Linear(PATCH, size.width)
        self.pos_embed = nn.Parameter(positions(size.width), requires_grad=False)
        self.encoder_blocks = Blocks(size)
        self.norm = nn.LayerNorm(size.width)
        lead, time = np.divmod(np.arange(len(LEADS) * N_PATCHES), N_PATCHES)
        allowed = (lead[:, None] == lead) | (time[:, None] == time)
        self.register_buffer("allowed", torch.tensor(allowed), persistent=False)

    def over_time(self, x: Tensor) -> Tensor:
        """[B, n, W], the tokens of one time averaged over leads, from [B, 8, 2500]."""
        tokens = self.W_P(x.unflatten(-1, (N_PATCHES, PATCH)).flatten(1, 2))
        tokens = self.norm(self.encoder_blocks(tokens, self.pos_embed, self.allowed))
        return tokens.unflatten(1, (len(LEADS), N_PATCHES)).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, W]: the mean over all tokens."""
        return self.over_time(x).mean(1)


def positions(width: int) -> Tensor:
    """float32 [8 n, W]: sines and cosines of the time in the first half, of the lead's number in the second."""
    time, lead = sin_cos(N_PATCHES, width // 2), sin_cos(len(LEADS), width // 2)
    return torch.cat((time.repeat(len(LEADS), 1), lead.repeat_interleave(N_PATCHES, 0)), 1)


class QoqEncoder(Peer):
    """Eight leads in millivolts as they are, ten seconds; resampled polyphase, where the authors use Fourier's way."""

    name = "qoq"
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=N_PATCHES * PATCH / FS_HZ, leads=LEADS, scaling="none: millivolts")

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 50, W]: a token each 0.2 s; their mean is the embedding, all that QoQ-Med's model reads."""
        return self.run(self.network.over_time, self.prepared(signal_mv, fs_hz))


def spec(name: str = "qoq") -> InputSpec:
    """What it is fed."""
    return QoqEncoder.input_spec


def network(name: str = "qoq", size: Size = PUBLISHED) -> EcgJepa:
    """The encoder with random weights."""
    return EcgJepa(size)


def load(path: Path, device: str = "cpu", name: str = "qoq", size: Size = PUBLISHED) -> QoqEncoder:
    """The encoder from ECG-JEPA's published file (under `encoder`), or from the file of QoQ-Med's that holds the tower.

    The latter's weights are bfloat16; here they compute in float32.
    """
    state, built = published.read(path, ("encoder",)), network(name, size)
    target: nn.Module = built
    if any(key.startswith(f"{TOWER}.") for key in state):
        state = published.leave(state, *LEFT_OUT)
        target = nn.ModuleDict({TOWER: nn.ModuleDict({"encoder": built})})
    published.fill(target, state, path, f"ECG-JEPA's encoder of width {size.width}, or QoQ-Med's file that holds it")
    return QoqEncoder(built, device)


def golden(name: str) -> dict[str, np.ndarray]:
    """Outputs of the small network; see `merit.encoders.golden`."""
    built = network(name, SMALL)
    fixed = built.pos_embed.numpy()[::37].copy()
    built.load_state_dict(weights(built.state_dict()))
    encoder = QoqEncoder(built)
    x = signal(2, len(LEADS), N_PATCHES * PATCH)
    return {"feature": encoder.run(built, x), "tokens": encoder.run(built.over_time, x), "positions": fixed}
