"""Prompts keep to their schema or are rejected in one line; values against slow oracles, at ties, with one fold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from merit.data import taxonomy
from merit.evaluate import zero_shot as z
from merit.evaluate.tasks import NotEnoughData, TaskData


def made(labels: np.ndarray, folds: np.ndarray | None = None) -> TaskData:
    """A task of these labels; two records a patient, folds 1 to 10 in turn."""
    rows = np.arange(len(labels))
    names, folds = np.array([f"p{i // 2}" for i in rows], dtype=object), rows % 10 + 1 if folds is None else folds
    front = {"task": "form", "cohort": "ptb-xl", "classes": tuple("ABCDE"[: labels.shape[1]]), "n_left_out": 0}
    return TaskData(**front, rows=rows, labels=labels, folds=folds, patients=names, groups=names)


def value(found: pd.DataFrame, metric: str, of: str = "macro", column: str = "value") -> object:
    """One number of a frame of scores."""
    (row,) = found[(found["metric"] == metric) & (found["class"] == of)].to_dict("records")
    return row[column]


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, TaskData]:
    """Scores on a coarse grid, so that there are ties, that know something of the labels; two records a patient."""
    generator = np.random.default_rng(0)
    labels = generator.random((120, 3)) < [0.5, 0.2, 0.06]
    scores = np.round(labels + generator.normal(size=labels.shape), 1)
    return scores, made(labels)


def slow_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The lowest of the thresholds with the best F1."""
    tried = sorted(set(scores))
    values = [2 * (labels & (scores >= t)).sum() / (labels.sum() + (scores >= t).sum()) for t in tried]
    return tried[int(np.flatnonzero(np.isclose(values, max(values)))[0])]


def test_class_vectors_are_means_of_unit_phrasings_and_cosines_equal_loops():
    texts = np.array([[3.0, 4.0], [0.0, 2.0], [-5.0, 0.0]])
    owner = np.array([0, 0, 1])
    mean = np.array([0.6 + 0.0, 0.8 + 1.0]) / 2
    expected = [mean / np.hypot(*mean), [-1.0, 0.0]]
    np.testing.assert_allclose(z.class_vectors(texts, owner), expected)
    np.testing.assert_allclose(z.class_vectors(texts, owner, ensemble=False), [[0.6, 0.8], [-1.0, 0.0]])
    generator = np.random.default_rng(1)
    ecg, texts = generator.normal(size=(5, 4)), z.class_vectors(generator.normal(size=(3, 4)), np.arange(3))
    slow = [[sum(a * b) / np.sqrt(sum(a * a)) / np.sqrt(sum(b * b)) for b in texts] for a in ecg]
    np.testing.assert_allclose(z.cosines(ecg, texts), slow)
    np.testing.assert_allclose(z.cosines(7 * ecg, texts), slow)
    with pytest.raises(ValueError, match="row 1 is none"):
        z.cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2))
    with pytest.raises(ValueError, match="row 0 is none"):
        z.class_vectors(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0, 0]))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 2\)"):
        z.cosines(np.ones((2, 3)), np.eye(2))


def test_values_equal_slow_oracles_and_all_scores_tied_are_chance(drawn):
    scores, task = drawn
    found, again = (z.evaluate(given, task, n_resamples=50, seed=3) for given in (scores, 2 * scores + 1))
    draws = [value(frame, "auroc", column="draws") for frame in (found, again)]
    np.testing.assert_array_equal(*draws, err_msg="the same patients are drawn")
    assert (value(found, "auroc", column="n_classes"), value(found, "auroc", column="n_patients")) == (3, 60)
    assert np.isnan(value(found, "f1_oracle", column="low"))
    expected = []
    for y, s in zip(task.labels.T, scores.T):
        cuts = [slow_threshold(y[task.folds != fold], s[task.folds != fold]) for fold in range(1, 11)]
        said, best = s >= np.array(cuts)[task.folds - 1], slow_threshold(y, s)
        honest = f1_score(y, said), np.mean(said == y)
        expected.append([roc_auc_score(y, s), *honest, f1_score(y, s >= best), np.mean((s > best) == y)])
    for name, values in zip(("auroc", "f1", "accuracy", "f1_oracle", "accuracy_oracle"), np.transpose(expected)):
        assert value(found, name) == pytest.approx(np.mean(values)), name
    np.testing.assert_allclose([value(found, "auroc", name) for name in "ABC"], np.transpose(expected)[0])
    tied = z.evaluate(np.zeros((6, 1)), made(np.arange(6)[:, None] < 2), n_resamples=0)
    chance = {"auroc": 1 / 2, "average_precision": 1 / 3, "f1": 1 / 2, "accuracy_oracle": 2 / 3}
    assert {name: value(tied, name) for name in chance} == pytest.approx(chance)


