"""Is an adapter the authors' network? Outputs of the authors' own code on seeded weights, kept as small files.

For each encoder with public code its network was built once in a scratch folder at the adapter's small size, given the
weights of `weights` by the published names, and run on `signal`. `golden/<name>.npz` holds what came out, an array per
output, and `about`: repository, commit, class, settings and a digest of the published names and shapes, as JSON.
`agreement` runs the adapter on the same.
"""

from __future__ import annotations

import functools
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
SAMPLES = {"ecg-fm": 5000, "st-mem": 2250, "st-mem-s": 2250, "merl": 410, "merl-vit": 400, "qoq": 2500, "ecg-chat": 400}
SAMPLES |= {"medtvt-r1": 1000, "esi": 640, "d-beta": 640, "melp": 640}
"""Encoder -> samples of the signals that its golden file is of."""


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


@functools.cache
def read(name: str) -> dict[str, Any]:
    """The golden file of an encoder: its outputs, and `about`. FileNotFoundError where there is none."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: json.loads(str(file[key])) if key == "about" else file[key] for key in file.files}


def agreement(adapter: type[Any]) -> dict[str, float]:
    """Output -> largest difference between the adapter and the authors' network, relative to the largest output.

    Raises ValueError where the adapter gives other outputs, or other shapes, than the file holds.
    """
    name, size = adapter.name, adapter.small
    theirs = {key: value for key, value in read(name).items() if key != "about"}
    encoder = adapter.from_state(adapter.seeded_state(size), Path(name), size=size)
    network, n_signals = encoder.network, 1 if name == "medtvt-r1" else 2
    x = signal(n_signals, len(adapter.input_spec.leads), SAMPLES[name])
    ours = {"feature": encoder.run(network, x)}

    # Tokens, fixed positions and the preparation, of each encoder what its authors' code gives.
    if name == "medtvt-r1":
        ours = {"columns": ours["feature"][:, ::8, ::4], "feature": encoder.run(lambda x: network(x).mean(2), x)}
    elif name == "ecg-fm":  # the first and last positions of each segment
        tokens = encoder.run(network.tokens, x)
        half = tokens.shape[1] // 2
        ours["positions"] = tokens[:, [0, half - 1, half, -1]]
    elif name == "qoq":
        ours["tokens"] = encoder.run(network.tokens, x)
        ours["positions"] = adapter.ecg_network(size).pos_embed.numpy()[::37]
    elif name.startswith("st-mem"):
        ours["tokens"] = encoder.run(network.tokens, x)
        ours["positions"] = adapter.ecg_network(size).pos_embedding[0].numpy()
        ours["crops"] = np.stack(encoder.crops(signal(1, 12, 2500), 250))[:, 0, ::4, ::45]
    elif name == "ecg-chat":
        ours["states"] = encoder.run(network.tokens, x)
    elif name == "melp":
        ours["shared"] = encoder.run(network.shared, x)
    elif name != "d-beta":
        ours["shared"] = encoder.shared(x)

    # Texts as token numbers: two of 9, of which the second may end in padding; MELP's are padded before a last token.
    if adapter.text_class:
        words, n = (90, 40) if name == "melp" else (100, 9)
        ids = torch.from_numpy(np.random.default_rng(7).integers(1, words, (2, n)))
        attention = torch.ones_like(ids)
        if name == "melp":
            ids[:, -1] = 2  # the number of [CLS] in the golden file's texts
            attention[1, 19:-1] = 0
        elif name in ("merl", "merl-vit", "ecg-chat"):
            attention[1, 6:] = 0
        ours["text"] = encoder.text.vectors(ids * attention if name == "ecg-chat" else ids, attention)
    if name == "d-beta":
        rows, columns = (encoder.unit_keeping_products(ours[of], own) for own, of in enumerate(("feature", "text")))
        ours["products"] = ours["feature"].shape[1] * rows @ columns.T

    got, expected = ({key: list(value.shape) for key, value in outputs.items()} for outputs in (ours, theirs))
    if got != expected:
        raise ValueError(f"{name}: expected golden outputs {expected}; the adapter gives {got}")
    return {key: float(np.abs(ours[key] - theirs[key]).max() / np.abs(theirs[key]).max()) for key in theirs}
