"""MedTVT-R1's ECG encoder, an xresnet1d101 (ECGFM-KED's, after He et al. 2019, "Bag of Tricks"), behind the protocol.

Written from the architecture's description; the weights are the user's to bring: a file that holds the state under
`ecg_model` (peers' note, section 9), for which no licence is stated. Shapes: B batch, C channels, T samples.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample as fourier_resample
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders import golden as gold
from merit.encoders import published
from merit.encoders.base import InputSpec
from merit.encoders.peer import Peer

STEM = (12, 32, 32, 64)
STAGES = ((64, 3), (128, 4), (128, 23), (192, 3))
"""(width inside a block, blocks): xresnet1d101 with the widths that give 768 channels."""
EXPANSION, KERNEL = 4, 5
FS_HZ, N_SAMPLES = 100, 1000
SPEC = InputSpec(fs_hz=FS_HZ, duration_s=N_SAMPLES / FS_HZ, leads=LEADS, scaling="none: millivolts")


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

    def __init__(self) -> None:
        stem = [ConvNorm(*pair, KERNEL, stride) for pair, stride in zip(itertools.pairwise(STEM), (2, 1, 1))]
        stages, n_in = [], STEM[-1]
        for i, (width, n_blocks) in enumerate(STAGES):
            blocks = [Bottleneck(n_in, width, 2 if i else 1)]
            n_in = width * EXPANSION
            stages.append(nn.Sequential(*blocks, *(Bottleneck(n_in, width, 1) for _ in range(n_blocks - 1))))
        super().__init__(*stem, nn.MaxPool1d(3, 2, 1), *stages)


class XResNetEncoder(Peer):
    """The network as an encoder: Fourier-resampled to 100 Hz, not scaled, the 32 columns averaged (`tokens`: kept)."""

    name = "medtvt-r1"
    input_spec = SPEC

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 768] from [B, 12, T] millivolts; see `tokens`."""
        return self.tokens(signal_mv, fs_hz).mean(1)

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 32, 768]: ten seconds, resampled as the original does (Fourier), NaN as 0, no scaling."""
        signal = np.nan_to_num(np.asarray(signal_mv, np.float32))
        if signal.ndim != 3 or signal.shape[1] != len(LEADS):
            raise ValueError(f"signal_mv: expected [batch, 12, samples]; got {list(signal.shape)}")
        window = round(fs_hz * N_SAMPLES / FS_HZ)
        signal = np.pad(signal, ((0, 0), (0, 0), (0, max(0, window - signal.shape[2]))))[:, :, :window]
        if window != N_SAMPLES:
            signal = fourier_resample(signal, N_SAMPLES, axis=2).astype(np.float32)
        return self.run(lambda x: self.network(x).transpose(1, 2), np.ascontiguousarray(signal))


def load(path: Path, device: str = "cpu", name: str = "medtvt-r1") -> XResNetEncoder:
    """The encoder from a published file: state under `ecg_model`, every key accounted for.

    The published blocks list their convolutions twice (`convs`, `convpath.0`); both must agree, and one is read.
    """
    state = {key.removeprefix("module."): value for key, value in published.read(path, ("ecg_model",)).items()}
    twice = {key: key.replace(".convpath.0.", ".convs.") for key in state if ".convpath.0." in key}
    for key, other in twice.items():
        if other in state and not torch.equal(state[key], state[other]):
            raise ValueError(f"{path}: {key} and {other} are one layer under two names, and differ")
    kept = {twice.get(key, key): value for key, value in state.items()}
    network = XResNet1d101()
    published.fill(network, kept, path, "an xresnet1d101 of 768 channels")
    return XResNetEncoder(network, device)


def spec(name: str = "medtvt-r1") -> InputSpec:
    """What it is fed."""
    return SPEC


def network(name: str = "medtvt-r1") -> XResNet1d101:
    """The network with random weights; its columns' mean is the feature."""
    return XResNet1d101()


def golden(name: str = "medtvt-r1") -> dict[str, np.ndarray]:
    """Outputs for `merit.encoders.golden`, at the published size: part of the columns, and the feature."""
    net = XResNet1d101().eval()
    net.load_state_dict(gold.weights(net.state_dict()))
    with torch.inference_mode():
        columns = net(torch.from_numpy(gold.signal(1, 12, N_SAMPLES)))
    return {"columns": columns[:, ::8, ::4].numpy(), "feature": columns.mean(2).numpy()}
