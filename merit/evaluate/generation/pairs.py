"""Questions and answers about ECGs: MedTVT-QA's files read, written and joined to a store, or composed from statements.

The form is MedTVT-R1's (data/instruction_datasets.py): a list of
{"messages": [{"role": "user", "content": "… <ecg> …"}, {"role": "assistant", "content": "…"}],
"ECG": ["files/p1000/p10000032/s40689238/40689238"]}. Composed pairs are worded differently every time; the wording is
ours (`wording.json`), and findings enter by the phrases of `lexicon.csv`, so what an answer says is known.
"""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from merit import runs
from merit.evaluate.generation.findings import Entry, lexicon

ECG_TOKEN = "<ecg>"
"""What a question writes where the ECG goes; it stands once in every question."""


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


# -- files -------------------------------------------------------------------------------------------------------------


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file; NotTheForm, with the entry's number, for the first that is wrong."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotTheForm(f"{path}: expected JSON in UTF-8; {error}") from error
    if not isinstance(entries, list) or not entries:
        raise NotTheForm(f"{path}: expected a list of question-answer entries; got {_described(entries)}")
    return [_pair(entry, f"{path}: entry {number}") for number, entry in enumerate(entries, 1)]


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
    if (count := texts[0].count(ECG_TOKEN)) != 1:
        raise NotTheForm(f"{where}: expected {ECG_TOKEN} once in the question; got it {count} times: {texts[0][:80]!r}")
    return Pair(texts[0], texts[1], ecg[0])


def _described(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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


FILES = {"train": "train*ecg*qa*.json", "test": "test*ecg*qa*.json"}
"""Part -> pattern of MedTVT-QA's file names (published: train_ecg_qa_dataset_gpt_add_spec_token.json)."""


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


# -- composed pairs ----------------------------------------------------------------------------------------------------

SHARES = {"opening": 0.3, "remark": 0.2, "two at a time": 0.3, "denial": 0.5, "closing": 0.2}
"""How often an answer has a sentence of each kind beside its findings."""
DENIABLE = ("AFIB", "CLBBB", "CRBBB", "LVH", "STE_", "PVC", "WPW", "1AVB", "INVT", "IMI")
"""Statements that an answer may say are absent: a reader asks for them, and a copy of them is a mistake."""
CAPITALS = {word.lower(): word for word in ("ECG", "ST", "QRS", "QT", "PR", "AV", "T", "Q", "RBBB", "LBBB", "ST-T")}
CAPITALS["wolff-parkinson-white"] = "Wolff-Parkinson-White"


@functools.cache
def wording() -> dict[str, Any]:
    """Sentences with places for findings."""
    return json.loads(Path(__file__).with_name("wording.json").read_text(encoding="utf-8"))


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

    def phrase(entry: Entry) -> str:
        return " ".join(CAPITALS.get(word, word) for word in pick(entry.phrases).split())

    def filled(sentence: str, **findings: str) -> str:
        """The sentence with its findings; a place that begins with a capital gets one."""
        capital = {name.capitalize(): text[:1].upper() + text[1:] for name, text in findings.items()}
        return sentence.format(**findings, **capital)

    say, entries = wording(), [entry for code, entry in lexicon().items() if code in set(labels)]
    rhythm = [entry for entry in entries if entry.group == "rhythm"]
    others = [entry for entry in entries if entry.group not in ("rhythm", "normal")]
    others = [others[i] for i in rng.permutation(len(others))]
    sentences = [pick(say["openings"])] if rng.random() < SHARES["opening"] else []
    sentences += [filled(pick(say["rhythm"]), finding=phrase(entry)) for entry in rhythm]

    # Findings, two in a sentence now and then, with a remark on some.
    while others:
        entry = others.pop(0)
        if others and rng.random() < SHARES["two at a time"]:
            second = others.pop(0)
            sentences.append(filled(pick(say["both"]), first=phrase(entry), second=phrase(second)))
        else:
            sentences.append(filled(pick(say["present"]), finding=phrase(entry)))
        if rng.random() < SHARES["remark"]:
            sentences.append(pick(say["remarks"][entry.group]))

    # A common finding is denied that is indeed absent, and whose denial would not sit oddly beside what is there: an
    # infarction elsewhere, voltage criteria.
    if rng.random() < SHARES["denial"]:
        there = {entry.code for entry in entries}
        groups = {entry.group for entry in entries} - {"rhythm"}
        absent = [code for code in DENIABLE if code not in there and lexicon()[code].group not in groups]
        if absent := [code for code in absent if not (code == "LVH" and "VCLVH" in there)]:
            sentence = pick(say["absent"])
            sentences.append(filled(sentence, finding=phrase(lexicon()[pick(absent)])))
    if any(entry.code == "NORM" for entry in entries):
        sentences.append(pick(say["normal"]))
    elif rng.random() < SHARES["closing"]:
        sentences.append(pick(say["closings"]))
    return pick(say["questions"]), " ".join(sentences)
