"""Zero-shot classification as a stage (Table 2): which recordings, which prompts, which encoder, each result once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import OBJECTIVE_NAMES, one_of
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.encoders import registry
from merit.evaluate import prompts as prompt_sets
from merit.evaluate.prompts import Prompts
from merit.evaluate.tasks import OFFICIAL_SPLIT, UNSEEN_FOLDS, NotEnoughData
from merit.methods import without_text
from merit.pipeline.recordings import NoCohort

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

SHARED_SPACE = tuple(name for name in (*OBJECTIVE_NAMES, "random") if not without_text(name))
"""Encoders that have a space in common with texts; mse is pretrained without any."""

MODULES = ["merit.evaluate.zero_shot", "merit.evaluate.tasks"]


def zero_shot(
    ws: Workspace,
    encoders: Sequence[str] = SHARED_SPACE,
    tasks: Sequence[str] | None = None,
    prompts: str | Path = "enriched",
    ensemble: bool = True,
    scope: str = "unseen",
    *,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    seed: int = 0,
    n_resamples: int | None = None,
) -> list[dict[str, Any]]:
    """Results of zero-shot classification (Table 2), one per task and encoder; values as `evaluate.zero_shot.evaluate`.

    prompts: "enriched", "names", or the path of a user's file (`evaluate.prompts.load`). ensemble: mean of a class's
    phrasings, or its first one. scope: "unseen", all labelled recordings of patients that were not pretrained on, or
    "test_fold". allow_seen: all labelled recordings, those of pretraining too, which marks the number. n_resamples: of
    the patients; None: the profile's, 0: no intervals. A data set that is missing, a task without a class to score and
    an encoder without a shared space give values with a reason in place of numbers.
    """
    space = _Space(ws, encoder_seed)
    settings = {"ensemble": ensemble, "scope": scope, "allow_seen": allow_seen, "seed": seed}
    settings["n_resamples"] = ws.profile.probe.n_resamples if n_resamples is None else n_resamples
    if settings["n_resamples"] < 0:
        raise ValueError(f"n_resamples: expected 0 or more; got {n_resamples}")
    return _all(space, encoders, tasks, prompts, settings)


def sensitivity(
    ws: Workspace,
    encoders: Sequence[str] = SHARED_SPACE,
    tasks: Sequence[str] | None = None,
    prompts: str | Path = "enriched",
    *,
    encoder_seed: int = 0,
    allow_seen: bool = False,
) -> list[dict[str, Any]]:
    """The same recordings under other prompts: bare names, the first phrasing of `prompts` alone, all of them together.

    Without intervals: they would be of single settings, and what counts here is how far apart the settings are.
    """
    space = _Space(ws, encoder_seed)
    results = []
    for source, ensemble in (("names", False), (prompts, False), (prompts, True)):
        settings = {"ensemble": ensemble, "scope": "unseen", "allow_seen": allow_seen, "seed": 0, "n_resamples": 0}
        results += _all(space, encoders, tasks, source, settings)
    return results


class _Space:
    """The shared spaces of one workspace and encoder seed, each projection made once."""

    def __init__(self, ws: Workspace, encoder_seed: int) -> None:
        self.ws, self.seed = ws, encoder_seed
        self.recordings = functools.cache(lambda encoder, cohort: ws.shared(encoder, cohort, encoder_seed))
        self._encoder = functools.cache(lambda encoder: ws.encoder(encoder, encoder_seed))
        self._texts: dict[str, np.ndarray] = {}

    def prompts(self, encoder: str, prompts: Prompts) -> np.ndarray:
        """float32 [R, d] of all texts of a task; a frozen text encoder's part is the same for all of ours."""
        if registry.known(encoder):
            return self._encoder(encoder).embed_text(prompts.flat)
        if self._encoder(encoder).trained_text:
            return self.ws.projected_text(self._encoder(encoder), prompts.flat)
        if prompts.digest not in self._texts:
            self._texts[prompts.digest] = self.ws.text_embeddings(prompts.flat)
        return self._encoder(encoder).project_text(self._texts[prompts.digest])


def _all(
    space: _Space, encoders: Sequence[str], tasks: Sequence[str] | None, source: str | Path, settings: dict[str, Any]
) -> list[dict[str, Any]]:
    results = []
    for task in tasks or TASKS:
        one_of("task", task, TASKS)
        loaded = prompt_sets.load(source, task)
        results += [_one(space, encoder, loaded, settings, task) for encoder in encoders]
    return results


