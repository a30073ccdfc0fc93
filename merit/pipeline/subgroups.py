"""Linear probing by sex and age group, from a workspace to results (paper, Appendix C: audits it asks for)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from merit import runs
from merit.config import ProbeConfig, one_of, replace
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.evaluate.tasks import NotEnoughData
from merit.pipeline.training import ENCODER_NAMES
from merit.pipeline.workspace import VARIANTS

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace


def subgroups(
    ws: Workspace,
    encoders: Sequence[str] = ENCODER_NAMES,
    tasks: Sequence[str] = ("superclass", "rhythm"),
    variants: Sequence[str] = ("as_published",),
    *,
    min_records: int | None = None,
    min_positives: int | None = None,
    encoder_seed: int = 0,
    allow_seen: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """One result for each task, encoder and variant; `values["attributes"]` holds sex and age (`subgroups.compare`).

    min_records, min_positives: what a group needs to be compared, and a class to count in it; None: the module's.
    `settings` change `ProbeConfig`. A task without enough recordings gives a result whose values hold a reason.
    """
    given = {k: v for k, v in settings.items() if v is not None}
    config = replace(ws.profile.probe, **{"select": "last", **given})
    one_of("select", config.select, ("last",))  # the epoch that is scored here
    least = {k: v for k, v in (("min_records", min_records), ("min_positives", min_positives)) if v is not None}
    for key, value in least.items():
        if value < 1:
            raise ValueError(f"{key}: expected at least 1; got {value}")
    for variant in variants:
        one_of("variant", variant, VARIANTS)
    results = []
    for task in tasks:
        one_of("task", task, TASKS)
        for encoder in encoders:
            for variant in variants:
                about = {"task": task, "cohort": TASK_COHORT[task], "encoder": encoder, "variant": variant}
                results.append(_one(ws, about, config, least, encoder_seed, allow_seen))
    return results


def _one(
    ws: Workspace, about: dict[str, str], config: ProbeConfig, least: dict[str, int], seed: int, allow_seen: bool
) -> dict[str, Any]:
    """The result of one task, encoder and variant, read where it is."""
    cohort = about["cohort"]
    try:
        inputs = {
            "store": ws.store(cohort).identity,
            "embedding": ws.embedding_identity(about["encoder"], cohort, seed),
        }
    except runs.Unavailable as reason:
        return {"stage": "subgroups", "id": None, "values": {**about, "reason": str(reason)}, "parameters": {}}
    parameters = {
        **about, **least, "encoder_seed": seed, "protocol": ws.protocol(cohort), "allow_seen": allow_seen,
        "probe": asdict(config),
    }  # fmt: skip
    return ws.result(
        "subgroups", lambda: _values(ws, about, config, least, seed, allow_seen), parameters, inputs,
        ["merit.evaluate.subgroups", "merit.evaluate.tasks"], seed=config.seed,
    )  # fmt: skip


def _values(
    ws: Workspace, about: dict[str, str], config: ProbeConfig, least: dict[str, int], seed: int, allow_seen: bool
) -> dict[str, Any]:
    from merit.evaluate import subgroups as groups
    from merit.evaluate.tasks import refuse_seen, select

    store, protocol = ws.store(about["cohort"]), ws.protocol(about["cohort"])
    try:
        task = select(about["task"], store.records, protocol=protocol, min_positives=config.min_positives)
    except NotEnoughData as reason:
        return {**about, "reason": str(reason)}
    n_seen = refuse_seen(task.scored_patients(protocol), ws.seen(about["encoder"], seed), allow_seen)
    features = ws.embedding(about["encoder"], about["cohort"], seed)[task.rows]
    logits, scored = groups.out_of_fold(
        features, task, config, variant=about["variant"], protocol=protocol, device=ws.torch_device()
    )
    part = store.records.iloc[task.rows]
    member = {"sex": groups.sex_groups(part["sex"]), "age": groups.age_groups(part["age"])}
    attributes = {
        name: groups.compare(task, logits, scored, member[name], known, config, **least)
        for name, known in groups.ATTRIBUTES.items()
    }
    return {
        **about, "protocol": protocol, "classes": list(task.classes), "n_records": int(scored.any(axis=1).sum()),
        "n_patients": len(set(task.patients[scored.any(axis=1)])), "n_seen": n_seen, "attributes": attributes,
    }  # fmt: skip
