"""The six transfers between PTB-XL superclass, CPSC2018 and CSN (Table 7)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs
from merit.config import ProbeConfig
from merit.data.taxonomy import TASK_COHORT
from merit.evaluate.label_alignment import DIRECTIONS, align, read_table
from merit.evaluate.tasks import OFFICIAL_SPLIT, UNSEEN_FOLDS, NotEnoughData, merl_files, merl_folds
from merit.studies.core import study
from merit.studies.workspace import ENCODER_NAMES, remembered

if TYPE_CHECKING:
    from merit.evaluate.shift import Domain, Head
    from merit.evaluate.tasks import TaskData
    from merit.studies.workspace import Workspace

TRANSFERS = tuple(">".join(direction) for direction in DIRECTIONS)


def _inputs(
    ws: Workspace, transfer: str, encoder: str, encoder_seed: int, alignment: str | Path | None, **_: object
) -> dict[str, str]:
    source, target = transfer.split(">")
    found = {"alignment": runs.digest(align(source, target, read_table(alignment)).as_parameters())}
    for space in (source, target):
        cohort = TASK_COHORT[space]
        found |= {
            f"store {space}": ws.store(cohort).identity,
            f"embedding {space}": ws.embedding_identity(encoder, cohort, encoder_seed),
            f"split {space}": ws.protocol(cohort),
        }
        found |= {f"list {k} {space}": runs.file_digest(path) for k, path in merl_files(ws.data, cohort).items()}
    return found


@study(
    over={"transfer": TRANSFERS, "encoder": ENCODER_NAMES, "variant": ("as_published",)},
    needs=_inputs,
    config="probe",
    preset={"select": "best_validation"},
    columns=("scored", "class", "classes", "n", "draws"),
)
def shift(
    ws: Workspace,
    encoder: str,
    variant: str,
    transfer: str,
    encoder_seed: int = 0,
    alignment: str | Path | None = None,
    allow_seen: bool = False,
    *,
    config: ProbeConfig,
) -> pd.DataFrame:
    """AUROC of one data set's linear head on the whole of another, and what that is held against (`evaluate.shift`).

    Heads follow the profile's probe settings, but for the epoch: the best on the source's validation part, since the
    paper selects a checkpoint there (A.2.2). alignment: another table in the form of Table 5. A target is scored as a
    whole, unless it was also pretrained on: then its folds 9 and 10.
    """
    from merit.evaluate.shift import transfer as transferred
    from merit.evaluate.tasks import refuse_seen

    source, target = transfer.split(">")
    (home, home_folds, _), (away, folds, scored) = _task(ws, source), _task(ws, target)
    rows = ((home, np.isin(home_folds, UNSEEN_FOLDS)), (away, scored | np.isin(folds, UNSEEN_FOLDS)))
    patients = [(task.cohort, patient) for task, chosen in rows for patient in task.patients[chosen]]
    n_seen = refuse_seen(patients, ws.seen(encoder, encoder_seed), allow_seen)
    head = _head(ws, source, encoder, encoder_seed, config, variant)
    own = None
    with contextlib.suppress(NotEnoughData):
        own = _head(ws, target, encoder, encoder_seed, config, variant)
    domains = [_domain(ws, space, encoder, encoder_seed) for space in (source, target)]
    found = transferred(domains[0], head, domains[1], own, align(source, target, read_table(alignment)), config)
    there, at_home = (ws.remarks(encoder, TASK_COHORT[space]) for space in (target, source))
    if there:  # of the target; band-limited also where only the source is
        there = {**at_home, **there, "n_band_limited": at_home["n_band_limited"] + there["n_band_limited"]}
    unseen = ws.protocol(away.cohort) == OFFICIAL_SPLIT
    return found.assign(**{
        "source": source, "target": target, "n_seen": n_seen, **there,
        "scope": "folds 9 and 10, which pretraining has not seen" if unseen else "the whole data set",
        "split": "MERL's lists" if merl_files(ws.data, home.cohort)
        else f"{'official' if source == 'superclass' else 'our'} folds 1-8, 9, 10",
    })  # fmt: skip


@remembered(8)
def _task(ws: Workspace, space: str) -> tuple[TaskData, np.ndarray, np.ndarray]:
    """The task, its folds (MERL's where its lists are there) and which records may be scored as a target."""
    from merit.evaluate.tasks import select

    cohort = TASK_COHORT[space]
    records = ws.store(cohort).records
    # One fold and no positives asked for: a target is scored as a whole; `transfer` says which class lacks what.
    task = select(space, records.assign(fold=1), n_folds=1, min_positives=0)
    folds = records["fold"].iloc[task.rows].fillna(0).to_numpy(dtype=np.int64)
    if lists := merl_files(ws.data, cohort):
        folds = merl_folds(lists, cohort, records["record_id"].iloc[task.rows].tolist())
    pretrained_on = ws.protocol(cohort) == OFFICIAL_SPLIT
    return task, folds, np.isin(folds, UNSEEN_FOLDS) if pretrained_on else np.ones(len(folds), dtype=bool)


@remembered(4)
def _domain(ws: Workspace, space: str, encoder: str, encoder_seed: int) -> Domain:
    from merit.evaluate.shift import Domain
    from merit.evaluate.tasks import make_splits

    task, folds, scored = _task(ws, space)
    features = ws.embedding(encoder, task.cohort, encoder_seed)[task.rows]
    try:
        (split,) = make_splits(folds, OFFICIAL_SPLIT)
    except NotEnoughData:
        split = None
    return Domain(task, features, split, scored)


@remembered(64)
def _head(ws: Workspace, space: str, encoder: str, encoder_seed: int, config: ProbeConfig, variant: str) -> Head:
    """A data set's own head, trained once for all directions."""
    from merit.evaluate.shift import train_head

    return train_head(_domain(ws, space, encoder, encoder_seed), config, variant, ws.torch_device())
