"""Boxes and arrows in inches, for figures that are drawn rather than plotted; text sizes that a phone still shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.transforms import Bbox

from merit.report.prose import listing
from merit.report.show import Drawing
from merit.report.style import look

WIDTH = 4.8
"""Inches: on a phone's 390 pixels, 8 points are then nine pixels high."""
TITLE_SIZE, TEXT_SIZE = 8.6, 7.8  # points
LINE = 0.145  # inches between two lines of text
INK, QUIET, FROZEN = "#1A1A1A", "#555555", "#6B6B6B"
SHARED, RECONSTRUCTION, ALIGNMENT = (look(name).colour for name in ("merit", "mse", "cma"))
"""Colour of what both branches use, and of each branch: those of the objectives that have only that one."""
EDGE = 0.08  # inches left free at the sheet's sides


class Box(NamedTuple):
    """A drawn box: its left, bottom, width and height in inches."""

    left: float
    bottom: float
    width: float
    height: float

    def top(self, share: float = 0.5) -> tuple[float, float]:
        """A point of the upper edge, `share` of the way from the left."""
        return self.left + share * self.width, self.bottom + self.height

    def foot(self, share: float = 0.5) -> tuple[float, float]:
        """A point of the lower edge."""
        return self.left + share * self.width, self.bottom

    def right(self, share: float = 0.5) -> tuple[float, float]:
        """A point of the right edge, `share` of the way from below."""
        return self.left + self.width, self.bottom + share * self.height


class Diagram:
    """A white sheet of WIDTH by `height` inches; everything is placed in inches from its lower left corner."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.figure = Drawing(figsize=(width, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()
        self.boxed: list[tuple[Box, list]] = []
        """Boxes with their texts, for whoever checks that they fit."""

    def __repr__(self) -> str:
        return "<Diagram>"

    def _repr_png_(self) -> bytes:
        return self.figure._repr_png_()

    def box(
        self,
        place: Box,
        title: str,
        lines: Sequence[str] = (),
        *,
        colour: str = INK,
        fill: str | None = None,
        dashed: bool = False,
        at: float | None = None,
    ) -> Box:
        """A rounded box with a bold title and lines below it, centred.

        fill: its ground; default: a pale tint of the edge's colour. dashed: frozen, or not there yet. at: height in
        inches of the title's middle; default: the text as a whole is in the middle of the box.
        """
        patch = FancyBboxPatch(
            (place.left, place.bottom), place.width, place.height, boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=tint(colour) if fill is None else fill, edgecolor=colour, linewidth=1.2,
            linestyle=(0, (3, 2)) if dashed else "-", zorder=2,
        )  # fmt: skip
        self.axes.add_patch(patch)
        middle = place.left + place.width / 2
        y = place.bottom + place.height / 2 + LINE * len(lines) / 2 if at is None else at
        texts = [self.text((middle, y), title, size=TITLE_SIZE, bold=True)]
        texts += [self.text((middle, y - LINE * (k + 1) - 0.01), line) for k, line in enumerate(lines)]
        self.boxed.append((place, texts))
        return place

    def text(
        self, at: tuple[float, float], text: str, *, size: float = TEXT_SIZE, bold: bool = False,
        align: str = "center", colour: str = INK,
    ):  # fmt: skip
        """A line of text whose middle is at `at`, centred or beginning or ending there (align)."""
        weight = "bold" if bold else "normal"
        drop = 0.36 * size / 72  # from the middle of a letter to the line it stands on, whatever hangs below that
        return self.axes.text(
            at[0], at[1] - drop, text, fontsize=size, weight=weight, ha=align, va="baseline", color=colour, zorder=4,
            parse_math=False,
        )  # fmt: skip

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], text: str = "", *, side: str = "right",
        colour: str = INK,
    ) -> None:  # fmt: skip
        """A straight arrow, with a text beside its middle: to the right or the left of it."""
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, linewidth=1.2, color=colour, shrinkA=1, shrinkB=1,
                zorder=3,
            )
        )  # fmt: skip
        if text:
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            align, x = ("left", x + 0.08) if side == "right" else ("right", x - 0.08)
            self.text((x, y), text, align=align, colour=QUIET)

    def overflowing(self) -> list[str]:
        """The texts that reach over the edge of their box; empty for a good drawing."""
        renderer = FigureCanvasAgg(self.figure).get_renderer()
        found = []
        for place, texts in self.boxed:
            corners = ((place.left, place.bottom), (place.left + place.width, place.bottom + place.height))
            inside = Bbox(self.axes.transData.transform(corners))
            for text in texts:
                extent = text.get_window_extent(renderer)
                if extent.x0 < inside.x0 or extent.x1 > inside.x1 or extent.y0 < inside.y0 or extent.y1 > inside.y1:
                    found.append(text.get_text())
        return found


def tint(colour: str, share: float = 0.13) -> str:
    """A colour mixed with white, as #rrggbb."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)


