"""Figure 1 drawn from what `studies.framework` reads off the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from merit.report.diagram import INK, QUIET, WIDTH, Box, Diagram, counted, short, times
from merit.report.prose import listing
from merit.report.style import look

SHARED, RECONSTRUCTION, ALIGNMENT = (look(name).colour for name in ("merit", "mse", "cma"))
"""Colour of what both branches use, and of each branch: those of the objectives that have only that one."""
FROZEN = "#6B6B6B"
EDGE = 0.08  # inches left free at the sheet's sides


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
