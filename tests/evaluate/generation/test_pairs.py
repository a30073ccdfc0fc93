"""Question-answer files of MedTVT-QA's form, their join to a store, and what composed answers assert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from merit.evaluate.generation import findings, pairs
from merit.evaluate.generation.pairs import Pair

PAIRS = [
    Pair("What does this ECG <ecg> show?", "Atrial fibrillation. <b>No</b> $x$.", "files/p1000/p10000032/s1/40689238"),
    Pair("<ecg> Describe it.", "Sinus rhythm.", "files/p1000/p10000033/s2/40689239"),
]


def entry(question: str = "<ecg>?", answer: Any = "Sinus rhythm.", **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "ECG": ["files/p1/p2/s3/4"], **changes}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    pairs.write_pairs(tmp_path / "qa.json", PAIRS)
    assert pairs.read_pairs(tmp_path / "qa.json") == PAIRS
    assert set(json.loads((tmp_path / "qa.json").read_text())[0]) == {"messages", "ECG"}


def test_pairs_join_by_path_or_by_the_id_at_its_end_and_missing_ones_are_named_once() -> None:
    records = pd.DataFrame({"record_id": ["7", "40689239"], "path": ["x/7", "elsewhere/40689239"]})
    joined = pairs.join([*PAIRS, PAIRS[0], Pair("<ecg>", "a", "x/7")], records)
    assert [p.record for p in joined.pairs] == [PAIRS[1].record, "x/7"]
    assert joined.rows.tolist() == [1, 0]
    assert joined.missing == [PAIRS[0].record]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("text", "entry 2: expected an object with messages and ECG; got 'text'"),
        (entry("no place"), "entry 2: expected <ecg> once in the question; got it 0 times"),
        (entry("<ecg> <ecg>"), "entry 2: expected <ecg> once .* got it 2 times"),
        (entry(answer=" "), "entry 2: expected two texts that are not empty"),
        (entry(answer=None), "entry 2: expected two texts that are not empty"),
        (entry(messages=entry()["messages"][:1]), r"entry 2: expected two messages.*got roles \['user'\]"),
        (entry(ECG=[]), "entry 2: expected a list of one path under ECG"),
        (entry(ECG=["a", "b"]), "entry 2: expected a list of one path under ECG"),
    ],
)
def test_what_is_not_the_form_is_refused_in_one_line_with_its_entry(tmp_path: Path, wrong: Any, message: str) -> None:
    (tmp_path / "qa.json").write_text(json.dumps([entry(), wrong]))
    with pytest.raises(pairs.NotTheForm, match=rf"^[^\n]*qa\.json: {message}[^\n]*$"):
        pairs.read_pairs(tmp_path / "qa.json")


@pytest.mark.parametrize("text", ["{}", "[]", "not json"])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "qa.json").write_text(text)
    with pytest.raises(pairs.NotTheForm, match=r"qa\.json: expected"):
        pairs.read_pairs(tmp_path / "qa.json")


# -- composed pairs ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    """300 made-up records with one rhythm and up to four other statements."""
    rng, entries = np.random.default_rng(0), findings.lexicon().values()
    rhythms = [e.code for e in entries if e.group == "rhythm"]
    others = [e.code for e in entries if e.group not in ("rhythm", "normal")]
    labels = [
        [rhythms[rng.integers(len(rhythms))], *rng.choice(others, rng.integers(0, 5), replace=False).tolist()]
        for _ in range(300)
    ]
    return pd.DataFrame({"record_id": map(str, range(300)), "path": [f"x/{i}" for i in range(300)], "labels": labels})


def test_an_answer_asserts_just_its_labels_and_never_contradicts_itself(records) -> None:
    composed = pairs.composed_pairs(records)
    assert len(composed) == len(records)
    for pair, labels in zip(composed, records["labels"]):
        assert findings.asserted(pair.answer) == set(labels), pair.answer
        assert not [c for c in findings.contradictions(pair.answer) if "at once" not in c], pair.answer
        assert pair.question.count("<ecg>") == 1
        assert pair.answer[0].isupper()
        assert pair.answer.endswith(".")
        assert "{" not in pair.answer


def test_a_normal_ecg_is_said_to_be_one() -> None:
    for seed in range(50):
        _, answer = pairs.compose(["NORM", "SR"], np.random.default_rng(seed))
        assert findings.asserted(answer) == {"NORM", "SR"}, answer


def test_hypertrophy_is_not_denied_beside_its_voltage_criteria() -> None:
    answers = [pairs.compose(["VCLVH"], np.random.default_rng(seed))[1] for seed in range(300)]
    denied = {code for answer in answers for code, state in findings.find(answer).items() if state == findings.ABSENT}
    assert "LVH" not in denied
    assert "AFIB" in denied


def test_wording_varies_and_depends_on_the_record_and_the_seed_alone(records) -> None:
    same = records.assign(labels=[["SR", "LVH"]] * len(records))
    composed = pairs.composed_pairs(same)
    assert len({pair.answer for pair in composed}) > 200
    assert pairs.composed_pairs(same.iloc[::-1])[::-1] == composed
    assert pairs.composed_pairs(same, seed=1) != composed


def test_remarks_and_frames_say_nothing_about_findings() -> None:
    say = pairs.wording()
    frames = [*say["openings"], *say["closings"], *say["questions"], *(r for rs in say["remarks"].values() for r in rs)]
    assert [text for text in frames if findings.find(text)] == []


def test_records_without_a_known_statement_get_no_pair() -> None:
    table = pd.DataFrame({"record_id": ["a", "b"], "path": ["p/a", "p/b"], "labels": [["AFIB"], ["what"]]})
    assert [pair.record for pair in pairs.composed_pairs(table)] == ["p/a"]
