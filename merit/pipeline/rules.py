"""How much each rule of the published protocols is worth (page `protocol`): the same embeddings, scored in two ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from merit import runs
from merit.config import ProbeConfig, one_of, replace
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.encoders import registry
from merit.evaluate.splits import NotEnoughData
from merit.pipeline.workspace import VARIANTS

if TYPE_CHECKING:
    import numpy as np

    from merit.data.store import Store
    from merit.evaluate.tasks import TaskData
    from merit.pipeline.workspace import Workspace

SEEN_TASK = "superclass"
"""Labels by which seen and held-out patients of the pretraining cohort are compared, where it has them."""


def rules(
    ws: Workspace,
    encoders: Sequence[str] = ("merit", "random"),
    tasks: Sequence[str] = ("superclass", "subclass", "csn"),
    *,
    variant: str = "as_published",
    encoder_seed: int = 0,
    **settings: Any,
) -> list[dict[str, Any]]:
    """One result for each rule, metric, task and encoder; `settings` change `ProbeConfig`.

    values: {task, encoder, variant, protocol, n_records, n_patients, rule, metric, published, proper, worth, spread,
    spread_over, by_fold, ...}, fractions, or {task, encoder, rule, reason}. All lines of one task and encoder lie in
    one result file. The rule "seen" has the task "pretraining": it compares patients of the pretraining cohort.
    """
    one_of("variant", variant, VARIANTS)
    given = {k: v for k, v in settings.items() if v is not None}
    config = replace(ws.profile.probe, **{"select": "last", **given})
    one_of("select", config.select, ("last",))  # other epochs are rules of their own
    results = []
    for task in tasks:
        one_of("task", task, TASKS)
        for encoder in encoders:
            results += _lines(encoder, task, lambda e=encoder, t=task: _task(ws, e, t, variant, config, encoder_seed))
    for encoder in encoders:
        results += _lines(encoder, "pretraining", lambda e=encoder: _pretraining(ws, e, variant, config, encoder_seed))
    return results


def _lines(encoder: str, task: str, make: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """A result file's rows, each as a result of its own."""
    try:
        result = make()
    except runs.Unavailable as reason:
        rule = "seen" if task == "pretraining" else "all"
        values = {"rows": [{"rule": rule, "reason": str(reason)}]}
        result = {"stage": "rules", "id": None, "parameters": {}, "inputs": {}, "seconds": 0.0, "values": values}
    common = {k: v for k, v in result["values"].items() if k != "rows"}
    about = {"task": task, "encoder": encoder} | common
    return [{**result, "values": about | row} for row in result["values"]["rows"]]


def _task(ws: Workspace, encoder: str, task: str, variant: str, config: ProbeConfig, seed: int) -> dict[str, Any]:
    """The result of one task and encoder."""
    cohort = TASK_COHORT[task]
    protocol = ws.protocol(cohort)
    inputs = {"store": ws.store(cohort).identity, "embedding": ws.embedding_identity(encoder, cohort, seed)}
    parameters = {
        "encoder": encoder, "encoder_seed": seed, "task": task, "variant": variant, "protocol": protocol,
        "probe": asdict(config),
    }  # fmt: skip
    modules = ["merit.evaluate.rules", "merit.evaluate.seen"]
    compute = lambda: _task_values(ws, encoder, task, variant, config, seed, protocol)  # noqa: E731
    return ws.result("rules", compute, parameters, inputs, modules, seed=config.seed)


def _task_values(
    ws: Workspace, encoder: str, task: str, variant: str, config: ProbeConfig, seed: int, protocol: str
) -> dict[str, Any]:
    from merit.evaluate.rules import Setting, head, worth_of_rules
    from merit.evaluate.seen import refuse_seen
    from merit.evaluate.splits import TEN_FOLDS
    from merit.evaluate.tasks import select

    store = ws.store(TASK_COHORT[task])
    embedding = ws.embedding(encoder, TASK_COHORT[task], seed)
    setting = Setting(config=config, variant=variant, protocol=protocol, device=ws.torch_device())

    def one(name: str) -> tuple[np.ndarray, TaskData]:
        chosen = select(name, store.records, protocol=protocol, min_positives=config.min_positives)
        refuse_seen(chosen.scored_patients(protocol), ws.seen(encoder, seed))
        return embedding[chosen.rows], chosen

    try:
        features, chosen = one(task)
        released = one("csn_as_released") if task == "csn" else None
    except NotEnoughData as reason:
        return {"rows": [{"rule": "all", "reason": str(reason)}]}
    unseen = refuse_seen(chosen.scored_patients(TEN_FOLDS), ws.seen(encoder, seed), allow_seen=True) == 0
    return {
        **head(chosen, setting),
        "rows": worth_of_rules(features, chosen, setting, released=released, unseen=unseen),
    }


