"""All of `make bench`: pretraining updates, ingest, linear probing, what is kept; printed, and written as one JSON."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import torch

from merit.bench.full import FullSize, measure_full
from merit.bench.growth import growth, networks, projection
from merit.bench.updates import Plan, for_gpu, measure
from merit.config import one_of, replace
from merit.evaluate.kept.bench import in_fresh_process
from merit.pipeline import Workspace
from merit.profiles import profile
from merit.report import cost_lines
from merit.runs import commit, versions, write_json
from merit.threads import one_thread_an_operation, usable_cores

STAGES = ("updates", "ingest", "linear_probe", "kept")
MIMIC, RATED = "mimic-iv-ecg", 1000
"""What is ingested to be pretrained on, and how many recordings its rate is taken on."""
ALL = (*STAGES, "full")
"""`full` alone is left out unless asked for: it wants the memory of a large GPU."""
PTB_XL_SIZE = 21_799
"""Recordings of PTB-XL 1.0.3: the size at which probing is timed."""


def run(
    out: Path | None = None,
    data: Path | None = None,
    device: str = "auto",
    stages: Sequence[str] = STAGES,
    *,
    compiled: bool = False,
    price_per_hour: float = 3.0,
    plan: Plan | None = None,
    size: FullSize | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure, say each figure as it comes, and write a JSON where `out` says.

    data: folder with real data sets, whose PTB-XL is read and whose labels are probed; None: the demo's hospitals.
    compiled: also torch.compile on a CPU, which takes a minute; a GPU does so anyway. price_per_hour: of such a
    machine, in USD, an example. plan: for how long; None: as suits the device. size: of stage full, which is the
    paper's.
    """
    for stage in stages:
        one_of("stages", stage, ALL)
    workspace, began = Workspace.open("demo", data, device), time.perf_counter()
    kind = workspace.torch_device()
    if plan is None:
        plan = replace(Plan(), compiled=compiled) if kind == "cpu" else for_gpu()
    found: dict[str, Any] = {"about": about(kind)}
    measured = {
        "updates": lambda: measure_updates(kind, plan, price_per_hour),
        "ingest": lambda: measure_ingest(workspace),
        "linear_probe": lambda: measure_probe(workspace),
        "kept": in_fresh_process,
        "full": lambda: measure_full(torch.device(kind), size or FullSize(), say),
    }
    for stage in ALL:
        if stage in stages:
            found[stage] = measured[stage]()
            say(cost_lines.lines(stage, found))
    synthetic = workspace.synthetic if {"ingest", "linear_probe"} & set(stages) else None
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found["about"] |= {"synthetic": synthetic, "seconds": time.perf_counter() - began, "finished": finished}
    if out is not None:
        write_json(out, found)
        say(f"written to {out}")
    return found


def about(device: str) -> dict[str, Any]:
    """On what, and with what, figures are measured."""
    return {
        "format": cost_lines.FORMAT,
        "kind": device.partition(":")[0],
        "device": device_name(device),
        "cores": usable_cores(),
        "memory_gb": psutil.virtual_memory().total / 1e9,
        "commit": commit(),
        "versions": versions(),
    }


def device_name(device: str) -> str:
    """What the maker calls the GPU, or the processor."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@one_thread_an_operation()
def measure_updates(device: str, plan: Plan, price_per_hour: float) -> dict[str, Any]:
    """Updates of pretraining, on noise; operations use one thread on a CPU, as the loop's do."""
    target = torch.device(device)
    demo = profile("demo")
    found: dict[str, Any] = {
        "networks": {
            name: measure(profile(name).model, profile(name).pretrain, target, plan) for name in plan.networks
        },
        "growth": growth(demo.model, demo.pretrain, target, plan),
        "published": networks(target, plan),
    }
    return {**found, "projection": projection(found["published"][0], price_per_hour)}


def measure_ingest(workspace: Workspace) -> dict[str, float]:
    """Ingest of PTB-XL with one worker beside wfdb alone over the same files, its memory at two sizes, and the rate
    at which MIMIC-IV-ECG is ingested, where it is there.
    """
    from merit.data.ingest_bench import measure, rate

    with tempfile.TemporaryDirectory() as folder:
        found = measure(workspace.sources["ptb-xl"], "ptb-xl", Path(folder) / "stores")
        if mimic := workspace.sources.get(MIMIC):
            found["mimic_per_s"] = rate(mimic, MIMIC, Path(folder) / "mimic", RATED)
    return found


def measure_probe(workspace: Workspace) -> dict[str, Any]:
    """The five tasks of PTB-XL at its real size on random features, and the same heads one after another."""
    from merit.bench.probing import measure
    from merit.data.cohorts.registry import open_cohort

    refs = open_cohort("ptb-xl", workspace.sources["ptb-xl"]).refs()
    copies = -(-PTB_XL_SIZE // len(refs))
    records = pd.concat([refs] * copies, ignore_index=True).head(PTB_XL_SIZE)
    return measure(records.assign(record_id=[str(i) for i in range(len(records))]), timed_epochs=2)
