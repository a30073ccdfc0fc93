"""What an update costs as recordings, batch and width grow, by objective, and in the networks at published sizes; from
that, how long the paper's run would take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from merit.bench.clock import Pace, Turn, beside, compare, forget_peak, peak_mb, product
from merit.bench.feeds import DISTINCT, ENDLESS, noise_uv, paired
from merit.bench.updates import Plan, Trainee, use
from merit.config import OBJECTIVE_NAMES, EncoderConfig, ModelConfig, PretrainConfig, replace
from merit.data.batches import PairedRecordings
from merit.pretrain.feed import feed
from merit.pretrain.loop import positions
from merit.profiles import paper
from merit.studies.framework import facts

PAPER_RECORDINGS = 745_916
"""Recordings of the paper's training part (App. A.1)."""
GOALS_H = (4, 2)
"""Hours in which an objective should be pretrained, and might be."""


class Member(NamedTuple):
    """One of several networks that are compared, and the recordings that it sees."""

    model: ModelConfig
    config: PretrainConfig
    data: PairedRecordings


def growth(
    model: ModelConfig, config: PretrainConfig, device: torch.device, plan: Plan
) -> dict[str, list[dict[str, Any]]]:
    """`records`, `batch`, `width`, one changed at a time, and `objective`: a row a value, with samples a second and the
    speed beside the first value's.
    """
    signal_uv = noise_uv(min(max(plan.sizes), DISTINCT), model)

    def seen(n: int = plan.sizes[0]) -> PairedRecordings:
        return paired(signal_uv[:n], n, model)

    def widened(width: int) -> ModelConfig:
        return replace(model, encoder=replace(model.encoder, width=width))

    families = {
        "records": {n: Member(model, config, seen(n)) for n in plan.sizes},
        "batch": {size: Member(model, replace(config, batch=size), seen()) for size in plan.batches},
        "width": {width: Member(widened(width), config, seen()) for width in plan.widths},
        "objective": {name: Member(model, replace(config, objective=name), seen()) for name in OBJECTIVE_NAMES},
    }
    return {name: family(members, plan.few, device) for name, members in families.items()}


def family(members: Mapping[Any, Member], pace: Pace, device: torch.device) -> list[dict[str, Any]]:
    """Value -> network, measured in turns; a row each, `ratio` beside the first. Fed as the loop would choose."""
    turns = {str(value): _turn(member, device) for value, member in members.items()}
    rates = beside(compare(turns, pace, device), next(iter(turns)))
    return [{"value": value, **rates[str(value)]} for value in members]


def _turn(member: Member, device: torch.device) -> Turn:
    model, config, data = member
    batches = feed(data, device).batches(lambda update: positions(len(data), update, config), 0, ENDLESS)
    return Trainee(model, config, len(data), device).fed(batches)


def published() -> dict[str, ModelConfig]:
    """The paper profile's network, and the other reading of "one-dimensional TinyViT" at its published size."""
    model = paper().model
    found = {"vit": model}
    if "kind" in {field.name for field in dataclasses.fields(EncoderConfig)}:
        found["tiny_vit"] = replace(model, encoder=replace(model.encoder, kind="tiny_vit"))
    return found


def networks(device: torch.device, plan: Plan) -> list[dict[str, Any]]:
    """A row a published network: samples a second beside the first, parameters, FLOPs, utilisation, on a GPU memory."""
    config = replace(paper().pretrain, batch=plan.published_batch)
    memory: dict[str, float | None] = {}
    turns = {}
    for name, model in published().items():
        n = 2 * config.batch
        forget_peak(device)
        turns[name] = _turn(Member(model, config, paired(noise_uv(n, model), n, model)), device)
        turns[name].go(1)
        memory[name] = peak_mb(device) if device.type == "cuda" else None  # a CPU's would be that of what ran before
    turns["product"] = product(device, plan.product)
    turns["product"].go(1)
    seconds = compare(turns, plan.slow, device)
    products = seconds.pop("product")
    rates = beside(seconds, next(iter(seconds)))
    rows = []
    for name, model in published().items():
        about = facts(model)
        size = {"batch": config.batch, "parameters": sum(about["parameters"].values()), "peak_mb": memory[name]}
        rows.append({"value": name, **size, **rates[name], **use(about, seconds[name], products, plan.product)})
    return rows


def projection(network: Mapping[str, Any], price_per_hour: float) -> dict[str, Any]:
    """The paper's run at the measured rate of its network: hours, money, and what its goals would need.

    network: a row of `networks`. `arithmetic_h`: hours at the rate of a matrix product, which nothing can beat.
    """
    config = paper().pretrain
    samples = config.epochs * PAPER_RECORDINGS
    hours = samples / network["samples_per_s"] / 3600
    return {
        "recordings": PAPER_RECORDINGS, "epochs": config.epochs, "batch": config.batch,
        "measured_batch": network["batch"], "samples_per_s": network["samples_per_s"], "hours": hours,
        "arithmetic_h": hours * network["utilisation"],
        "price_per_hour": price_per_hour, "currency": "USD", "price": hours * price_per_hour,
        "goals": [{"hours": goal, "samples_per_s": samples / goal / 3600} for goal in GOALS_H],
    }  # fmt: skip
