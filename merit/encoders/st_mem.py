"""ST-MEM's encoders, ViT-B and ViT-S (Na et al., ICLR 2024, arXiv 2402.09450), behind the protocol.

Written from the paper and from facts read in the authors' repository, bakqui/ST-MEM at 69ec702 (models/encoder,
configs/downstream/st_mem.yaml, util/transforms.py). Code and weights there are CC BY-NC 4.0, with a notice of VUNO's
that reserves all else: no line of theirs is here, and the weights are the user's to bring, for non-commercial use.
Shapes: B batch, L leads, T samples, n patches of a lead, W width.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders import published
from merit.encoders.attention import attend, sin_cos
from merit.encoders.base import InputSpec
from merit.encoders.golden import signal, weights
from merit.encoders.peer import Peer

FS_HZ, N_SAMPLES, PATCH = 250, 2250, 75
STARTS = (0, 125, 250)
"""First samples of the three crops that the authors evaluate: the beginning, the middle and the end of ten seconds."""
HIGH_PASS = butter(5, 0.67, "highpass", fs=FS_HZ, output="sos")
LOW_PASS = butter(5, 40, "lowpass", fs=FS_HZ, output="sos")
LEFT_OUT = (
    "to_patch_embedding.",
    "to_decoder_embedding.",
    "mask_embedding",
    "decoder_pos_embed",
    "decoder_blocks.",
    "decoder_norm.",
    "decoder_head.",
)
"""What a full checkpoint holds beside `encoder.`: the decoder, and the patch embedding under a second name."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Sizes of the transformer; the hidden layers are four times as wide."""

    width: int
    heads: int
    depth: int = 12
    head_width: int = 64


PUBLISHED = {"st-mem": Size(width=768, heads=12), "st-mem-s": Size(width=384, heads=6)}
SMALL = {"st-mem": Size(width=16, heads=2, depth=2), "st-mem-s": Size(width=8, heads=1, depth=2)}


