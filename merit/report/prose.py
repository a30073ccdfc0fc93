"""What a notebook shows besides figures: HTML, sentences with computed numbers, marked texts, the line that says where
from. Everything that others wrote is escaped here and nowhere else.

Plain objects that Jupyter displays by their `_repr_*_` methods, so that nothing is imported for them. Their `__repr__`
holds no address: the same numbers give the same notebook.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from markupsafe import Markup

PROVENANCE_MIME = "application/vnd.merit.provenance+json"
"""The output type in which a notebook hands its inputs and device to the runner, for the footer and the record."""

NOTHING_SYNTHETIC = "These recordings are real: there is nothing synthetic to compare."


class Html(Markup):
    """HTML that is displayed as it stands: the one way by which text reaches a page as HTML.

    It is made of literals alone. What comes into one by `format`, `join` or `+` is escaped unless it is Html itself.
    """

    def __repr__(self) -> str:
        return "<HTML>"

    def _repr_html_(self) -> str:
        return str(self)


# -- sentences --------------------------------------------------------------------------------------------------------

LITERAL = str.maketrans({"*": "\ue000", "`": "\ue001"})
AS_IT_STANDS, ESCAPED = ({ord(LITERAL[ord(mark)]): before + mark for mark in "*`"} for before in ("", "\\"))
"""The two characters by which a sentence marks, kept apart (private use) where they come from data."""
MARKED = re.compile(r"(\*\*(?! ).+?(?<! )\*\*|`[^`]+`)")
"""What a sentence may mark: bold, and code, in which Markdown reads nothing."""
MEANING, BLOCK = re.compile(r"(?=[\\`*_{}\[\]<>&#!|~$+=])"), re.compile(r"^(?=-)|(?<=^\d)(?=[.)])|(?<=^\d\d)(?=[.)])")
BACKSLASH = r"\\"
"""Where a character means something in CommonMark, or begins a list: a backslash before it takes that away."""


class Sentence:
    """Text with numbers in it that were computed: paragraphs, lines that begin with "- ", **bold** and `code`.

    Everything else that Markdown, HTML or TeX would read in it is shown as the characters that it is.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text.translate(AS_IT_STANDS)

    def _repr_markdown_(self) -> str:
        lines = []
        for line in self.text.split("\n"):
            start, rest = ("- ", line[2:]) if line.startswith("- ") else ("", line)
            pieces = MARKED.split(rest.strip())  # every second one is marked
            for k, piece in enumerate(pieces):
                if k % 2 and piece.startswith("**"):
                    pieces[k] = f"**{MEANING.sub(BACKSLASH, piece[2:-2])}**"
                elif not k % 2:
                    pieces[k] = MEANING.sub(BACKSLASH, piece)
            lines.append(start + BLOCK.sub(BACKSLASH, "".join(pieces)).translate(ESCAPED))
        return "\n".join(lines)


def literal(text: object) -> str:
    """Text of the data, to stand inside a sentence: it marks nothing there."""
    return str(text).translate(LITERAL)


def listing(words: Iterable[str]) -> str:
    """`a, b and c`."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def fixed(value: float, digits: int, sign: bool = False) -> str:
    """`1.24`, `−0.50`, `0.00`; sign: a plus before what is above zero."""
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if not text.strip("+-0."):
        return text.lstrip("+-")
    return text.replace("-", "−")


# -- where numbers come from ------------------------------------------------------------------------------------------


def badge(synthetic: bool) -> Html:
    """A small label: whether numbers come from synthetic hospitals or from real recordings."""
    kind = "synthetic" if synthetic else "real"
    return Html('<span class="merit-badge merit-{0}">{0} recordings</span>').format(kind)


def banner(note: str, synthetic: bool) -> Html:
    """What stands at the top of a page: where its numbers come from, in a box when the recordings are synthetic."""
    if not synthetic:
        return Html('<p class="merit-source">{} {}</p>').format(badge(synthetic), note)
    return Html(
        '<div class="admonition warning"><p class="admonition-title">Synthetic recordings</p><p>{}</p></div>'
    ).format(note)


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
        kinds = [str(row.get("what", "input")).split()[0].replace("_", " ") for row in self.inputs]
        counts = listing(f"{kind} ({kinds.count(kind)})" for kind in dict.fromkeys(kinds))
        text = Html('<p class="merit-source">{} {} Inputs: {}.{}</p>')
        shown = text.format(badge(self.synthetic), self.note, counts or "none", said)
        return {"text/plain": self.note, "text/html": str(shown), PROVENANCE_MIME: details}


def _plain(value: Any) -> Any:
    """A value as JSON takes it: numpy scalars become Python's, whatever else becomes text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


