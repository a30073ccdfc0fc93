"""Figure 4: UMAP of the recordings with a rhythm, an encoder at a time, and purity and silhouette beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import replace
from merit.data import taxonomy
from merit.evaluate.clusters import ClusterConfig
from merit.evaluate.tasks import NotEnoughData
from merit.pipeline.recordings import NoCohort
from merit.pipeline.training import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

TASK = "rhythm"


def rhythm_clusters(
    ws: Workspace, encoders: Sequence[str] = ENCODER_NAMES, *, encoder_seed: int = 0, allow_seen: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Results, one an encoder, on the PTB-XL recordings with a rhythm that no encoder was pretrained on; `settings`
    change `ClusterConfig`. What is missing gives a result whose values hold a reason in place of numbers.
    """
    config = replace(ClusterConfig(), **{k: v for k, v in settings.items() if v is not None})
    return [_one(ws, encoder, config, encoder_seed, allow_seen) for encoder in encoders]


def _one(ws: Workspace, encoder: str, config: ClusterConfig, seed: int, allow_seen: bool) -> dict[str, Any]:
    cohort = taxonomy.TASK_COHORT[TASK]
    try:
        rows = _rows(ws, cohort, allow_seen)
        inputs = {
            "embedding": ws.embedding_identity(encoder, cohort, seed), "store": ws.store(cohort).identity,
            "rows": runs.digest(rows.tolist()),
        }  # fmt: skip
    except runs.Unavailable as reason:
        values = {"encoder": encoder, "task": TASK, "reason": str(reason)}
        return {"stage": "clusters", "id": None, "values": values, "parameters": {}}
    parameters = {
        "encoder": encoder, "encoder_seed": seed, "task": TASK, "allow_seen": allow_seen, "clusters": config,
    }  # fmt: skip

    def compute() -> dict[str, Any]:
        return _values(ws, encoder, rows, config, seed, allow_seen)

    modules = ["merit.evaluate.clusters", "merit.evaluate.tasks", "merit.data.taxonomy"]
    return ws.result("clusters", compute, parameters, inputs, modules, seed=config.seed)


def _rows(ws: Workspace, cohort: str, allow_seen: bool) -> np.ndarray:
    """Rows of the store with a rhythm; without those that are pretrained on, where this cohort is, unless allowed."""
    store = ws.store(cohort)
    rows = np.flatnonzero(taxonomy.label_matrix(TASK, store.records["labels"].tolist()).any(axis=1))
    if allow_seen:
        return rows
    try:
        return np.setdiff1d(rows, ws.pretraining_rows) if cohort == ws.pretraining_cohort else rows
    except NoCohort:  # nothing is pretrained on: the random encoder can still be looked at
        return rows


def _values(
    ws: Workspace, encoder: str, rows: np.ndarray, config: ClusterConfig, seed: int, allow_seen: bool
) -> dict[str, Any]:
    from merit.evaluate.clusters import clusters
    from merit.evaluate.tasks import refuse_seen

    cohort = taxonomy.TASK_COHORT[TASK]
    records = ws.store(cohort).records.iloc[rows]
    about = {"encoder": encoder, "task": TASK, "cohort": cohort, "n_patients": int(records["patient_id"].nunique())}
    scored = [(cohort, patient) for patient in records["patient_id"].unique()]
    about["n_seen"] = refuse_seen(scored, ws.seen(encoder, seed), allow_seen)
    labels = taxonomy.label_matrix(TASK, records["labels"].tolist())
    groups = records["group"].astype(str).to_numpy()
    try:
        features = ws.embedding(encoder, cohort, seed)[rows]
        return about | clusters(features, labels, groups, taxonomy.classes(TASK), config, ws.folder / "numba")
    except NotEnoughData as reason:
        return about | {"reason": str(reason)}
