"""Is an adapter the authors' network? Outputs of the authors' own code on seeded weights, kept as small files.

For each encoder with public code its network was built once in a scratch folder at the adapter's small size, given the
weights of `weights` by the published names, and run on `signal`. `golden/<name>.npz` holds what came out, an array per
output, and `about`: repository, commit, class, settings and `key_digest` of the published names and shapes, as JSON.
`agreement` runs the adapter on the same.
"""

from __future__ import annotations

import functools
import hashlib
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
    state = {}
    for key, value in shapes.items():
        rng, shape = np.random.default_rng(zlib.crc32(key.encode())), tuple(value.shape)
        if not value.dtype.is_floating_point:
            state[key] = torch.zeros(shape, dtype=value.dtype)
            continue
        if key.endswith("running_var"):
            drawn = 0.5 + rng.random(shape)
        elif len(shape) >= 2:
            drawn = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        elif key.endswith("weight"):
            drawn = 1 + 0.1 * rng.standard_normal(shape)
        else:
            drawn = 0.1 * rng.standard_normal(shape)
        state[key] = torch.from_numpy(np.asarray(drawn, np.float32))
    return state


def signal(*shape: int) -> np.ndarray:
    """float32 standard normal numbers, the same for the same shape."""
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def tokens(vocabulary: int, *shape: int) -> Tensor:
    """int64 token numbers from 1 to vocabulary - 1, the same for the same arguments."""
    return torch.from_numpy(np.random.default_rng(7).integers(1, vocabulary, shape))


def padded(n_tokens: int, n_padding: int) -> Tensor:
    """int64 [2, n_tokens], the attention mask of two texts of which the second ends in padding."""
    attention = torch.ones(2, n_tokens, dtype=torch.int64)
    attention[1, n_tokens - n_padding :] = 0
    return attention


@functools.cache
def read(name: str) -> dict[str, Any]:
    """The golden file of an encoder: its outputs, and `about`. FileNotFoundError where there is none."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: json.loads(str(file[key])) if key == "about" else file[key] for key in file.files}


def key_digest(shapes: Mapping[str, Tensor]) -> str:
    """How many entries a state has and a digest of their names and shapes, as `about` has it of a published file."""
    lines = sorted(f"{key} {list(value.shape)}" for key, value in shapes.items())
    return f"{len(lines)} {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def agreement(adapter: type[Any]) -> dict[str, float]:
    """Output -> largest difference between the adapter and the authors' network, relative to the largest output.

    Raises ValueError where the adapter gives other outputs, or other shapes, than the file holds.
    """
    name, size = adapter.name, adapter.small
    theirs = {key: value for key, value in read(name).items() if key != "about"}
    ours = adapter.from_state(adapter.seeded_state(size), Path(name), size=size).golden()
    got, expected = ({key: list(value.shape) for key, value in outputs.items()} for outputs in (ours, theirs))
    if got != expected:
        raise ValueError(f"{name}: expected golden outputs {expected}; the adapter gives {got}")
    return {key: float(np.abs(ours[key] - theirs[key]).max() / np.abs(theirs[key]).max()) for key in theirs}
