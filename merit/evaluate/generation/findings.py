"""Which statements a text makes about an ECG: present, absent or uncertain; and how that agrees with what is there.

A statement is found by its phrases (`lexicon.csv`, PTB-XL's codes), the longest first, so that "incomplete right bundle
branch block" is not also a complete one. Negation and doubt are cues within the same clause, after NegEx (Chapman et
al. 2001). What no phrase of the lexicon says is not found: recall is bounded by the lexicon, for every text alike. Its
phrases are English; those that PTB-XL's English reports use were checked against the statements beside them. German and
Swedish reports are not read.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PRESENT, ABSENT, UNCERTAIN = "present", "absent", "uncertain"

_CLAUSES = re.compile(
    r"[.;:!?\n]+(?=\s|$)|\b(?:but|however|although|though|whereas|while|except|yet)\b"
    r"|,(?=\s+(?:and\s+)?(?:there|the|it|this|these|one|we|which|with)\b)"
)
"""Where the reach of a cue ends. A plain comma goes on: "no ST elevation, Q waves or flutter" denies all three."""
_DENIED_BEFORE = re.compile(
    r"\b(?:no|not|without|neither|nor|never|absence of|absent|negative for|free of|free from|rather than|excludes?|"
    r"rul(?:es?|ed|ing) out|unlikely|lacks?|denies)\b"
)
_DENIED_AFTER = re.compile(
    r"\b(?:is|are|was|were|be|been)\s+(?:absent|not|excluded|ruled out|unlikely)\b|\b(?:absent|excluded|ruled out)\b"
)
_DOUBTED_BEFORE = re.compile(
    r"\b(?:possible|possibly|probable|probably|likely|may|might|could|suspected|suggests?|suggestive|suggesting|consider|"
    r"questionable|borderline|cannot (?:exclude|rule out)|not exclude|perhaps|presumably)\b"
)
_DOUBTED_AFTER = re.compile(
    r"\b(?:is|are|was|were|be)\s+(?:possible|probable|likely|suspected|suggested|questionable)\b|"
    r"\bcan(?:not| not) be (?:excluded|ruled out)\b|\b(?:may|might|could) be\b"
)


class Entry(NamedTuple):
    """A statement of the lexicon."""

    code: str
    group: str
    phrases: tuple[str, ...]
    """How answers are worded here, each a noun phrase."""
    also: tuple[str, ...]
    """Further phrases that are found in texts."""


class Mention(NamedTuple):
    """A statement in a text: characters start to end."""

    code: str
    state: str
    start: int
    end: int


@functools.cache
def lexicon() -> dict[str, Entry]:
    """Code -> entry, for PTB-XL's 71 statements."""
    with Path(__file__).with_name("lexicon.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {
            row["code"]: Entry(row["code"], row["group"], *(tuple(row[of].split("|")) for of in ("phrases", "also")))
            for row in rows
        }


@functools.cache
def exclusions() -> dict[frozenset[str], str]:
    """Two statements that cannot both hold over ten seconds -> why, and where that is defined (`exclusions.csv`)."""
    with Path(__file__).with_name("exclusions.csv").open(newline="", encoding="utf-8") as file:
        return {frozenset((row["first"], row["second"])): row["source"] for row in csv.DictReader(file)}


@functools.cache
def _phrases() -> tuple[re.Pattern[str], dict[str, str]]:
    """One expression over all phrases, longest first, and the code of each."""
    code_of = {_normal(phrase): entry.code for entry in lexicon().values() for phrase in (*entry.phrases, *entry.also)}
    words = sorted(code_of, key=lambda phrase: (-len(phrase), phrase))
    choices = "|".join(r"[\s-]+".join(map(re.escape, phrase.split())) for phrase in words).replace("ischem", "ischa?em")
    return re.compile(rf"(?<![\w-])(?:{choices})(?![\w-])"), code_of


def _normal(phrase: str) -> str:
    """Hyphens and spaces alike, and both spellings: "first-degree AV block" is "first degree AV block"."""
    return " ".join(re.split(r"[\s-]+", phrase.lower())).replace("ischaem", "ischem")


