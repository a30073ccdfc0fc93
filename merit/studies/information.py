"""What embeddings hold of texts and of rhythms: mutual information with the report's embedding and the geometry of both
(Figure 3), the estimators against known truths, and how recordings of one rhythm lie together (Figure 4).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from merit import runs
from merit.config import one_of
from merit.data import taxonomy
from merit.encoders import registry
from merit.evaluate.clusters import ClusterConfig
from merit.evaluate.information import InformationConfig
from merit.studies.core import study
from merit.studies.workspace import ENCODER_NAMES

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

ENCODERS = ("merit", "cma", "ib", "random")
SCOPES = ("unseen", "validation")
"""unseen: PTB-XL recordings with reports whose patients no encoder has seen. validation: the paper's set, the patients
of the pretraining cohort that were held out to watch the loss; no gradient and no choice came from them."""
EVALUATED = "ptb-xl"  # the evaluated data set that has reports
KNOWN_SHAPES = (("gaussian", 2), ("gaussian", 4), ("gaussian", 8), ("cubed", 2))
"""Shape and width of known pairs on which all three estimators are tried."""


def _information_inputs(ws: Workspace, encoder: str, scope: str, encoder_seed: int, **_: object) -> dict[str, str]:
    one_of("scope", scope, SCOPES)
    if registry.known(encoder):
        registry.entry(encoder).identity()
        raise runs.Unavailable(f"{encoder} is not pretrained here: the estimates are of encoders that are")
    cohort = EVALUATED if scope == "unseen" else ws.pretraining_cohort
    return {
        "embedding": ws.embedding_identity(encoder, cohort, encoder_seed),
        "text": ws.text_identity,
        "pretrained": f"{ws.store(ws.pretraining_cohort).identity}:{runs.digest(ws.pretraining_rows.tolist())}",
        "validation_share": str(ws.profile.pretrain.validation_share) if scope == "validation" else "",
    }


@study(
    over={"scope": SCOPES, "encoder": ENCODERS},
    needs=_information_inputs,
    config=lambda profile: InformationConfig(),
    columns=("no_vote", "n", "draws"),
)
def information(
    ws: Workspace, encoder: str, scope: str, encoder_seed: int = 0, *, config: InformationConfig
) -> dict[str, pd.DataFrame]:
    """Three estimates of mutual information and the geometry of both clouds (`evaluate.information.measure`).

    Encoders may be other bottleneck strengths, such as ib-0.1. Part "points": the picture.
    """
    from merit.evaluate.information import FEWEST, NotEnoughData, measure, one_per_report
    from merit.evaluate.tasks import refuse_seen

    model = ws.encoder(encoder, encoder_seed)
    if not model.shares_space:
        raise NotEnoughData(f"{encoder} was pretrained without text and has no shared space")
    cohort, rows = pairs(ws, scope, encoder_seed)
    records = ws.store(cohort).records.iloc[rows]
    reports = records["report"].tolist()
    patients = [(cohort, patient) for patient in records["patient_id"].unique()]
    n_seen = refuse_seen(patients, ws.seen(encoder, encoder_seed), allow_seen=scope == "validation")
    if not reports:
        raise NotEnoughData(f"information: expected at least {FEWEST} pairs with distinct reports; got none")
    chosen = one_per_report(reports, config.most_pairs, config.seed)
    embedded = ws.embedding(encoder, cohort, encoder_seed, rows[chosen])
    text = ws.projected_text(model, [reports[i] for i in chosen])
    groups = records["group"].astype(str).to_numpy()[chosen]
    numbers, points = measure(model.project(embedded), text, embedded, groups, config)
    counts = Counter(reports)
    share = np.array(list(counts.values())) / len(reports)
    entropy = float(-(share * np.log(share)).sum())  # plug-in: too low where most reports occur once
    facts = {"n_pairs": len(rows), "n_reports": len(counts), "n_seen": n_seen, "entropy": entropy}
    return {"scores": numbers.assign(cohort=cohort, **facts), "points": points}


def pairs(ws: Workspace, scope: str, encoder_seed: int) -> tuple[str, np.ndarray]:
    """The scope's cohort, and rows of its store that have a report."""
    cohort = EVALUATED if scope == "unseen" else ws.pretraining_cohort
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
    return cohort, rows[store.records["has_text"].to_numpy(bool)[rows]]


