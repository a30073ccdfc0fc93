"""The six transfers between PTB-XL superclass, CPSC2018 and CSN (Table 7), and what Table 5 does with the recordings
there are: merges, classes without counterpart, and how many carry what.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import ProbeConfig
from merit.data.taxonomy import TASK_COHORT, classes, label_matrix
from merit.evaluate.tasks import (
    DIRECTIONS,
    HELD_OUT,
    OFFICIAL_SPLIT,
    SPACES,
    UNSEEN_FOLDS,
    NotEnoughData,
    align,
    labelled,
    make_splits,
    merl_files,
    merl_folds,
    read_table,
    refuse_seen,
)
from merit.studies.core import embedded, study
from merit.studies.workspace import ENCODER_NAMES, remembered

if TYPE_CHECKING:
    from merit.evaluate.shift import Domain
    from merit.evaluate.tasks import TaskData
    from merit.studies.workspace import Workspace

TRANSFERS = tuple(">".join(direction) for direction in DIRECTIONS)


def _inputs(
    ws: Workspace, transfer: str, encoder: str, encoder_seed: int, alignment: str | Path | None, **_: object
) -> dict[str, str]:
    spaces = transfer.split(">")
    result = {"alignment": runs.digest(align(*spaces, read_table(alignment)))}
    for space in spaces:
        result |= {f"{k} {space}": v for k, v in embedded(ws, space, encoder, encoder_seed).items()}
        lists = merl_files(ws.data, TASK_COHORT[space])
        result |= {f"list {part} {space}": runs.file_digest(path) for part, path in lists.items()}
    return result


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

    source, target = transfer.split(">")
    (home, home_folds, _), (away, folds, scored) = _task(ws, source), _task(ws, target)
    rows = ((home, np.isin(home_folds, UNSEEN_FOLDS)), (away, scored | np.isin(folds, UNSEEN_FOLDS)))
    patients = [(task.cohort, patient) for task, chosen in rows for patient in task.patients[chosen]]
    n_seen = refuse_seen(patients, ws.seen(encoder, encoder_seed), allow_seen)
    domains = [_domain(ws, space, encoder, encoder_seed, config, variant) for space in (source, target)]
    if isinstance(domains[0].head, NotEnoughData):
        raise domains[0].head
    result = transferred(*domains, align(source, target, read_table(alignment)), config)
    at_home, there = (ws.remarks(encoder, TASK_COHORT[space]) for space in (source, target))
    if there:  # of the target; band-limited also where only the source is
        there = {**at_home, **there, "n_band_limited": at_home["n_band_limited"] + there["n_band_limited"]}
    unseen = ws.protocol(away.cohort) in HELD_OUT
    return result.assign(**{
        "source": source, "target": target, "n_seen": n_seen, **there,
        "scope": "folds 9 and 10, which pretraining has not seen" if unseen else "the whole data set",
        "split": "MERL's lists" if merl_files(ws.data, home.cohort)
        else f"{'official' if source == 'superclass' else 'our'} folds 1-8, 9, 10",
    })  # fmt: skip


@remembered(8)
def _task(ws: Workspace, space: str) -> tuple[TaskData, np.ndarray, np.ndarray]:
    """The task, its folds (MERL's where its lists are there) and which records may be scored as a target."""
    cohort = TASK_COHORT[space]
    records = ws.store(cohort).records
    task = labelled(space, records.assign(fold=1))  # a target is scored as a whole, records without a fold too
    folds = records["fold"].iloc[task.rows].fillna(0).to_numpy(dtype=np.int64)
    if lists := merl_files(ws.data, cohort):
        folds = merl_folds(lists, cohort, records["record_id"].iloc[task.rows].tolist())
    pretrained_on = ws.protocol(cohort) in HELD_OUT
    return task, folds, np.isin(folds, UNSEEN_FOLDS) if pretrained_on else np.ones(len(folds), dtype=bool)


@remembered(64)
def _domain(ws: Workspace, space: str, encoder: str, encoder_seed: int, config: ProbeConfig, variant: str) -> Domain:
    """A data set with its own head, trained once for all directions; or with the reason why there is none."""
    from merit.evaluate.shift import Domain, train_head

    (task, folds, scored), split = _task(ws, space), None
    features = ws.embedding(encoder, task.cohort, encoder_seed)[task.rows]
    with contextlib.suppress(NotEnoughData):
        (split,) = make_splits(folds, OFFICIAL_SPLIT)
    try:
        head = train_head(task, features, split, config, variant, ws.torch_device())
    except NotEnoughData as reason:
        head = reason
    return Domain(task, features, scored, split, head)


# -- Table 5 ----------------------------------------------------------------------------------------------------------


def _alignment_inputs(ws: Workspace, transfer: str, alignment: str | Path | None) -> dict[str, str]:
    spaces = transfer.split(">")
    stores = {space: getattr(_store(ws, space), "identity", "") for space in spaces}
    return {"alignment": runs.digest(align(*spaces, read_table(alignment))), **stores}


def _store(ws: Workspace, space: str) -> Any:
    """The store of a space; None where there is no such data set."""
    with contextlib.suppress(runs.Unavailable):
        return ws.store(TASK_COHORT[space])


@study(over={"transfer": TRANSFERS}, needs=_alignment_inputs)
def label_alignment(ws: Workspace, transfer: str, alignment: str | Path | None = None) -> pd.DataFrame:
    """Recordings with each evaluation class on either `side` of a direction, and by which `codes` of its `space`.

    Rows of class "macro" say how many recordings have a label of that task, and which classes are `dropped`, since they
    have no counterpart. alignment: another table in the form of Table 5. Without recordings there is a reason.
    """
    merged, rows = align(*transfer.split(">"), read_table(alignment)), []
    for name, side in (("source", merged.source), ("target", merged.target)):
        store, about = _store(ws, side.space), {"side": name, "space": side.space}
        if store is None:
            about["reason"] = f"no recordings of {TASK_COHORT[side.space]}"
        labels = label_matrix(side.space, [] if store is None else store.records["labels"].tolist())
        every = {"class": "macro", "dropped": side.dropped, "n_classes": len(classes(side.space))}
        n = None if store is None else int(labels.any(axis=1).sum())
        rows.append({**about, **every, "metric": "recordings", "value": n})
        for (one, codes), count in zip(side.merged.items(), side.any_of(labels).sum(axis=0).tolist()):
            n = None if store is None else count
            rows.append({**about, "class": one, "codes": list(codes), "metric": "recordings", "value": n})
    return pd.DataFrame(rows)


@study(over={"space": SPACES}, needs=lambda ws, space: {"store": ws.store(TASK_COHORT[space]).identity})
def sinus_rhythm(ws: Workspace, space: str) -> pd.DataFrame:
    """Of the n recordings labelled SR (PTB-XL, CSN) or NORM (CPSC2018), how many carry no other label (`alone`), and of
    PTB-XL how many carry NORM too (`normal`).
    """
    label = "NORM" if space == "cpsc2018" else "SR"
    beside = [set(names) - {label} for names in ws.store(TASK_COHORT[space]).records["labels"] if label in names]
    alone, normal = sum(not names for names in beside), sum("NORM" in names for names in beside)
    about = {"label": label, "n": len(beside)}
    return pd.DataFrame([
        {**about, "metric": "alone", "value": alone},
        {**about, "metric": "normal", "value": normal if space == "superclass" else 0},
    ])  # fmt: skip
