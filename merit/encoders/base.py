"""What an encoder must offer to stand in a table: the protocol that ours, the random one and every peer's fulfil."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What an encoder wants to be fed; `embed` converts to it."""

    fs_hz: float
    duration_s: float
    leads: tuple[str, ...]
    scaling: str
    filtering: str = "none"


@runtime_checkable
class Encoder(Protocol):
    """An ECG encoder under evaluation. What it may offer besides: `Sequenced`, `TextAligned`."""

    name: str
    input_spec: InputSpec

    @property
    def identity(self) -> str:
        """Changes whenever the embeddings would."""

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D] from signals [B, 12, T] in millivolts, leads in the order of `merit.data.recording.LEADS`."""


class Sequenced(Protocol):
    """What an encoder with an order in time offers besides, for a model that reads tokens."""

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, n, D], first to last; their mean is the embedding."""


@runtime_checkable
class TextAligned(Protocol):
    """What an encoder that shares a space with texts offers besides; both vectors have length 1, so that their product
    is the similarity that zero-shot classification ranks by.
    """

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, d] from signals [B, 12, T] in millivolts."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d]."""
