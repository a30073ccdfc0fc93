from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.data import taxonomy
from merit.evaluate.generation import findings
from merit.evaluate.generation.findings import ABSENT, PRESENT, UNCERTAIN


def test_the_lexicon_has_every_statement_once_and_no_phrase_twice() -> None:
    lexicon = findings.lexicon()
    assert sorted(lexicon) == sorted(taxonomy.classes("all"))
    phrases = [p for entry in lexicon.values() for p in (*entry.phrases, *entry.also)]
    assert len(phrases) == len(set(phrases))
    meant = {(findings._normal(p), code) for code, entry in lexicon.items() for p in (*entry.phrases, *entry.also)}
    assert len(meant) == len({phrase for phrase, _ in meant})
    assert all(len(entry.phrases) >= 2 and all(entry.also) for entry in lexicon.values())
    assert phrases == [phrase.lower() for phrase in phrases]


@pytest.mark.parametrize("code", sorted(findings.lexicon()))
def test_every_phrase_by_itself_is_its_own_statement(code: str) -> None:
    entry = findings.lexicon()[code]
    for phrase in (*entry.phrases, *entry.also):
        assert findings.find(f"The tracing shows {phrase}.") == {code: PRESENT}, phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is an incomplete right bundle branch block.", {"IRBBB": PRESENT}),
        ("No ST elevation, pathological Q waves or atrial flutter.", {"STE_": ABSENT, "QWAVE": ABSENT, "AFLT": ABSENT}),
        ("No atrial fibrillation, but there is atrial flutter.", {"AFIB": ABSENT, "AFLT": PRESENT}),
        ("No atrial fibrillation. Sinus rhythm.", {"AFIB": ABSENT, "SR": PRESENT}),
        ("First-degree AV block is absent; LBBB.", {"1AVB": ABSENT, "CLBBB": PRESENT}),
        ("Atrial fibrillation was ruled out.", {"AFIB": ABSENT}),
        ("An inferior infarct cannot be ruled out.", {"IMI": UNCERTAIN}),
        ("We cannot exclude an inferior infarct.", {"IMI": UNCERTAIN}),
        ("Possible left  atrial\tenlargement.", {"LAO/LAE": UNCERTAIN}),
        ("Left ventricular hypertrophy is likely.", {"LVH": UNCERTAIN}),
        ("Possible LBBB. There is a left bundle branch block.", {"CLBBB": PRESENT}),
        ("The ECG is abnormal.", {}),
        ("This is not a normal ECG.", {"NORM": ABSENT}),
        ("ST elevation in V2, 1.5 mm. No ST depression.", {"STE_": PRESENT, "STD_": ABSENT}),
        ("", {}),
        ("<script>alert('sinus rhythm')</script> $x_1$", {"SR": PRESENT}),
        # what reports write
        ("Extensive ST-T changes are noted.", {"NST_": PRESENT}),
        ("Non-specific ST-T wave changes in inferolateral leads.", {"NST_": PRESENT}),
        ("ST segments are depressed and T waves inverted in I, aVL.", {"STD_": PRESENT, "INVT": PRESENT}),
        ("T waves are low or flat in V4,5,6.", {"LOWT": PRESENT}),
        ("Minor non-specific T wave flattening in V6.", {"NT_": PRESENT}),
        ("Premature ventricular contraction(s).", {"PVC": PRESENT}),
        ("Voltages are high in chest leads.", {"VCLVH": PRESENT}),
        ("Low limb lead voltage.", {"LVOLT": PRESENT}),
        ("Myocardial ischaemia is likely.", {"ISC_": UNCERTAIN}),
        ("No ECG evidence of inferior ischaemia.", {"ISCIN": ABSENT}),
        ("Suggest exclude hypokalaemia.", {"EL": UNCERTAIN}),
        ("1st degree A-V block, LAFB, possible LAE.", {"1AVB": PRESENT, "LAFB": PRESENT, "LAO/LAE": UNCERTAIN}),
        ("A-V block II with wide QRS.", {"2AVB": PRESENT}),
        ("Incomplete RBBB, no WPW.", {"IRBBB": PRESENT, "WPW": ABSENT}),
    ],
)
def test_statements_with_negation_and_doubt(text: str, expected: dict[str, str]) -> None:
    assert findings.find(text) == expected


