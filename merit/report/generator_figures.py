"""Figure 2 drawn from what `studies.framework` knows of the generator, and its facts as a table and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from merit.report import tables
from merit.report.diagram import ALIGNMENT, EDGE, FROZEN, QUIET, RECONSTRUCTION, SHARED, WIDTH, Box, Diagram, short
from merit.report.prose import Html


def generation(values: Mapping[str, Any]) -> Diagram:
    """Figure 2: frozen encoder, projector, language model with LoRA; dashed: published sizes, not trained here."""
    encoder, llama, sheet = values["encoder"], values["language_model"], Diagram(5.5)
    leads, samples = encoder["signal"]
    half, right = 2.2, 2.52
    ecg = sheet.box(Box(EDGE, 4.9, half, 0.52), "ECG", [f"{leads} leads × {samples:,} samples"], colour=SHARED)
    question = sheet.box(Box(right, 4.9, half, 0.52), "question", ["text with a place for the ECG"], colour=ALIGNMENT)
    frozen = sheet.box(
        Box(EDGE, 3.82, half, 0.74), "ECG encoder, frozen",
        [f"{short(encoder['parameters'])} parameters", f"{encoder['embedding']['encoder.blocks.0']['in'][0]} tokens"],
        colour=SHARED,
    )  # fmt: skip
    pieces = sheet.box(
        Box(right, 3.82, half, 0.74), "token table",
        [f"{llama['vocabulary']:,} pieces", f"width {llama['width']:,}"], colour=FROZEN, dashed=True,
    )  # fmt: skip
    sheet.arrow(ecg.foot(), frozen.top(), "nothing hidden")
    sheet.arrow(question.foot(), pieces.top())
    width = encoder["embedding"]["encoder"]["out"][-1]
    projector = sheet.box(
        Box(EDGE, 2.92, half, 0.54), "projector, trained", [f"{width} → {llama['width']:,}"],
        colour=RECONSTRUCTION, dashed=True,
    )  # fmt: skip
    sheet.arrow(frozen.foot(), projector.top(), f"width {width}")
    model = _language_model(sheet, Box(EDGE, 1.2, WIDTH - 2 * EDGE, 1.38), llama)
    sheet.arrow((projector.foot()[0], projector.bottom), (projector.foot()[0], model.top()[1]), "ECG as prefix")
    sheet.arrow((pieces.foot()[0], pieces.bottom), (pieces.foot()[0], model.top()[1]), "its tokens")
    answer = sheet.box(
        Box(EDGE, 0.33, WIDTH - 2 * EDGE, 0.52), "answer",
        [f"next token by next token; training sequences of {llama['max_tokens']} tokens"],
        colour=ALIGNMENT, dashed=True,
    )  # fmt: skip
    sheet.arrow(model.foot(), answer.top())
    sheet.text((WIDTH / 2, 0.16), "dashed: published sizes, not trained in this edition", colour=QUIET)
    return sheet


def _language_model(sheet: Diagram, place: Box, llama: Mapping[str, Any]) -> Box:
    """The language model with its seven adapted matrices side by side, and LoRA's parameters below each."""
    top = place.bottom + place.height - 0.15
    sheet.box(
        place, f"{llama['name']}: {short(llama['parameters'])} parameters, frozen",
        [
            f"{llama['layers']} layers, width {llama['width']:,}, {llama['heads']} heads, "
            f"{llama['key_value_heads']} key-value heads",
            f"+ LoRA, rank {llama['lora_rank']}, trained: {short(llama['lora_total'])} parameters; a layer:",
        ],
        colour=FROZEN, dashed=True, at=top,
    )  # fmt: skip
    step = (place.width - 0.16) / len(llama["lora"])
    for k, (name, count) in enumerate(llama["lora"].items()):
        cell = Box(place.left + 0.08 + k * step + 0.025, place.bottom + 0.1, step - 0.05, 0.54)
        sheet.box(cell, name, [short(count)], colour=RECONSTRUCTION, dashed=True)
    return place


def language_model(values: Mapping[str, Any]) -> Html:
    """A row a matrix of a layer: inputs, outputs, frozen weights, LoRA's parameters a layer and in all layers."""
    llama = values["language_model"]
    rows = {}
    for name, (inputs, outputs) in llama["projections"].items():
        rows[name] = {
            "inputs": f"{inputs:,}",
            "outputs": f"{outputs:,}",
            "weights": f"{inputs * outputs:,}",
            "LoRA a layer": f"{llama['lora'][name]:,}",
            f"LoRA, {llama['layers']} layers": f"{llama['layers'] * llama['lora'][name]:,}",
        }
    rows["together"] = {
        "weights": f"{sum(a * b for a, b in llama['projections'].values()):,}",
        "LoRA a layer": f"{sum(llama['lora'].values()):,}",
        f"LoRA, {llama['layers']} layers": f"{llama['lora_total']:,}",
    }
    return tables.mapping(rows, "language-model")


def trained(values: Mapping[str, Any]) -> str:
    """A sentence on how much of the generator would be trained."""
    llama = values["language_model"]
    return (
        f"LoRA of rank {llama['lora_rank']} on the seven matrices of {llama['layers']} layers has "
        f"{llama['lora_total']:,} parameters, {100 * llama['lora_total'] / llama['parameters']:.1f} % of the frozen "
        f"{llama['parameters']:,}; the scales of the norms, which the paper trains too, are {llama['norms']:,}, the "
        f"biases that it adds to five of the matrices {llama['biases']:,}. The encoder "
        f"in front has {values['encoder']['parameters']:,} ({values['profile']} profile) and stays frozen."
    )
