"""ECG-FM (McKeen et al. 2024, arXiv 2408.05178): a wav2vec 2.0 of 5-second ECGs, behind the protocol.

Written from the descriptions in bowang-lab/ECG-FM at 9cc0d3f (its notebooks and `scripts/linear.py`) and
Jwoo5/fairseq-signals at 6b9e137 (the network, and `scripts/preprocess/ecg/preprocess.py`), both MIT. Weights:
`mimic_iv_ecg_physionet_pretrained.pt`, a fairseq checkpoint, whose state stands under `model`; pretraining's own parts
in it are left out. Shapes: B batch, T samples, n positions.

The authors standardise each lead over the whole recording, cut it into segments of 5 s, and probe the mean of a
segment's positions, each segment a row with its recording's labels. Here a recording is the mean of its two segments,
as their notebook averages most predictions. Their mean is over nonzero outputs, for the sake of padding; full segments
have none. Differences: their linear resampling sets the last sample last, so that 10 s from 100 Hz are stretched by
8 ms, ours is polyphase (at 500 Hz nothing is resampled, and a recording of PTB-XL agrees to 3e-7 of a deviation); and
a shorter recording is filled up with zeros before it is standardised, where they leave an incomplete segment out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from merit.data.recording import LEADS
from merit.encoders import golden as gold
from merit.encoders import published
from merit.encoders.base import InputSpec
from merit.encoders.peer import Peer
from merit.encoders.wav2vec2 import PRETRAINING, Wav2Vec2, Wav2Vec2Size

PUBLISHED = Wav2Vec2Size()
SMALL = Wav2Vec2Size(
    convolutions=((8, 2, 2),) * 4, width=16, depth=2, heads=2, hidden=32, positions=8, position_groups=4
)
FS_HZ, SEGMENT = 500, 2500


class ECGFM(Wav2Vec2):
    """[B, 12, T] to [B, W]: the mean over positions and over the segments of SEGMENT samples, a remainder left out."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.positions(x).mean(1)

    def positions(self, x: Tensor) -> Tensor:
        """[B, n, W], first to last, each from its own segment alone."""
        segments = x[:, :, : x.shape[2] // SEGMENT * SEGMENT].unflatten(2, (-1, SEGMENT)).transpose(1, 2)
        return super().forward(segments.flatten(0, 1)).unflatten(0, segments.shape[:2]).flatten(1, 2)


class ECGFMEncoder(Peer):
    """The network as an encoder: 10 s at 500 Hz, each lead standardised over all of them, two segments."""

    input_spec = InputSpec(
        fs_hz=FS_HZ,
        duration_s=10,
        leads=LEADS,
        scaling="each lead to mean 0 and standard deviation 1 over the recording; a constant lead to 0",
    )

    def __init__(self, network: nn.Module, device: str = "cpu", name: str = "ecg-fm") -> None:
        super().__init__(network, device)
        self.name = name

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, 12, T], each lead standardised."""
        constant = signal_mv.max(2, keepdims=True) == signal_mv.min(2, keepdims=True)
        centred = np.where(constant, 0, signal_mv - signal_mv.mean(2, keepdims=True, dtype=np.float64))
        return centred / np.where(constant, 1, centred.std(2, keepdims=True))

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, 312, 768], 156 of each segment; their mean is the embedding."""
        return self.run(self.network.positions, self.prepared(signal_mv, fs_hz))


def spec(name: str = "ecg-fm") -> InputSpec:
    """What it is fed."""
    return ECGFMEncoder.input_spec


def network(name: str = "ecg-fm", size: Wav2Vec2Size = PUBLISHED) -> ECGFM:
    """The network with random weights."""
    return ECGFM(size)


def load(path: Path, device: str = "cpu", name: str = "ecg-fm", size: Wav2Vec2Size = PUBLISHED) -> ECGFMEncoder:
    """The encoder from the published file; ValueError names what is amiss in another."""
    state = published.leave(published.read(path, ("model",)), *PRETRAINING)
    built = network(name, size)
    published.fill(built, state, path, f"ECG-FM, {size.depth} layers of width {size.width}")
    return ECGFMEncoder(built, device, name)


def golden(name: str = "ecg-fm") -> dict[str, np.ndarray]:
    """Outputs of the small network: `feature`, [2, 16], and `positions`, the first and last of each segment."""
    small = network(name, SMALL).eval()
    small.load_state_dict(gold.weights(small.state_dict()))
    x = torch.from_numpy(gold.signal(2, 12, 2 * SEGMENT))
    with torch.inference_mode():
        feature, positions = small(x), small.positions(x)
    n = positions.shape[1]
    return {"feature": feature.numpy(), "positions": positions[:, [0, n // 2 - 1, n // 2, n - 1]].numpy()}
