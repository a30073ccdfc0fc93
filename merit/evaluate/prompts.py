"""What each class is called for zero-shot classification: our texts (`prompts.csv`), or a user's own file.

`prompts.csv` has a row a text: vocabulary, code, kind, text. Kind `name` is the bare clinical name, one a class;
`enriched` adds electrocardiographic criteria (leads, intervals, waves, axis, what is absent), three or more a class.
They were written for this project from standard criteria; none comes from another prompt set. C classes, R texts.
"""

from __future__ import annotations

import csv
import functools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from merit import runs
from merit.data import taxonomy
from merit.data.recording import clean

VOCABULARY = {**taxonomy.TASK_COHORT, "superclass": "superclass", "subclass": "subclass"}
"""Task -> the vocabulary of `prompts.csv` that its classes are looked up in: its cohort's, or one of its own."""

KINDS = {"enriched": "enriched", "names": "name"}
"""Source of prompts -> kind of row."""

_WORD = re.compile(r"\w+")
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Prompts:
    """The texts of one task's classes."""

    name: str
    """`enriched`, `names`, or the digest of a user's texts."""
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


def load(source: str | Path, task: str) -> Prompts:
    """The prompts of a task.

    source: "enriched" or "names" (ours), or the path of a JSON file that maps a class code to a text or to a list of
    texts (MERL's `CKEPE_prompt.json` has that form). A code is looked up as it is, then without underscores at its
    ends. Raises ValueError, in one line, for a file that cannot be used: no such file, not JSON, not a dict, a key
    given twice, classes without a text (all are named), an empty text, one text for two classes.
    """
    classes = taxonomy.classes(task)
    if source in KINDS:
        found = _ours()[VOCABULARY[task], KINDS[str(source)]]
        return Prompts(str(source), {code: found[code] for code in classes})
    texts = _of_file(Path(source), classes, task)
    _refuse_shared(texts, source, task)
    return Prompts(Prompts("", texts).digest, texts)


def free(source: str | Path | Mapping[str, Any]) -> Prompts:
    """Classes of a user's own, of no task: a dict of class and text (or list of texts), or a JSON file of one.

    Raises ValueError, in one line, as `load` does.
    """
    given = dict(source) if isinstance(source, Mapping) else _read(Path(source))
    where = "given" if isinstance(source, Mapping) else Path(source)
    if not given:
        raise ValueError(f"prompts {where}: expected a class and its text; got none")
    texts = {str(key): _texts(list(t) if isinstance(t, tuple) else t, str(key), where) for key, t in given.items()}
    _refuse_shared(texts, where, "these classes")
    return Prompts(Prompts("", texts).digest, texts)


@functools.cache
def _ours() -> dict[tuple[str, str], dict[str, tuple[str, ...]]]:
    """(vocabulary, kind) -> class -> texts."""
    found: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    with Path(__file__).with_name("prompts.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            of_kind = found.setdefault((row["vocabulary"], row["kind"]), {})
            of_kind[row["code"]] = (*of_kind.get(row["code"], ()), row["text"])
    return found


def _of_file(path: Path, classes: Sequence[str], task: str) -> dict[str, tuple[str, ...]]:
    given = _read(path)
    keys = {code: code if code in given else code.strip("_") for code in classes}
    missing = [code for code, key in keys.items() if key not in given]
    if missing:
        raise ValueError(
            f"prompts {path}: expected a text for each of the {len(classes)} classes of {task}; "
            f"missing: {', '.join(missing)}"
        )
    return {code: _texts(given[key], key, path) for code, key in keys.items()}


def _read(path: Path) -> dict[str, Any]:
    """The file's dict; ValueError where there is none."""
    if not path.is_file():
        raise ValueError(f"prompts: expected enriched, names or the path of a JSON file; there is no file {path}")
    try:
        given = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=lambda pairs: _once(pairs, path))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"prompts {path}: expected JSON, a dict of class code and text; {error}") from None
    if not isinstance(given, dict):
        raise ValueError(f"prompts {path}: expected a dict of class code and text; got a {type(given).__name__}")
    return given


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """The pairs as a dict; JSON itself would silently keep the last of two equal keys."""
    twice = sorted(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
    if twice:
        raise ValueError(f"prompts {path}: expected each code once; given twice: {', '.join(twice)}")
    return dict(pairs)


def _texts(given: Any, key: str, path: str | Path) -> tuple[str, ...]:
    """One class's texts, cleaned; ValueError for what is neither a text nor a list of texts, and for empty ones."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"prompts {path}: {key}: expected a text or a list of texts; got {given!r:.60}")
    cleaned = tuple(clean(text) for text in texts)
    if not all(cleaned):
        raise ValueError(f"prompts {path}: {key}: expected text; phrasing {cleaned.index('') + 1} is empty")
    return cleaned


def _refuse_shared(texts: Mapping[str, Sequence[str]], source: str | Path, task: str) -> None:
    """Two classes with one text cannot be told apart."""
    first: dict[str, str] = {}
    for code, phrasings in texts.items():
        for text in phrasings:
            other = first.setdefault(text, code)
            if other != code:
                raise ValueError(f"prompts {source}: {other} and {code} of {task} have the same text: {text!r:.80}")


class Tokenizer(Protocol):
    """What is needed of a Hugging Face tokenizer."""

    unk_token: str

    def tokenize(self, text: str) -> list[str]:
        """The pieces of a text, without special tokens."""
        ...


class Unknown(NamedTuple):
    """How foreign texts are to a tokenizer; both float64 [R], 0 to 1."""

    tokens: np.ndarray
    """Share of a text's pieces that are the unknown token."""
    words: np.ndarray
    """Share of a text's words that are no entry of the vocabulary, so that WordPiece splits them (or gives up)."""


def unknown_share(tokenizer: Tokenizer, texts: Sequence[str]) -> Unknown:
    """How much of each text a tokenizer has no piece, and no whole word, for."""

    @functools.cache
    def whole(word: str) -> bool:
        pieces = tokenizer.tokenize(word)
        return len(pieces) == 1 and pieces[0] != tokenizer.unk_token

    pieces = [tokenizer.tokenize(text) for text in texts]
    return Unknown(
        np.array([_share(piece == tokenizer.unk_token for piece in of_text) for of_text in pieces]),
        np.array([_share(not whole(word) for word in _WORD.findall(text)) for text in texts]),
    )


def words_in(texts: Sequence[str], reports: Iterable[str]) -> np.ndarray:
    """float64 [R]: the share of each text's words that occur in any of the reports, whatever the case of letters."""
    said = {word for report in reports for word in _WORD.findall(report.lower())}
    return np.array([_share(word in said for word in _WORD.findall(text.lower())) for text in texts])


def written_alike(reports: Sequence[str], texts: Iterable[str]) -> float:
    """Share of the reports of which at least half of the words occur in any of the texts; NaN without reports.

    Tells languages apart where `words_in` cannot: a few English reports among German ones hold every English word.
    Words are runs of letters, so that names of leads and numbers count less.
    """
    known = {word for text in texts for word in _LETTERS.findall(text.lower())}
    shares = [_share(word in known for word in _LETTERS.findall(report.lower())) for report in reports]
    return float(np.mean(np.array(shares) >= 0.5)) if shares else float("nan")


def _share(flags: Iterable[bool]) -> float:
    """Share of True; 0 for nothing."""
    values = list(flags)
    return sum(values) / len(values) if values else 0.0
