"""What a notebook shows besides figures: HTML, sentences with computed numbers, and the line that says where from.

Plain objects that Jupyter displays by their `_repr_*_` methods, so that nothing is imported for them. Their `__repr__`
holds no address: the same numbers give the same notebook.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

PROVENANCE_MIME = "application/vnd.merit.provenance+json"
"""The output type in which a notebook hands its inputs and device to the runner, for the footer and the record."""


PLURALS = {"clusters": "", "rules": "", "subgroups": "", "notes": "", "information": " results"}
"""Kinds of inputs whose plural is not one more letter."""

NOTHING_SYNTHETIC = "These recordings are real: there is nothing synthetic to compare."


class Html:
    """A piece of HTML that is displayed as it stands; whoever makes one escapes its text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: Html) -> Html:
        return Html(self.text + other.text)

    def __repr__(self) -> str:
        return "<HTML>"

    def _repr_html_(self) -> str:
        return self.text


class Sentence:
    """Markdown with numbers in it that were computed."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


class Provenance:
    """One line on what the page's numbers rest on; the details travel along for the runner (`PROVENANCE_MIME`)."""

    def __init__(self, inputs: Iterable[Mapping[str, Any]], note: str, synthetic: bool) -> None:
        self.inputs = [{str(key): _plain(value) for key, value in row.items()} for row in inputs]
        self.note, self.synthetic = note, synthetic

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        devices = sorted({str(row["device"]) for row in self.inputs if row.get("device")})
        details = {"device": ", ".join(devices) or "no computation", "inputs": self.inputs, "note": self.note}
        text = f"{badge(self.synthetic)} {html.escape(self.note)} Inputs: {html.escape(_count(self.inputs))}."
        return {"text/plain": self.note, "text/html": f'<p class="merit-source">{text}</p>', PROVENANCE_MIME: details}


def banner(note: str, synthetic: bool) -> Html:
    """What stands at the top of a page: where its numbers come from, in a box when the recordings are synthetic."""
    if not synthetic:
        return Html(f'<p class="merit-source">{badge(synthetic)} {html.escape(note)}</p>')
    title = '<p class="admonition-title">Synthetic recordings</p>'
    return Html(f'<div class="admonition warning">{title}<p>{html.escape(note)}</p></div>')


def badge(synthetic: bool) -> str:
    """A small label: whether numbers come from synthetic hospitals or from real recordings."""
    kind = "synthetic" if synthetic else "real"
    return f'<span class="merit-badge merit-{kind}">{kind} recordings</span>'


def listing(words: Iterable[str]) -> str:
    """`a, b and c`."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _count(inputs: list[dict[str, Any]]) -> str:
    kinds = [str(row.get("what", "input")).split()[0].replace("_", " ") for row in inputs]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return listing(f"{n} {kind}{PLURALS.get(kind, 's') * (n > 1)}" for kind, n in counts.items()) or "none"


def _plain(value: Any) -> Any:
    """A value as JSON takes it: numpy scalars become Python's, whatever else becomes text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
