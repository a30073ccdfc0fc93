"""Encoders whose weights a user brings: where their file is looked for, and where the authors publish it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from merit import runs
from merit.baselines.base import Encoder


class NoWeights(LookupError):
    """The weights of an encoder are not there; the message says where they belong and where they come from."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """An encoder of others; nothing of it is loaded before it is asked for."""

    module: str
    """The module of this package that builds it; its `load` takes the file and the device."""
    load: Callable[[Path, str], Encoder]
    published: str
    """Where the authors publish the weights, and under what terms."""
    pretrained_on: tuple[str, ...]
    """Data sets of ours that its authors pretrained on: which patients of them it has seen is not known."""


def _load_medtvt_r1(path: Path, device: str) -> Encoder:
    from merit.baselines.xresnet import load

    return load(path, device)


OUTSIDE = {
    "medtvt-r1": Outside(
        module="merit.baselines.xresnet",
        load=_load_medtvt_r1,
        published="Hugging Face, kekeYeah/Checkpoints: best_valid_all_increase_with_augment_epoch_3.pt (no licence "
        "stated)",
        pretrained_on=("mimic-iv-ecg",),
    ),
}
"""Name in a table -> encoder."""
ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def weights_file(name: str) -> Path:
    """The one weights file in `weights/<name>` (or `$MERIT_WEIGHTS/<name>`); NoWeights where there is none, ValueError
    where there are several.
    """
    folder = Path(os.environ.get("MERIT_WEIGHTS") or runs.home() / "weights") / name
    found = sorted(path for path in folder.glob("*") if path.suffix in ENDINGS) if folder.is_dir() else []
    if not found:
        raise NoWeights(f"{name}: no weights in weights/{name}; published at {OUTSIDE[name].published}")
    if len(found) > 1:
        raise ValueError(f"{folder}: expected one weights file; got {', '.join(path.name for path in found)}")
    return found[0]


def identity(name: str) -> str:
    """Identity of an encoder: its file and the code that reads it. NoWeights where there is no file."""
    weights = {"weights": runs.file_digest(weights_file(name))}
    return runs.identity("outside", {"encoder": name}, weights, [OUTSIDE[name].module])


def load(name: str, device: str) -> Encoder:
    """The encoder itself. NoWeights where there is no file."""
    return OUTSIDE[name].load(weights_file(name), device)
