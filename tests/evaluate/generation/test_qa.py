from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from merit.evaluate.generation import qa

PAIRS = [
    qa.Pair(
        "What does this ECG <ecg> show?", "Atrial fibrillation. <b>No</b> $x$.", "files/p1000/p10000032/s1/40689238"
    ),
    qa.Pair("<ecg> Describe it.", "Sinus rhythm.", "files/p1000/p10000033/s2/40689239"),
]


def entry(**changes: Any) -> dict[str, Any]:
    good = {
        "messages": [{"role": "user", "content": "<ecg>?"}, {"role": "assistant", "content": "Sinus rhythm."}],
        "ECG": ["files/p1/p2/s3/4"],
    }
    return {**good, **changes}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    qa.write_pairs(tmp_path / "qa.json", PAIRS)
    assert qa.read_pairs(tmp_path / "qa.json") == PAIRS
    assert set(json.loads((tmp_path / "qa.json").read_text())[0]) == {"messages", "ECG"}


def test_pairs_join_by_path_or_by_the_id_at_its_end_and_missing_ones_are_named_once() -> None:
    records = pd.DataFrame({"record_id": ["7", "40689239"], "path": ["x/7", "elsewhere/40689239"]})
    joined = qa.join([*PAIRS, PAIRS[0], qa.Pair("<ecg>", "a", "x/7")], records)
    assert [p.record for p in joined.pairs] == [PAIRS[1].record, "x/7"]
    assert joined.rows.tolist() == [1, 0]
    assert joined.missing == [PAIRS[0].record]


def user_and_assistant(question: str, answer: Any = "a") -> list[dict[str, Any]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("text", "entry 2: expected an object with messages and ECG; got 'text'"),
        (
            entry(messages=user_and_assistant("no place")),
            "entry 2: expected <ecg> once in the question; got it 0 times",
        ),
        (entry(messages=user_and_assistant("<ecg> <ecg>")), "entry 2: expected <ecg> once .* got it 2 times"),
        (entry(messages=user_and_assistant("<ecg>", " ")), "entry 2: expected two texts that are not empty"),
        (entry(messages=user_and_assistant("<ecg>", None)), "entry 2: expected two texts that are not empty"),
        (entry(messages=user_and_assistant("<ecg>")[:1]), r"entry 2: expected two messages.*got roles \['user'\]"),
        (entry(ECG=[]), "entry 2: expected a list of one path under ECG"),
        (entry(ECG=["a", "b"]), "entry 2: expected a list of one path under ECG"),
    ],
)
def test_what_is_not_the_form_is_refused_with_its_entry(tmp_path: Path, wrong: Any, message: str) -> None:
    (tmp_path / "qa.json").write_text(json.dumps([entry(), wrong]))
    with pytest.raises(qa.NotTheForm, match=message) as error:
        qa.read_pairs(tmp_path / "qa.json")
    assert "\n" not in str(error.value)
    assert "qa.json" in str(error.value)


@pytest.mark.parametrize("text", ["{}", "[]", "not json"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "qa.json").write_text(text)
    with pytest.raises(qa.NotTheForm, match=r"qa\.json: expected"):
        qa.read_pairs(tmp_path / "qa.json")
