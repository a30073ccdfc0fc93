"""UMAP of the recordings with a rhythm (Figure 4), and purity and silhouette beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs
from merit.data import taxonomy
from merit.evaluate.clusters import ClusterConfig
from merit.studies.core import study
from merit.studies.workspace import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

TASK = "rhythm"
COHORT = taxonomy.TASK_COHORT[TASK]


def _inputs(ws: Workspace, encoder: str, encoder_seed: int, allow_seen: bool, **_: object) -> dict[str, str]:
    return {
        "embedding": ws.embedding_identity(encoder, COHORT, encoder_seed),
        "store": ws.store(COHORT).identity,
        "rows": runs.digest(with_rhythm(ws, allow_seen).tolist()),
    }


@study(over={"encoder": ENCODER_NAMES}, needs=_inputs, config=lambda profile: ClusterConfig())
def clusters(
    ws: Workspace, encoder: str, encoder_seed: int = 0, allow_seen: bool = False, *, config: ClusterConfig
) -> dict[str, pd.DataFrame]:
    """Purity and silhouette of PTB-XL's rhythms, in the encoder's space and in the plane of UMAP.

    On recordings that no encoder was pretrained on, unless `allow_seen`. Part "points": the plane.
    """
    from merit.evaluate.clusters import clusters as scored
    from merit.evaluate.tasks import refuse_seen

    rows = with_rhythm(ws, allow_seen)
    records = ws.store(COHORT).records.iloc[rows]
    patients = records["patient_id"].unique()
    n_seen = refuse_seen([(COHORT, patient) for patient in patients], ws.seen(encoder, encoder_seed), allow_seen)
    labels = taxonomy.label_matrix(TASK, records["labels"].tolist())
    features = ws.embedding(encoder, COHORT, encoder_seed)[rows]
    groups = records["group"].astype(str).to_numpy()
    found, points = scored(features, labels, groups, taxonomy.classes(TASK), config, ws.folder / "numba")
    return {"scores": found.assign(task=TASK, n_patients=len(patients), n_seen=n_seen), "points": points}


def with_rhythm(ws: Workspace, allow_seen: bool) -> np.ndarray:
    """Rows of the store with a rhythm; without those that are pretrained on, where this cohort is, unless allowed."""
    rows = np.flatnonzero(taxonomy.label_matrix(TASK, ws.store(COHORT).records["labels"].tolist()).any(axis=1))
    if allow_seen:
        return rows
    try:
        return np.setdiff1d(rows, ws.pretraining_rows) if ws.pretraining_cohort == COHORT else rows
    except runs.Unavailable:  # nothing is pretrained on: the random encoder can still be looked at
        return rows
