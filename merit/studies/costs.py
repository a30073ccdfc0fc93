"""What each of the methods costs that are compared on the same recordings with the same updates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from merit.config import ModelConfig, PretrainConfig, method, replace
from merit.studies.workspace import NoCohort

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace


def costs(ws: Workspace, encoders: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """A row an encoder: network (its kind), parameters of the encoder and of all that is trained with it, FLOPs of a
    recording's embedding and of its forward in an update, updates, batch, and means over seeds: seconds of pretraining
    and the last validation's terms.

    The random encoder has no pretraining; seconds are None where there is nothing to pretrain on.
    """
    rows = []
    for encoder in encoders:
        model, pretrain = (ws.profile.model, None) if encoder == "random" else ws.configs(encoder, 0)
        row = {"encoder": encoder, **of_network(replace(model, text_width=ws.text_width), pretrain)}
        rows.append(row | (_spent(ws, encoder, seeds) if pretrain else {}))
    return rows


def of_network(model: ModelConfig, pretrain: PretrainConfig | None) -> dict[str, Any]:
    """Kind, parameters and FLOPs, counted on torch's meta device, which has shapes and no numbers."""
    import torch

    from merit.evaluate import flops
    from merit.pretrain.augmentation import augmentation
    from merit.pretrain.checkpoint import network

    objective = "mse" if pretrain is None else pretrain.objective
    with torch.device("meta"):
        whole = network(model, objective).eval()
        signal, text = torch.zeros(1, model.encoder.n_leads, model.encoder.n_samples), torch.zeros(1, model.text_width)
    parameters = flops.parameters(whole)
    found = {
        "network": model.encoder.kind,
        "parameters": parameters["encoder"],
        "embedding_flops": sum(flops.flops(whole, lambda: whole.embed(signal)).values()),
    }
    if pretrain is None:
        return found
    drawn = augmentation(objective).draw(1, model, pretrain.views, torch.Generator())
    shown = augmentation(objective).apply(signal, {name: row.to("meta") for name, row in drawn.items()}, model.encoder)
    forward = flops.flops(whole, lambda: whole(shown.signal_mv, text, shown.visible, shown.dropout))
    return {**found, "trained_parameters": sum(parameters.values()), "update_flops": sum(forward.values())}


def _spent(ws: Workspace, encoder: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Updates, batch, mean seconds and mean last validation of the finished runs."""
    try:
        folders = [ws.checkpoint(encoder, seed) for seed in seeds]
    except NoCohort:
        return {"seconds": None}
    told = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in folders]
    last = [(folder / "history.jsonl").read_text(encoding="utf-8").splitlines()[-1] for folder in folders]
    terms = [json.loads(line)["validation"] for line in last]
    return {
        "updates": told[0]["total_updates"],
        "batch": told[0]["pretrain"]["batch"],
        "objective": method(encoder).objective,
        "seconds": fmean(one["seconds"] for one in told),
        "validation": {name: fmean(one[name] for one in terms) for name in terms[0]},
    }
