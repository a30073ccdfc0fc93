"""Three encoders of ECGs alone: ST-MEM and QoQ-Med's tower (ECG-JEPA's encoder), whose tokens are patches of one lead;
and MedTVT-R1's, an xresnet.

Shapes: B batch, L leads, C channels, T samples, n patches of a lead, W width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from scipy.signal import resample as fourier_resample
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders.base import InputSpec, fitted
from merit.encoders.published import MeanOfTokens, PreNormBlock, PublishedEncoder, attend, named, sin_cos

FS_HZ = 250

# -- ST-MEM ------------------------------------------------------------------------------------------------------------
# Na et al., ICLR 2024, arXiv 2402.09450. Written from the paper and from facts read in the authors' repository,
# bakqui/ST-MEM at 69ec702 (models/encoder, configs/downstream/st_mem.yaml, util/transforms.py). Code and weights there
# are CC BY-NC 4.0, with a notice of VUNO's that reserves all else: no line of theirs is here, and the weights are for
# non-commercial use.

N_SAMPLES, PATCH = 2250, 75
STARTS = (0, 125, 250)
"""First samples of the three crops that the authors evaluate: the beginning, the middle and the end of ten seconds."""
HIGH_PASS = butter(5, 0.67, "highpass", fs=FS_HZ, output="sos")
LOW_PASS = butter(5, 40, "lowpass", fs=FS_HZ, output="sos")


@dataclass(frozen=True, kw_only=True)
class StMemSize:
    """Sizes of the transformer; the hidden layers are four times as wide."""

    width: int
    heads: int
    depth: int = 12
    head_width: int = 64


class StMemNetwork(nn.Module):
    """Patches of each lead between two SEP tokens, all leads in one sequence; names are the published state's."""

    def __init__(self, size: StMemSize) -> None:
        super().__init__()
        n, width = N_SAMPLES // PATCH, size.width
        self.to_patch_embedding = nn.Sequential(
            nn.Unflatten(-1, (-1, PATCH)), nn.LayerNorm(PATCH), nn.Linear(PATCH, width), nn.LayerNorm(width)
        )
        ends = torch.zeros(1, width)
        self.pos_embedding = nn.Parameter(torch.cat((ends, sin_cos(n, width), ends))[None], requires_grad=False)
        self.sep_embedding = nn.Parameter(torch.zeros(width))
        self.lead_embeddings = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in LEADS)
        self.names = [f"block{i}" for i in range(size.depth)]
        for name in self.names:
            self.add_module(name, PreNormBlock(width, size.heads, size.head_width, 4 * width))
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

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, W], one per 0.3 s: each patch normalised, as the authors' decoder reads it, then averaged over leads.

        Their mean is not the feature: the original normalises after averaging, and averages three crops.
        """
        return self.norm(self.patches(x)).mean(1)


class StMem(PublishedEncoder):
    """The authors' evaluation: three crops of 9 s, each filtered and scaled alone, the mean of their features; what is
    shorter than ten seconds, which they leave out, is padded with zeros.
    """

    name = "st-mem"
    input_spec = InputSpec(
        fs_hz=FS_HZ,
        duration_s=N_SAMPLES / FS_HZ,
        leads=LEADS,
        scaling="mean 0 and deviation 1 over all leads and samples of a crop",
        filtering="Butterworth of order 5, forwards and backwards: high-pass 0.67 Hz, then low-pass 40 Hz",
    )
    published = StMemSize(width=768, heads=12)
    small = StMemSize(width=16, heads=2, depth=2)
    inside, within = ("model",), "encoder."
    beside = (
        *("to_patch_embedding.", "to_decoder_embedding.", "mask_embedding"),
        *("decoder_pos_embed", "decoder_blocks.", "decoder_norm.", "decoder_head."),
    )
    """What a full checkpoint holds beside `encoder.`: the patch embedding under a second name, and the decoder."""
    network_class, what = StMemNetwork, "ST-MEM's encoder of width {size.width} ({name})"

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, W] from [B, 12, T] millivolts at any rate: the mean over the three crops."""
        return np.mean([self.run(self.network, crop) for crop in self.crops(signal_mv, fs_hz)], axis=0)

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 12, 2250]: the middle crop."""
        return self.crops(signal_mv, fs_hz)[len(STARTS) // 2]

    def crops(self, signal_mv: np.ndarray, fs_hz: float) -> list[np.ndarray]:
        """float32 [B, 12, 2250] for each of `STARTS`."""
        whole = fitted(signal_mv, fs_hz, self.input_spec, duration_s=10).astype(np.float32)
        cut = (whole[:, :, start : start + N_SAMPLES] for start in STARTS)
        return [np.ascontiguousarray(self.conditioned(crop), np.float32) for crop in cut]

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, 2250] filtered and scaled; zeros where a crop is one constant after filtering."""
        filtered = sosfiltfilt(LOW_PASS, sosfiltfilt(HIGH_PASS, signal_mv))
        centred = filtered - filtered.mean((1, 2), keepdims=True)
        deviation = filtered.std((1, 2), keepdims=True)
        return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation != 0)