def times(shape: Sequence[int]) -> str:
    """`12 × 1,000`."""
    return " × ".join(f"{n:,}" for n in shape)


def short(number: float) -> str:
    """A count in three digits: `156 k`, `5.35 M`, `1.24 G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{number:,.0f}"


def counted(number: int, what: str) -> str:
    """`1 block`, `3 blocks`."""
    return f"{number} {what}{'s' * (number != 1)}"


def framework(
    facts: Mapping[str, Any],
    objectives: Mapping[str, Mapping[str, Any]],
    text: Mapping[str, Any],
    trace: Sequence[float] | None = None,
) -> Diagram:
    """Figure 1: one encoder, a branch that reconstructs and one that aligns, with the shapes of the profile at hand.

    facts, objectives, text: the rows of the study `framework` on this network, on what each objective trains and on the
    text encoder. trace: one lead of a recording, which fills the first box.
    """
    sheet, settings, shapes, parameters = Diagram(5.9), facts["settings"], facts["shapes"], facts["parameters"]
    drops = settings.get("kind") != "tiny_vit"  # a ViT leaves hidden patches out, others replace them
    (leads, samples), rate = facts["signal"], settings["fs_hz"]
    left, right, tall = 2.95, 3.3, WIDTH - EDGE - 3.3

    # What goes in: a recording, cut into patches most of which are hidden, and its report.
    ecg, report = Box(EDGE, 5.12, left, 0.7), Box(right, 5.12, tall, 0.7)
    lines = [f"{leads} leads × {samples:,} samples ({samples / rate:g} s at {rate} Hz)"]
    sheet.box(ecg, "ECG", lines, colour=SHARED, at=None if trace is None else ecg.bottom + 0.27)
    if trace is not None:
        drawn = np.array(trace, dtype=float)
        drawn = (drawn - drawn.min()) / max(np.ptp(drawn), 1)
        x = ecg.left + 0.1 + (ecg.width - 0.2) * np.arange(len(drawn)) / len(drawn)
        sheet.axes.plot(x, ecg.bottom + 0.37 + 0.29 * drawn, color=INK, linewidth=0.7, zorder=3)
    sheet.box(report, "report", ["statements,", "one text"], colour=ALIGNMENT)
    hidden, masked = np.array(facts["mask"], dtype=bool), Box(EDGE, 3.85, left, 1.0)
    n_patches, length = facts["patches"][1:]
    title = f"{leads} × {n_patches} patches of {length} samples"
    lines = [f"{100 * hidden.mean():.0f} % hidden, {facts['visible'][1]} a lead visible"]
    sheet.box(masked, title, lines, colour=SHARED, at=masked.bottom + 0.27)
    width, height = (masked.width - 0.2) / n_patches, (masked.height - 0.44) / leads
    for lead, patch in np.ndindex(hidden.shape):  # the mask itself: a row a lead, a cell a patch; dark: visible
        corner = (masked.left + 0.1 + width * patch, masked.bottom + 0.38 + height * (leads - 1 - lead))
        colour = "#D3DAE0" if hidden[lead, patch] else SHARED
        sheet.axes.add_patch(Rectangle(corner, 0.86 * width, 0.78 * height, linewidth=0, facecolor=colour, zorder=3))
    sheet.arrow(ecg.foot(), masked.top(), "cut into patches")

    # Both encoders.
    encoder, out = Box(EDGE, 2.8, left, 0.72), shapes["encoder"]["out"]
    if drops:
        lines = [f"ViT: width {settings['width']}, {counted(settings['depth'], 'block')}, {settings['heads']} heads"]
        tokens = shapes["encoder.blocks.0"]["in"][0]
        lines.append(f"{tokens} tokens: {out[0]} × ({out[1] - 2} patches + 2 separators)")
    else:
        lines = [f"TinyViT: widths {', '.join(map(str, settings['tiny_vit']['widths']))}"]
        lines.append(f"{out[0]} tokens, hidden patches replaced")
    sheet.box(encoder, f"ECG encoder: {short(parameters['encoder'])} parameters", lines, colour=SHARED)
    sheet.arrow(masked.foot(), encoder.top(), "visible patches only" if drops else "hidden patches replaced")
    words, trained = Box(right, 3.85, tall, 1.0), text["trained_layers"]
    name = "small BERT" if text["source"] == "trained" else str(text["source"]).split("/")[-1].removesuffix("-Encoder")
    known = f"{short(text['parameters'])} par." if text["parameters"] and text["parameters"] > 0 else "size unknown"
    lines = [name[:16], known, f"last {trained} trained" if trained else "frozen"]
    sheet.box(words, "text encoder", lines, colour=ALIGNMENT if trained else FROZEN)
    sheet.arrow(report.foot(), words.top())

    # Reconstruction: mask tokens, decoder, squared error.
    decoder, loss = Box(EDGE, 1.35, 1.62, 1.02), Box(EDGE, 0.38, 1.62, 0.58)
    lines = ["one linear map", "from each token"]
    if drops:
        lines = ["mask tokens put in:", f"{shapes['decoder.blocks.0']['in'][0]} tokens"]
        lines.append(f"width {settings['decoder']['width']}, {counted(settings['decoder']['depth'], 'block')}")
    sheet.box(decoder, "decoder", [*lines, f"{short(parameters['decoder'])} parameters"], colour=RECONSTRUCTION)
    for start, end, shape in ((encoder, decoder, out), (decoder, loss, shapes["decoder"]["out"])):
        sheet.arrow((0.6, start.bottom), (0.6, end.top()[1]), times(shape), colour=RECONSTRUCTION)
    sheet.box(loss, "MSE", ["on hidden patches"], colour=RECONSTRUCTION, fill="white")
    users = [name for name, of in objectives.items() if of["decoder"]]
    _below(sheet, loss, f"for {listing(look(name).label for name in users)}")

    # Alignment: both projections, InfoNCE.
    loss = Box(1.86, 0.38, WIDTH - EDGE - 1.86, 0.58)
    shared = shapes["ecg_head"]["out"][0]
    for place, part, above in (
        (Box(1.86, 1.35, 1.3, 1.02), "ecg_head", encoder),
        (Box(right, 1.35, tall, 1.02), "text_head", words),
    ):
        (inputs,) = shapes[part]["in"]
        lines = [f"{inputs} → {shared}", "2 linear, GELU", f"{short(parameters[part])} par."]
        sheet.box(place, "projection", lines, colour=ALIGNMENT)
        x, side = place.top()[0], "right" if part == "ecg_head" else "left"
        sheet.arrow((x, above.bottom), (x, place.top()[1]), f"average: {inputs}", side=side, colour=ALIGNMENT)
        sheet.arrow((x, place.bottom), (x, loss.top()[1]), str(shared), colour=ALIGNMENT)
    lines = [f"in the shared space, temperature {settings['temperature']:g}"]
    sheet.box(loss, "InfoNCE", lines, colour=ALIGNMENT, fill="white")
    users = [name for name, of in objectives.items() if of["heads"]]
    added = [(name, of["terms"]["bottleneck"]) for name, of in objectives.items() if "bottleneck" in of["terms"]]
    more = "".join(f"; {look(name).label} adds {weight:g} (1 − cosine)" for name, weight in added)
    _below(sheet, loss, f"for {listing(look(name).label for name in users)}{more}")
    return sheet


def _below(sheet: Diagram, loss: Box, text: str) -> None:
    sheet.text((loss.left + loss.width / 2, loss.bottom - 0.15), text, colour=QUIET)
