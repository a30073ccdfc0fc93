"""Figures 1 and 2 drawn from what `pipeline.framework` reads off the network, and the same facts as tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from merit.report import tables
from merit.report.diagram import INK, QUIET, WIDTH, Box, Diagram, counted, short, times
from merit.report.prose import Html, listing
from merit.report.style import look

SHARED, RECONSTRUCTION, ALIGNMENT = (look(name).colour for name in ("merit", "mse", "cma"))
"""Colour of what both branches use, and of each branch: those of the objectives that have only that one."""
FROZEN = "#6B6B6B"
EDGE = 0.08  # inches left free at the sheet's sides

PARTS = {"encoder": "ECG encoder", "decoder": "decoder", "ecg_head": "ECG projection", "text_head": "text projection"}
TERMS = {"info_nce": "InfoNCE", "masked_mse": "MSE on hidden patches", "bottleneck": "(1 − cosine)"}


def framework(values: Mapping[str, Any], example: Mapping[str, Any] | None = None) -> Diagram:
    """Figure 1: one encoder, a branch that reconstructs and one that aligns, with the shapes of the profile at hand.

    values: of the result `framework`. example: of `reconstruction`, whose signals fill the first box; or None.
    """
    facts, sheet = values["profiles"][values["profile"]], Diagram(5.9)
    ecg, report = Box(EDGE, 5.12, 2.95, 0.7), Box(3.3, 5.12, WIDTH - EDGE - 3.3, 0.7)
    _signal_box(sheet, ecg, facts, example)
    sheet.box(report, "report", ["statements,", "one text"], colour=ALIGNMENT)
    masked = _mask_box(sheet, Box(EDGE, 3.85, 2.95, 1.0), facts, values["mask"])
    sheet.arrow(ecg.foot(), masked.top(), "cut into patches")
    encoder = _encoder_box(sheet, Box(EDGE, 2.8, 2.95, 0.72), facts)
    sheet.arrow(masked.foot(), encoder.top(), "visible patches only" if _drops(facts) else "hidden patches replaced")
    words = _text_encoder_box(sheet, Box(3.3, 3.85, WIDTH - EDGE - 3.3, 1.0), values["text_encoder"])
    sheet.arrow(report.foot(), words.top())
    _reconstruction(sheet, encoder, facts, values["objectives"])
    _alignment(sheet, encoder, words, facts, values["objectives"])
    return sheet


def _signal_box(sheet: Diagram, place: Box, facts: Mapping[str, Any], example: Mapping[str, Any] | None) -> None:
    leads, samples = facts["signal"]
    rate = facts["settings"]["fs_hz"]
    lines = [f"{leads} leads × {samples:,} samples ({samples / rate:g} s at {rate} Hz)"]
    if example is None:
        sheet.box(place, "ECG", lines, colour=SHARED)
        return
    sheet.box(place, "ECG", lines, colour=SHARED, at=place.bottom + 0.27)
    trace = np.array(example["target"][0], dtype=float)
    trace = (trace - trace.min()) / max(np.ptp(trace), 1)
    x = place.left + 0.1 + (place.width - 0.2) * np.arange(len(trace)) / len(trace)
    sheet.axes.plot(x, place.bottom + 0.37 + 0.29 * trace, color=INK, linewidth=0.7, zorder=3)


def _mask_box(sheet: Diagram, place: Box, facts: Mapping[str, Any], mask: Sequence[Sequence[int]]) -> Box:
    """The mask itself: a row a lead, a cell a patch; what stays visible is dark."""
    hidden = np.array(mask, dtype=bool)
    leads, patches, samples = facts["patches"]
    sheet.box(place, f"{leads} × {patches} patches of {samples} samples",
              [f"{100 * hidden.mean():.0f} % hidden, {facts['visible'][1]} a lead visible"],
              colour=SHARED, at=place.bottom + 0.27)  # fmt: skip
    left, bottom, width, height = place.left + 0.1, place.bottom + 0.38, place.width - 0.2, place.height - 0.44
    for lead, patch in np.ndindex(hidden.shape):
        cell = (left + width * patch / patches, bottom + height * (leads - 1 - lead) / leads)
        sheet.axes.add_patch(
            Rectangle(
                cell, 0.86 * width / patches, 0.78 * height / leads, linewidth=0,
                facecolor="#D3DAE0" if hidden[lead, patch] else SHARED, zorder=3,
            )
        )  # fmt: skip
    return place


def _drops(facts: Mapping[str, Any]) -> bool:
    """Whether the encoder leaves hidden patches out, as a ViT can."""
    return facts["settings"].get("kind") != "tiny_vit"


def _encoder_box(sheet: Diagram, place: Box, facts: Mapping[str, Any]) -> Box:
    settings = facts["settings"]
    out = facts["shapes"]["encoder"]["out"]
    if not _drops(facts):
        widths = ", ".join(map(str, settings["tiny_vit"]["widths"]))
        lines = [f"TinyViT: widths {widths}", f"{out[0]} tokens, hidden patches replaced"]
    else:
        tokens = facts["shapes"]["encoder.blocks.0"]["in"][0]
        lines = [
            f"ViT: width {settings['width']}, {counted(settings['depth'], 'block')}, {settings['heads']} heads",
            f"{tokens} tokens: {out[0]} × ({out[1] - 2} patches + 2 separators)",
        ]
    return sheet.box(
        place, f"ECG encoder: {short(facts['parameters']['encoder'])} parameters", lines, colour=SHARED
    )  # fmt: skip


def _text_encoder_box(sheet: Diagram, place: Box, text: Mapping[str, Any]) -> Box:
    name = "small BERT" if text["source"] == "trained" else str(text["source"]).split("/")[-1].removesuffix("-Encoder")
    size = f"{short(text['parameters'])} par." if text["parameters"] else "size unknown"
    trained = text["trained_layers"]
    lines = [name[:16], size, f"last {trained} trained" if trained else "frozen"]
    return sheet.box(place, "text encoder", lines, colour=ALIGNMENT if trained else FROZEN)


def _reconstruction(
    sheet: Diagram, encoder: Box, facts: Mapping[str, Any], objectives: Mapping[str, Mapping[str, Any]]
) -> None:
    settings, shapes = facts["settings"]["decoder"], facts["shapes"]
    decoder = Box(EDGE, 1.35, 1.62, 1.02)
    lines = ["one linear map", "from each token"]
    if _drops(facts):
        lines = ["mask tokens put in:", f"{shapes['decoder.blocks.0']['in'][0]} tokens"]
        lines.append(f"width {settings['width']}, {counted(settings['depth'], 'block')}")
    lines.append(f"{short(facts['parameters']['decoder'])} parameters")
    sheet.box(decoder, "decoder", lines, colour=RECONSTRUCTION)
    sheet.arrow((0.6, encoder.bottom), (0.6, decoder.top()[1]), times(shapes["encoder"]["out"]), colour=RECONSTRUCTION)
    loss = Box(EDGE, 0.38, 1.62, 0.58)
    sheet.arrow((0.6, decoder.bottom), (0.6, loss.top()[1]), times(shapes["decoder"]["out"]), colour=RECONSTRUCTION)
    sheet.box(loss, "MSE", ["on hidden patches"], colour=RECONSTRUCTION, fill="white")
    _users(sheet, loss, [name for name, one in objectives.items() if one["decoder"]])


def _alignment(
    sheet: Diagram,
    encoder: Box,
    text_encoder: Box,
    facts: Mapping[str, Any],
    objectives: Mapping[str, Mapping[str, Any]],
) -> None:
    shapes = facts["shapes"]
    (pooled,), (shared,) = shapes["ecg_head"]["in"], shapes["ecg_head"]["out"]
    (text,) = shapes["text_head"]["in"]
    ecg, words = Box(1.86, 1.35, 1.3, 1.02), Box(3.3, 1.35, WIDTH - EDGE - 3.3, 1.02)
    for place, width, part, above in ((ecg, pooled, "ecg_head", encoder), (words, text, "text_head", text_encoder)):
        sheet.box(
            place, "projection",
            [f"{width} → {shared}", "2 linear, GELU", f"{short(facts['parameters'][part])} par."], colour=ALIGNMENT,
        )  # fmt: skip
        x = place.top()[0]
        side = "right" if part == "ecg_head" else "left"
        sheet.arrow((x, above.bottom), (x, place.top()[1]), f"average: {width}", side=side, colour=ALIGNMENT)
    loss = Box(1.86, 0.38, WIDTH - EDGE - 1.86, 0.58)
    for place in (ecg, words):
        x = place.foot()[0]
        sheet.arrow((x, place.bottom), (x, loss.top()[1]), str(shared), colour=ALIGNMENT)
    sheet.box(loss, "InfoNCE", [f"in the shared space, temperature {facts['settings']['temperature']:g}"],
              colour=ALIGNMENT, fill="white")  # fmt: skip
    _users(sheet, loss, [name for name, one in objectives.items() if one["heads"]], _bottleneck(objectives))


def _users(sheet: Diagram, loss: Box, names: Sequence[str], more: str = "") -> None:
    """Which objectives have this loss, below it."""
    where = (loss.left + loss.width / 2, loss.bottom - 0.15)
    sheet.text(where, f"for {listing(look(name).label for name in names)}{more}", colour=QUIET)


def _bottleneck(objectives: Mapping[str, Mapping[str, Any]]) -> str:
    """What an objective adds to the alignment, as `; IB adds 0.5 (1 − cosine)`."""
    added = [(name, one["terms"]["bottleneck"]) for name, one in objectives.items() if "bottleneck" in one["terms"]]
    return "".join(f"; {look(name).label} adds {weight:g} (1 − cosine)" for name, weight in added)


def sizes(values: Mapping[str, Any]) -> Html:
    """A row a stage, a column a profile: tokens and widths of the whole network."""
    return tables.mapping(_by_profile(values, _shape_rows), "framework-sizes")


def parameters(values: Mapping[str, Any]) -> Html:
    """A row a part, a column a profile: trained parameters; the whole text encoder's for the profile at hand."""
    rows = _by_profile(values, lambda facts: {PARTS[part]: f"{n:,}" for part, n in facts["parameters"].items()})
    rows["together"] = {
        _head(values, name): f"{sum(facts['parameters'].values()):,}" for name, facts in values["profiles"].items()
    }
    whole = values["text_encoder"]["parameters"]
    rows[f"text encoder, {_fate(values['text_encoder'])}"] = {
        _head(values, values["profile"]): f"{whole:,}" if whole else None
    }
    return tables.mapping(rows, "framework-parameters")


