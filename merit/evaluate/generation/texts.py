"""Texts about ECGs: which statements one makes, and questions with answers, read from files or composed.

A statement is found by its phrases (`lexicon.csv`, PTB-XL's codes), the longest first, so that "incomplete right bundle
branch block" is not also a complete one. Negation and doubt are cues within the same clause, after NegEx (Chapman et
al. 2001). What no phrase of the lexicon says is not found: recall is bounded by the lexicon, for every text alike. Its
phrases are English; those that PTB-XL's English reports use were checked against the statements beside them. German and
Swedish reports are not read.
"""

from __future__ import annotations

import csv
import functools
import json
import re
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from merit import runs

HERE = Path(__file__).parent

# -- statements --------------------------------------------------------------------------------------------------------

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
    with (HERE / "lexicon.csv").open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {
            row["code"]: Entry(row["code"], row["group"], *(tuple(row[of].split("|")) for of in ("phrases", "also")))
            for row in rows
        }


@functools.cache
def exclusions() -> dict[frozenset[str], str]:
    """Two statements that cannot both hold over ten seconds -> why, and where that is defined (`exclusions.csv`)."""
    with (HERE / "exclusions.csv").open(newline="", encoding="utf-8") as file:
        return {frozenset((row["first"], row["second"])): row["source"] for row in csv.DictReader(file)}


def normal(phrase: str) -> str:
    """Hyphens and spaces alike, and both spellings: "first-degree AV block" is "first degree AV block"."""
    return " ".join(re.split(r"[\s-]+", phrase.lower())).replace("ischaem", "ischem")


@functools.cache
def _phrases() -> tuple[re.Pattern[str], dict[str, str]]:
    """One expression over all phrases, longest first, and the code of each."""
    code_of = {normal(phrase): entry.code for entry in lexicon().values() for phrase in (*entry.phrases, *entry.also)}
    words = sorted(code_of, key=lambda phrase: (-len(phrase), phrase))
    choices = "|".join(r"[\s-]+".join(map(re.escape, phrase.split())) for phrase in words).replace("ischem", "ischa?em")
    return re.compile(rf"(?<![\w-])(?:{choices})(?![\w-])"), code_of


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
            found.append(Mention(code_of[normal(match.group())], state, match.start(), match.end()))
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


# -- questions and answers in files ------------------------------------------------------------------------------------
# The form is MedTVT-R1's (data/instruction_datasets.py): a list of
# {"messages": [{"role": "user", "content": "… <ecg> …"}, {"role": "assistant", "content": "…"}],
# "ECG": ["files/p1000/p10000032/s40689238/40689238"]}.

ECG_TOKEN = "<ecg>"
"""What a question writes where the ECG goes; it stands once in every question."""
FILES = {"train": "train*ecg*qa*.json", "test": "test*ecg*qa*.json"}
"""Part -> pattern of MedTVT-QA's file names (published: train_ecg_qa_dataset_gpt_add_spec_token.json)."""


class NotTheForm(ValueError):
    """A question-answer file that is not MedTVT-QA's form; the message names the file, the entry and what is wrong."""


class Pair(NamedTuple):
    """One question about one ECG, and its answer."""

    question: str
    answer: str
    record: str
    """Path of the waveform file as the data set lists it, without an ending; or a record id."""


class Joined(NamedTuple):
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
        raise NotTheForm(f"{path}: expected a list of question-answer entries; got {entries!r:.60}")
    pairs = []
    for number, entry in enumerate(entries, 1):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict) or not {"messages", "ECG"} <= set(entry):
            raise NotTheForm(f"{where}: expected an object with messages and ECG; got {entry!r:.60}")
        messages, ecg = entry["messages"], entry["ECG"]
        roles = [m.get("role") for m in messages if isinstance(m, dict)] if isinstance(messages, list) else None
        if roles != ["user", "assistant"]:
            raise NotTheForm(f"{where}: expected two messages, of user and assistant; got roles {roles}")
        texts = [m.get("content") for m in messages]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise NotTheForm(f"{where}: expected two texts that are not empty; got {texts!r:.120}")
        if not isinstance(ecg, list) or len(ecg) != 1 or not isinstance(ecg[0], str) or not ecg[0]:
            raise NotTheForm(f"{where}: expected a list of one path under ECG; got {ecg!r:.60}")
        if (count := texts[0].count(ECG_TOKEN)) != 1:
            raise NotTheForm(
                f"{where}: expected {ECG_TOKEN} once in the question; got it {count} times: {texts[0][:80]!r}"
            )
        pairs.append(Pair(*texts, ecg[0]))
    return pairs


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


def join(pairs: Sequence[Pair], records: pd.DataFrame) -> Joined:
    """The pairs whose recording a store has. records: columns path and record_id; a pair may name either."""
    by_path = {str(path): row for row, path in enumerate(records["path"])}
    by_id = {str(name): row for row, name in enumerate(records["record_id"])}
    rows = np.array([by_path.get(p.record, by_id.get(p.record.rsplit("/", 1)[-1], -1)) for p in pairs], np.int64)
    missing = dict.fromkeys(pair.record for pair, row in zip(pairs, rows) if row < 0)
    return Joined([pair for pair, row in zip(pairs, rows) if row >= 0], rows[rows >= 0], list(missing))


