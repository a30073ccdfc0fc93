"""What a notebook shows besides figures: HTML, sentences with computed numbers, and the line that says where from.

Plain objects that Jupyter displays by their `_repr_*_` methods, so that nothing is imported for them. Their `__repr__`
holds no address: the same numbers give the same notebook.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

PROVENANCE_MIME = "application/vnd.merit.provenance+json"
"""The output type in which a notebook hands its inputs and device to the runner, for the footer and the record."""


NOTHING_SYNTHETIC = "These recordings are real: there is nothing synthetic to compare."


class Html(Markup):
    """HTML that is displayed as it stands: the one way by which text reaches a page as HTML.

    It is made of literals alone. What comes into one by `format`, `join` or `+` is escaped unless it is Html itself.
    """

    @property
    def text(self) -> str:
        """The HTML as plain text."""
        return str(self)

    def __repr__(self) -> str:
        return "<HTML>"

    def _repr_html_(self) -> str:
        return str(self)


class Sentence:
    """Text with numbers in it that were computed: paragraphs, lines that begin with "- ", **bold** and `code`.

    Everything else that Markdown, HTML or TeX would read in it is shown as the characters that it is.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text.translate(AS_IT_STANDS)

    def _repr_markdown_(self) -> str:
        return "\n".join(_as_markdown(line) for line in self.text.split("\n"))


LITERAL = str.maketrans({"*": "\ue000", "`": "\ue001"})
AS_IT_STANDS, ESCAPED = ({ord(LITERAL[ord(one)]): before + one for one in "*`"} for before in ("", "\\"))
"""The two characters by which a sentence marks, kept apart (private use) where they come from data."""


def literal(text: object) -> str:
    """Text of the data, to stand inside a sentence: it marks nothing there."""
    return str(text).translate(LITERAL)


MARKED = re.compile(r"(\*\*(?! ).+?(?<! )\*\*|`[^`]+`)")
"""What a sentence may mark: bold, and code, in which Markdown reads nothing."""


def _as_markdown(line: str) -> str:
    """A line of a sentence, in which nothing is marked but what a sentence may mark."""
    start, rest = ("- ", line[2:]) if line.startswith("- ") else ("", line)
    pieces = MARKED.split(rest.strip())
    for k, piece in enumerate(pieces):
        if k % 2 and piece.startswith("**"):
            pieces[k] = f"**{MEANING.sub(BACKSLASH, piece[2:-2])}**"
        elif not k % 2:
            pieces[k] = MEANING.sub(BACKSLASH, piece)
    return start + BLOCK.sub(BACKSLASH, "".join(pieces)).translate(ESCAPED)


MEANING, BLOCK = re.compile(r"(?=[\\`*_{}\[\]<>&#!|~$+=])"), re.compile(r"^(?=-)|(?<=^\d)(?=[.)])|(?<=^\d\d)(?=[.)])")
BACKSLASH = r"\\"
"""Where a character means something in CommonMark, or begins a list: a backslash before it takes that away."""


class Provenance:
    """One line on what the page's numbers rest on; the details travel along for the runner (`PROVENANCE_MIME`)."""

    def __init__(self, inputs: Iterable[Mapping[str, Any]], note: str, synthetic: bool) -> None:
        self.inputs = [{str(key): _plain(value) for key, value in row.items()} for row in inputs]
        self.note, self.synthetic = note, synthetic

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        devices = sorted({str(row["device"]) for row in self.inputs if row.get("device")})
        details = {"device": ", ".join(devices) or "no computation", "inputs": self.inputs, "note": self.note}
        seeds = sorted({int(row["seed"]) for row in self.inputs if row.get("seed") is not None})
        said = f" Pretraining seeds: {listing(map(str, seeds))}." if seeds else ""
        text = Html('<p class="merit-source">{} {} Inputs: {}.{}</p>')
        shown = text.format(badge(self.synthetic), self.note, _count(self.inputs), said)
        return {"text/plain": self.note, "text/html": str(shown), PROVENANCE_MIME: details}


def banner(note: str, synthetic: bool) -> Html:
    """What stands at the top of a page: where its numbers come from, in a box when the recordings are synthetic."""
    if not synthetic:
        return Html('<p class="merit-source">{} {}</p>').format(badge(synthetic), note)
    return Html(
        '<div class="admonition warning"><p class="admonition-title">Synthetic recordings</p><p>{}</p></div>'
    ).format(note)


def badge(synthetic: bool) -> Html:
    """A small label: whether numbers come from synthetic hospitals or from real recordings."""
    kind = "synthetic" if synthetic else "real"
    return Html('<span class="merit-badge merit-{0}">{0} recordings</span>').format(kind)


def listing(words: Iterable[str]) -> str:
    """`a, b and c`."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _count(inputs: list[dict[str, Any]]) -> str:
    kinds = [str(row.get("what", "input")).split()[0].replace("_", " ") for row in inputs]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return listing(f"{kind} ({n})" for kind, n in counts.items()) or "none"


def _plain(value: Any) -> Any:
    """A value as JSON takes it: numpy scalars become Python's, whatever else becomes text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def fixed(value: float, digits: int, sign: bool = False) -> str:
    """`1.24`, `−0.50`, `0.00`; sign: a plus before what is above zero."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if not text.strip("+-0."):
        return text.lstrip("+-")
    return text.replace("-", "−")
