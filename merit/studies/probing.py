"""Linear probing of every encoder on every task (Tables 1, 4, 6 and 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from merit.config import ProbeConfig
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.studies.core import study
from merit.studies.workspace import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace


def _inputs(ws: Workspace, task: str, encoder: str, encoder_seed: int, **_: object) -> dict[str, str]:
    cohort = TASK_COHORT[task]
    return {
        "store": ws.store(cohort).identity,
        "embedding": ws.embedding_identity(encoder, cohort, encoder_seed),
        "protocol": ws.protocol(cohort),
    }


@study(
    over={"task": tuple(TASKS), "encoder": ENCODER_NAMES},
    needs=_inputs,
    config="probe",
    columns=("variant", "scored", "class", "sd", "folds", "test_share", "test_folds"),
)
def linear_probe(
    ws: Workspace,
    encoder: str,
    task: str,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    *,
    config: ProbeConfig,
) -> pd.DataFrame:
    """Scores of linear heads on the embedding, as it is and standardised (`evaluate.probing.probe`).

    Both variants are trained together; `variant` chooses between them. Settings that are named change `ProbeConfig`.
    """
    from merit.evaluate.probing import probe
    from merit.evaluate.tasks import refuse_seen, select

    cohort, protocol = TASK_COHORT[task], ws.protocol(TASK_COHORT[task])
    chosen = select(task, ws.store(cohort).records, protocol=protocol, min_positives=config.min_positives)
    n_seen = refuse_seen(chosen.scored_patients(protocol), ws.seen(encoder, encoder_seed), allow_seen)
    features = ws.embedding(encoder, cohort, encoder_seed)[chosen.rows]
    found = probe(features, chosen, config, protocol=protocol, device=ws.torch_device())
    return found.assign(**{"cohort": cohort, "n_seen": n_seen, **ws.remarks(encoder, cohort)})


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
