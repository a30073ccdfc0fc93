"""MERIT, made checkable: the model, the objectives, the training loop and the evaluations of arXiv 2605.27583."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from merit.encoders.base import InputSpec
from merit.encoders.registry import register

if TYPE_CHECKING:
    from merit.use.embedder import Embedder

__all__ = ["InputSpec", "load", "register"]


def load(name: str | Path, device: str = "cpu", text_encoder: str | Path | None = None) -> Embedder:
    """A finished checkpoint by its folder, or by its name on the Hugging Face hub, the one case in which something is
    fetched: `load(folder).embed(signal_mv, fs_hz=500)`. Research only: not a medical device.

    device: cpu, cuda, cuda:1, or auto. text_encoder: folder or hub name, if it is not where the checkpoint says.
    """
    from merit.use import embedder  # torch is imported only when somebody embeds

    return embedder.load(name, device, text_encoder)