def test_classes_without_two_on_each_side_are_named_and_left_out(drawn):
    scores, task = drawn
    labels = np.column_stack([task.labels, np.zeros(120, bool), np.arange(120) > 0])
    found = z.evaluate(np.column_stack([scores, scores[:, :2]]), made(labels), n_resamples=0)
    assert value(found, "auroc", column="unscored") == ["D", "E"]
    assert value(found, "auroc", "E", "n_positive") == 119
    assert found.loc[found["class"] == "E", "value"].isna().all()
    assert value(found, "auroc") == pytest.approx(value(z.evaluate(*drawn), "auroc"))
    with pytest.raises(NotEnoughData, match="no class has 2 positives and 2 negatives among 120 records"):
        z.evaluate(scores[:, :1], made(np.ones((120, 1), bool)))


def test_thresholds_come_from_other_folds_or_there_is_none(drawn):
    scores, task = drawn
    found = z.evaluate(scores[:, :1], made(task.labels[:, :1]), scope="test_fold", n_resamples=0)
    own = task.folds == 10
    y, s = task.labels[:, 0], scores[:, 0]
    predicted = s[own] >= slow_threshold(y[~own], s[~own])
    assert value(found, "f1", column="n") == 12
    assert value(found, "f1") == pytest.approx(f1_score(y[own], predicted))
    assert value(found, "auroc") == pytest.approx(roc_auc_score(y[own], s[own]))
    scores, task = drawn
    found = z.evaluate(scores, made(task.labels, folds=np.full(120, 10)), scope="test_fold", n_resamples=20)
    for name in z.HONEST:
        assert np.isnan(value(found, name))
        assert "one fold" in value(found, name, column="reason")
        assert value(found, name, column="draws") is np.nan
    assert value(found, "f1_oracle") > 0
    with pytest.raises(NotEnoughData, match="none of 120 labelled records is in fold 10"):
        z.evaluate(scores, made(task.labels, folds=np.full(120, 9)), scope="test_fold")


def written(tmp_path: Path, content: object) -> Path:
    """A file with this content, as JSON or as it is."""
    path = tmp_path / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("task", taxonomy.TASKS)
def test_every_class_has_a_name_and_three_phrasings(task):
    names, enriched = z.load_prompts("names", task), z.load_prompts("enriched", task)
    assert tuple(names.texts) == tuple(enriched.texts) == taxonomy.classes(task)
    assert all(len(texts) == 1 for texts in names.texts.values())
    assert all(len(set(texts)) >= 3 for texts in enriched.texts.values())
    for one in (names, enriched):
        assert len(set(one.flat)) == len(one.flat), "a text stands for two classes"


