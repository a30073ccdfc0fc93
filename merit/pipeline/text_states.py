"""Reports for a text encoder whose last layers are trained: what the frozen layers below give, once, on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from merit import runs
from merit.config import ModelConfig, TextTowerConfig, replace

if TYPE_CHECKING:
    from merit.data.batches import PairedRecordings
    from merit.model.text import TextEncoder


def with_tokens(
    data: PairedRecordings, model: ModelConfig, layers: int, folder: Path, inputs: Mapping[str, str],
    frozen: Callable[[], TextEncoder], reports: Callable[[], list[str]],
) -> tuple[PairedRecordings, ModelConfig]:  # fmt: skip
    """The same recordings with the tokens of their reports, and the network with the encoder's last `layers` layers.

    The states lie in `folder` under the identity of encoder and reports (inputs) and layers, made where they are
    missing; frozen and reports, `data.text`'s in its order, are asked for only then. They take 4 bytes a token and
    unit of width: about 13 GB for MedCPT and 170,000 reports of 25 tokens.
    """
    from merit.data.token_states import load
    from merit.model.text import write_states

    key = runs.identity("token_states", {"layers": layers}, inputs, ["merit.model.text"])
    states = folder / f"states-{key}"
    tokens = load(runs.once(states, lambda: write_states(frozen(), reports(), layers, states)))
    tower = TextTowerConfig(**tokens.tower)
    return dataclasses.replace(data, tokens=tokens), replace(model, text_tower=tower)