@study(over={}, needs=lambda ws: {"trial": str(ws.profile.trial)})
def known_information(ws: Workspace) -> pd.DataFrame:
    """The estimators against the truth on pairs whose mutual information is known, whatever was pretrained.

    Gaussians and cubed Gaussians of several widths and numbers, then louder private directions; a `trial` draws fewer
    pairs, with private directions of the ECG alone. One row per truth and estimator (`metric`): what the pairs are,
    truth, value, for InfoNCE its ceiling and, in no_vote, why it cannot be trusted; nats.
    """
    from merit.evaluate.information import DIGITS, CriticConfig, estimate, known_pairs

    few, many, most = (200, 500, 500) if ws.profile.trial else (1000, 5000, 2000)
    own = ((4, 0), (65, 0)) if ws.profile.trial else ((4, 0), (20, 0), (65, 0), (65, 65))
    truths, critic = (0.0, 1.0, 2.0, 4.0), CriticConfig()
    plan = [(shape, width, few, truths, (0, 0), critic) for shape, width in KNOWN_SHAPES]
    plan += [("gaussian", width, many, truths, (0, 0), None) for width in (2, 4)]  # the bound would take longest
    plan += [("gaussian", 4, most, (0.0, 2.0), private, critic) for private in own]
    rows = []
    for shape, width, n, of_plan, private, with_critic in plan:
        about = {"shape": shape, "width": width, "own_ecg": private[0], "own_text": private[1], "n": n}
        for truth in of_plan:
            x, y = known_pairs(shape, width, truth, n, seed=0, private=private)
            estimates, _ = estimate(x, y, np.arange(n), with_critic)
            estimates["ksg_plain"] = {"value": estimates["ksg"]["plain"]}
            for name, of in estimates.items():
                ceiling = of["ceiling"] if name == "info_nce" else None
                row = {"metric": name, "value": round(of["value"], DIGITS), "ceiling": ceiling}
                rows.append({**about, "truth": truth, **row, "no_vote": of.get("no_vote")})
    return pd.DataFrame(rows)


# -- rhythms -----------------------------------------------------------------------------------------------------------

RHYTHM = "rhythm"
RHYTHM_COHORT = taxonomy.TASK_COHORT[RHYTHM]


def _cluster_inputs(ws: Workspace, encoder: str, encoder_seed: int, allow_seen: bool, **_: object) -> dict[str, str]:
    return {
        "embedding": ws.embedding_identity(encoder, RHYTHM_COHORT, encoder_seed),
        "store": ws.store(RHYTHM_COHORT).identity,
        "rows": runs.digest(with_rhythm(ws, allow_seen).tolist()),
    }


@study(over={"encoder": ENCODER_NAMES}, needs=_cluster_inputs, config=lambda profile: ClusterConfig())
def clusters(
    ws: Workspace, encoder: str, encoder_seed: int = 0, allow_seen: bool = False, *, config: ClusterConfig
) -> dict[str, pd.DataFrame]:
    """Purity and silhouette of PTB-XL's rhythms, in the encoder's space and in the plane of UMAP.

    On recordings that no encoder was pretrained on, unless `allow_seen`. Part "points": the plane.
    """
    from merit.evaluate.clusters import clusters as scored
    from merit.evaluate.tasks import refuse_seen

    rows = with_rhythm(ws, allow_seen)
    records = ws.store(RHYTHM_COHORT).records.iloc[rows]
    patients = records["patient_id"].unique()
    n_seen = refuse_seen([(RHYTHM_COHORT, patient) for patient in patients], ws.seen(encoder, encoder_seed), allow_seen)
    labels = taxonomy.label_matrix(RHYTHM, records["labels"].tolist())
    features = ws.embedding(encoder, RHYTHM_COHORT, encoder_seed)[rows]
    groups = records["group"].astype(str).to_numpy()
    numbers, points = scored(features, labels, groups, taxonomy.classes(RHYTHM), config, ws.folder / "numba")
    return {"scores": numbers.assign(task=RHYTHM, n_patients=len(patients), n_seen=n_seen), "points": points}


def with_rhythm(ws: Workspace, allow_seen: bool) -> np.ndarray:
    """Rows of the store with a rhythm; without those that are pretrained on, where this cohort is, unless allowed."""
    rows = np.flatnonzero(taxonomy.label_matrix(RHYTHM, ws.store(RHYTHM_COHORT).records["labels"].tolist()).any(axis=1))
    if allow_seen:
        return rows
    try:
        return np.setdiff1d(rows, ws.pretraining_rows) if ws.pretraining_cohort == RHYTHM_COHORT else rows
    except runs.Unavailable:  # nothing is pretrained on: the random encoder can still be looked at
        return rows