class Patches(nn.Module):
    """[B, L, T] to [B, L, n, 75]: 0.3 s of one lead a patch."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x.unflatten(-1, (-1, PATCH))


class Attention(nn.Module):
    """Self-attention of all tokens."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        inside = size.heads * size.head_width
        self.heads = size.heads
        self.to_qkv = nn.Linear(size.width, 3 * inside)
        self.to_out = nn.Sequential(nn.Linear(inside, size.width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, tokens, W] to the same shape."""
        return self.to_out(attend(*self.to_qkv(x).chunk(3, dim=2), self.heads))


class FeedForward(nn.Module):
    """Two layers with a GELU; the gap in the numbers is a dropout of the original's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        hidden = 4 * size.width
        self.net = nn.Sequential(nn.Linear(size.width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, size.width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] to the same shape."""
        return self.net(x)


class Residual(nn.Module):
    """x + fn(norm(x))."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] to the same shape."""
        return x + self.fn(self.norm(x))


class Block(nn.Sequential):
    """Attention, then the feed-forward layers."""

    def __init__(self, size: Size) -> None:
        parts = {"attn": Attention(size), "ff": FeedForward(size)}
        super().__init__(OrderedDict((name, Residual(size.width, part)) for name, part in parts.items()))


class StMem(nn.Module):
    """Patches of each lead between two SEP tokens, all leads in one sequence; names are the published state's."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        n, width = N_SAMPLES // PATCH, size.width
        self.to_patch_embedding = nn.Sequential(
            Patches(), nn.LayerNorm(PATCH), nn.Linear(PATCH, width), nn.LayerNorm(width)
        )
        ends = torch.zeros(1, width)
        positions = torch.cat((ends, sin_cos(n, width), ends))[None]
        self.pos_embedding = nn.Parameter(positions, requires_grad=False)
        self.sep_embedding = embedding(width)
        self.lead_embeddings = nn.ParameterList(embedding(width) for _ in LEADS)
        self.names = [f"block{i}" for i in range(size.depth)]
        for name in self.names:
            self.add_module(name, Block(size))
        self.norm = nn.LayerNorm(width)

    def patches(self, x: Tensor) -> Tensor:
        """[B, L, n, W] after the last block, the SEP tokens dropped, not yet normalised, from [B, L, 2250]."""
        x = self.to_patch_embedding(x)
        sep = self.sep_embedding.expand(*x.shape[:2], 1, -1)
        x = torch.cat((sep, x, sep), 2) + self.pos_embedding[:, None]
        x = x + torch.stack(list(self.lead_embeddings))[None, :, None]
        n_leads, x = x.shape[1], x.flatten(1, 2)
        for name in self.names:
            x = getattr(self, name)(x)
        return x.unflatten(1, (n_leads, -1))[:, :, 1:-1]

    def forward(self, x: Tensor) -> Tensor:
        """[B, W]: the mean over leads and time is taken first, then normalised, as the authors' classifier reads it."""
        return self.norm(self.patches(x).mean((1, 2)))

    def over_time(self, x: Tensor) -> Tensor:
        """[B, n, W]: each patch normalised, as the authors' decoder reads it, then averaged over leads."""
        return self.norm(self.patches(x)).mean(1)


def embedding(width: int) -> nn.Parameter:
    """[W], small random numbers."""
    return nn.Parameter(nn.init.uniform_(torch.empty(width), -0.02, 0.02))


class Whole(Peer):
    """The ten seconds that crops are cut from, at 250 Hz, neither filtered nor scaled."""

    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=10, leads=LEADS, scaling="none: millivolts")


class StMemEncoder(Peer):
    """The authors' evaluation: three crops of 9 s, each filtered and scaled alone, the mean of their features.

    Theirs is the mean of three logits; of a linear probe the two are one. They differ in the crops that they train a
    probe on (one a visit, at random, augmented) and in resampling (Fourier; ours is polyphase). A recording shorter
    than ten seconds, which they leave out, is padded with zeros.
    """

    input_spec = replace(
        Whole.input_spec,
        duration_s=N_SAMPLES / FS_HZ,
        scaling="mean 0 and deviation 1 over all leads and samples of a crop",
        filtering="Butterworth of order 5, forwards and backwards: high-pass 0.67 Hz, then low-pass 40 Hz",
    )

    def __init__(self, network: StMem, device: str = "cpu", name: str = "st-mem") -> None:
        super().__init__(network, device)
        self.name, self.whole = name, Whole(network, device)

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, W] from [B, 12, T] millivolts at any rate: the mean over the three crops."""
        return np.mean([self.run(self.network, crop) for crop in self.crops(signal_mv, fs_hz)], axis=0)

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 30, W]: a token each 0.3 s of the middle crop. Their mean is not the embedding: the original
        normalises after averaging, and averages three crops.
        """
        return self.run(self.network.over_time, self.prepared(signal_mv, fs_hz))

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 12, 2250]: the middle crop."""
        return self.crops(signal_mv, fs_hz)[len(STARTS) // 2]

    def crops(self, signal_mv: np.ndarray, fs_hz: float) -> list[np.ndarray]:
        """float32 [B, 12, 2250] for each of `STARTS`."""
        whole = self.whole.prepared(signal_mv, fs_hz)
        cut = (whole[:, :, start : start + N_SAMPLES] for start in STARTS)
        return [np.ascontiguousarray(self.conditioned(crop), np.float32) for crop in cut]

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, 2250] filtered and scaled; zeros where a crop is one constant after filtering."""
        filtered = sosfiltfilt(LOW_PASS, sosfiltfilt(HIGH_PASS, signal_mv))
        centred = filtered - filtered.mean((1, 2), keepdims=True)
        deviation = filtered.std((1, 2), keepdims=True)
        return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation != 0)


def spec(name: str = "st-mem") -> InputSpec:
    """What it is fed."""
    return StMemEncoder.input_spec


def network(name: str = "st-mem", size: Size | None = None) -> StMem:
    """The encoder with random weights. size: None for the published one."""
    return StMem(size or PUBLISHED[name])


def load(path: Path, device: str = "cpu", name: str = "st-mem", size: Size | None = None) -> StMemEncoder:
    """The encoder from a published file: the encoder alone, or the full checkpoint with the decoder (`LEFT_OUT`)."""
    state, built = published.read(path, ("model",)), network(name, size)
    target: nn.Module = built
    if any(key.startswith("encoder.") for key in state):
        twice = [key for key in state if key.startswith("to_patch_embedding.")]
        if differing := [key for key in twice if not _same(state[key], state.get(f"encoder.{key}"))]:
            raise ValueError(f"{path}: {differing[0]} and encoder.{differing[0]} are one layer, and differ")
        state, target = published.leave(state, *LEFT_OUT), nn.ModuleDict({"encoder": built})
    published.fill(target, state, path, f"ST-MEM's encoder of width {built.norm.weight.numel()} ({name})")
    return StMemEncoder(built, device, name)


def _same(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and torch.equal(one, other)


def golden(name: str) -> dict[str, np.ndarray]:
    """Outputs of the small network, and of the preparation; see `merit.encoders.golden`."""
    built = network(name, SMALL[name])
    positions = built.pos_embedding[0].numpy().copy()
    built.load_state_dict(weights(built.state_dict()))
    encoder = StMemEncoder(built, name=name)
    x = signal(2, len(LEADS), N_SAMPLES)
    return {
        "feature": encoder.run(built, x),
        "tokens": encoder.run(built.over_time, x),
        "positions": positions,
        "crops": np.stack(encoder.crops(signal(1, len(LEADS), 2500), FS_HZ))[:, 0, ::4, ::45],
    }