def test_the_file_holds_what_its_schema_says_and_nothing_else():
    known = {"ptb-xl": "all", "superclass": "superclass", "subclass": "subclass", "cpsc2018": "cpsc2018", "csn": "csn"}
    with Path(z.__file__).with_name("prompts.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == ["vocabulary", "code", "kind", "text"]
    assert {row["kind"] for row in found} == {"name", "enriched"}
    for vocabulary, task in known.items():
        assert {row["code"] for row in found if row["vocabulary"] == vocabulary} == set(taxonomy.classes(task))
    assert {row["vocabulary"] for row in found} == set(known) == set(z.VOCABULARY.values())
    assert all(row["text"] == z.clean(row["text"]) for row in found)


@pytest.mark.parametrize(("content", "message"), [
    ({"AFIB": None, "STD": None}, r"missing: AFIB, STD$"),
    ({"AFIB": " \n"}, r"AFIB: expected text; phrasing 1 is empty$"),
    ({"AFIB": ["a", "  "]}, r"AFIB: expected text; phrasing 2 is empty$"),
    ({"AFIB": []}, r"AFIB: expected a text or a list of texts; got \[\]$"),
    ({"AFIB": 3}, r"AFIB: expected a text or a list of texts; got 3$"),
    ({"AFIB": "Same", "1AVB": ["x", "same "]}, r"AFIB and 1AVB of cpsc2018 have the same text: 'same'$"),
    ("{", r"expected JSON, a dict of class code and text"),
    ("[1]", r"expected a dict of class code and text; got a list$"),
    ('{"AFIB": "a", "AFIB": "b"}', r"expected each code once; given twice: AFIB$"),
    (None, r"expected enriched, names or the path of a JSON file; there is no file .*no"),
])  # fmt: skip
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, content, message):
    if isinstance(content, dict):
        texts = {code: f"text of {code}" for code in taxonomy.classes("cpsc2018")}
        content = {code: text for code, text in {**texts, **content}.items() if text is not None}
    path = tmp_path / "no.json" if content is None else written(tmp_path, content)
    with pytest.raises(ValueError, match=message) as refused:
        z.load_prompts(path, "cpsc2018")
    assert "\n" not in str(refused.value)


class Letters:
    """A tokenizer that knows two words, and single letters but for z."""

    unk_token = "[UNK]"

    def tokenize(self, text: str) -> list[str]:
        pieces = []
        for word in text.split():
            pieces += [word] if word in ("q", "wave") else ["[UNK]" if "z" in word else letter for letter in word]
        return pieces


def test_how_foreign_texts_are_is_counted():
    tokens, words = z.unknown_share(Letters(), ["q wave", "q st", "z wave", ""])
    np.testing.assert_allclose(tokens, [0, 0, 1 / 2, 0])
    np.testing.assert_allclose(words, [0, 1 / 2, 1 / 2, 0])
    shares = z.words_in(["st depression in v5", "Sinus", ""], ["SINUS rhythm", "st-senkung in v5."])
    np.testing.assert_allclose(shares, [3 / 4, 1, 0])
    english, german = ["sinus rhythm, normal ecg"] * 3, ["sinusrhythmus, lagetyp normal in v1"] * 1
    assert z.written_alike(english, english) == 1
    assert z.written_alike(english + german, english) == 3 / 4
    assert np.isnan(z.written_alike([], english))


def test_classes_of_ones_own_need_no_task_and_a_users_file_is_cleaned(tmp_path):
    own = {"AFIB": "Atrial Fibrillation", "SR": ("sinus rhythm", "regular")}
    found = z.own_prompts(own)
    assert found.texts == {"AFIB": ("atrial fibrillation",), "SR": ("sinus rhythm", "regular")}
    (tmp_path / "own.json").write_text(json.dumps(own))
    assert z.own_prompts(tmp_path / "own.json") == found
    for wrong, message in (
        ({}, "expected a class and its text; got none"),
        ({"a": 3}, "a: expected a text or a list of texts; got 3"),
        ({"a": "x", "b": "X"}, "a and b of these classes have the same text: 'x'"),
    ):
        with pytest.raises(ValueError, match=f"prompts given: {message}"):
            z.own_prompts(wrong)
    texts = {code.strip("_"): f"Text of {code}\n" for code in taxonomy.classes("form")}
    texts["DIG"] = ["One EKG", "two"]
    found = z.load_prompts(written(tmp_path, {**texts, "OTHER": 3}), "form")
    assert found.texts["NST_"] == ("text of nst_",)
    assert found.texts["DIG"] == ("one ecg", "two")
    assert tuple(found.texts) == taxonomy.classes("form")
    texts = {code.strip("_"): f"of {code}" for code in taxonomy.classes("subclass")} | {"_AVB": "any", "AVB": "another"}
    assert z.load_prompts(written(tmp_path, texts), "subclass").texts["_AVB"] == ("any",), "a code as it is comes first"
