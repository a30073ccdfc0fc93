"""The six transfers between PTB-XL superclass, CPSC2018 and CSN (Table 7), from a workspace to results."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import ProbeConfig, one_of, replace
from merit.data.taxonomy import TASK_COHORT
from merit.evaluate import merl_splits
from merit.evaluate.label_alignment import DIRECTIONS, Alignment, align, read_table
from merit.evaluate.splits import OFFICIAL_SPLIT, UNSEEN_FOLDS, NotEnoughData
from merit.pipeline.training import ENCODER_NAMES
from merit.pipeline.workspace import VARIANTS

if TYPE_CHECKING:
    from merit.evaluate.shift import Domain, Head
    from merit.evaluate.tasks import TaskData
    from merit.pipeline.workspace import Workspace


def shift(
    ws: Workspace,
    encoders: Sequence[str] = ENCODER_NAMES,
    variants: Sequence[str] = ("as_published",),
    *,
    alignment: str | Path | None = None,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """One result for each direction, encoder and variant; values as `evaluate.shift.transfer` gives them.

    Heads follow the profile's probe settings, but for the epoch: the best on the source's validation part, since the
    paper selects a checkpoint there (A.2.2). `settings` change `ProbeConfig`. alignment: another table in the form of
    Table 5. A data set that is missing, or too small, gives a result whose values hold a reason.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    config = replace(ws.profile.probe, **{"select": "best_validation", **given})
    for variant in variants:
        one_of("variant", variant, VARIANTS)
    table = read_table(alignment)
    session = _Session(ws, config, encoder_seed, allow_seen)
    return [
        session.one(align(source, target, table), encoder, variant)
        for source, target in DIRECTIONS
        for encoder in encoders
        for variant in variants
    ]


