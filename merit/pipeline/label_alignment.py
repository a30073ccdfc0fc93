"""What Table 5 does with the recordings there are, from a workspace to results."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merit import runs
from merit.data.taxonomy import TASK_COHORT, classes, label_matrix
from merit.evaluate.label_alignment import (
    DIRECTIONS,
    SPACES,
    Alignment,
    align,
    by_snomed,
    company,
    read_table,
    shared_codes,
)
from merit.pipeline.recordings import NoCohort

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace


def label_alignment(ws: Workspace, alignment: str | Path | None = None) -> list[dict[str, Any]]:
    """What Table 5 does with the recordings there are, a result a direction: merges, drops, positives on each side."""
    table = read_table(alignment)
    found, missing = _labels(ws)
    results = []
    for source, target in DIRECTIONS:
        one = align(source, target, table)
        inputs = {space: found[space][0] if space in found else "" for space in (source, target)}
        parameters = {"task": f"{source}>{target}", "alignment": one.as_parameters()}
        compute = functools.partial(_alignment_values, one, {k: v[1] for k, v in found.items()}, missing)
        results.append(ws.result("label_alignment", compute, parameters, inputs, ["merit.evaluate.label_alignment"]))
    return results


def label_notes(ws: Workspace, alignment: str | Path | None = None) -> dict[str, Any]:
    """What is odd in Table 5, as numbers: the values of one result.

    table: its rows. shared_codes: codes that serve two classes. snomed: CPSC2018's classes and CSN's labels by code.
    company: how often SR (PTB-XL, CSN) and NORM (CPSC2018) stand alone or beside NORM; None for a missing data set.
    """
    table = read_table(alignment)
    found, _ = _labels(ws)
    asked = {"superclass": ("SR", ("NORM",)), "csn": ("SR", ()), "cpsc2018": ("NORM", ())}

    def compute() -> dict[str, Any]:
        counts = {s: company(found[s][1], *asked[s]) if s in found else None for s in SPACES}
        rows = table.rename(columns={"class": "name"}).to_dict("records")
        return {"table": rows, "shared_codes": shared_codes(table), "snomed": by_snomed(table), "company": counts}

    inputs = {space: identity for space, (identity, _) in found.items()}
    parameters = {
        "task": "of Table 5",
        "table": runs.digest(table.to_dict("records")),
    }
    return ws.result("label_notes", compute, parameters, inputs, ["merit.evaluate.label_alignment"])["values"]


def _labels(ws: Workspace) -> tuple[dict[str, tuple[str, list[list[str]]]], dict[str, str]]:
    """Space -> (identity of its store, labels of each record), and space -> why it is missing."""
    found, missing = {}, {}
    for space in SPACES:
        try:
            store = ws.store(TASK_COHORT[space])
        except NoCohort:
            missing[space] = f"no recordings of {TASK_COHORT[space]}"
            continue
        found[space] = store.identity, store.records["labels"].tolist()
    return found, missing


def _alignment_values(
    alignment: Alignment, labels: dict[str, list[list[str]]], missing: dict[str, str]
) -> dict[str, Any]:
    """The merges of one direction, and positives among the records that have a label of their task; None: no data."""
    values: dict[str, Any] = {"classes": list(alignment.classes), "n_classes": len(alignment.classes), "positives": {}}
    for role, side in (("source", alignment.source), ("target", alignment.target)):
        matrix = label_matrix(side.space, labels.get(side.space, []))
        matrix = matrix[matrix.any(axis=1)]
        there = side.space in labels
        positives = side.any_of(matrix).sum(axis=0).tolist()
        values |= {
            role: side.space,
            f"from_{role}": {name: list(codes) for name, codes in side.merged.items()},
            f"dropped_{role}": list(side.dropped),
            f"n_{role}": len(matrix) if there else None,
            f"n_{role}_classes": len(classes(side.space)),
        }
        values["positives"][role] = dict(zip(alignment.classes, positives)) if there else None
    return {**values, "missing": {s: missing[s] for s in (values["source"], values["target"]) if s in missing}}
