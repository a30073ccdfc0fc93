"""Questions and multi-sentence answers from the statements of a recording, worded differently every time.

The wording is ours (`wording.json`); findings enter by the phrases of `lexicon.csv`, so what an answer says is known.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit.evaluate.generation.findings import Entry, lexicon
from merit.evaluate.generation.qa import Pair

SHARES = {"opening": 0.3, "remark": 0.2, "two at a time": 0.3, "denial": 0.5, "closing": 0.2}
"""How often an answer has a sentence of each kind beside its findings."""
DENIABLE = ("AFIB", "CLBBB", "CRBBB", "LVH", "STE_", "PVC", "WPW", "1AVB", "INVT", "IMI")
"""Statements that an answer may say are absent: a reader asks for them, and a copy of them is a mistake."""


@functools.cache
def wording() -> dict[str, Any]:
    """Sentences with places for findings."""
    return json.loads(Path(__file__).with_name("wording.json").read_text(encoding="utf-8"))


def pairs_of(records: pd.DataFrame, seed: int = 0) -> list[Pair]:
    """A question and an answer for each record with a known statement, by record: a record's words depend on its id and
    the seed alone. records: columns record_id, path, labels.
    """
    made = []
    for name, path, labels in zip(records["record_id"], records["path"], records["labels"]):
        if set(labels) & set(lexicon()):
            rng = np.random.default_rng([seed, zlib.crc32(str(name).encode())])
            made.append(Pair(*compose(labels, rng), str(path)))
    return made


def compose(labels: Collection[str], rng: np.random.Generator) -> tuple[str, str]:
    """A question with its placeholder, and an answer that asserts exactly the labels that the lexicon knows."""
    say, entries = wording(), [entry for code, entry in lexicon().items() if code in set(labels)]
    rhythm = [entry for entry in entries if entry.group == "rhythm"]
    others = [entry for entry in entries if entry.group not in ("rhythm", "normal")]
    others = [others[i] for i in rng.permutation(len(others))]
    sentences = [_pick(say["openings"], rng)] if rng.random() < SHARES["opening"] else []
    sentences += [_filled(_pick(say["rhythm"], rng), finding=_phrase(entry, rng)) for entry in rhythm]
    sentences += _findings(others, rng)
    if rng.random() < SHARES["denial"]:
        sentences += _denials({entry.code for entry in entries}, rng)
    if any(entry.code == "NORM" for entry in entries):
        sentences.append(_pick(say["normal"], rng))
    elif rng.random() < SHARES["closing"]:
        sentences.append(_pick(say["closings"], rng))
    return _pick(say["questions"], rng), " ".join(sentences)


def _findings(entries: Sequence[Entry], rng: np.random.Generator) -> list[str]:
    """Sentences that assert findings, two at a time now and then, with a remark on some."""
    say, sentences, left = wording(), [], list(entries)
    while left:
        entry = left.pop(0)
        if left and rng.random() < SHARES["two at a time"]:
            other = left.pop(0)
            sentences.append(_filled(_pick(say["both"], rng), first=_phrase(entry, rng), second=_phrase(other, rng)))
        else:
            sentences.append(_filled(_pick(say["present"], rng), finding=_phrase(entry, rng)))
        if rng.random() < SHARES["remark"]:
            sentences.append(_pick(say["remarks"][entry.group], rng))
    return sentences


def _denials(there: set[str], rng: np.random.Generator) -> list[str]:
    """One sentence that a common finding, which is indeed not there, is absent."""
    groups = {lexicon()[code].group for code in there}
    free = [code for code in DENIABLE if code not in there and not _related(code, there, groups)]
    if not free:
        return []
    return [_filled(_pick(wording()["absent"], rng), finding=_phrase(lexicon()[_pick(free, rng)], rng))]


def _related(code: str, there: set[str], groups: set[str]) -> bool:
    """Whether denying a statement would sit oddly with what is there: an infarction elsewhere, voltage criteria."""
    return lexicon()[code].group in groups - {"rhythm"} or (code == "LVH" and "VCLVH" in there)


def _phrase(entry: Entry, rng: np.random.Generator) -> str:
    return _written(_pick(entry.phrases, rng))


_CAPITALS = {
    "ecg": "ECG",
    "st": "ST",
    "qrs": "QRS",
    "qt": "QT",
    "pr": "PR",
    "av": "AV",
    "t": "T",
    "q": "Q",
    "rbbb": "RBBB",
}
_CAPITALS |= {"lbbb": "LBBB", "st-t": "ST-T", "wolff-parkinson-white": "Wolff-Parkinson-White"}


def _written(phrase: str) -> str:
    """A phrase of the lexicon as one writes it."""
    return " ".join(_CAPITALS.get(word, word) for word in phrase.split())


def _filled(sentence: str, **findings: str) -> str:
    """The sentence with its findings; a place that begins with a capital gets one."""
    capital = {name.capitalize(): text[:1].upper() + text[1:] for name, text in findings.items()}
    return sentence.format(**findings, **capital)


def _pick(choices: Sequence[Any], rng: np.random.Generator) -> Any:
    return choices[int(rng.integers(len(choices)))]
