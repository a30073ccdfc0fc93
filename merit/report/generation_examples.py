"""Examples of generated texts with their findings marked, and what the texts say statement by statement.

Every text here was written by others or by a language model: it is escaped, and TeX in it stays as it stands. A mark
is an underline of its own style and a sign behind the words, so that it does not rest on colour.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from merit.report import generation_tables as scored
from merit.report import tables
from merit.report.generation_tables import foremost, paragraph, row_label
from merit.report.prose import Html
from merit.report.tables import interval


class Mark(NamedTuple):
    """How a finding is marked: the sign behind it, and what the legend says."""

    sign: str
    says: str


MARKS = {
    "right": Mark("+", "said, and there"),
    "wrong": Mark("×", "said, and not there"),
    "denied": Mark("−", "denied, although there"),
    "uncertain": Mark("?", "held possible, there or not"),
    "missed": Mark("○", "there, and not said"),
}
"""Kind -> mark; "there" is what the reference states as present. The last stands in references alone."""

Result = Mapping[str, Any]
Mention = Sequence[Any]
"""Code, state (present, absent or uncertain), and the characters that it runs from and to."""
Key = tuple[str, str, str]
"""Record, question and reference."""
Span = tuple[int, int, str, str]
"""Characters from and to, kind of the mark, name of the statement."""


def examples(results: Sequence[Result], commonest: Result, number: int) -> Html:
    """`number` test questions by a rule (`chosen`): question, reference and the text of each encoder, findings marked.

    The most common answer stands first, unmarked.
    """
    one = foremost(results)
    if one is None:
        return paragraph(scored.NO_TEXT)
    keys = chosen(map(_key, one["texts"]), number)
    texts = {row_label(each): {_key(text): text for text in each["texts"]} for each in scored.generated(results)}
    out = paragraph(
        f"{len(keys)} of {len(one['texts']):,} test questions by a rule: sorted by record id (as text), evenly spaced, "
        "the first among them."
    )
    out += _legend(row_label(one))
    if "answer" in commonest["values"]:
        out += _block({scored.MOST_COMMON: commonest["values"]["answer"]})
    for key in keys:
        written = {label: of[key] for label, of in texts.items() if key in of}
        head = Html('<p class="merit-caption {}"><b>Recording {}</b></p>').format(scored.AS_TEXT, key[0])
        out += head + _example(written, row_label(one), one["names"])
    return out


def paper_example(result: Result) -> Html:
    """The answer that the paper prints: its scores in percent, and both texts with their findings marked."""
    one = {**result["values"], "encoder": "paper's response"}
    said, there = (_present(one["text"][key]) for key in ("mentions", "reference_mentions"))
    listed = [
        (f"stated by both ({len(said & there)})", said & there),
        (f"added by the response ({len(said - there)})", said - there),
        (f"left out by it ({len(there - said)})", there - said),
    ]
    text = "; ".join(f"{head}: {_named(codes, one['names'])}" for head, codes in listed)
    against = "; ".join(one["contradictions"]) or "none found"
    label, names = one["encoder"], one["names"]
    table = tables.render(scored.percents({label: (one, "model")}), "generation-paper-example")
    told = paragraph(f"Statements that the finder finds, {text}. Against itself: {against}. Source: {one['source']}.")
    return table + told + _legend(label) + _example({label: one["text"]}, label, names)


def _named(codes: Collection[str], names: Mapping[str, str]) -> str:
    return ", ".join(sorted(names.get(code, code) for code in codes)) or "none"


def chosen(keys: Iterable[Key], number: int) -> list[Key]:
    """`number` of the keys in their order, evenly spaced from the first; all where there are no more."""
    keys = sorted(set(keys))
    number = max(0, min(number, len(keys)))
    return [keys[place * len(keys) // number] for place in range(number)]


def _key(text: Mapping[str, Any]) -> Key:
    """What makes a test pair: a recording may be asked about several times."""
    return str(text["record"]), text["question"], text["reference"]


def _legend(first: str) -> Html:
    """What each mark says."""
    whose = {"missed": f" by {first}"}
    shown = [_marked(mark.says + whose.get(kind, ""), kind, "") for kind, mark in MARKS.items()]
    return Html('<p class="merit-legend">{}</p>').format(Html(" ").join(shown))


def _example(written: Mapping[str, Mapping[str, Any]], first: str, names: Mapping[str, str]) -> Html:
    """One question, its reference and the texts; what the text of `first` leaves out is marked in the reference."""
    one = written[first]
    there, said = _present(one["reference_mentions"]), _present(one["mentions"])
    missed = [
        (start, end, "missed", names.get(code, code))
        for code, state, start, end in one["reference_mentions"]
        if state == "present" and code not in said
    ]
    rows = {"Question": one["question"], "Reference": marked(one["reference"], missed)}
    for label, text in written.items():
        rows[label] = marked(text["text"], _spans(text["mentions"], there, names))
    return _block(rows)


def _present(mentions: Iterable[Mention]) -> set[str]:
    return {code for code, state, _, _ in mentions if state == "present"}


def _spans(mentions: Iterable[Mention], there: Collection[str], names: Mapping[str, str]) -> list[Span]:
    """What to mark in a generated text; a finding that is rightly denied carries no mark."""
    kinds = {
        ("present", True): "right", ("present", False): "wrong", ("absent", True): "denied",
        ("uncertain", True): "uncertain", ("uncertain", False): "uncertain",
    }  # fmt: skip
    found = [(start, end, kinds.get((state, code in there)), code) for code, state, start, end in mentions]
    return [(start, end, kind, names.get(code, code)) for start, end, kind, code in found if kind]


def marked(text: str, spans: Iterable[Span]) -> Html:
    """The text as HTML with its spans marked. Of two that overlap the later is cut where the earlier ends."""
    parts, done = [], 0
    for start, end, kind, name in sorted(spans):
        start, end = max(start, done), min(end, len(text))
        if start < end:
            parts += [text[done:start], _marked(text[start:end], kind, name)]
            done = end
    return Html("").join([*parts, text[done:]]) or Html("<i>nothing</i>")


def _marked(text: str, kind: str, name: str) -> Html:
    """Words under a mark; pointing at them names the statement and the kind."""
    title = Html(' title="{}: {}"').format(name, MARKS[kind].says) if name else ""
    words = Html("<u>{}</u><sup>{}</sup>").format(text, MARKS[kind].sign)
    return Html('<span class="merit-mark merit-mark-{}"{}>{}</span>').format(kind, title, words)


def _block(rows: Mapping[str, str]) -> Html:
    """Label -> text or HTML, one under the other."""
    pairs = Html("").join(Html("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows.items())
    return Html('<dl class="merit-texts {}">{}</dl>').format(scored.AS_TEXT, pairs)


def statements(results: Sequence[Result]) -> Html:
    """A row a statement, the commonest first, for `foremost`: how often it is there, said, and rightly said."""
    one = foremost(results)
    if one is None:
        return paragraph(scored.NO_TEXT)
    rows = {}
    per = one["conditions"]["model"]["per_statement"]
    for code, counts in sorted(per.items(), key=lambda pair: (-pair[1]["n"], pair[0])):
        named = {"statement": one["names"].get(code, code)}
        numbers = {"there": f"{counts['n']:,}", "said": f"{counts['said']:,}", "rightly": f"{counts['hit']:,}"}
        heads = {"precision": "precision", "recall": "recall", "f1": "F1"}
        rates = {head: interval({**scored.UNDEFINED, "value": counts[key]}) for key, head in heads.items()}
        rows[code] = {**named, **numbers, **rates}
    head = Html('<p class="merit-caption"><b>{}</b></p>').format(row_label(one))
    return head + tables.mapping(rows, "generation-statements") if rows else paragraph("No statement occurs.")