class StMemSmall(StMem):
    """The ViT-S, otherwise as ST-MEM."""

    name = "st-mem-s"
    published = StMemSize(width=384, heads=6)
    small = StMemSize(width=8, heads=1, depth=2)


# -- QoQ-Med's tower, ECG-JEPA -----------------------------------------------------------------------------------------
# Kim, arXiv 2410.08559. Written from facts read in sehunfromdaegu/ECG_JEPA at d937ad2 (MIT; ecg_jepa.py,
# pos_encoding.py, models.py) and in DDVD233/QoQ_Med at 97f7f3d (MIT; modeling_time_series_qwen2_5_vl.py and its index
# of weights). QoQ-Med's own weights of the tower lie in its language model's checkpoint; both files are read.

N_TOKENS, TOKEN = 50, 50
JEPA_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The limb leads that are sums of I and II are left out."""
TOWER = "time_series_embedding.encoder."
"""Where QoQ-Med's checkpoint holds the tower."""


@dataclass(frozen=True, kw_only=True)
class JepaSize:
    """Sizes of the transformer; the hidden layers are four times as wide."""

    width: int = 768
    depth: int = 12
    heads: int = 16


class JepaBlock(nn.Module):
    """Attention and feed-forward layers, each on normalised input and added to it."""

    def __init__(self, size: JepaSize) -> None:
        super().__init__()
        self.heads, width = size.heads, size.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width, bias=False), "proj": nn.Linear(width, width)})
        self.mlp = named(fc1=nn.Linear(width, 4 * width), gelu=nn.GELU(), fc2=nn.Linear(4 * width, width))

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """[B, tokens, W] to the same shape. allowed: bool [tokens, tokens]."""
        q, k, v = self.attn["qkv"](self.norm1(x)).chunk(3, dim=2)
        x = x + self.attn["proj"](attend(q, k, v, self.heads, allowed))
        return x + self.mlp(self.norm2(x))


