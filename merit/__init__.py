"""MERIT, made checkable: the model, the objectives, the training loop and the evaluations of arXiv 2605.27583."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from merit.baselines.base import InputSpec
from merit.baselines.own import register

if TYPE_CHECKING:
    from merit.baselines.ours import MeritEncoder

__all__ = ["InputSpec", "load", "register"]


def load(folder: str | Path, device: str = "cpu") -> MeritEncoder:
    """The encoder of a finished checkpoint folder: `load(folder).embed(signal_mv, fs_hz=500)`."""
    from merit.baselines import ours  # torch is imported only when somebody embeds

    return ours.load(folder, device)