def published_files(data: Path | None) -> dict[str, Path]:
    """Part -> file of MedTVT-QA in a data folder or a folder in it; empty without one. NotTheForm where a part is
    missing or there twice.
    """
    if data is None:
        return {}
    paths = {part: sorted([*data.glob(name), *data.glob(f"*/{name}")]) for part, name in FILES.items()}
    if not any(paths.values()):
        return {}
    for part, there in paths.items():
        if len(there) != 1:
            names = ", ".join(map(str, there)) or "none"
            raise NotTheForm(f"MedTVT-QA under {data}: expected one file {FILES[part]}; got {names}")
    return {part: there[0] for part, there in paths.items()}


def asked_patients(data: Path | None, records: pd.DataFrame) -> set[str]:
    """Patients of these records (of MIMIC-IV-ECG) that MedTVT-QA tests on, who stay out of pretraining; empty without
    it.
    """
    files = published_files(data)
    rows = join(read_pairs(files["test"]), records).rows if files else []
    return set(records["patient_id"].iloc[rows].astype(str))


# -- composed questions and answers ------------------------------------------------------------------------------------
# Worded differently every time; the wording is ours (`wording.json`), and findings enter by the phrases of
# `lexicon.csv`, so what an answer says is known.

SHARES = {"opening": 0.3, "remark": 0.2, "two at a time": 0.3, "denial": 0.5, "closing": 0.2}
"""How often an answer has a sentence of each kind beside its findings."""
DENIABLE = ("AFIB", "CLBBB", "CRBBB", "LVH", "STE_", "PVC", "WPW", "1AVB", "INVT", "IMI")
"""Statements that an answer may say are absent: a reader asks for them, and a copy of them is a mistake."""
CAPITALS = {word.lower(): word for word in ("ECG", "ST", "QRS", "QT", "PR", "AV", "T", "Q", "RBBB", "LBBB", "ST-T")}
CAPITALS["wolff-parkinson-white"] = "Wolff-Parkinson-White"


@functools.cache
def wording() -> dict[str, Any]:
    """Sentences with places for findings."""
    return json.loads((HERE / "wording.json").read_text(encoding="utf-8"))


def composed_pairs(records: pd.DataFrame, seed: int = 0) -> list[Pair]:
    """A question and an answer for each record with a known statement; its words depend on its id and the seed alone.

    records: columns record_id, path, labels.
    """
    pairs = []
    for name, path, labels in zip(records["record_id"], records["path"], records["labels"]):
        if set(labels) & set(lexicon()):
            rng = np.random.default_rng([seed, zlib.crc32(str(name).encode())])
            pairs.append(Pair(*compose(labels, rng), str(path)))
    return pairs


def compose(labels: Collection[str], rng: np.random.Generator) -> tuple[str, str]:
    """A question with its placeholder, and an answer that asserts exactly the labels that the lexicon knows."""

    def pick(choices: Sequence[Any]) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def filled(sentence: str, **findings: Entry) -> str:
        """The sentence with its findings, by a phrase of each; a place that begins with a capital gets one."""
        said = {
            name: " ".join(CAPITALS.get(word, word) for word in pick(entry.phrases).split())
            for name, entry in findings.items()
        }
        capital = {name.capitalize(): text[:1].upper() + text[1:] for name, text in said.items()}
        return sentence.format(**said, **capital)

    say, entries = wording(), [entry for code, entry in lexicon().items() if code in set(labels)]
    rhythm = [entry for entry in entries if entry.group == "rhythm"]
    others = [entry for entry in entries if entry.group not in ("rhythm", "normal")]
    others = [others[i] for i in rng.permutation(len(others))]
    sentences = [pick(say["openings"])] if rng.random() < SHARES["opening"] else []
    sentences += [filled(pick(say["rhythm"]), finding=entry) for entry in rhythm]

    # Findings, two in a sentence now and then, with a remark on some.
    while others:
        entry = others.pop(0)
        if others and rng.random() < SHARES["two at a time"]:
            sentences.append(filled(pick(say["both"]), first=entry, second=others.pop(0)))
        else:
            sentences.append(filled(pick(say["present"]), finding=entry))
        if rng.random() < SHARES["remark"]:
            sentences.append(pick(say["remarks"][entry.group]))

    # A common finding is denied that is indeed absent, and whose denial would not sit oddly beside what is there: an
    # infarction elsewhere, voltage criteria.
    if rng.random() < SHARES["denial"]:
        there = {entry.code for entry in entries}
        groups = {entry.group for entry in entries} - {"rhythm"}
        absent = [code for code in DENIABLE if code not in there and lexicon()[code].group not in groups]
        if absent := [code for code in absent if not (code == "LVH" and "VCLVH" in there)]:
            sentences.append(filled(pick(say["absent"]), finding=lexicon()[pick(absent)]))
    if any(entry.code == "NORM" for entry in entries):
        sentences.append(pick(say["normal"]))
    elif rng.random() < SHARES["closing"]:
        sentences.append(pick(say["closings"]))
    return pick(say["questions"]), " ".join(sentences)
