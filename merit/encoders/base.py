"""What an encoder must offer to stand in a table: the protocol that ours, the random one and every other one fulfil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from merit.data.recording import LEADS


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The input that an encoder expects; its `embed` converts to it."""

    fs_hz: float
    duration_s: float
    leads: tuple[str, ...]
    scaling: str
    filtering: str = "none"


@runtime_checkable
class Encoder(Protocol):
    """An ECG encoder under evaluation; what it may offer in addition: `Sequenced`, `TextAligned`."""

    name: str
    input_spec: InputSpec

    @property
    def identity(self) -> str:
        """Changes whenever the embeddings would."""

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D] from signals [B, 12, T] in millivolts, leads in the order of `merit.data.recording.LEADS`."""


class Sequenced(Protocol):
    """What an encoder with an order in time offers in addition, for a model that reads tokens."""

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, n, D], first to last; their mean is the embedding unless the encoder says otherwise."""


@runtime_checkable
class TextAligned(Protocol):
    """What an encoder that shares a space with texts offers in addition; both kinds of vectors have length 1, so that
    their product is the similarity that zero-shot classification ranks by.
    """

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, d] from signals [B, 12, T] in millivolts."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d]."""


def fitted(signal_mv: np.ndarray, fs_hz: float, spec: InputSpec, duration_s: float | None = None) -> np.ndarray:
    """[B, L, T] in millivolts at the rate, the length (unless another is given) and in the leads of `spec`.

    signal_mv: finite [B, 12, T] at any rate, ValueError else; it is resampled polyphase, then cut or padded with zeros
    at its end.
    """
    from merit.data.preprocess import fix_length, resample

    signal = np.asarray(signal_mv, np.float32)
    if signal.ndim != 3 or signal.shape[1] != len(LEADS):
        raise ValueError(f"signal_mv: expected [batch, 12, samples], {', '.join(LEADS)}; got {list(signal.shape)}")
    if not np.isfinite(signal).all():
        raise ValueError(
            "signal_mv: expected finite values; got NaN or infinity; see merit.data.preprocess.repair_gaps"
        )
    n_samples, order = round(spec.fs_hz * (duration_s or spec.duration_s)), [LEADS.index(lead) for lead in spec.leads]
    return np.stack([fix_length(resample(row[order], fs_hz, spec.fs_hz), n_samples) for row in signal])
