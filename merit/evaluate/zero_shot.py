"""Zero-shot classification: recordings against texts in one space, without training (Sec. 4.2.2, App. A.2.2).

The score of a class is the cosine of recording and class vector, raw: no softmax, no temperature. What each class is
called stands in `prompts.csv`, or in a user's own file. N records, C classes, R texts, d width of the shared space.

`prompts.csv` has one row per text: vocabulary, code, kind, text. Kind `name` is the bare clinical name, one per class;
`enriched` adds electrocardiographic criteria (leads, intervals, waves, axis, what is absent), three or more per class.
They were written for this project from standard criteria; none comes from another prompt set.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import intervals, runs
from merit.config import one_of
from merit.data import taxonomy
from merit.data.recording import clean
from merit.evaluate import metrics
from merit.evaluate.tasks import NotEnoughData, TaskData, countable

# -- prompts: what each class is called -------------------------------------------------------------------------------

VOCABULARY = {**taxonomy.TASK_COHORT, "superclass": "superclass", "subclass": "subclass"}
"""Task -> the vocabulary of `prompts.csv` that its classes are looked up in: its cohort's, or one of its own."""
KINDS = {"enriched": "enriched", "names": "name"}
"""Source of prompts -> kind of row."""


@dataclass(frozen=True)
class Prompts:
    """The texts of one task's classes."""

    texts: dict[str, tuple[str, ...]]
    """Class -> its phrasings, cleaned as reports are, in the order of the task's classes; none is empty."""

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of classes and texts in their order: what a result depends on."""
        return runs.digest([[code, list(texts)] for code, texts in self.texts.items()])

    @property
    def flat(self) -> list[str]:
        """All texts, class after class."""
        return [text for texts in self.texts.values() for text in texts]

    @property
    def owner(self) -> np.ndarray:
        """int [R]: for each text of `flat`, the position of its class."""
        return np.repeat(np.arange(len(self.texts)), [len(texts) for texts in self.texts.values()])


@functools.cache
def _ours() -> pd.Series:
    """(vocabulary, kind, code) -> texts, of `prompts.csv`."""
    table = pd.read_csv(Path(__file__).with_name("prompts.csv"), dtype=str, keep_default_na=False)
    return table.groupby(["vocabulary", "kind", "code"])["text"].agg(tuple)


def load_prompts(source: str | Path, task: str) -> Prompts:
    """The prompts of a task.

    source: "enriched" or "names" (ours), or the path of a JSON file that maps a class code to a text or to a list of
    texts (MERL's `CKEPE_prompt.json` has that form). A code is looked up as it is, then without underscores at its
    ends. Raises ValueError, in one line, for a file that cannot be used: no such file, not JSON, not a dict, a key
    given twice, classes without a text (all are named), an empty text, one text for two classes.
    """
    classes = taxonomy.classes(task)
    if source in KINDS:
        ours = _ours()[VOCABULARY[task], KINDS[str(source)]]
        return Prompts({code: ours[code] for code in classes})
    given = _read(Path(source))
    keys = {code: code if code in given else code.strip("_") for code in classes}
    if missing := [code for code, key in keys.items() if key not in given]:
        raise ValueError(
            f"prompts {source}: expected a text for each of the {len(classes)} classes of {task}; "
            f"missing: {', '.join(missing)}"
        )
    return _checked({code: given[key] for code, key in keys.items()}, source, task)


def own_prompts(source: str | Path | Mapping[str, Any]) -> Prompts:
    """Classes of a user's own, of no task: a dict of class and text (or list of texts), or a JSON file of one.

    Raises ValueError, in one line, as `load_prompts` does.
    """
    given, where = (source, "given") if isinstance(source, Mapping) else (_read(Path(source)), source)
    if not given:
        raise ValueError(f"prompts {where}: expected a class and its text; got none")
    return _checked({str(code): texts for code, texts in given.items()}, where, "these classes")


def _read(path: Path) -> dict[str, Any]:
    """The file's dict; ValueError where there is none."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """The pairs as a dict; JSON itself would silently keep the last of two equal keys."""
        if twice := sorted(key for key, n in Counter(key for key, _ in pairs).items() if n > 1):
            raise ValueError(f"prompts {path}: expected each code once; given twice: {', '.join(twice)}")
        return dict(pairs)

    if not path.is_file():
        raise ValueError(f"prompts: expected enriched, names or the path of a JSON file; there is no file {path}")
    try:
        given = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"prompts {path}: expected JSON, a dict of class code and text; {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f"prompts {path}: expected a dict of class code and text; got a {type(given).__name__}")
    return given


def _checked(given: Mapping[str, Any], where: str | Path, task: str) -> Prompts:
    """Prompts with cleaned texts; ValueError for what is neither a text nor a list of texts, for an empty text, and for
    one text of two classes, which could not be told apart.
    """
    texts: dict[str, tuple[str, ...]] = {}
    first: dict[str, str] = {}
    for code, value in given.items():
        phrasings = [value] if isinstance(value, str) else value
        if not isinstance(phrasings, list | tuple) or not phrasings or not all(isinstance(t, str) for t in phrasings):
            raise ValueError(f"prompts {where}: {code}: expected a text or a list of texts; got {value!r:.60}")
        texts[code] = tuple(clean(text) for text in phrasings)
        if "" in texts[code]:
            raise ValueError(f"prompts {where}: {code}: expected text; phrasing {texts[code].index('') + 1} is empty")
        for text in texts[code]:
            if (other := first.setdefault(text, code)) != code:
                raise ValueError(f"prompts {where}: {other} and {code} of {task} have the same text: {text!r:.80}")
    return Prompts(texts)


# -- how well prompts are known ---------------------------------------------------------------------------------------


def unknown_share(tokenizer: Any, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How foreign each text is to a Hugging Face tokenizer: the share of its pieces that are the unknown token, and of
    its words that are no entry of the vocabulary, so that WordPiece splits them (or gives up); both float64 [R].
    """

    @functools.cache
    def whole(word: str) -> bool:
        """Whether a word is one known piece."""
        pieces = tokenizer.tokenize(word)
        return len(pieces) == 1 and pieces[0] != tokenizer.unk_token

    unknown = [_share(piece == tokenizer.unk_token for piece in tokenizer.tokenize(text)) for text in texts]
    return np.array(unknown), np.array([_share(not whole(word) for word in re.findall(r"\w+", text)) for text in texts])


def words_in(texts: Sequence[str], reports: Iterable[str], pattern: str = r"\w+") -> np.ndarray:
    """float64 [R]: the share of each text's words that occur in any of the reports, whatever the case of letters."""
    known = {word for report in reports for word in re.findall(pattern, report.lower())}
    return np.array([_share(word in known for word in re.findall(pattern, text.lower())) for text in texts])


def written_alike(reports: Sequence[str], texts: Iterable[str]) -> float:
    """Share of the reports of which at least half of the words occur in any of the texts; NaN without reports.

    Tells languages apart where `words_in` cannot: a few English reports among German ones hold every English word.
    Words are runs of letters, so that names of leads and numbers count less.
    """
    return float(np.mean(words_in(reports, texts, r"[^\W\d_]+") >= 0.5)) if len(reports) else float("nan")


def _share(flags: Iterable[bool]) -> float:
    """Share of True; 0 for nothing."""
    values = list(flags)
    return sum(values) / len(values) if values else 0.0


# -- scores -----------------------------------------------------------------------------------------------------------

SCOPES = ("unseen", "test_fold")
"""Which records are scored: all that may be, or those of the test fold alone."""
TEST = 10
"""The fold that tests."""
METRICS = ("auroc", "average_precision", "f1", "f1_oracle", "accuracy", "accuracy_oracle")
HONEST = ("f1", "accuracy")
"""Metrics that need a threshold from other folds."""


def restricted(task: TaskData, kept: np.ndarray, which: str) -> TaskData:
    """The task on the records with `kept` True, bool [N]; NotEnoughData, saying `which` were wanted, without any."""
    if not kept.any():
        raise NotEnoughData(f"{task.task}: none of {len(kept)} labelled records is {which}")
    arrays = {name: getattr(task, name)[kept] for name in ("rows", "labels", "folds", "patients", "groups")}
    return dataclasses.replace(task, **arrays, n_left_out=task.n_left_out + int((~kept).sum()))


def class_vectors(texts: np.ndarray, owner: np.ndarray, ensemble: bool = True) -> np.ndarray:
    """float64 [C, d] of length 1, from texts [R, d] in the shared space and the class of each, int [R], from 0.

    ensemble: the mean of a class's phrasings, each of length 1 before; else its first phrasing alone.
    """
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(1, int(owner.max()) + 1))
    of_class = np.split(_unit(texts)[order], starts)
    if ensemble:
        return _unit(np.stack([phrasings.mean(axis=0) for phrasings in of_class]))
    return np.stack([phrasings[0] for phrasings in of_class])


def cosines(ecg: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """float64 [N, C]: cosine of each recording [N, d] with each class vector [C, d]."""
    if ecg.ndim != 2 or vectors.ndim != 2 or ecg.shape[1] != vectors.shape[1]:
        raise ValueError(f"expected recordings [N, d] and class vectors [C, d]; got {ecg.shape} and {vectors.shape}")
    return _unit(ecg) @ vectors.T


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float64; ValueError for one without a direction."""
    rows = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        bad = int(np.flatnonzero(~(np.isfinite(length) & (length > 0))[:, 0])[0])
        raise ValueError(f"shared space: expected finite vectors that are not 0; row {bad} is none")
    return rows / length


def evaluate(
    scores: np.ndarray,
    task: TaskData,
    *,
    scope: str = "unseen",
    n_resamples: int = 500,
    seed: int = 0,
    min_positives: int = 2,
) -> pd.DataFrame:
    """Scores of zero-shot classification, fractions: macro averages (class "macro"), then each class.

    scores: [N, C], one row per record of `task`, which holds only records that may be scored. scope: test_fold scores
    fold 10 alone; thresholds of f1 and accuracy come from the other folds that are there in either scope, and where
    there is none both have a reason in place of a value. A class is scored with at least `min_positives` positives and
    as many negatives; the others are `unscored`. Intervals: 95 %, patients resampled (`intervals.pool`); the oracle's
    values, chosen on the scored records, have none. Raises NotEnoughData where no class can be scored.
    """
    one_of("scope", scope, SCOPES)
    # Yes or no for each record, by the thresholds with the best F1 on all folds but its own.
    predicted, folds = np.zeros(task.labels.shape, dtype=bool), np.unique(task.folds)
    for fold in folds if len(folds) > 1 else ():
        own = task.folds == fold
        _, threshold = metrics.best_f1(task.labels[~own], scores[~own])
        predicted[own] = scores[own] >= threshold
    chosen = task.folds == TEST if scope == "test_fold" else np.ones(len(task.folds), dtype=bool)
    task, scores, predicted = restricted(task, chosen, f"in fold {TEST}"), scores[chosen], predicted[chosen]
    positives, n, scored = task.labels.sum(axis=0), len(task.labels), countable(task.labels, min_positives)
    if not scored.any():
        raise NotEnoughData(
            f"{task.task}: no class has {min_positives} positives and {min_positives} negatives among {n} records"
        )
    resampled = {"n_resamples": n_resamples, "seed": seed}
    pooled = intervals.pool(task.labels, scores, scored, task.groups, predicted=predicted, **resampled)
    oracle = dict(zip(("f1_oracle", "accuracy_oracle"), metrics.oracle(task.labels, scores)))
    about = {
        "class": "macro", "n": n, "n_patients": len(np.unique(task.patients)), "n_classes": int(scored.sum()),
        "classes": list(task.classes), "unscored": [name for name, yes in zip(task.classes, scored) if not yes],
    }  # fmt: skip
    rows: list[dict[str, Any]] = []
    for metric in METRICS:
        if metric in oracle:
            result = {"value": metrics.number(metrics.macro(oracle[metric], scored))}
        elif metric in HONEST and len(folds) < 2:
            result = {"reason": f"all {n} records lie in one fold: no other one to choose thresholds on"}
        else:
            result = {**pooled.triple(metric), "draws": pooled.resamples[metric]}
        rows.append({"metric": metric, **about, **result})
    per_class = {name: pooled.per_class[name] for name in ("auroc", "average_precision")}
    per_class["f1_oracle"] = np.where(scored, oracle["f1_oracle"], np.nan)
    for metric, values in per_class.items():
        for name, value, n_positive in zip(task.classes, values, positives):
            rows.append({"metric": metric, "class": name, "value": value, "n_positive": int(n_positive)})
    return pd.DataFrame(rows)
