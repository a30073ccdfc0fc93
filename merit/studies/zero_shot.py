"""Zero-shot classification (Tables 2 and 9), and how well the text side knows the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs
from merit.config import OBJECTIVE_NAMES, without_text
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.encoders import registry
from merit.evaluate import zero_shot as evaluation
from merit.evaluate.tasks import HELD_OUT, UNSEEN_FOLDS, labelled, refuse_seen
from merit.evaluate.zero_shot import load_prompts
from merit.studies.core import embedded, study
from merit.studies.workspace import remembered

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

SHARED_SPACE = tuple(name for name in (*OBJECTIVE_NAMES, "random") if not without_text(name))
"""Encoders that have a space in common with texts; mse is pretrained without any."""


def _inputs(
    ws: Workspace, encoder: str, task: str, prompts: str | Path, encoder_seed: int, n_resamples: int | None, **_: object
) -> dict[str, str]:
    texts = load_prompts(prompts, task)
    if without_text(encoder):
        raise runs.Unavailable(f"{encoder} is pretrained without text: it shares no space with the prompts")
    if registry.known(encoder) and not registry.entry(encoder).shares_space:
        raise runs.Unavailable(f"{encoder} shares no space with texts")
    if n_resamples is not None and n_resamples < 0:
        raise ValueError(f"n_resamples: expected 0 or more; got {n_resamples}")
    return {
        **embedded(ws, task, encoder, encoder_seed),
        "encoder": ws.encoder_identity(encoder, encoder_seed),
        **({} if registry.known(encoder) else {"text": ws.text_identity}),
        "prompts": texts.digest,
        "resamples": str(ws.profile.probe.n_resamples if n_resamples is None else n_resamples),
    }


@study(
    over={
        "task": tuple(TASKS), "encoder": SHARED_SPACE, "prompts": ("enriched",), "ensemble": (True,),
        "scope": ("unseen",),
    },
    needs=_inputs,
    columns=("class",),
)  # fmt: skip
def zero_shot(
    ws: Workspace,
    encoder: str,
    task: str,
    prompts: str | Path,
    ensemble: bool,
    scope: str,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    seed: int = 0,
    n_resamples: int | None = None,
) -> pd.DataFrame:
    """Scores of zero-shot classification (`evaluate.zero_shot.evaluate`).

    prompts: "enriched", "names", or the path of a user's file (`load_prompts`). ensemble: mean of a class's phrasings,
    or its first one. scope: "unseen", all labelled recordings of patients that were not pretrained on, or "test_fold".
    allow_seen: all labelled recordings, those of pretraining too, which marks the number. n_resamples: of the patients;
    None: the profile's, 0: no intervals.
    """
    chosen = labelled(task, ws.store(TASK_COHORT[task]).records)
    if ws.protocol(chosen.cohort) in HELD_OUT and not allow_seen:
        chosen = evaluation.restricted(chosen, np.isin(chosen.folds, UNSEEN_FOLDS), "in folds 9 and 10")
    n_seen = refuse_seen(chosen.scored_patients(), ws.seen(encoder, encoder_seed), allow_seen)
    texts = load_prompts(prompts, task)
    vectors = evaluation.class_vectors(_texts(ws, encoder, tuple(texts.flat), encoder_seed), texts.owner, ensemble)
    cosines = evaluation.cosines(_recordings(ws, encoder, chosen.cohort, encoder_seed)[chosen.rows], vectors)
    n_resamples = ws.profile.probe.n_resamples if n_resamples is None else n_resamples
    result = evaluation.evaluate(cosines, chosen, scope=scope, n_resamples=n_resamples, seed=seed)
    facts = {"n_seen": n_seen, **ws.remarks(encoder, chosen.cohort)}
    return result.assign(**{name: result["class"].map({"macro": value}) for name, value in facts.items()})


@remembered(8)
def _recordings(ws: Workspace, encoder: str, cohort: str, encoder_seed: int) -> np.ndarray:
    """float32 [N, d] in the shared space, projected once for all tasks of a cohort."""
    return ws.shared(encoder, cohort, encoder_seed)


@remembered(16)
def _texts(ws: Workspace, encoder: str, texts: tuple[str, ...], encoder_seed: int) -> np.ndarray:
    """float32 [R, d] in the shared space, projected once for all settings of a task."""
    return ws.shared_text(encoder, texts, encoder_seed)


def _prompt_inputs(ws: Workspace, task: str, prompts: str | Path) -> dict[str, str]:
    return {
        "prompts": load_prompts(prompts, task).digest,
        "store": ws.store(ws.pretraining_cohort).identity,
        "text": ws.text_identity,
        "rows": runs.digest(ws.pretraining_rows.tolist()),
    }


@study(over={"task": tuple(TASKS)}, needs=_prompt_inputs)
def prompt_facts(ws: Workspace, task: str, prompts: str | Path = "enriched") -> pd.DataFrame:
    """How well the frozen text encoder and the pretraining reports know a task's prompts; shares from 0 to 1.

    Means over prompts: unknown_tokens (pieces that are the unknown token), split_words (words that are no entry of the
    vocabulary; one more row for the class whose prompts hold most of them), words_in_reports. alike: share of the
    pretraining recordings' reports of which at least half of the words are words of our prompts (`written_alike`).
    """
    texts = load_prompts(prompts, task)
    records = ws.store(ws.pretraining_cohort).records.iloc[ws.pretraining_rows]
    reports = records.loc[records["has_text"], "report"].tolist()
    tokens, words = evaluation.unknown_share(ws.tokenizer, texts.flat)
    in_reports = evaluation.words_in(texts.flat, set(reports))
    ours = [text for name in TASKS for text in load_prompts("enriched", name).flat]
    alike = evaluation.written_alike(reports, ours)
    of_class = np.array([words[texts.owner == c].mean() for c in range(len(texts.texts))])
    about = {"class": "macro", "n": len(texts.flat), "n_classes": len(texts.texts)}
    return pd.DataFrame([
        {"metric": "unknown_tokens", **about, "value": float(tokens.mean())},
        {"metric": "split_words", **about, "value": float(words.mean())},
        {"metric": "split_words", "class": list(texts.texts)[of_class.argmax()], "value": float(of_class.max())},
        {"metric": "words_in_reports", **about, "value": float(in_reports.mean())},
        {"metric": "alike", "class": "macro", "n": len(reports), "value": alike},
    ])  # fmt: skip
