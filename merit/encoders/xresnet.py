"""MedTVT-R1's ECG encoder, an xresnet1d101 (ECGFM-KED's, after He et al. 2019, "Bag of Tricks").

Written from the architecture's description; no licence is stated for the weights. Shapes: B batch, C channels, T
samples.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample as fourier_resample
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders import golden
from merit.encoders.base import InputSpec
from merit.encoders.published import PublishedEncoder
from merit.encoders.weights import State

STEM = (12, 32, 32, 64)
STAGES = ((64, 3), (128, 4), (128, 23), (192, 3))
"""(width inside a block, blocks): xresnet1d101 with the widths that give 768 channels."""
EXPANSION, KERNEL = 4, 5
FS_HZ, N_SAMPLES = 100, 1000


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
    input_spec = InputSpec(fs_hz=FS_HZ, duration_s=N_SAMPLES / FS_HZ, leads=LEADS, scaling="none: millivolts")
    inside = ("ecg_model",)
    network_class, what = XResNet1d101, "an xresnet1d101 of 768 channels"

    @classmethod
    def renamed(cls, state: State, path: Path) -> State:
        """Each layer once: the published blocks list convolutions twice (`convs`, `convpath.0`), which must agree."""
        state = {key.removeprefix("module."): value for key, value in state.items()}
        twice = {key: key.replace(".convpath.0.", ".convs.") for key in state if ".convpath.0." in key}
        for key, other in twice.items():
            if other in state and not torch.equal(state[key], state[other]):
                raise ValueError(f"{path}: {key} and {other} are one layer under two names, and differ")
        return {twice.get(key, key): value for key, value in state.items()}

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 768] from [B, 12, T] millivolts: the mean of the tokens."""
        return self.tokens(signal_mv, fs_hz).mean(1)

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 12, 1000]."""
        signal = np.nan_to_num(np.asarray(signal_mv, np.float32))
        if signal.ndim != 3 or signal.shape[1] != len(LEADS):
            raise ValueError(f"signal_mv: expected [batch, 12, samples]; got {list(signal.shape)}")
        window = round(fs_hz * N_SAMPLES / FS_HZ)
        signal = np.pad(signal, ((0, 0), (0, 0), (0, max(0, window - signal.shape[2]))))[:, :, :window]
        signal = signal if window == N_SAMPLES else fourier_resample(signal, N_SAMPLES, axis=2)
        return np.ascontiguousarray(signal, np.float32)

    def golden(self) -> dict[str, np.ndarray]:
        """At the published size: part of the columns, and the feature."""
        columns = self.run(self.network, golden.signal(1, 12, N_SAMPLES))
        feature = self.run(lambda x: self.network(x).mean(2), golden.signal(1, 12, N_SAMPLES))
        return {"columns": columns[:, ::8, ::4], "feature": feature}
