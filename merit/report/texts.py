"""Generated texts beside their references, with the statements in them marked.

Every text here was written by others or by a language model: it is escaped, and TeX in it stays as it stands. A mark is
an underline of its own style and a sign behind the words, so that it does not rest on colour. A mention is the code of
a statement, its state (present, absent or uncertain), and the characters that it runs from and to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from merit.report.prose import Html

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

Mention = Sequence[Any]


def present(mentions: Iterable[Mention]) -> set[str]:
    """Codes of the statements that are made."""
    return {code for code, state, *_ in mentions if state == "present"}


def legend(first: str) -> Html:
    """What each mark says; first: whose omissions are marked in references."""
    shown = [_marked(says + f" by {first}" * (kind == "missed"), kind, "") for kind, (_, says) in MARKS.items()]
    return Html('<p class="merit-legend">{}</p>').format(Html(" ").join(shown))


def example(written: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> Html:
    """One question, its reference and the texts by their writers; what the first leaves out is marked in the reference.

    written: writer -> question, reference, text, reference_mentions, mentions. names: code -> what it is called.
    """
    row = next(iter(written.values()))
    there, said = present(row["reference_mentions"]), present(row["mentions"])
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


def marked(text: str, spans: Collection[tuple[int, int, str, str]]) -> Html:
    """The text as HTML with its spans (from, to, kind, name) marked. Of two that overlap the later is cut where the
    earlier ends.
    """
    parts, done = [], 0
    for start, end, kind, name in sorted(spans):
        start, end = max(start, done), min(end, len(text))
        if start < end:
            parts += [text[done:start], _marked(text[start:end], kind, name)]
            done = end
    return Html("").join([*parts, text[done:]]) or Html("<i>nothing</i>")


def _marked(text: str, kind: str, name: str) -> Html:
    """Words under a mark; pointing at them names the statement and the kind."""
    sign, says = MARKS[kind]
    title = Html(' title="{}: {}"').format(name, says) if name else ""
    words = Html("<u>{}</u><sup>{}</sup>").format(text, sign)
    return Html('<span class="merit-mark merit-mark-{}"{}>{}</span>').format(kind, title, words)


def listed(rows: Mapping[str, str]) -> Html:
    """Label -> text or HTML, one under the other."""
    pairs = Html("").join(Html("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows.items())
    return Html('<dl class="merit-texts {}">{}</dl>').format(AS_TEXT, pairs)
