"""Figure 3: mutual information and geometry of ECG and text embeddings, an encoder at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from merit import runs
from merit.config import one_of, replace
from merit.encoders import registry
from merit.evaluate.information import InformationConfig
from merit.evaluate.tasks import NotEnoughData

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

ENCODERS = ("merit", "cma", "ib", "random")
SCOPES = ("unseen", "validation")
"""unseen: PTB-XL recordings with reports whose patients no encoder met. validation: the paper's set, the patients of
the pretraining cohort that were held out to watch the loss; no gradient and no choice came from them."""
EVALUATED = "ptb-xl"
"""The evaluated data set that has reports."""
MODULES = ("merit.evaluate.information", "merit.evaluate.tasks", "merit.data.batches")


def information(
    ws: Workspace,
    encoders: Sequence[str] = ENCODERS,
    scopes: Sequence[str] = SCOPES,
    *,
    encoder_seed: int = 0,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Results, one per set of pairs and encoder (names of other bottleneck strengths included); `settings` change
    `InformationConfig`.

    A set with too few pairs, a missing data set or an encoder without shared space gives a result whose values hold a
    reason in place of numbers.
    """
    config = replace(InformationConfig(), **{k: v for k, v in settings.items() if v is not None})
    for scope in scopes:
        one_of("scope", scope, SCOPES)
    return [_one(ws, encoder, scope, config, encoder_seed) for scope in scopes for encoder in encoders]


def _one(ws: Workspace, encoder: str, scope: str, config: InformationConfig, seed: int) -> dict[str, Any]:
    parameters = {"encoder": encoder, "encoder_seed": seed, "variant": scope, "information": config}
    try:
        if registry.known(encoder):
            registry.entry(encoder).identity()
            raise runs.Unavailable(f"{encoder} is not pretrained here: the estimates are of encoders that are")
        cohort = EVALUATED if scope == "unseen" else ws.pretraining_cohort
        inputs = {"embedding": ws.embedding_identity(encoder, cohort, seed), "text": ws.text_identity}
        rows = ws.pretraining_rows
        inputs["pretrained"] = f"{ws.store(ws.pretraining_cohort).identity}:{runs.digest(rows.tolist())}"
    except runs.Unavailable as reason:
        return {"stage": "information", "id": None, "values": _reason(encoder, scope, str(reason)), "parameters": {}}
    if scope == "validation":
        parameters["validation_share"] = ws.profile.pretrain.validation_share
    return ws.result(
        "information", lambda: _values(ws, encoder, scope, cohort, config, seed), parameters, inputs, MODULES,
        seed=config.seed,
    )  # fmt: skip


def _reason(encoder: str, scope: str, reason: str) -> dict[str, Any]:
    return {"encoder": encoder, "scope": scope, "reason": reason}


def _values(
    ws: Workspace, encoder: str, scope: str, cohort: str, config: InformationConfig, seed: int
) -> dict[str, Any]:
    from merit.evaluate.information import FEWEST, entropy, measure, one_per_report
    from merit.evaluate.tasks import refuse_seen

    model = ws.encoder(encoder, seed)
    if not model.shares_space:
        return _reason(encoder, scope, f"{encoder} was pretrained without text and has no shared space")
    rows = _rows(ws, scope, cohort, seed)
    records = ws.store(cohort).records.iloc[rows]
    reports = records["report"].tolist()
    scored = [(cohort, patient) for patient in records["patient_id"].unique()]
    n_seen = refuse_seen(scored, ws.seen(encoder, seed), allow_seen=scope == "validation")
    chosen = one_per_report(reports, config.most_pairs, config.seed)
    about = {
        "encoder": encoder, "scope": scope, "cohort": cohort, "n_pairs": len(rows), "n_reports": len(set(reports)),
        "n_seen": n_seen, "entropy": entropy(reports) if reports else 0.0,
    }  # fmt: skip
    texts = [reports[i] for i in chosen]
    try:
        if not texts:
            raise NotEnoughData(f"information: expected at least {FEWEST} pairs with distinct reports; got none")
        embedded = ws.embedding(encoder, cohort, seed, rows[chosen])
        text = ws.projected_text(model, texts)
        groups = records["group"].astype(str).to_numpy()[chosen]
        return about | measure(model.project(embedded), text, embedded, groups, config)
    except NotEnoughData as reason:
        return about | {"reason": str(reason)}


def _rows(ws: Workspace, scope: str, cohort: str, seed: int) -> np.ndarray:
    """Rows of the cohort's store with a report, of the scope."""
    store = ws.store(cohort)
    has_text = store.records["has_text"].to_numpy(bool)
    if scope == "unseen":
        rows = np.arange(len(store.records))
        if cohort == ws.pretraining_cohort:
            rows = np.setdiff1d(rows, ws.pretraining_rows)
    else:
        from merit.data.batches import hold_out_patients, pair

        data = pair(store, ws.pretraining_rows, ws.report_embeddings())
        held_out = hold_out_patients(data, ws.profile.pretrain.validation_share, ws.pretraining_seed(seed))
        rows = held_out[1].rows
    return rows[has_text[rows]]


def known_information(ws: Workspace) -> dict[str, Any]:
    """The estimators against the truth on pairs whose mutual information is known; one result, whatever was pretrained.

    A trial (`ws.trial`) draws fewer pairs, with private directions of the ECG alone.
    """
    few, many, most = (200, 500, 500) if ws.trial else (1000, 5000, 2000)
    plan = [
        ("gaussian", 2, few, True), ("gaussian", 4, few, True), ("gaussian", 8, few, True), ("cubed", 2, few, True),
        ("gaussian", 2, many, False), ("gaussian", 4, many, False),
    ]  # fmt: skip
    own = ((4, 0), (65, 0)) if ws.trial else ((4, 0), (20, 0), (65, 0), (65, 65))
    parameters = {
        "plan": plan, "truths": [0.0, 1.0, 2.0, 4.0], "critic": InformationConfig().critic,
        "private": {"own": own, "n": most, "truths": [0.0, 2.0], "width": 4},
    }  # fmt: skip

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        from merit.evaluate.information import estimates_against_truth

        rows, private = [], parameters["private"]
        for shape, width, n, with_critic in plan:
            critic = parameters["critic"] if with_critic else None
            rows += estimates_against_truth(shape, width, parameters["truths"], n, critic)
        for of_each in private["own"]:
            rows += estimates_against_truth(
                "gaussian", private["width"], private["truths"], private["n"], parameters["critic"], private=of_each
            )
        return {"rows": rows}

    return ws.result("known_information", compute, parameters, {}, ["merit.evaluate.information"], seed=0)
