"""What the adapters of published encoders share: a recording brought to a peer's input, and a frozen network run on it.

Shapes: B batch, L leads, T samples, D width of the feature that is probed, d width of the space shared with texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from merit.data.preprocess import fix_length, resample
from merit.data.recording import LEADS
from merit.encoders.base import InputSpec

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in MIMIC-IV-ECG's files, in which those read that were pretrained on them as they stand."""


FLAT = 1e-8
"""Added to a recording's range, mV, so that a flat one is 0, as MERL and MELP have it."""


class Peer:
    """A published encoder behind the protocol: subclasses give `name`, `input_spec`, `conditioned` and, where the peer
    shares a space with texts, `embed_shared` and `embed_text`.

    `network(x)` is the feature that is probed, [B, D], from [B, L, T] as `prepared` gives it.
    """

    name: str
    input_spec: InputSpec

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        self.network, self.device = network.eval().requires_grad_(False).to(device), device

    @property
    def identity(self) -> str:
        """Digest of the ECG side's weights."""
        total = hashlib.sha256()
        for key, value in sorted(self.network.state_dict().items()):
            total.update(key.encode() + value.cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D] from [B, 12, T] millivolts at any rate."""
        return self.run(self.network, self.prepared(signal_mv, fs_hz))

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, L, T] at the peer's rate and length, leads in its order, filtered and scaled as it expects."""
        signal = np.asarray(signal_mv, np.float32)
        if signal.ndim != 3 or signal.shape[1] != len(LEADS):
            raise ValueError(f"signal_mv: expected [batch, 12, samples]; got {list(signal.shape)}")
        if not np.isfinite(signal).all():
            raise ValueError(
                "signal_mv: expected finite values; got NaN or infinity; see merit.data.preprocess.repair_gaps"
            )
        spec = self.input_spec
        n_samples, order = round(spec.fs_hz * spec.duration_s), [LEADS.index(lead) for lead in spec.leads]
        ready = [fix_length(resample(one[order], fs_hz, spec.fs_hz), n_samples) for one in signal]
        return np.ascontiguousarray(self.conditioned(np.stack(ready)), np.float32)

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, L, T] filtered and scaled; millivolts as they are unless a subclass says otherwise."""
        return signal_mv

    def run(self, call: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
        """float32 of `call` on the device, without gradients."""
        with torch.inference_mode():
            return call(torch.from_numpy(x).to(self.device)).float().cpu().numpy()


def min_max(signal_mv: np.ndarray) -> np.ndarray:
    """[B, L, T] from 0 to 1 over all leads and samples of a recording, in the precision given; a flat one becomes 0."""
    low, high = (bound(axis=(1, 2), keepdims=True) for bound in (signal_mv.min, signal_mv.max))
    return (signal_mv - low) / (high - low + FLAT)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, [N, d]."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
