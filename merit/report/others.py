"""Rows of published encoders and of a reader's own: marks on numbers that need a word, dashes where weights lack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from merit.report.prose import Html, listing
from merit.report.style import look, task_label


class Absent(Protocol):
    """A published encoder whose weights are not at hand (`encoders.registry.Absent`)."""

    label: str
    note: str


OVERLAP, BAND_LIMITED = "†", "‡"
NOTES = {
    OVERLAP: "Recordings of this data set were in the encoder's pretraining; which of the patients scored here is "
    "not known, so the number is too high by an unknown amount.",
    BAND_LIMITED: "The encoder wants a higher rate than some or all of these files have: it saw upsampled, "
    "band-limited recordings there.",
}


def mark(values: Mapping[str, Any]) -> str:
    """What a number of these values is marked with; "" for our own encoders."""
    return OVERLAP * bool(values.get("overlap")) + BAND_LIMITED * bool(values.get("n_band_limited"))


def dashes(columns: pd.Index, absent: Sequence[Absent]) -> pd.DataFrame:
    """A row an absent encoder, all cells empty; `tables.render` writes dashes."""
    return pd.DataFrame(index=[one.label for one in absent], columns=columns, dtype=object)


def footnotes(values: Iterable[Mapping[str, Any]], absent: Sequence[Absent] = ()) -> Html:
    """What the marks of these values mean, and where the weights of absent encoders are published."""
    used = "".join(mark(one) for one in values)
    lines = [(sign, text) for sign, text in NOTES.items() if sign in used]
    out = Html("").join(Html('<p class="merit-note">{} {}</p>').format(*line) for line in lines)
    if absent:
        rows = Html("").join(Html("<li>{}: {}</li>").format(one.label, one.note) for one in absent)
        head = "Rows of dashes: published encoders whose weights a reader has to bring"
        out += Html('<details class="merit-note"><summary>{}</summary><ul>{}</ul></details>').format(head, rows)
    return out


def _task(values: Mapping[str, Any]) -> str:
    return task_label(values["task"])


def unscored(results: Sequence[Mapping[str, Any]], place: Callable[[Mapping[str, Any]], str] = _task) -> str:
    """A line for each reason that stands in place of scores: with what was not scored (place: the task) if no encoder
    was, else with the encoders that were not. "" where all were scored.
    """
    every: dict[str, set[str]] = {}
    without: dict[tuple[str, str], set[str]] = {}
    for one in (result["values"] for result in results):
        every.setdefault(place(one), set()).add(one["encoder"])
        if "reason" in one:
            reason = one["reason"].removeprefix(f"{one.get('task')}: ")
            without.setdefault((place(one), reason), set()).add(one["encoder"])
    lines: dict[str, list[str]] = {}
    for (where, reason), encoders in without.items():
        names = [where] if encoders == every[where] else [look(name).label for name in sorted(encoders)]
        lines[reason] = list(dict.fromkeys([*lines.get(reason, []), *names]))
    return "\n".join(f"- {listing(names)}: not scored, {reason}" for reason, names in lines.items())
