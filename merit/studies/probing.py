"""Linear probing: of every encoder on every task (Tables 1, 4, 6 and 8), by sex and age group (the audits that the
paper's Appendix C asks for), and what the rules of the published protocols do to a score (page `protocol`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from merit import runs
from merit.config import ProbeConfig, one_of
from merit.data.taxonomy import TASK_COHORT, TASKS, label_matrix
from merit.evaluate.tasks import TEN_FOLDS, NotEnoughData, refuse_seen, select
from merit.studies.core import embedded, study
from merit.studies.workspace import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.evaluate.tasks import TaskData
    from merit.studies.workspace import Workspace

SEEN_TASK = "superclass"
"""Labels by which seen and held-out patients of the pretraining cohort are compared, where it has them."""


def _probed(
    ws: Workspace, task: str, encoder: str, encoder_seed: int, config: ProbeConfig, allow_seen: bool = False
) -> tuple[np.ndarray, TaskData, int]:
    """Features [N, D] and records of a task, and how many of its patients were seen in pretraining."""
    cohort, protocol = TASK_COHORT[task], ws.protocol(TASK_COHORT[task])
    chosen = select(task, ws.store(cohort).records, protocol=protocol, min_positives=config.min_positives)
    n_seen = refuse_seen(chosen.scored_patients(protocol), ws.seen(encoder, encoder_seed), allow_seen)
    return ws.embedding(encoder, cohort, encoder_seed)[chosen.rows], chosen, n_seen


# -- Tables 1, 4, 6 and 8 ---------------------------------------------------------------------------------------------


@study(
    over={"task": tuple(TASKS), "encoder": ENCODER_NAMES},
    needs=embedded,
    config="probe",
    columns=("variant", "scored", "class", "sd", "folds", "test_share", "test_folds"),
)
def linear_probe(
    ws: Workspace, encoder: str, task: str, encoder_seed: int = 0, allow_seen: bool = False, *, config: ProbeConfig
) -> pd.DataFrame:
    """Scores of linear heads on the embedding, as it is and standardised (`evaluate.probing.probe`).

    Both variants are trained together; `variant` chooses between them. Settings that are named change `ProbeConfig`.
    """
    from merit.evaluate.probing import probe

    features, chosen, n_seen = _probed(ws, task, encoder, encoder_seed, config, allow_seen)
    result = probe(features, chosen, config, protocol=ws.protocol(chosen.cohort), device=ws.torch_device())
    return result.assign(**{"cohort": chosen.cohort, "n_seen": n_seen, **ws.remarks(encoder, chosen.cohort)})


def lines(scores: pd.DataFrame) -> list[str]:
    """One task and encoder for the terminal: a line per variant, mean ± sd over folds in percent; or the reason."""
    first = scores.iloc[0]
    if scores["reason"].notna().any():
        return [f"{first['task']:<18} {'':<13} {first['encoder']:<7} {first['reason']}"]
    lines = []
    for variant, own in scores[scores["scored"] == "by fold"].groupby("variant", sort=False):
        told = [f"{first['task']:<18} {variant:<13} {first['encoder']:<7}"]
        for metric, name in (("auroc", "AUROC"), ("f1", "F1")):
            row = own[own["metric"] == metric].iloc[0]
            spread = "" if pd.isna(row["sd"]) else f" ± {100 * row['sd']:.1f}"
            value = "none" if pd.isna(row["value"]) else f"{100 * row['value']:.1f}{spread}"
            told.append(f"{name} {value}  ")
        lines.append(f"{' '.join(told)} ({own['n'].iloc[0]:.0f} recordings)")
    return lines


# -- by sex and age group ---------------------------------------------------------------------------------------------


def _audit_inputs(ws: Workspace, config: ProbeConfig, **given: Any) -> dict[str, str]:
    one_of("select", config.select, ("last",))  # the epoch that is scored here
    for name in ("min_records", "min_positives"):
        if given[name] < 1:
            raise ValueError(f"{name}: expected at least 1; got {given[name]}")
    return embedded(ws, **given)


@study(
    over={"task": ("superclass", "rhythm"), "encoder": ENCODER_NAMES, "variant": ("as_published",)},
    needs=_audit_inputs,
    config="probe",
    preset={"select": "last"},
    columns=("attribute", "group", "scored", "class", "classes", "against"),
)
def subgroups(
    ws: Workspace,
    encoder: str,
    task: str,
    variant: str,
    min_records: int = 50,
    min_positives: int = 10,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    *,
    config: ProbeConfig,
) -> pd.DataFrame:
    """AUROC of linear probing in each group of each `attribute`, sex and age (`evaluate.probing.compare_groups`).

    min_records, min_positives: what a group needs to be compared, and a class to count in it.
    """
    from merit.evaluate.probing import ATTRIBUTES, compare_groups, members, out_of_fold

    features, chosen, n_seen = _probed(ws, task, encoder, encoder_seed, config, allow_seen)
    how = {"variant": variant, "protocol": ws.protocol(chosen.cohort), "device": ws.torch_device()}
    logits, scored = out_of_fold(features, chosen, config, **how)
    member, least = members(ws.store(chosen.cohort).records.iloc[chosen.rows]), (min_records, min_positives)
    parts = [
        compare_groups(chosen, logits, scored, member[name], groups, config, *least).assign(attribute=name)
        for name, groups in ATTRIBUTES.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(n_seen=n_seen)


# -- rules of the published protocols: the same embeddings scored in two ways -----------------------------------------


@study(
    over={"task": ("superclass", "subclass", "csn"), "encoder": ("merit", "random"), "variant": ("as_published",)},
    needs=embedded,
    config="probe",
    preset={"select": "last"},
    columns=("rule", "scored", "sd", "n"),
)
def protocol_effects(
    ws: Workspace, encoder: str, task: str, variant: str, encoder_seed: int = 0, *, config: ProbeConfig
) -> pd.DataFrame:
    """Scores by rule in the published and the corrected form, and the effect (`evaluate.protocol_effects`)."""
    from merit.evaluate import protocol_effects as measures

    one_of("select", config.select, ("last",))  # other epochs are rules of their own
    features, chosen, _ = _probed(ws, task, encoder, encoder_seed, config)
    released = _probed(ws, "csn_as_released", encoder, encoder_seed, config)[:2] if task == "csn" else None
    unseen = refuse_seen(chosen.scored_patients(TEN_FOLDS), ws.seen(encoder, encoder_seed), allow_seen=True) == 0
    how = {"variant": variant, "protocol": ws.protocol(chosen.cohort), "device": ws.torch_device()}
    return measures.protocol_effects(features, chosen, config, **how, released=released, unseen=unseen)


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

    try:  # does a recording find its own report?
        network = ws.encoder(encoder, encoder_seed)
        if not network.shares_space:
            raise NotEnoughData(f"{encoder} was pretrained without text: it finds no reports")
        shared, text = ws.shared(encoder, cohort, encoder_seed), ws.projected_text(network)
        rows += measures.retrieval(shared, text, data.text_row, sides, encoder_seed)
    except NotEnoughData as reason:
        rows.append({**unscored, "metric": f"recall@{measures.NEAREST}", "reason": str(reason)})

    try:  # does a head read it? By the cohort's own labels, or a synthetic hospital's hidden findings.
        names, truth = store.records["labels"].tolist(), ws.truth(cohort)
        if not any(names) and truth is not None:
            table = pd.read_parquet(truth, columns=["record_id", "findings"]).astype({"record_id": str})
            findings = dict(zip(table["record_id"], table["findings"]))
            names = [list(findings.get(record, ())) for record in store.records["record_id"].astype(str)]
        labels, features = label_matrix(SEEN_TASK, names), ws.embedding(encoder, cohort, encoder_seed)
        if not labels.any():
            raise NotEnoughData(f"{store.cohort} is published without labels")
        rows += measures.held_out_probe(features, labels, sides, config, variant=variant, device=ws.torch_device())
    except NotEnoughData as reason:
        rows.append({**unscored, "metric": "auroc", "reason": str(reason)})
    return pd.DataFrame(rows).assign(cohort=cohort, n_seen=n_seen, labels=SEEN_TASK)