def _fate(text: Mapping[str, Any]) -> str:
    """What pretraining does to the text encoder."""
    trained = text["trained_layers"]
    return f"last {counted(trained, 'layer')} trained" if trained else "frozen"


def flops(values: Mapping[str, Any]) -> Html:
    """A row a part and use, a column a profile: FLOPs a recording, and how many of them are for attention biases."""
    return tables.mapping(_by_profile(values, _flop_rows), "framework-flops")


def _by_profile(
    values: Mapping[str, Any], rows_of: Callable[[Mapping[str, Any]], Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name, facts in values["profiles"].items():
        for quantity, text in rows_of(facts).items():
            rows.setdefault(quantity, {})[_head(values, name)] = text
    return rows


def _head(values: Mapping[str, Any], profile: str) -> str:
    return f"{profile} (here)" if profile == values["profile"] else profile


def _shape_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    settings, shapes = facts["settings"], facts["shapes"]
    (pooled,), (shared,) = shapes["ecg_head"]["in"], shapes["ecg_head"]["out"]
    decoder = settings["decoder"]
    return {
        "leads × samples": times(facts["signal"]),
        "leads × patches × samples": times(facts["patches"]),
        "hidden patches": f"{100 * (1 - facts['visible'][1] / facts['patches'][1]):.0f} %",
        "encoder: width, blocks, heads": f"{settings['width']}, {settings['depth']}, {settings['heads']}",
        "tokens, pretraining": times(shapes["encoder"]["out"][:2]),
        "tokens, embedding": times(facts["embedding"]["encoder"]["out"][:2]),
        "decoder: width, blocks, heads": f"{decoder['width']}, {decoder['depth']}, {decoder['heads']}",
        "tokens, decoder": times(shapes["encoder"]["out"][:1] + [facts["patches"][1] + 2])
        + (", lead by lead" if decoder["lead_wise"] else ""),
        "prediction": times(shapes["decoder"]["out"]),
        "embedding": str(pooled),
        "ECG projection": f"{pooled} → {shared}",
        "text projection": f"{shapes['text_head']['in'][0]} → {shared}",
    }


def _flop_rows(facts: Mapping[str, Any]) -> dict[str, str]:
    rows = {}
    for use, parts in facts["flops"].items():
        for part, count in parts.items():
            rows[f"{use}: {PARTS[part]}"] = short(count["all"])
        if len(parts) > 1:
            rows[f"{use}: together"] = short(sum(count["all"] for count in parts.values()))
        rows[f"{use}: of it, biases"] = short(sum(count["biases"] for count in parts.values()))
    return rows


def objectives(values: Mapping[str, Any]) -> Html:
    """A row an objective: its loss, which branches its network has, parameters, FLOPs of a forward of pretraining."""
    rows = {}
    for name, one in values["objectives"].items():
        terms = [f"{weight:g} {TERMS[term]}" if weight != 1 else TERMS[term] for term, weight in one["terms"].items()]
        rows[look(name).label] = {
            "loss": " + ".join(terms),
            "decoder": "yes" if one["decoder"] else "no",
            "projections": "yes" if one["heads"] else "no",
            "parameters": f"{one['parameters']:,}",
            "FLOPs, forward": short(one["flops"]),
        }
    return tables.mapping(rows, "framework-objectives")


def cost(values: Mapping[str, Any]) -> str:
    """Sentences on what a recording costs in the profile at hand, and on what was not counted."""
    facts = values["profiles"][values["profile"]]
    total = {use: sum(part["all"] for part in parts.values()) for use, parts in facts["flops"].items()}
    plain = {use: n - sum(p["biases"] for p in facts["flops"][use].values()) for use, n in total.items()}
    text = values["text_encoder"]
    fate = _fate(text)
    size = (
        f"The text encoder ({fate}) has {short(text['parameters'])} parameters"
        if text["parameters"]
        else f"The size of the text encoder ({fate}) is not known ({text['known']})"
    )
    runs = "its trained layers run in every update, the others" if text["trained_layers"] else "it runs"
    return (
        f"In the {values['profile']} profile, one forward of pretraining takes {short(total['pretraining'])}FLOP a "
        f"recording and one embedding {short(total['embedding'])}FLOP; without the learned attention biases it would "
        f"be {short(plain['pretraining'])}FLOP and {short(plain['embedding'])}FLOP. Embedding hides nothing, so its "
        f"encoder sees {facts['embedding']['encoder.blocks.0']['in'][0]} tokens in place of "
        f"{facts['shapes']['encoder.blocks.0']['in'][0]}. {size}; {runs} once a distinct report, and none "
        "of it is in these counts."
    )


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
        f"{llama['parameters']:,}; the scales of the norms, which the paper trains too, are {llama['norms']:,}. The "
        f"encoder in front has {values['encoder']['parameters']:,} ({values['profile']} profile) and stays frozen."
    )