@dataclass
class _Session:
    """What the results of one call share: tasks, and heads, each trained once."""

    ws: Workspace
    config: ProbeConfig
    seed: int
    allow_seen: bool

    def __post_init__(self) -> None:
        self.task = functools.cache(self._task)
        self.head = functools.cache(self._head)

    def one(self, alignment: Alignment, encoder: str, variant: str) -> dict[str, Any]:
        """The result of a direction, read where it is."""
        source, target = alignment.source.space, alignment.target.space
        about = {"source": source, "target": target, "encoder": encoder, "variant": variant}
        try:
            inputs = {k: v for side in (source, target) for k, v in self._inputs(side, encoder).items()}
        except runs.Unavailable as reason:
            return {"stage": "shift", "id": None, "values": {**about, "reason": str(reason)}, "parameters": {}}
        parameters = {
            **about, "task": f"{source}>{target}", "encoder_seed": self.seed, "allow_seen": self.allow_seen,
            "probe": asdict(self.config), "alignment": alignment.as_parameters(),
            "scope": {side: self.scope(side) for side in (source, target)},
        }  # fmt: skip
        modules = ["merit.evaluate.shift", "merit.evaluate.merl_splits", "merit.evaluate.seen"]
        compute = functools.partial(self._values, alignment, encoder, variant, about)
        return self.ws.result("shift", compute, parameters, inputs, modules, seed=self.config.seed)

    def _inputs(self, space: str, encoder: str) -> dict[str, str]:
        cohort = TASK_COHORT[space]
        return {
            f"store {space}": self.ws.store(cohort).identity,
            f"embedding {space}": self.ws.embedding_identity(encoder, cohort, self.seed),
            f"lists {space}": runs.digest({k: runs.file_digest(v) for k, v in self._lists(cohort).items()}),
        }

    def _lists(self, cohort: str) -> dict[str, Path]:
        return merl_splits.files(self.ws.data, cohort)

    def scope(self, space: str) -> str:
        """What is scored of a target: all of it, unless it was also pretrained on."""
        unseen = self.ws.protocol(TASK_COHORT[space]) == OFFICIAL_SPLIT
        return "folds 9 and 10, which pretraining has not seen" if unseen else "the whole data set"

    def parts(self, space: str) -> str:
        """Where a data set's training, validation and test part come from."""
        if self._lists(TASK_COHORT[space]):
            return "MERL's lists"
        return "official folds 1-8, 9, 10" if space == "superclass" else "our folds 1-8, 9, 10"

    def _values(self, alignment: Alignment, encoder: str, variant: str, about: dict[str, str]) -> dict[str, Any]:
        from merit.evaluate.seen import refuse_seen
        from merit.evaluate.shift import transfer

        source, target = alignment.source.space, alignment.target.space
        try:
            scored = self._scored_patients(source, target)
            n_seen = refuse_seen(scored, self.ws.seen(encoder, self.seed), self.allow_seen)
            domains = [self._domain(space, encoder) for space in (source, target)]
            head, own = self.head(source, encoder, variant), self._own_head(target, encoder, variant)
            values = transfer(domains[0], head, domains[1], own, alignment, self.config)
        except NotEnoughData as reason:
            return {**about, "reason": str(reason)}
        return {
            **about, **values, "n_seen": n_seen, **self._remarks(source, target, encoder), "scope": self.scope(target),
            "parts": {"source": self.parts(source), "target": self.parts(target)},
        }  # fmt: skip

    def _remarks(self, source: str, target: str, encoder: str) -> dict[str, Any]:
        """Those of the target; band-limited also where only the source is."""
        there, home = (self.ws.remarks(encoder, TASK_COHORT[space]) for space in (target, source))
        return {**home, **there, "n_band_limited": home["n_band_limited"] + there["n_band_limited"]} if there else {}

    def _scored_patients(self, source: str, target: str) -> list[tuple[str, str]]:
        """(cohort, patient) of all that is scored, or that an epoch is chosen on."""
        home, _, _ = self.task(source)
        away, folds, scored = self.task(target)
        held_out = np.isin(self.task(source)[1], UNSEEN_FOLDS)
        there = scored | np.isin(folds, UNSEEN_FOLDS)
        pairs = [(home.cohort, one) for one in home.patients[held_out]]
        return pairs + [(away.cohort, one) for one in away.patients[there]]

    def _task(self, space: str) -> tuple[TaskData, np.ndarray, np.ndarray]:
        """The task, its folds (MERL's where its lists are there) and which records may be scored as a target."""
        from merit.evaluate.tasks import select

        cohort = TASK_COHORT[space]
        records = self.ws.store(cohort).records
        # One fold and no positives asked for: a target is scored as a whole; `transfer` says which class lacks what.
        task = select(space, records.assign(fold=1), n_folds=1, min_positives=0)
        folds = records["fold"].iloc[task.rows].fillna(0).to_numpy(dtype=np.int64)
        if lists := self._lists(cohort):
            folds = merl_splits.folds(lists, cohort, records["record_id"].iloc[task.rows].tolist())
        pretrained_on = self.ws.protocol(cohort) == OFFICIAL_SPLIT
        return task, folds, np.isin(folds, UNSEEN_FOLDS) if pretrained_on else np.ones(len(folds), dtype=bool)

    def _domain(self, space: str, encoder: str) -> Domain:
        from merit.evaluate.shift import Domain
        from merit.evaluate.splits import make_splits

        task, folds, scored = self.task(space)
        features = self.ws.embedding(encoder, task.cohort, self.seed)[task.rows]
        try:
            (split,) = make_splits(folds, OFFICIAL_SPLIT)
        except NotEnoughData:
            split = None
        return Domain(task, features, split, scored)

    def _own_head(self, space: str, encoder: str, variant: str) -> Head | None:
        """A target's own head; None where it has too little to train one."""
        with contextlib.suppress(NotEnoughData):
            return self.head(space, encoder, variant)
        return None

    def _head(self, space: str, encoder: str, variant: str) -> Head:
        from merit.evaluate.shift import train_head

        return train_head(self._domain(space, encoder), self.config, variant, self.ws.torch_device())