class EcgJepa(MeanOfTokens):
    """Patches of 0.2 s of each lead; a token reads those of its lead and those of its time. Names are the state's."""

    def __init__(self, size: JepaSize) -> None:
        super().__init__()
        n_leads, width = len(JEPA_LEADS), size.width
        self.W_P = nn.Linear(TOKEN, width)
        # Sines and cosines of the time in the first half, of the lead's number in the second.
        time, lead = sin_cos(N_TOKENS, width // 2), sin_cos(n_leads, width // 2)
        positions = torch.cat((time.repeat(n_leads, 1), lead.repeat_interleave(N_TOKENS, 0)), 1)
        self.pos_embed = nn.Parameter(positions, requires_grad=False)
        self.encoder_blocks = nn.ModuleDict({"blocks": nn.ModuleList(JepaBlock(size) for _ in range(size.depth))})
        self.norm = nn.LayerNorm(width)
        lead, time = np.divmod(np.arange(n_leads * N_TOKENS), N_TOKENS)
        allowed = (lead[:, None] == lead) | (time[:, None] == time)
        self.register_buffer("allowed", torch.tensor(allowed), persistent=False)

    def tokens(self, x: Tensor) -> Tensor:
        """[B, n, W] from [B, 8, 2500]: those of one time averaged over leads; their mean is the feature, all that
        QoQ-Med's model reads.
        """
        tokens = self.W_P(x.unflatten(-1, (N_TOKENS, TOKEN)).flatten(1, 2))
        for block in self.encoder_blocks["blocks"]:  # positions are added before every one of them
            tokens = block(tokens + self.pos_embed, self.allowed)
        return self.norm(tokens).unflatten(1, (len(JEPA_LEADS), N_TOKENS)).mean(1)


class Qoq(PublishedEncoder):
    """Eight leads in millivolts as they are, ten seconds."""

    name = "qoq"
    input_spec = InputSpec(
        fs_hz=FS_HZ, duration_s=N_TOKENS * TOKEN / FS_HZ, leads=JEPA_LEADS, scaling="none: millivolts"
    )
    published = JepaSize()
    small = JepaSize(width=16, depth=2, heads=2)
    inside, within = ("encoder",), TOWER
    beside = ("time_series_embedding.linear.", "lm_head.", "model.", "visual.")
    """What a file of QoQ-Med's weights holds beside the tower."""
    network_class, what = EcgJepa, "ECG-JEPA's encoder of width {size.width}, or QoQ-Med's file that holds it"


# -- MedTVT-R1's, an xresnet1d101 --------------------------------------------------------------------------------------
# ECGFM-KED's encoder, after He et al. 2019, "Bag of Tricks". Written from the architecture's description; no licence is
# stated for the weights.

STEM = (12, 32, 32, 64)
STAGES = ((64, 3), (128, 4), (128, 23), (192, 3))
"""(width inside a block, blocks): xresnet1d101 with the widths that give 768 channels."""
EXPANSION, KERNEL = 4, 5
XRESNET_HZ, XRESNET_SAMPLES = 100, 1000


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch normalisation, and a ReLU where `act`."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, act: bool = True) -> None:
        convolution = nn.Conv1d(n_in, n_out, kernel, stride, (kernel - 1) // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm1d(n_out), *([nn.ReLU()] if act else []))


class Bottleneck(nn.Module):
    """1, KERNEL, 1 convolutions beside a shortcut that is averaged over pairs before it is projected."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        n_out = width * EXPANSION
        self.convs = nn.Sequential(
            ConvNorm(n_in, width, 1), ConvNorm(width, width, KERNEL, stride), ConvNorm(width, n_out, 1, act=False)
        )
        pool = [nn.AvgPool1d(2, ceil_mode=True)] if stride != 1 else []
        project = [ConvNorm(n_in, n_out, 1, act=False)] if n_in != n_out else []
        self.idpath = nn.Sequential(*pool, *project)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T] to [B, 4 width, ceil(T / stride)]."""
        return torch.relu(self.convs(x) + self.idpath(x))


class XResNet1d101(nn.Sequential):
    """[B, 12, 1000] to [B, 768, 32]; 7.9 million parameters. Names of the parts are those of the published state."""

    def __init__(self, size: None = None) -> None:
        stem = [ConvNorm(*pair, KERNEL, stride) for pair, stride in zip(itertools.pairwise(STEM), (2, 1, 1))]
        stages, n_in = [], STEM[-1]
        for i, (width, n_blocks) in enumerate(STAGES):
            blocks = [Bottleneck(n_in, width, 2 if i else 1)]
            n_in = width * EXPANSION
            stages.append(nn.Sequential(*blocks, *(Bottleneck(n_in, width, 1) for _ in range(n_blocks - 1))))
        super().__init__(*stem, nn.MaxPool1d(3, 2, 1), *stages)

    def tokens(self, x: Tensor) -> Tensor:
        """[B, 32, 768], the columns; their mean is the feature."""
        return self(x).transpose(1, 2)


class MedTvtR1(PublishedEncoder):
    """Millivolts, Fourier-resampled to 100 Hz as in the original, not scaled, gaps as 0; the 32 columns averaged."""

    name = "medtvt-r1"
    input_spec = InputSpec(fs_hz=XRESNET_HZ, duration_s=10, leads=LEADS, scaling="none: millivolts")
    inside = ("ecg_model",)
    renames = ((r"^module\.", ""), (r"\.convpath\.0\.", ".convs."))  # the published blocks list convolutions twice
    network_class, what = XResNet1d101, "an xresnet1d101 of 768 channels"

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 768] from [B, 12, T] millivolts: the mean of the tokens."""
        return self.tokens(signal_mv, fs_hz).mean(1)

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 12, 1000]."""
        signal = np.nan_to_num(np.asarray(signal_mv, np.float32))
        if signal.ndim != 3 or signal.shape[1] != len(LEADS):
            raise ValueError(f"signal_mv: expected [batch, 12, samples]; got {list(signal.shape)}")
        window = round(fs_hz * XRESNET_SAMPLES / XRESNET_HZ)
        signal = np.pad(signal, ((0, 0), (0, 0), (0, max(0, window - signal.shape[2]))))[:, :, :window]
        signal = signal if window == XRESNET_SAMPLES else fourier_resample(signal, XRESNET_SAMPLES, axis=2)
        return np.ascontiguousarray(signal, np.float32)