def mentions(text: str) -> list[Mention]:
    """Every statement that a text makes, in the order of the text; a text of any kind, trusted in nothing."""
    pattern, code_of = _phrases()
    lower, found = text.lower(), []
    edges = [0, *(edge for match in _CLAUSES.finditer(lower) for edge in match.span()), len(lower)]
    for begin, end in zip(edges[::2], edges[1::2]):  # clause by clause
        for match in pattern.finditer(lower, begin, end):
            before, after = lower[begin : match.start()], lower[match.end() : end]
            if _DOUBTED_AFTER.search(after) or re.search(r"\bcannot\b|\b(?:not|to|suggest) exclude\b", before):
                state = UNCERTAIN
            elif _DENIED_BEFORE.search(before) or _DENIED_AFTER.search(after):
                state = ABSENT
            else:
                state = UNCERTAIN if _DOUBTED_BEFORE.search(before) else PRESENT
            found.append(Mention(code_of[_normal(match.group())], state, match.start(), match.end()))
    return found


def find(text: str) -> dict[str, str]:
    """Code -> present, absent or uncertain; the firmest where a text says several: present, then absent."""
    firmness = {PRESENT: 2, ABSENT: 1, UNCERTAIN: 0}
    found: dict[str, str] = {}
    for code, state, _, _ in mentions(text):
        if firmness[state] >= firmness[found.get(code, UNCERTAIN)]:
            found[code] = state
    return found


def asserted(text: str) -> set[str]:
    """Codes that a text states as present."""
    return {code for code, state in find(text).items() if state == PRESENT}


def contradictions(text: str) -> list[str]:
    """What a text says against itself: a statement both made and denied, two that exclude each other, normal and
    abnormal. "Otherwise normal" speaks of the rest.
    """
    states: dict[str, set[str]] = {}
    for code, state, start, _ in mentions(text):
        if code != "NORM" or not re.search(r"\botherwise\s+$", text[:start].lower()):
            states.setdefault(code, set()).add(state)
    said = {code for code, seen in states.items() if PRESENT in seen}
    found = [f"{code} made and denied" for code in sorted(said) if ABSENT in states[code]]
    found += [f"{' and '.join(pair)} at once" for pair in sorted(sorted(two) for two in exclusions() if two <= said)]
    others = sorted(code for code in said - {"NORM"} if lexicon()[code].group != "rhythm")
    return found + ([f"NORM beside {', '.join(others)}"] if "NORM" in said and others else [])


def score(there: Sequence[Collection[str]], texts: Sequence[str]) -> dict[str, Any]:
    """Statements asserted by texts [n] against those that are there [n]; statements outside the lexicon are left out.

    tallies: int64 [n, 3], for each text the statements asserted that are there, asserted, and there. All others are
    shares in [0, 1], None where they are a share of nothing. micro: precision, recall, F1 over all mentions; macro_f1:
    mean F1 over the statements that occur; exact: texts that assert just what is there; denied: of what is there, the
    share that the text denies; contradictory: texts that contradict themselves; per_statement: code -> counts, rates.
    """
    known, found = set(lexicon()), [find(text) for text in texts]
    pairs = [
        (known & set(codes), {code for code, state in states.items() if state == PRESENT})
        for codes, states in zip(there, found, strict=True)
    ]
    tallies = np.array([[len(real & said), len(said), len(real)] for real, said in pairs], np.int64).reshape(-1, 3)
    per_statement = {}
    for code in sorted(set().union(*(real | said for real, said in pairs))):
        counts = {
            "n": sum(code in real for real, _ in pairs),
            "said": sum(code in said for _, said in pairs),
            "hit": sum(code in real and code in said for real, said in pairs),
        }
        per_statement[code] = counts | _rates(counts["hit"], counts["said"], counts["n"])
    occurring = [counts["f1"] or 0.0 for counts in per_statement.values() if counts["n"]]
    hit, n_said, n_there = tallies.sum(0).tolist()
    denied = sum(states.get(code) == ABSENT for (real, _), states in zip(pairs, found) for code in real)
    return {
        "tallies": tallies,
        "micro": _rates(hit, n_said, n_there),
        "macro_f1": _share(sum(occurring), len(occurring)),
        "exact": _share(sum(real == said for real, said in pairs), len(pairs)),
        "denied": _share(denied, n_there),
        "contradictory": _share(sum(bool(contradictions(text)) for text in texts), len(pairs)),
        "per_statement": per_statement,
    }


def _rates(hit: int, n_said: int, n_there: int) -> dict[str, float | None]:
    return {"precision": _share(hit, n_said), "recall": _share(hit, n_there), "f1": _share(2 * hit, n_said + n_there)}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