def _pretraining(ws: Workspace, encoder: str, variant: str, config: ProbeConfig, seed: int) -> dict[str, Any]:
    """The result of one encoder on patients that it was pretrained on, and on those held out."""
    if registry.known(encoder):
        raise runs.Unavailable(
            f"{encoder} was not pretrained here: none of these patients was held out of its training"
        )
    cohort, share = ws.pretraining_cohort, ws.profile.pretrain.validation_share
    rows = ws.pretraining_rows
    inputs = {
        "store": ws.store(cohort).identity, "rows": runs.digest(rows.tolist()), "text": ws.text_identity,
        "embedding": ws.embedding_identity(encoder, cohort, seed), "encoder": ws.encoder_identity(encoder, seed),
        "truth": runs.file_digest(ws.truth(cohort)),
    }  # fmt: skip
    parameters = {
        "encoder": encoder, "encoder_seed": seed, "task": "pretraining", "cohort": cohort, "variant": variant,
        "validation_share": share, "probe": asdict(config), "labels": SEEN_TASK,
    }  # fmt: skip
    modules = ["merit.evaluate.rules_seen", "merit.evaluate.seen", "merit.data.batches", "merit.data.taxonomy"]
    compute = lambda: _pretraining_values(ws, encoder, variant, config, seed)  # noqa: E731
    return ws.result("rules", compute, parameters, inputs, modules, seed=config.seed)


def _pretraining_values(ws: Workspace, encoder: str, variant: str, config: ProbeConfig, seed: int) -> dict[str, Any]:
    """This is the one place that scores patients seen in pretraining: it is what is measured, and is marked."""
    from merit.data.batches import hold_out_patients, pair
    from merit.evaluate import rules_seen
    from merit.evaluate.seen import refuse_seen

    cohort, store = ws.pretraining_cohort, ws.store(ws.pretraining_cohort)
    data = pair(store, ws.pretraining_rows, ws.report_embeddings())
    training, validation = hold_out_patients(data, ws.profile.pretrain.validation_share, ws.pretraining_seed(seed))
    patients = store.records["patient_id"].astype(str).to_numpy(dtype=object)
    sides = rules_seen.Sides(training.rows, validation.rows, patients)
    pairs = [(cohort, patient) for patient in set(patients[training.rows])]
    n_seen = refuse_seen(pairs, ws.seen(encoder, seed), allow_seen=True)

    def retrieved() -> list[dict[str, Any]]:
        """What retrieval scores by each rule; nothing without a shared space."""
        network = ws.encoder(encoder, seed)
        if not network.shares_space:
            raise NotEnoughData(f"{encoder} was pretrained without text: it finds no reports")
        return rules_seen.retrieval(
            ws.shared(encoder, cohort, seed), ws.projected_text(network), data.text_row, sides, seed
        )

    def probed() -> list[dict[str, Any]]:
        labels = _labels(ws, store)
        features = ws.embedding(encoder, cohort, seed)
        return [rules_seen.probing(features, labels, sides, config, variant=variant, device=ws.torch_device())]

    rows = _or_reason(f"recall@{rules_seen.NEAREST}", retrieved) + _or_reason("auroc", probed)
    return {"cohort": cohort, "variant": variant, "n_seen_patients": n_seen, "labels": SEEN_TASK, "rows": rows}


def _or_reason(metric: str, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return make()
    except NotEnoughData as reason:
        return [{"rule": "seen", "metric": metric, "reason": str(reason)}]


def _labels(ws: Workspace, store: Store) -> np.ndarray:
    """bool [N, C] of SEEN_TASK: the cohort's own labels, or a synthetic hospital's hidden findings."""
    import pandas as pd

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
