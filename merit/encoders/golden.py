"""Is an adapter the authors' network? Outputs of the authors' own code on seeded weights, kept as small files.

For each peer with public code its network was built once in a scratch folder at the adapter's `SMALL` size, given the
weights of `weights` by the published names, and run on `signal`. `golden/<name>.npz` holds what came out, an array an
output, and `about`: repository, commit, class, settings and `key_digest` of the published names and shapes, as JSON.
`agreement` runs the adapter on the same.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).with_name("golden")
TOLERANCE = 1e-5
"""Largest difference that is rounding, relative to the largest output."""


def weights(shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A value for each entry of a state, float32, from its name and shape alone.

    Scales keep a deep network's activations near 1: matrices and convolutions 1 / sqrt(inputs), gains near 1, variances
    from 0.5 to 1.5, all else 0.1. Counters are 0.
    """
    return {key: _value(key, tuple(value.shape), value.dtype) for key, value in shapes.items()}


def _value(key: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    drawn = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = 0.5 + drawn.random(shape)
    elif len(shape) >= 2:
        values = drawn.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    elif key.endswith("weight"):
        values = 1 + 0.1 * drawn.standard_normal(shape)
    else:
        values = 0.1 * drawn.standard_normal(shape)
    return torch.from_numpy(np.asarray(values, np.float32))


def signal(*shape: int) -> np.ndarray:
    """float32 standard normal numbers, the same for the same shape."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def tokens(vocabulary: int, *shape: int) -> np.ndarray:
    """int64 token numbers from 1 to vocabulary - 1, the same for the same arguments."""
    return np.random.default_rng(7).integers(1, vocabulary, shape)


@functools.cache
def kept(name: str) -> dict[str, Any]:
    """The golden file of an adapter: its outputs, and `about`. FileNotFoundError where there is none."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: json.loads(str(file[key])) if key == "about" else file[key] for key in file.files}


def key_digest(shapes: Mapping[str, Tensor]) -> str:
    """How many entries a state has and a digest of their names and shapes, as `about` has it of a published file."""
    lines = sorted(f"{key} {list(value.shape)}" for key, value in shapes.items())
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def agreement(name: str, module: str) -> dict[str, float]:
    """Output -> largest difference between the adapter and the authors' network, relative to the largest output.

    Raises ValueError where the adapter gives other outputs, or other shapes, than the file holds.
    """
    theirs = {key: value for key, value in kept(name).items() if key != "about"}
    ours = importlib.import_module(module).golden(name)
    found = {key: list(value.shape) for key, value in ours.items()}
    expected = {key: list(value.shape) for key, value in theirs.items()}
    if found != expected:
        raise ValueError(f"{name}: expected golden outputs {expected}; the adapter gives {found}")
    return {key: float(np.abs(ours[key] - theirs[key]).max() / np.abs(theirs[key]).max()) for key in theirs}


def save(name: str, about: Mapping[str, str], **outputs: np.ndarray) -> Path:
    """Write a golden file. about: repository, commit, class, settings."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.npz"
    arrays = {key: np.asarray(value, np.float32) for key, value in outputs.items()}
    np.savez_compressed(path, about=json.dumps(dict(about)), **arrays)
    return path
