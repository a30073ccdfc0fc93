"""What the rules of the published protocols do to a score (page `protocol`): the same embeddings scored in two ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import ProbeConfig, one_of
from merit.data.taxonomy import TASK_COHORT
from merit.evaluate.tasks import TEN_FOLDS, NotEnoughData
from merit.studies.core import study

if TYPE_CHECKING:
    from merit.data.store import Store
    from merit.evaluate.tasks import TaskData
    from merit.studies.workspace import Workspace

SEEN_TASK = "superclass"
"""Labels by which seen and held-out patients of the pretraining cohort are compared, where it has them."""


def _task_inputs(ws: Workspace, task: str, encoder: str, encoder_seed: int, **_: object) -> dict[str, str]:
    cohort = TASK_COHORT[task]
    return {
        "store": ws.store(cohort).identity,
        "embedding": ws.embedding_identity(encoder, cohort, encoder_seed),
        "protocol": ws.protocol(cohort),
    }


@study(
    over={"task": ("superclass", "subclass", "csn"), "encoder": ("merit", "random"), "variant": ("as_published",)},
    needs=_task_inputs,
    config="probe",
    preset={"select": "last"},
    columns=("rule", "scored", "sd", "n"),
)
def protocol_effects(
    ws: Workspace, encoder: str, task: str, variant: str, encoder_seed: int = 0, *, config: ProbeConfig
) -> pd.DataFrame:
    """Scores by rule in the published and the corrected form, and the effect (`evaluate.protocol_effects`)."""
    from merit.evaluate.protocol_effects import protocol_effects as effects
    from merit.evaluate.tasks import refuse_seen, select

    one_of("select", config.select, ("last",))  # other epochs are rules of their own
    store, protocol = ws.store(TASK_COHORT[task]), ws.protocol(TASK_COHORT[task])
    embedding, seen = ws.embedding(encoder, TASK_COHORT[task], encoder_seed), ws.seen(encoder, encoder_seed)

    def selected(name: str) -> tuple[np.ndarray, TaskData]:
        chosen = select(name, store.records, protocol=protocol, min_positives=config.min_positives)
        refuse_seen(chosen.scored_patients(protocol), seen)
        return embedding[chosen.rows], chosen

    features, chosen = selected(task)
    released = selected("csn_as_released") if task == "csn" else None
    unseen = refuse_seen(chosen.scored_patients(TEN_FOLDS), seen, allow_seen=True) == 0
    device = ws.torch_device()
    return effects(
        features, chosen, config, variant=variant, protocol=protocol, device=device, released=released, unseen=unseen
    )


def _pretraining_inputs(ws: Workspace, encoder: str, encoder_seed: int, **_: object) -> dict[str, str]:
    if not ws.trains(encoder) and encoder != "random":
        raise runs.Unavailable(
            f"{encoder} was not pretrained here: none of these patients was held out of its training"
        )
    cohort = ws.pretraining_cohort
    return {
        "store": ws.store(cohort).identity,
        "rows": runs.digest(ws.pretraining_rows.tolist()),
        "text": ws.text_identity,
        "embedding": ws.embedding_identity(encoder, cohort, encoder_seed),
        "encoder": ws.encoder_identity(encoder, encoder_seed),
        "truth": runs.file_digest(ws.truth(cohort)),
        "validation share": str(ws.profile.pretrain.validation_share),
    }


@study(
    over={"encoder": ("merit", "random"), "variant": ("as_published",)},
    needs=_pretraining_inputs,
    config="probe",
    preset={"select": "last"},
    columns=("rule", "scored", "sd", "n"),
)
def seen_effects(
    ws: Workspace, encoder: str, variant: str, encoder_seed: int = 0, *, config: ProbeConfig
) -> pd.DataFrame:
    """Scores of patients that were pretrained on, of patients held out of pretraining, and their difference.

    This is the one place that scores patients seen in pretraining: it is what is measured, and is marked (`n_seen`).
    """
    from merit.data.batches import hold_out_patients, pair
    from merit.evaluate import protocol_effects as measures
    from merit.evaluate.tasks import refuse_seen

    cohort, store = ws.pretraining_cohort, ws.store(ws.pretraining_cohort)
    data = pair(store, ws.pretraining_rows, ws.report_embeddings())
    held_out_seed = ws.pretraining_seed(encoder_seed)
    training, validation = hold_out_patients(data, ws.profile.pretrain.validation_share, held_out_seed)
    patients = store.records["patient_id"].astype(str).to_numpy(dtype=object)
    sides = measures.Sides(training.rows, validation.rows, patients)
    pairs = [(cohort, patient) for patient in set(patients[training.rows])]
    n_seen = refuse_seen(pairs, ws.seen(encoder, encoder_seed), allow_seen=True)
    rows: list[dict[str, Any]] = []
    unscored = {"rule": "seen", "scored": "effect"}
    try:
        network = ws.encoder(encoder, encoder_seed)
        if not network.shares_space:
            raise NotEnoughData(f"{encoder} was pretrained without text: it finds no reports")
        shared, text = ws.shared(encoder, cohort, encoder_seed), ws.projected_text(network)
        rows += measures.retrieval(shared, text, data.text_row, sides, encoder_seed)
    except NotEnoughData as reason:
        rows.append({**unscored, "metric": f"recall@{measures.NEAREST}", "reason": str(reason)})
    try:
        labels, features = _labels(ws, store), ws.embedding(encoder, cohort, encoder_seed)
        rows += measures.held_out_probe(features, labels, sides, config, variant=variant, device=ws.torch_device())
    except NotEnoughData as reason:
        rows.append({**unscored, "metric": "auroc", "reason": str(reason)})
    return pd.DataFrame(rows).assign(cohort=cohort, n_seen=n_seen, labels=SEEN_TASK)


def _labels(ws: Workspace, store: Store) -> np.ndarray:
    """bool [N, C] of SEEN_TASK: the cohort's own labels, or a synthetic hospital's hidden findings."""
    from merit.data.taxonomy import label_matrix

    names = store.records["labels"].tolist()
    truth = ws.truth(store.cohort)
    if not any(names) and truth is not None:
        table = pd.read_parquet(truth, columns=["record_id", "findings"]).astype({"record_id": str})
        findings = dict(zip(table["record_id"], table["findings"]))
        names = [list(findings.get(record, ())) for record in store.records["record_id"].astype(str)]
    labels = label_matrix(SEEN_TASK, names)
    if not labels.any():
        raise NotEnoughData(f"{store.cohort} is published without labels")
    return labels
