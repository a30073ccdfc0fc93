"""Linear probing by sex and age group (the audits that the paper's Appendix C asks for)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from merit.config import ProbeConfig, one_of
from merit.data.taxonomy import TASK_COHORT
from merit.evaluate.subgroups import MIN_POSITIVES, MIN_RECORDS
from merit.studies.core import study
from merit.studies.workspace import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace


def _inputs(
    ws: Workspace,
    task: str,
    encoder: str,
    encoder_seed: int,
    min_records: int,
    min_positives: int,
    config: ProbeConfig,
    **_: object,
) -> dict[str, str]:
    one_of("select", config.select, ("last",))  # the epoch that is scored here
    for name, value in (("min_records", min_records), ("min_positives", min_positives)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1; got {value}")
    cohort = TASK_COHORT[task]
    return {
        "store": ws.store(cohort).identity,
        "embedding": ws.embedding_identity(encoder, cohort, encoder_seed),
        "protocol": ws.protocol(cohort),
    }


@study(
    over={"task": ("superclass", "rhythm"), "encoder": ENCODER_NAMES, "variant": ("as_published",)},
    needs=_inputs,
    config="probe",
    preset={"select": "last"},
    columns=("attribute", "group", "scored", "class", "classes", "against"),
)
def subgroups(
    ws: Workspace,
    encoder: str,
    task: str,
    variant: str,
    min_records: int = MIN_RECORDS,
    min_positives: int = MIN_POSITIVES,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    *,
    config: ProbeConfig,
) -> pd.DataFrame:
    """AUROC of linear probing in each group of each `attribute`, sex and age (`evaluate.subgroups.compare`).

    min_records, min_positives: what a group needs to be compared, and a class to count in it.
    """
    from merit.evaluate import subgroups as groups
    from merit.evaluate.tasks import refuse_seen, select

    cohort, protocol = TASK_COHORT[task], ws.protocol(TASK_COHORT[task])
    records = ws.store(cohort).records
    chosen = select(task, records, protocol=protocol, min_positives=config.min_positives)
    n_seen = refuse_seen(chosen.scored_patients(protocol), ws.seen(encoder, encoder_seed), allow_seen)
    features = ws.embedding(encoder, cohort, encoder_seed)[chosen.rows]
    logits, scored = groups.out_of_fold(
        features, chosen, config, variant=variant, protocol=protocol, device=ws.torch_device()
    )
    part, least = records.iloc[chosen.rows], {"min_records": min_records, "min_positives": min_positives}
    member = {"sex": groups.sex_groups(part["sex"]), "age": groups.age_groups(part["age"])}
    found = [
        groups.compare(chosen, logits, scored, member[name], known, config, **least).assign(attribute=name)
        for name, known in groups.ATTRIBUTES.items()
    ]
    return pd.concat(found, ignore_index=True).assign(n_seen=n_seen)
