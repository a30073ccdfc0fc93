"""What Table 5 does with the recordings there are: merges, classes without counterpart, and how many carry what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from merit import runs
from merit.data.taxonomy import TASK_COHORT, classes, label_matrix
from merit.evaluate.label_alignment import DIRECTIONS, SPACES, align, company, read_table
from merit.studies.core import study

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace


def _labels(ws: Workspace, space: str) -> tuple[str, list[list[str]] | None]:
    """Identity of a space's store and the labels of each record; "" and None where there is no such data set."""
    try:
        store = ws.store(TASK_COHORT[space])
    except runs.Unavailable:
        return "", None
    return store.identity, store.records["labels"].tolist()


def _inputs(ws: Workspace, transfer: str, alignment: str | Path | None) -> dict[str, str]:
    source, target = transfer.split(">")
    merges = runs.digest(align(source, target, read_table(alignment)).as_parameters())
    return {"alignment": merges, **{space: _labels(ws, space)[0] for space in (source, target)}}


@study(over={"transfer": tuple(">".join(direction) for direction in DIRECTIONS)}, needs=_inputs)
def label_alignment(ws: Workspace, transfer: str, alignment: str | Path | None = None) -> pd.DataFrame:
    """Recordings with each evaluation class on either `side` of a direction, and by which `codes` of its `space`.

    Rows of class "macro" say how many recordings have a label of that task, and which classes are `dropped`, since they
    have no counterpart. alignment: another table in the form of Table 5. Without recordings there is a reason.
    """
    merged, rows = align(*transfer.split(">"), read_table(alignment)), []
    for name, side in (("source", merged.source), ("target", merged.target)):
        labels = _labels(ws, side.space)[1]
        about = {"side": name, "space": side.space}
        if labels is None:
            about["reason"] = f"no recordings of {TASK_COHORT[side.space]}"
        matrix = label_matrix(side.space, labels or [])
        matrix = matrix[matrix.any(axis=1)]
        counts = dict(zip(merged.classes, side.any_of(matrix).sum(axis=0).tolist()))
        every = {"class": "macro", "dropped": list(side.dropped), "n_classes": len(classes(side.space))}
        rows.append({**about, **every, "metric": "recordings", "value": None if labels is None else len(matrix)})
        for one, codes in side.merged.items():
            value = None if labels is None else counts[one]
            rows.append({**about, "class": one, "codes": list(codes), "metric": "recordings", "value": value})
    return pd.DataFrame(rows)


def _store(ws: Workspace, space: str) -> dict[str, str]:
    return {"store": ws.store(TASK_COHORT[space]).identity}


@study(over={"space": SPACES}, needs=_store)
def sinus_rhythm(ws: Workspace, space: str) -> pd.DataFrame:
    """Of the n recordings labelled SR (PTB-XL, CSN) or NORM (CPSC2018), how many carry no other label (`alone`), and of
    PTB-XL how many carry NORM too (`normal`).
    """
    label = "NORM" if space == "cpsc2018" else "SR"
    counts = company(_labels(ws, space)[1], label, ("NORM",) if space == "superclass" else ())
    about = {"label": label, "n": counts["n"]}
    return pd.DataFrame([
        {**about, "metric": "alone", "value": counts["alone"]}, {**about, "metric": "normal", "value": counts["wanted"]}
    ])  # fmt: skip
