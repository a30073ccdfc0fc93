"""Mutual information and geometry of ECG and text embeddings (Figure 3), and the estimators against known truths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs
from merit.config import one_of
from merit.encoders import registry
from merit.evaluate.information import InformationConfig
from merit.studies.core import study

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

ENCODERS = ("merit", "cma", "ib", "random")
SCOPES = ("unseen", "validation")
"""unseen: PTB-XL recordings with reports whose patients no encoder has seen. validation: the paper's set, the patients
of the pretraining cohort that were held out to watch the loss; no gradient and no choice came from them."""
EVALUATED = "ptb-xl"
"""The evaluated data set that has reports."""


def _cohort(ws: Workspace, scope: str) -> str:
    return EVALUATED if scope == "unseen" else ws.pretraining_cohort


def _inputs(ws: Workspace, encoder: str, scope: str, encoder_seed: int, **_: object) -> dict[str, str]:
    one_of("scope", scope, SCOPES)
    if registry.known(encoder):
        registry.entry(encoder).identity()
        raise runs.Unavailable(f"{encoder} is not pretrained here: the estimates are of encoders that are")
    pretrained = f"{ws.store(ws.pretraining_cohort).identity}:{runs.digest(ws.pretraining_rows.tolist())}"
    return {
        "embedding": ws.embedding_identity(encoder, _cohort(ws, scope), encoder_seed),
        "text": ws.text_identity,
        "pretrained": pretrained,
        "validation_share": str(ws.profile.pretrain.validation_share) if scope == "validation" else "",
    }


@study(
    over={"scope": SCOPES, "encoder": ENCODERS},
    needs=_inputs,
    config=lambda profile: InformationConfig(),
    columns=("no_vote", "n", "draws"),
)
def information(
    ws: Workspace, encoder: str, scope: str, encoder_seed: int = 0, *, config: InformationConfig
) -> dict[str, pd.DataFrame]:
    """Three estimates of mutual information and the geometry of both clouds (`evaluate.information.measure`).

    Encoders may be other bottleneck strengths, such as ib-0.1. Part "points": the picture.
    """
    from merit.evaluate.information import FEWEST, NotEnoughData, entropy, measure, one_per_report
    from merit.evaluate.tasks import refuse_seen

    model = ws.encoder(encoder, encoder_seed)
    if not model.shares_space:
        raise NotEnoughData(f"{encoder} was pretrained without text and has no shared space")
    cohort = _cohort(ws, scope)
    rows = pairs(ws, scope, encoder_seed)
    records = ws.store(cohort).records.iloc[rows]
    reports = records["report"].tolist()
    scored = [(cohort, patient) for patient in records["patient_id"].unique()]
    n_seen = refuse_seen(scored, ws.seen(encoder, encoder_seed), allow_seen=scope == "validation")
    if not reports:
        raise NotEnoughData(f"information: expected at least {FEWEST} pairs with distinct reports; got none")
    chosen = one_per_report(reports, config.most_pairs, config.seed)
    embedded = ws.embedding(encoder, cohort, encoder_seed, rows[chosen])
    text = ws.projected_text(model, [reports[i] for i in chosen])
    groups = records["group"].astype(str).to_numpy()[chosen]
    found, points = measure(model.project(embedded), text, embedded, groups, config)
    facts = {"n_pairs": len(rows), "n_reports": len(set(reports)), "n_seen": n_seen, "entropy": entropy(reports)}
    return {"scores": found.assign(cohort=cohort, **facts), "points": points}


def pairs(ws: Workspace, scope: str, encoder_seed: int) -> np.ndarray:
    """Rows of the scope's cohort that have a report."""
    cohort = _cohort(ws, scope)
    store = ws.store(cohort)
    if scope == "unseen":
        rows = np.arange(len(store.records))
        if cohort == ws.pretraining_cohort:
            rows = np.setdiff1d(rows, ws.pretraining_rows)
    else:
        from merit.data.batches import hold_out_patients, pair

        data = pair(store, ws.pretraining_rows, ws.report_embeddings())
        share, seed = ws.profile.pretrain.validation_share, ws.pretraining_seed(encoder_seed)
        rows = hold_out_patients(data, share, seed)[1].rows
    return rows[store.records["has_text"].to_numpy(bool)[rows]]


@study(over={}, needs=lambda ws: {"trial": str(ws.profile.trial)})
def known_information(ws: Workspace) -> pd.DataFrame:
    """The estimators against the truth on pairs whose mutual information is known, whatever was pretrained.

    Gaussians and cubed Gaussians of several widths and numbers, then louder private directions; a trial draws
    fewer pairs, with private directions of the ECG alone.
    """
    from merit.evaluate.information import CriticConfig, estimates_against_truth

    few, many, most = (200, 500, 500) if ws.profile.trial else (1000, 5000, 2000)
    own = ((4, 0), (65, 0)) if ws.profile.trial else ((4, 0), (20, 0), (65, 0), (65, 65))
    truths, critic = (0.0, 1.0, 2.0, 4.0), CriticConfig()
    rows = []
    for shape, width in (("gaussian", 2), ("gaussian", 4), ("gaussian", 8), ("cubed", 2)):
        rows += estimates_against_truth(shape, width, few, truths, (0, 0), critic)
    for width in (2, 4):
        rows += estimates_against_truth("gaussian", width, many, truths, (0, 0), None)
    for private in own:
        rows += estimates_against_truth("gaussian", 4, most, (0.0, 2.0), private, critic)
    return pd.DataFrame(rows)
