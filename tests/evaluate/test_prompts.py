"""Prompts: every class is covered, ours keep to their schema, a user's file is read or refused in one line."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
from merit.evaluate.prompts import Prompts, load, unknown_share, words_in, written_alike

from merit.data import taxonomy
from merit.evaluate import prompts
from merit.evaluate.zero_shot import class_vectors

TEXTS = {code: f"text of {code}" for code in taxonomy.classes("cpsc2018")}


def rows() -> list[dict[str, str]]:
    with Path(prompts.__file__).with_name("prompts.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(tmp_path: Path, content: object) -> Path:
    """A file with this content, as JSON or as it is."""
    path = tmp_path / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("task", taxonomy.TASKS)
def test_every_class_has_a_name_and_three_phrasings(task):
    names, enriched = load("names", task), load("enriched", task)
    assert tuple(names.texts) == tuple(enriched.texts) == taxonomy.classes(task)
    assert all(len(texts) == 1 for texts in names.texts.values())
    assert all(len(set(texts)) >= 3 for texts in enriched.texts.values())
    for one in (names, enriched):
        assert len(set(one.flat)) == len(one.flat), "a text stands for two classes"


def test_the_file_holds_what_its_schema_says_and_nothing_else():
    known = {"ptb-xl": "all", "superclass": "superclass", "subclass": "subclass", "cpsc2018": "cpsc2018", "csn": "csn"}
    found = rows()
    assert list(found[0]) == ["vocabulary", "code", "kind", "text"]
    assert {row["kind"] for row in found} == {"name", "enriched"}
    for vocabulary, task in known.items():
        assert {row["code"] for row in found if row["vocabulary"] == vocabulary} == set(taxonomy.classes(task))
    assert {row["vocabulary"] for row in found} == set(known) == set(prompts.VOCABULARY.values())


def test_our_texts_look_like_reports():
    for row in rows():
        text, words = row["text"], row["text"].split()
        assert text == prompts.clean(text), text
        assert text.isascii()
        if row["kind"] == "enriched":
            assert 6 <= len(words) <= 35, text
            assert ", " in text, "a statement and what to look for"


def test_flat_texts_know_their_class():
    one = Prompts("x", {"A": ("a", "b"), "B": ("c",)})
    assert one.flat == ["a", "b", "c"]
    assert one.owner.tolist() == [0, 0, 1]


def test_the_digest_follows_the_texts():
    one = Prompts("x", {"A": ("a", "b"), "B": ("c",)})
    assert one.digest == Prompts("y", dict(one.texts)).digest
    others = [{"A": ("b", "a"), "B": ("c",)}, {"B": ("c",), "A": ("a", "b")}, {"A": ("a",), "B": ("b", "c")}]
    assert len({one.digest, *(Prompts("x", texts).digest for texts in others)}) == 4


def test_a_users_file_is_cleaned_and_its_codes_are_found_without_underscores(tmp_path):
    texts = {code.strip("_"): f"Text of {code}\n" for code in taxonomy.classes("form")}
    texts["DIG"] = ["One EKG", "two"]
    found = load(written(tmp_path, {**texts, "OTHER": 3}), "form")
    assert found.texts["NST_"] == ("text of nst_",)
    assert found.texts["DIG"] == ("one ecg", "two")
    assert tuple(found.texts) == taxonomy.classes("form")
    assert found.name == found.digest != load("enriched", "form").digest


def test_a_code_as_it_is_comes_before_the_one_without_underscores(tmp_path):
    texts = {code.strip("_"): f"of {code}" for code in taxonomy.classes("subclass")}
    texts |= {"_AVB": "any block", "AVB": "another"}
    assert load(written(tmp_path, texts), "subclass").texts["_AVB"] == ("any block",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"AFIB": None, "STD": None}, r"missing: AFIB, STD$"),
        ({"AFIB": " \n"}, r"AFIB: expected text; phrasing 1 is empty$"),
        ({"AFIB": ["a", "  "]}, r"AFIB: expected text; phrasing 2 is empty$"),
        ({"AFIB": []}, r"AFIB: expected a text or a list of texts; got \[\]$"),
        ({"AFIB": 3}, r"AFIB: expected a text or a list of texts; got 3$"),
        ({"AFIB": "Same", "1AVB": ["x", "same "]}, r"AFIB and 1AVB of cpsc2018 have the same text: 'same'$"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, change, message):
    texts = {code: text for code, text in {**TEXTS, **change}.items() if text is not None}
    with pytest.raises(ValueError, match=message) as refused:
        load(written(tmp_path, texts), "cpsc2018")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"expected JSON, a dict of class code and text"),
        ("[1]", r"expected a dict of class code and text; got a list$"),
        ('{"AFIB": "a", "AFIB": "b"}', r"expected each code once; given twice: AFIB$"),
    ],
)
def test_what_is_no_dict_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(written(tmp_path, content), "cpsc2018")


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected enriched, names or the path of a JSON file; there is no file .*no"):
        load(tmp_path / "no.json", "cpsc2018")


class Letters:
    """A tokenizer that knows two words, and single letters but for z."""

    unk_token = "[UNK]"

    def tokenize(self, text: str) -> list[str]:
        pieces = []
        for word in text.split():
            pieces += [word] if word in ("q", "wave") else ["[UNK]" if "z" in word else letter for letter in word]
        return pieces


def test_unknown_tokens_and_split_words_are_counted_apart():
    unknown = unknown_share(Letters(), ["q wave", "q st", "z wave", ""])
    np.testing.assert_allclose(unknown.tokens, [0, 0, 1 / 2, 0])
    np.testing.assert_allclose(unknown.words, [0, 1 / 2, 1 / 2, 0])


def test_words_in_reports_whatever_their_case():
    shares = words_in(["st depression in v5", "Sinus", ""], ["SINUS rhythm", "st-senkung in v5."])
    np.testing.assert_allclose(shares, [3 / 4, 1, 0])


def test_reports_of_another_language_are_told_apart():
    english, german = ["sinus rhythm, normal ecg"] * 3, ["sinusrhythmus, lagetyp normal in v1"] * 1
    assert written_alike(english, english) == 1
    assert written_alike(english + german, english) == 3 / 4
    assert np.isnan(written_alike([], english))


def test_classes_of_ones_own_need_no_task(tmp_path):
    own = {"AFIB": "Atrial Fibrillation", "SR": ("sinus rhythm", "regular")}
    found = prompts.free(own)
    assert found.texts == {"AFIB": ("atrial fibrillation",), "SR": ("sinus rhythm", "regular")}
    (tmp_path / "own.json").write_text(json.dumps(own))
    assert prompts.free(tmp_path / "own.json") == found
    for wrong, message in (
        ({}, "expected a class and its text; got none"),
        ({"a": 3}, "a: expected a text or a list of texts; got 3"),
        ({"a": "x", "b": "X"}, "a and b of these classes have the same text: 'x'"),
    ):
        with pytest.raises(ValueError, match=f"prompts given: {message}"):
            prompts.free(wrong)


def test_twenty_thousand_classes_are_read_and_averaged_in_one_pass(tmp_path):
    """A look at every pair takes twelve seconds to read and seven to average."""
    many = {f"class {k}": [f"text {k}", f"other text {k}"] for k in range(20_000)}
    began = time.perf_counter()
    found = prompts.free(written(tmp_path, many))
    vectors = class_vectors(np.random.default_rng(0).normal(size=(len(found.flat), 8)), found.owner)
    assert vectors.shape == (20_000, 8)
    assert time.perf_counter() - began < 4
    path = written(tmp_path, json.dumps(many)[:-1] + ', "class 7": "again"}')
    with pytest.raises(ValueError, match=r"given twice: class 7$"):
        prompts.free(path)
