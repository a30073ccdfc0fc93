"""Statements of a text, with negation and doubt; question-answer files, their join to a store; composed answers."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy
from merit.evaluate.generation import texts
from merit.evaluate.generation.texts import ABSENT, PRESENT, UNCERTAIN, Pair

# -- statements --------------------------------------------------------------------------------------------------------


def test_the_lexicon_has_every_statement_once_and_every_phrase_by_itself_is_its_own_statement() -> None:
    lexicon, phrases = texts.lexicon(), []
    assert sorted(lexicon) == sorted(taxonomy.classes("all"))
    for code, entry in lexicon.items():
        assert len(entry.phrases) >= 2
        for phrase in (*entry.phrases, *entry.also):
            phrases.append(phrase.lower())
            assert texts.find(f"The tracing shows {phrase}.") == {code: PRESENT}, phrase
    assert len(phrases) == len(set(phrases))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No ST elevation, pathological Q waves or atrial flutter.", {"STE_": ABSENT, "QWAVE": ABSENT, "AFLT": ABSENT}),
        ("No atrial fibrillation, but there is atrial flutter.", {"AFIB": ABSENT, "AFLT": PRESENT}),
        ("First-degree AV block is absent; LBBB.", {"1AVB": ABSENT, "CLBBB": PRESENT}),
        ("An inferior infarct cannot be ruled out.", {"IMI": UNCERTAIN}),
        ("We cannot exclude an inferior infarct.", {"IMI": UNCERTAIN}),
        ("Possible left  atrial\tenlargement.", {"LAO/LAE": UNCERTAIN}),
        ("Possible LBBB. There is a left bundle branch block.", {"CLBBB": PRESENT}),
        ("The ECG is abnormal.", {}),
        ("This is not a normal ECG.", {"NORM": ABSENT}),
        ("ST elevation in V2, 1.5 mm. No ST depression.", {"STE_": PRESENT, "STD_": ABSENT}),
        ("", {}),
        ("<script>alert('sinus rhythm')</script> $x_1$", {"SR": PRESENT}),
        # what reports write
        ("Non-specific ST-T wave changes in inferolateral leads.", {"NST_": PRESENT}),
        ("ST segments are depressed and T waves inverted in I, aVL.", {"STD_": PRESENT, "INVT": PRESENT}),
        ("T waves are low or flat in V4,5,6.", {"LOWT": PRESENT}),
        ("Premature ventricular contraction(s).", {"PVC": PRESENT}),
        ("Voltages are high in chest leads.", {"VCLVH": PRESENT}),
        ("Myocardial ischaemia is likely.", {"ISC_": UNCERTAIN}),
        ("Suggest exclude hypokalaemia.", {"EL": UNCERTAIN}),
        ("1st degree A-V block, LAFB, possible LAE.", {"1AVB": PRESENT, "LAFB": PRESENT, "LAO/LAE": UNCERTAIN}),
    ],
)
def test_statements_with_negation_and_doubt(text: str, expected: dict[str, str]) -> None:
    assert texts.find(text) == expected


def test_pairs_that_exclude_each_other_are_known_statements_with_a_source() -> None:
    for pair, source in texts.exclusions().items():
        assert source.endswith("et al.)"), source
        one, other = sorted(pair)
        text = ". ".join(texts.lexicon()[code].phrases[0] for code in (one, other))
        assert f"{one} and {other} at once" in texts.contradictions(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First-degree AV block in atrial fibrillation.", ["1AVB and AFIB at once"]),
        ("LBBB. RBBB and LAFB.", ["CLBBB and CRBBB at once"]),
        ("Prolonged PR interval in a pre-excitation syndrome.", ["LPR and WPW at once"]),
        ("Atrial fibrillation with ventricular pacing.", []),
        ("Sinus rhythm. There is no sinus rhythm.", ["SR made and denied"]),
        ("Sinus rhythm with atrial fibrillation.", ["AFIB and SR at once"]),
        ("Normal ECG. Left ventricular hypertrophy.", ["NORM beside LVH"]),
        ("Sinus rhythm. Normal ECG. No LBBB.", []),
        ("Premature atrial beats. Otherwise normal ECG.", []),
    ],
)
def test_contradictions(text: str, expected: list[str]) -> None:
    assert texts.contradictions(text) == expected


def test_the_papers_own_answer_invents_five_findings_and_speaks_against_itself() -> None:
    pair = json.loads((texts.HERE / "paper_example.json").read_text(encoding="utf-8"))
    there, said = (texts.find(pair[of]) for of in ("reference", "response"))
    assert there["NST_"] == PRESENT
    assert said.keys() - there.keys() == {"1AVB", "WPW", "CLBBB", "CRBBB", "LVH"}
    assert texts.contradictions(pair["response"]) == ["1AVB and AFIB at once", "CLBBB and CRBBB at once"]


GERMAN = "sinusrhythmus|lagetyp|linkstyp|rechtstyp|normales|vorhof|schenkel|hemiblock|akut|unbest|ekg"
SWEDISH = "sinusrytm|ospecifik|vänster|förlängd|ej |kammar|myokard"
ENGLISH = re.compile(r"\b(?:sinus (?:rhythm|tachycardia|bradycardia)|normal ecg|is|are|the|with|segments|waves?)\b")


def test_the_phrases_cover_ptb_xls_english_reports_and_exclusions_are_rare_beside_one(real_data: Path) -> None:
    """A statement counts as found where the text makes or doubts it; many statements beside a report are not in it."""
    table = pd.read_csv(real_data / "ptb-xl" / "ptbxl_database.csv")
    reports, stated = table["report"].fillna("").str.lower(), [set(ast.literal_eval(s)) for s in table["scp_codes"]]
    meant = [ENGLISH.search(text) and not re.search(f"{GERMAN}|{SWEDISH}", text) for text in reports]
    english = [pair for pair, is_english in zip(zip(reports, stated), meant) if is_english]
    assert len(english) > 6500
    found = [{code for code, state in texts.find(text).items() if state != ABSENT} for text, _ in english]
    assert sum(not made for made in found) <= 10
    there = sum(len(codes) for _, codes in english)
    assert sum(len(codes & made) for (_, codes), made in zip(english, found)) / there > 0.78
    for code in ("STD_", "INVT", "LOWT", "NT_", "QWAVE", "VCLVH", "LPR", "PAC", "PVC", "DIG", "AFIB"):
        beside = [code in made for (_, codes), made in zip(english, found) if code in codes]
        assert np.mean(beside) > 0.89, code
    number = Counter(code for codes in stated for code in codes)
    for pair in texts.exclusions():
        assert sum(pair <= codes for codes in stated) <= 0.08 * min(number[code] for code in pair), pair


# -- questions and answers in files ------------------------------------------------------------------------------------

PAIRS = [
    Pair("What does this ECG <ecg> show?", "Atrial fibrillation. <b>No</b> $x$.", "files/p1000/p10000032/s1/40689238"),
    Pair("<ecg> Describe it.", "Sinus rhythm.", "files/p1000/p10000033/s2/40689239"),
]


def entry(question: str = "<ecg>?", answer: Any = "Sinus rhythm.", **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "ECG": ["files/p1/p2/s3/4"], **changes}


def test_pairs_are_written_read_and_joined_by_path_or_by_the_id_at_its_end(tmp_path: Path) -> None:
    texts.write_pairs(tmp_path / "qa.json", PAIRS)
    assert texts.read_pairs(tmp_path / "qa.json") == PAIRS
    assert set(json.loads((tmp_path / "qa.json").read_text())[0]) == {"messages", "ECG"}
    records = pd.DataFrame({"record_id": ["7", "40689239"], "path": ["x/7", "elsewhere/40689239"]})
    joined = texts.join([*PAIRS, PAIRS[0], Pair("<ecg>", "a", "x/7")], records)
    assert [p.record for p in joined.pairs] == [PAIRS[1].record, "x/7"]
    assert joined.rows.tolist() == [1, 0]
    assert joined.missing == [PAIRS[0].record]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["text"], "entry 2: expected an object with messages and ECG; got 'text'"),
        ([entry("no place")], "entry 2: expected <ecg> once in the question; got it 0 times"),
        ([entry("<ecg> <ecg>")], "entry 2: expected <ecg> once .* got it 2 times"),
        ([entry(answer=" ")], "entry 2: expected two texts that are not empty"),
        ([entry(messages=entry()["messages"][:1])], r"entry 2: expected two messages.*got roles \['user'\]"),
        ([entry(ECG=[])], "entry 2: expected a list of one path under ECG"),
        ("{}", "expected a list of question-answer entries; got {}"),
        ("[]", r"expected a list of question-answer entries; got \[\]"),
        ("not json", "expected JSON in UTF-8"),
    ],
)
def test_what_is_not_the_form_is_refused_in_one_line_with_its_entry(tmp_path: Path, content: Any, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps([entry(), *content])
    (tmp_path / "qa.json").write_text(text)
    with pytest.raises(texts.NotTheForm, match=rf"^[^\n]*qa\.json: {message}[^\n]*$"):
        texts.read_pairs(tmp_path / "qa.json")


def test_a_part_that_is_missing_or_there_twice_is_named(tmp_path: Path) -> None:
    assert texts.published_files(None) == texts.published_files(tmp_path) == {}
    (tmp_path / "b").mkdir()
    (tmp_path / "train_ecg_qa.json").touch()
    with pytest.raises(texts.NotTheForm, match=r"expected one file test\*ecg\*qa\*\.json; got none"):
        texts.published_files(tmp_path)
    for name in ("test_ecg_qa.json", "b/test_ecg_qa_2.json"):
        (tmp_path / name).touch()
    with pytest.raises(texts.NotTheForm, match=r"got .*test_ecg_qa_2\.json"):
        texts.published_files(tmp_path)


# -- composed questions and answers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    """300 made-up records with one rhythm and up to four other statements."""
    rng, groups = np.random.default_rng(0), {entry.code: entry.group for entry in texts.lexicon().values()}
    rhythms = [code for code, group in groups.items() if group == "rhythm"]
    others = [code for code, group in groups.items() if group not in ("rhythm", "normal")]
    labels = [[rng.choice(rhythms), *rng.choice(others, rng.integers(5), replace=False).tolist()] for _ in range(300)]
    return pd.DataFrame({"record_id": map(str, range(300)), "path": [f"x/{i}" for i in range(300)], "labels": labels})


def test_an_answer_asserts_just_its_labels_and_never_contradicts_itself(records) -> None:
    composed = texts.composed_pairs(records)
    assert len(composed) == len(records)
    for pair, labels in zip(composed, records["labels"]):
        assert texts.asserted(pair.answer) == set(labels), pair.answer
        assert not [c for c in texts.contradictions(pair.answer) if "at once" not in c], pair.answer
        assert pair.question.count("<ecg>") == 1
        assert re.fullmatch(r"[A-Z][^{]*\.", pair.answer)
    for seed in range(50):
        _, answer = texts.compose(["NORM", "SR"], np.random.default_rng(seed))
        assert texts.asserted(answer) == {"NORM", "SR"}, answer
    answers = [texts.compose(["VCLVH"], np.random.default_rng(seed))[1] for seed in range(300)]
    denied = {code for answer in answers for code, state in texts.find(answer).items() if state == ABSENT}
    assert "AFIB" in denied
    assert "LVH" not in denied, "hypertrophy is not denied beside its voltage criteria"


def test_wording_varies_depends_on_the_record_and_the_seed_alone_and_frames_say_no_finding(records) -> None:
    same = records.assign(labels=[["SR", "LVH"]] * len(records))
    composed = texts.composed_pairs(same)
    assert len({pair.answer for pair in composed}) > 200
    assert texts.composed_pairs(same.iloc[::-1])[::-1] == composed
    assert texts.composed_pairs(same, seed=1) != composed
    say = texts.wording()
    frames = [*say["openings"], *say["closings"], *say["questions"], *(r for rs in say["remarks"].values() for r in rs)]
    assert [text for text in frames if texts.find(text)] == []
    table = pd.DataFrame({"record_id": ["a", "b"], "path": ["p/a", "p/b"], "labels": [["AFIB"], ["what"]]})
    assert [pair.record for pair in texts.composed_pairs(table)] == ["p/a"]  # without a known statement: no pair
