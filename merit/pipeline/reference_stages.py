"""What the committed numbers of several seeds consist of: stages, and the encoders that each is run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from merit.data.taxonomy import TASKS
from merit.encoders import registry
from merit.methods import ABLATIONS, PEERS, without_text
from merit.pipeline.zero_shot import zero_shot
from merit.studies.clusters import clusters
from merit.studies.generation import generation
from merit.studies.information import information
from merit.studies.probing import linear_probe
from merit.studies.retention import reliability, report_omission, retention, synthetic_to_real, to_commit
from merit.studies.shift import shift

if TYPE_CHECKING:
    import pandas as pd

    from merit.pipeline.workspace import Workspace

PAPER_TASKS = tuple(task for task in TASKS if task != "csn_as_released")


def _with_text(encoders: Sequence[str]) -> list[str]:
    """Those that share a space with texts."""
    return [name for name in encoders if not without_text(name)]


WRITERS = ("merit", "merl-ours", "random", "medtvt-r1", "qoq", "ecg-chat")
"""Encoders that text is generated from here: adapting a language model costs as much as a pretraining."""


Run = Callable[["Workspace", Sequence[str], int], list[dict[str, Any]]]


class Stage(NamedTuple):
    """One of the stages that several seeds are run of."""

    run: Run
    """Workspace, encoders, pretraining seed -> results."""
    columns: tuple[str, ...]
    """Fields of the values that say what was scored: a column of the book's table."""
    settings: tuple[str, ...]
    """Fields that say how: a table of its own."""
    scores: Callable[[Mapping[str, Any]], Mapping[str, float | None]]
    """Values -> metric -> the number of that seed."""
    keep: tuple[str, ...]
    """Other fields of the values that go into the file; folds, classes and resamples stay in the run's results."""


STAGES = {
    "zero_shot": Stage(
        run=lambda ws, encoders, seed: zero_shot(ws, _with_text(encoders), PAPER_TASKS, encoder_seed=seed),
        columns=("task",),
        settings=("prompts", "ensemble", "scope"),
        scores=lambda values: {metric: one["value"] for metric, one in values["macro"].items()},
        keep=("n_records", "n_patients", "n_scored_classes", "n_seen", "overlap", "macro"),
    ),
}
"""Stage -> how it is run and what of it is kept; what is not here is not in the reference."""


def _probed(ws: Workspace, encoders: Sequence[str], seed: int) -> pd.DataFrame:
    """Macro scores of linear probing without what stands fold by fold or class by class."""
    found = linear_probe(ws, encoders, PAPER_TASKS, encoder_seed=seed)
    lists = ["test_folds", "n_test", "classes", "unscored", "epochs", "n_positive", "n_folds"]
    return found[found["class"].fillna("macro") == "macro"].drop(columns=lists, errors="ignore")


def _retention(ws: Workspace, encoders: Sequence[str], seed: int) -> pd.DataFrame:
    """Retention; of real recordings, with the first seed, how reliable their measured factors are."""
    more = [reliability(ws)] if not (ws.synthetic or seed) else []
    return to_commit(retention(ws, encoders, encoder_seed=seed), "cohort", *more)


STUDIES: dict[str, Callable[[Workspace, Sequence[str], int], pd.DataFrame]] = {
    "linear_probe": _probed,
    "shift": lambda ws, encoders, seed: shift(ws, encoders, encoder_seed=seed),
    "information": lambda ws, encoders, seed: information(ws, _with_text(encoders), encoder_seed=seed),
    "clusters": lambda ws, encoders, seed: clusters(ws, encoders, encoder_seed=seed),
    "generation": lambda ws, encoders, seed: generation(
        ws, [name for name in encoders if name in WRITERS], encoder_seed=seed
    ),
    "kept": _retention,
    "left_out": lambda ws, encoders, seed: to_commit(report_omission(ws, encoders, encoder_seed=seed), "share"),
    "carried_over": lambda ws, encoders, seed: to_commit(synthetic_to_real(ws, encoders, encoder_seed=seed), "hearts"),
}
"""Study -> its scores of these encoders at one pretraining seed, as they are committed."""


class Group(NamedTuple):
    """Encoders that are compared with each other, and at which stages."""

    encoders: Sequence[str]
    stages: Sequence[str]
    suffix: str = ""
    """What its files' names end in, where a stage is in several groups."""


OBJECTIVES, EQUAL_BUDGET, DIALS, PUBLISHED = "objectives", "equal-budget", "dials", "published"
GROUPS = {
    OBJECTIVES: Group(
        ("merit", "cma", "ib", "mse", "ib-0.1", "ib-1", *ABLATIONS, "random"),
        ("linear_probe", "zero_shot", "shift", "information", "clusters", "kept"),
    ),
    EQUAL_BUDGET: Group(
        ("merit", "cma", "mse", *PEERS, "random"),
        ("linear_probe", "zero_shot", "shift", "kept", "generation"),
        suffix=EQUAL_BUDGET,
    ),
    DIALS: Group(("merit", "cma", "mse", "random"), ("left_out", "carried_over")),
    PUBLISHED: Group(
        ("merit", *registry.PUBLISHED), ("linear_probe", "zero_shot", "shift", "generation"), suffix=PUBLISHED
    ),
}
"""The paper's objectives; these beside peers' methods: the same recordings, updates and evaluation; some of them
pretrained on other recordings; MERIT beside those published encoders whose weights are at hand, which have one seed.
"""
