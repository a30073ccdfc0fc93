from __future__ import annotations

import numpy as np
import pandas as pd

from merit.evaluate.generation import compose, findings, qa


def records(n: int = 300) -> pd.DataFrame:
    """Made-up records with one rhythm and up to four other statements."""
    rng = np.random.default_rng(0)
    entries = findings.lexicon().values()
    rhythms = [e.code for e in entries if e.group == "rhythm"]
    others = [e.code for e in entries if e.group not in ("rhythm", "normal")]
    labels = [
        [rhythms[rng.integers(len(rhythms))], *rng.choice(others, rng.integers(0, 5), replace=False).tolist()]
        for _ in range(n)
    ]
    return pd.DataFrame({"record_id": map(str, range(n)), "path": [f"x/{i}" for i in range(n)], "labels": labels})


def test_an_answer_asserts_just_its_labels_and_never_contradicts_itself() -> None:
    table = records()
    made = compose.pairs_of(table)
    assert len(made) == len(table)
    for pair, labels in zip(made, table["labels"]):
        assert findings.asserted(pair.answer) == set(labels), pair.answer
        assert not [c for c in findings.contradictions(pair.answer) if "at once" not in c], pair.answer
        qa.check_placeholder(pair.question, "composed")
        assert pair.answer[0].isupper()
        assert pair.answer.endswith(".")
        assert "{" not in pair.answer


def test_a_normal_ecg_is_said_to_be_one() -> None:
    for seed in range(50):
        _, answer = compose.compose(["NORM", "SR"], np.random.default_rng(seed))
        assert findings.asserted(answer) == {"NORM", "SR"}, answer


def test_wording_varies_and_depends_on_the_record_and_the_seed_alone() -> None:
    table = records()
    table["labels"] = [["SR", "LVH"]] * len(table)
    made = compose.pairs_of(table)
    assert len({pair.answer for pair in made}) > 200
    assert compose.pairs_of(table.iloc[::-1])[::-1] == made
    assert compose.pairs_of(table, seed=1) != made


def test_remarks_and_frames_say_nothing_about_findings() -> None:
    say = compose.wording()
    frames = [*say["openings"], *say["closings"], *say["questions"], *(r for rs in say["remarks"].values() for r in rs)]
    assert [text for text in frames if findings.find(text)] == []


def test_records_without_a_known_statement_get_no_pair() -> None:
    table = pd.DataFrame({"record_id": ["a", "b"], "path": ["p/a", "p/b"], "labels": [["AFIB"], ["what"]]})
    assert [pair.record for pair in compose.pairs_of(table)] == ["p/a"]
