"""Reports for a text encoder whose last layers are trained: what the frozen layers below give, once, on disk."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from merit import runs
from merit.config import ModelConfig, TextTowerConfig, replace

if TYPE_CHECKING:
    from merit.data.batches import PairedRecordings
    from merit.pipeline.training import Training


def with_tokens(
    ws: Training, data: PairedRecordings, model: ModelConfig, layers: int
) -> tuple[PairedRecordings, ModelConfig]:
    """The same recordings with the tokens of their reports, and the network with the encoder's last `layers` layers.

    The states lie under the identity of encoder, reports and layers: 4 bytes a token and unit of width, about 13 GB for
    MedCPT and 170,000 reports of 25 tokens.
    """
    from merit.data.token_states import load
    from merit.model.text_states import write_states

    inputs = {"text": ws.text_identity, "reports": ws._rows_identity}
    key = runs.identity("token_states", {"layers": layers}, inputs, ["merit.model.text_states"])
    folder = ws.folder / "text" / f"states-{key}"
    with runs.claimed(folder):
        if not folder.exists():
            write_states(ws._text_encoder, ws.distinct_reports(), layers, folder)
    tokens = load(folder)
    tower = TextTowerConfig(**tokens.tower)
    return dataclasses.replace(data, tokens=tokens), replace(model, text_tower=tower)