def test_pairs_that_exclude_each_other_are_known_statements_with_a_source() -> None:
    pairs = findings.exclusions()
    assert all(len(pair) == 2 and pair <= set(findings.lexicon()) for pair in pairs)
    assert all(source.endswith("et al.)") and ": " in source for source in pairs.values())
    for pair in pairs:
        one, other = sorted(pair)
        text = ". ".join(findings.lexicon()[code].phrases[0] for code in (one, other))
        assert f"{one} and {other} at once" in findings.contradictions(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("First-degree AV block in atrial fibrillation.", ["1AVB and AFIB at once"]),
        ("LBBB. RBBB and LAFB.", ["CLBBB and CRBBB at once"]),
        ("Prolonged PR interval in a pre-excitation syndrome.", ["LPR and WPW at once"]),
        ("Atrial fibrillation with ventricular pacing.", []),
        ("Atrial flutter with 2:1 AV block.", []),
        ("RBBB, no LBBB.", []),
        ("Sinus rhythm. There is no sinus rhythm.", ["SR made and denied"]),
        ("Sinus rhythm with atrial fibrillation.", ["AFIB and SR at once"]),
        ("Normal ECG. Left ventricular hypertrophy.", ["NORM beside LVH"]),
        ("Sinus rhythm. Normal ECG. No LBBB.", []),
        ("Premature atrial beats. Otherwise normal ECG.", []),
    ],
)
def test_contradictions(text: str, expected: list[str]) -> None:
    assert findings.contradictions(text) == expected


def test_the_papers_own_answer_invents_five_findings_and_speaks_against_itself() -> None:
    path = Path(findings.__file__).with_name("paper_example.json")
    pair = json.loads(path.read_text(encoding="utf-8"))
    there, said = (findings.find(pair[of]) for of in ("reference", "response"))
    assert there["NST_"] == PRESENT
    assert said.keys() - there.keys() == {"1AVB", "WPW", "CLBBB", "CRBBB", "LVH"}
    assert findings.contradictions(pair["response"]) == ["1AVB and AFIB at once", "CLBBB and CRBBB at once"]


GERMAN_OR_SWEDISH = re.compile(
    "sinusrhythmus|sinusrytm|lagetyp|linkstyp|rechtstyp|normales|vorhof|schenkel|hemiblock|akut|unbest|ekg|ospecifik|"
    "vänster|förlängd|ej |kammar|myokard"
)
ENGLISH = re.compile(r"\b(?:sinus (?:rhythm|tachycardia|bradycardia)|normal ecg|is|are|the|with|segments|waves?)\b")


@pytest.fixture
def english(real_data: Path) -> list[tuple[str, set[str]]]:
    """PTB-XL's English reports, and the statements beside each."""
    table = pd.read_csv(real_data / "ptb-xl" / "ptbxl_database.csv")
    rows = zip(table["report"].fillna("").str.lower(), map(ast.literal_eval, table["scp_codes"]))
    return [(text, set(codes)) for text, codes in rows if ENGLISH.search(text) and not GERMAN_OR_SWEDISH.search(text)]


def test_the_phrases_cover_ptb_xls_english_reports(english: list[tuple[str, set[str]]]) -> None:
    """A statement counts as found where the text makes or doubts it; many statements beside a report are not in it."""
    assert len(english) > 6500
    found = [{code for code, state in findings.find(text).items() if state != ABSENT} for text, _ in english]
    assert sum(not made for made in found) <= 10
    there = sum(len(codes) for _, codes in english)
    assert sum(len(codes & made) for (_, codes), made in zip(english, found)) / there > 0.78
    for code in ("STD_", "INVT", "LOWT", "NT_", "QWAVE", "VCLVH", "LPR", "PAC", "PVC", "DIG", "AFIB"):
        beside = [code in made for (_, codes), made in zip(english, found) if code in codes]
        assert np.mean(beside) > 0.89, code


def test_pairs_that_exclude_each_other_are_rarely_beside_one_report(real_data: Path) -> None:
    table = pd.read_csv(real_data / "ptb-xl" / "ptbxl_database.csv")
    stated = [set(ast.literal_eval(codes)) for codes in table["scp_codes"]]
    number = Counter(code for codes in stated for code in codes)
    for pair in findings.exclusions():
        both = sum(pair <= codes for codes in stated)
        assert both <= 0.08 * min(number[code] for code in pair), pair


def test_scores_by_hand() -> None:
    there = [{"SR", "LVH"}, {"AFIB"}, {"NORM", "SR"}, {"unknown code"}]
    texts = ["Sinus rhythm.", "Sinus rhythm, no atrial fibrillation.", "Normal ECG with sinus rhythm.", "Nothing."]
    found = findings.score(there, texts)
    assert found["micro"] == {"precision": 3 / 4, "recall": 3 / 5, "f1": 6 / 9}
    assert found["per_statement"]["SR"] == {"n": 2, "said": 3, "hit": 2, "precision": 2 / 3, "recall": 1.0, "f1": 4 / 5}
    assert found["macro_f1"] == pytest.approx(np.mean([4 / 5, 0, 0, 1]))
    assert found["exact"] == 2 / 4
    assert found["denied"] == 1 / 5
    assert found["contradictory"] == 0


def test_nothing_there_and_nothing_said_has_no_score() -> None:
    found = findings.score([set()], ["Nothing at all."])
    assert found["micro"] == {"precision": None, "recall": None, "f1": None}
    assert found["macro_f1"] is None
    assert found["exact"] == 1


def test_texts_and_records_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        findings.score([set(), set()], ["one"])