# -- generated texts beside their references, with the statements in them marked --------------------------------------

# A mark is an underline of its own style and a sign behind the words, so that it does not rest on colour. A mention is
# the code of a statement, its state (present, absent or uncertain), and the characters that it runs from and to.

AS_TEXT = "mathjax_ignore tex2jax_ignore"
"""Classes of an element in which MathJax and its predecessor leave `$` alone."""
MARKS = {
    "right": ("+", "said, and there"),
    "wrong": ("×", "said, and not there"),
    "denied": ("−", "denied, although there"),
    "uncertain": ("?", "held possible, there or not"),
    "missed": ("○", "there, and not said"),
}
"""Kind -> the sign behind the words and what the legend says; "there" is what the reference states as present. The last
stands in references alone.
"""
KINDS = {("present", True): "right", ("present", False): "wrong", ("absent", True): "denied"}
KINDS |= {("uncertain", True): "uncertain", ("uncertain", False): "uncertain"}
"""State of a statement in a text, whether it is there -> its mark; one that is rightly denied has none."""


def mark(words: str, kind: str, name: str = "", more: str = "") -> Html:
    """Words under a mark; pointing at them names the statement, and the kind."""
    sign, says = MARKS[kind]
    title = Html(' title="{}: {}"').format(name, says) if name else ""
    shown = Html("<u>{}</u><sup>{}</sup>").format(words or says + more, sign)
    return Html('<span class="merit-mark merit-mark-{}"{}>{}</span>').format(kind, title, shown)


def legend(first: str) -> Html:
    """What each mark says; first: whose omissions are marked in references."""
    shown = [mark("", kind, more=f" by {first}" * (kind == "missed")) for kind in MARKS]
    return Html('<p class="merit-legend">{}</p>').format(Html(" ").join(shown))


def marked(text: str, spans: Collection[tuple[int, int, str, str]]) -> Html:
    """The text as HTML with its spans (from, to, kind, name) marked. Of two that overlap the later is cut where the
    earlier ends.
    """
    parts, done = [], 0
    for start, end, kind, name in sorted(spans):
        start, end = max(start, done), min(end, len(text))
        if start < end:
            parts += [text[done:start], mark(text[start:end], kind, name)]
            done = end
    return Html("").join([*parts, text[done:]]) or Html("<i>nothing</i>")


def example(written: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Html:
    """One question, its reference and the texts by their writers; what the first leaves out is marked in the reference.

    written: writer -> question, reference, text, reference_mentions, mentions. names: code -> what it is called.
    """
    row = next(iter(written.values()))
    there, said = (
        {code for code, state, *_ in row[key] if state == "present"} for key in ("reference_mentions", "mentions")
    )
    missed = [
        (start, end, "missed", names.get(code, code))
        for code, state, start, end in row["reference_mentions"]
        if state == "present" and code not in said
    ]
    rows = {"Question": row["question"], "Reference": marked(row["reference"], missed)}
    for writer, text in written.items():
        spans = [
            (start, end, KINDS[state, code in there], names.get(code, code))
            for code, state, start, end in text["mentions"]
            if (state, code in there) in KINDS
        ]
        rows[writer] = marked(text["text"], spans)
    return listed(rows)


def listed(rows: Mapping[str, str]) -> Html:
    """Label -> text or HTML, one under the other."""
    pairs = Html("").join(Html("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows.items())
    return Html('<dl class="merit-texts {}">{}</dl>').format(AS_TEXT, pairs)