def _one(space: _Space, encoder: str, prompts: Prompts, settings: dict[str, Any], task: str) -> dict[str, Any]:
    ws, cohort = space.ws, TASK_COHORT[task]
    about = {"task": task, "encoder": encoder, "prompts": prompts.name, "ensemble": settings["ensemble"]}
    if without_text(encoder):
        return _without(about, settings, f"{encoder} is pretrained without text: it shares no space with the prompts")
    if registry.known(encoder) and not registry.entry(encoder).shares_space:
        return _without(about, settings, f"{encoder} shares no space with texts")
    try:
        inputs = {
            "store": ws.store(cohort).identity,
            "embedding": ws.embedding_identity(encoder, cohort, space.seed),
            "encoder": ws.encoder_identity(encoder, space.seed),
            **({} if registry.known(encoder) else {"text": ws.text_identity}),
            "prompts": prompts.digest,
        }
    except runs.Unavailable as reason:
        return _without(about, settings, str(reason))
    together = "all phrasings" if settings["ensemble"] else "first phrasing"
    parameters = {**about, "encoder_seed": space.seed, "protocol": ws.protocol(cohort), **settings}
    apart = [prompts.name, together, settings["scope"]]  # tells rows of the provenance apart
    apart += ["seen ones too"] * settings["allow_seen"] + ["no intervals"] * (settings["n_resamples"] == 0)
    parameters |= {"variant": ", ".join(apart)}
    compute = functools.partial(_values, space, encoder, prompts, settings, task, about)
    try:
        return ws.result("zero_shot", compute, parameters, inputs, MODULES, seed=settings["seed"])
    except runs.Unavailable as reason:  # those of the text side
        return _without(about, settings, str(reason))


def _values(
    space: _Space, encoder: str, prompts: Prompts, settings: dict[str, Any], task: str, about: dict[str, Any]
) -> dict[str, Any]:
    from merit.evaluate import zero_shot
    from merit.evaluate.tasks import labelled, refuse_seen

    ws = space.ws
    try:
        chosen = labelled(task, ws.store(TASK_COHORT[task]).records)
        if ws.protocol(chosen.cohort) == OFFICIAL_SPLIT and not settings["allow_seen"]:
            chosen = zero_shot.restricted(chosen, np.isin(chosen.folds, UNSEEN_FOLDS), "in folds 9 and 10")
        n_seen = refuse_seen(chosen.scored_patients(), ws.seen(encoder, space.seed), settings["allow_seen"])
        vectors = zero_shot.class_vectors(space.prompts(encoder, prompts), prompts.owner, settings["ensemble"])
        scores = zero_shot.cosines(space.recordings(encoder, chosen.cohort)[chosen.rows], vectors)
        found = zero_shot.evaluate(
            scores, chosen, scope=settings["scope"], n_resamples=settings["n_resamples"], seed=settings["seed"]
        )
    except NotEnoughData as reason:
        return {**about, "scope": settings["scope"], "reason": str(reason)}
    return {**about, **found, "n_seen": n_seen, **ws.remarks(encoder, chosen.cohort)}


def _without(about: dict[str, Any], settings: dict[str, Any], reason: str) -> dict[str, Any]:
    """A result in form alone; it is not written."""
    values = {**about, "scope": settings["scope"], "reason": reason}
    return {"stage": "zero_shot", "id": None, "values": values, "parameters": {}, "inputs": {}, "seconds": 0.0}


def prompt_facts(
    ws: Workspace, tasks: Sequence[str] | None = None, prompts: str | Path = "enriched"
) -> dict[str, dict[str, Any]]:
    """Task -> how well the frozen text encoder and the pretraining reports know its prompts; shares from 0 to 1.

    n_classes, n_prompts; mean over prompts of unknown_tokens (pieces that are the unknown token), split_words (words
    that are no entry of the vocabulary) and words_in_reports; worst_class, whose prompts hold the most unknown and
    split words, with worst_split; alike: share of the pretraining recordings' reports of which at least half of the
    words are words of our prompts (`prompts.written_alike`). {"reason"} where nothing is pretrained on.
    """
    facts = {}
    for task in tasks or TASKS:
        one_of("task", task, TASKS)
        loaded = prompt_sets.load(prompts, task)
        try:
            reports_of = {"store": ws.store(ws.pretraining_cohort).identity, "text": ws.text_identity}
            reports_of["rows"] = runs.digest(ws.pretraining_rows.tolist())
        except NoCohort as reason:
            facts[task] = {"task": task, "reason": str(reason)}
            continue
        parameters = {"task": task, "prompts": loaded.name}
        inputs = {**reports_of, "prompts": loaded.digest}
        compute = functools.partial(_facts, ws, loaded)
        facts[task] = ws.result("prompt_fact", compute, parameters, inputs, ["merit.evaluate.prompts"])["values"]
    return facts


def _facts(ws: Workspace, prompts: Prompts) -> dict[str, Any]:
    records = ws.store(ws.pretraining_cohort).records.iloc[ws.pretraining_rows]
    reports = records.loc[records["has_text"], "report"].tolist()
    unknown = prompt_sets.unknown_share(ws.tokenizer, prompts.flat)
    ours = [text for task in TASKS for text in prompt_sets.load("enriched", task).flat]
    per_class = np.array([unknown.words[prompts.owner == c].mean() for c in range(len(prompts.texts))])
    return {
        "n_classes": len(prompts.texts),
        "n_prompts": len(prompts.flat),
        "unknown_tokens": float(unknown.tokens.mean()),
        "split_words": float(unknown.words.mean()),
        "worst_class": list(prompts.texts)[int(per_class.argmax())],
        "worst_split": float(per_class.max()),
        "words_in_reports": float(prompt_sets.words_in(prompts.flat, set(reports)).mean()),
        "n_reports": len(reports),
        "alike": prompt_sets.written_alike(reports, ours) if reports else None,
    }
