"""Question and answer about an ECG, in the JSON form of MedTVT-QA: read, written, joined to a store.

The form: a list of {"messages": [{"role": "user", "content": "… <ecg> …"}, {"role": "assistant", "content": "…"}],
"ECG": ["files/p1000/p10000032/s40689238/40689238"]} (MedTVT-R1, data/instruction_datasets.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import runs

PLACEHOLDER = "<ecg>"
"""What the ECG tokens take the place of; it stands once in every question."""


class NotTheForm(ValueError):
    """A question-answer file that is not MedTVT-QA's form; the message names the file, the entry and what is wrong."""


@dataclass(frozen=True)
class Pair:
    """One question about one ECG, and its answer."""

    question: str
    answer: str
    record: str
    """Path of the waveform file as the data set lists it, without an ending; or a record id."""


@dataclass(frozen=True)
class Joined:
    """Pairs whose ECG is in a store, and those whose is not."""

    pairs: list[Pair]
    rows: np.ndarray
    """int64 [n]: the row of each pair's recording in the store."""
    missing: list[str]
    """Records that the store lacks, each once, in the order of the file."""


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file; NotTheForm, with the entry's number, for the first that is wrong."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotTheForm(f"{path}: expected JSON in UTF-8; {error}") from error
    if not isinstance(entries, list) or not entries:
        raise NotTheForm(f"{path}: expected a list of question-answer entries; got {_described(entries)}")
    return [_pair(entry, f"{path}: entry {number}") for number, entry in enumerate(entries, 1)]


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """The same form, with its digest beside it."""
    entries = [
        {
            "messages": [{"role": "user", "content": p.question}, {"role": "assistant", "content": p.answer}],
            "ECG": [p.record],
        }
        for p in pairs
    ]
    runs.write_json(path, entries)
    runs.seal(path)


def check_placeholder(question: str, where: str) -> None:
    """Raise NotTheForm unless the placeholder stands in a question exactly once."""
    found = question.count(PLACEHOLDER)
    if found != 1:
        raise NotTheForm(
            f"{where}: expected {PLACEHOLDER} once in the question; got it {found} times: {question[:80]!r}"
        )


def join(pairs: Sequence[Pair], records: pd.DataFrame) -> Joined:
    """The pairs whose recording a store has. records: columns path and record_id; a pair may name either."""
    by_path = {str(path): row for row, path in enumerate(records["path"])}
    by_id = {str(name): row for row, name in enumerate(records["record_id"])}
    rows = [by_path.get(p.record, by_id.get(p.record.rsplit("/", 1)[-1], -1)) for p in pairs]
    kept = [(pair, row) for pair, row in zip(pairs, rows) if row >= 0]
    missing = dict.fromkeys(pair.record for pair, row in zip(pairs, rows) if row < 0)
    return Joined([pair for pair, _ in kept], np.array([row for _, row in kept], np.int64), list(missing))


def _pair(entry: Any, where: str) -> Pair:
    """One entry; NotTheForm where it is not one."""
    if not isinstance(entry, dict) or not {"messages", "ECG"} <= set(entry):
        raise NotTheForm(f"{where}: expected an object with messages and ECG; got {_described(entry)}")
    messages, ecg = entry["messages"], entry["ECG"]
    roles = [m.get("role") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else None
    if roles != ["user", "assistant"]:
        raise NotTheForm(f"{where}: expected two messages, of user and assistant; got roles {roles}")
    texts = [m.get("content") for m in messages]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise NotTheForm(f"{where}: expected two texts that are not empty; got {[_described(t) for t in texts]}")
    if not isinstance(ecg, list) or len(ecg) != 1 or not isinstance(ecg[0], str) or not ecg[0]:
        raise NotTheForm(f"{where}: expected a list of one path under ECG; got {_described(ecg)}")
    check_placeholder(texts[0], where)
    return Pair(texts[0], texts[1], ecg[0])


def _described(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
