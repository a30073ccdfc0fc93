from __future__ import annotations

import numpy as np
import pytest

from merit.data import taxonomy
from merit.evaluate.generation import findings
from merit.evaluate.generation.findings import ABSENT, PRESENT, UNCERTAIN


def test_the_lexicon_has_every_statement_once_and_no_phrase_twice() -> None:
    lexicon = findings.lexicon()
    assert sorted(lexicon) == sorted(taxonomy.classes("all"))
    phrases = [phrase for entry in lexicon.values() for phrase in entry.phrases]
    assert len(phrases) == len(set(phrases))
    assert all(
        len(entry.phrases) >= 2 and phrase == phrase.lower() for entry in lexicon.values() for phrase in entry.phrases
    )


@pytest.mark.parametrize("code", sorted(findings.lexicon()))
def test_every_phrase_by_itself_is_its_own_statement(code: str) -> None:
    for phrase in findings.lexicon()[code].phrases:
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
    ],
)
def test_negation_and_doubt(text: str, expected: dict[str, str]) -> None:
    assert findings.find(text) == expected


def test_contradictions() -> None:
    assert findings.contradictions("Sinus rhythm. There is no sinus rhythm.") == ["SR made and denied"]
    assert findings.contradictions("Sinus rhythm with atrial fibrillation.") == ["AFIB and SR at once"]
    assert findings.contradictions("Normal ECG. Left ventricular hypertrophy.") == ["NORM beside LVH"]
    assert findings.contradictions("Sinus rhythm. Normal ECG. No LBBB.") == []


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
