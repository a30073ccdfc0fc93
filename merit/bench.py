"""How fast the stages are, as ratios taken in one run: ingest, linear probing, pretraining. `make bench` prints it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from merit.config import OBJECTIVE_NAMES, replace
from merit.pipeline import Workspace
from merit.runs import commit, versions, write_json
from merit.threads import usable_cores

PTB_XL_SIZE = 21_799
"""Recordings of PTB-XL 1.0.3: the size at which probing is timed."""


def run(out: Path | None, data: Path | None) -> dict[str, Any]:
    """Measure, print, and write a JSON where `out` says.

    data: folder with real data sets, whose PTB-XL is read and whose labels are probed; None: the demo's hospitals.
    """
    workspace = Workspace.open("demo", data)
    found = {
        "ingest": measure_ingest(workspace),
        "linear_probe": measure_probe(workspace),
        "pretraining": measure_pretraining(workspace),
        "about": {
            "synthetic": workspace.synthetic,
            "cores": usable_cores(),
            "commit": commit(),
            "versions": versions(),
        },
    }
    print(describe(found))
    if out is not None:
        write_json(out, found)
    return found


def measure_ingest(workspace: Workspace) -> dict[str, float]:
    """Ingest of PTB-XL with one worker beside wfdb alone over the same files, and its peak memory at two sizes."""
    from merit.data.ingest_bench import measure

    with tempfile.TemporaryDirectory() as folder:
        return measure(workspace.sources["ptb-xl"], "ptb-xl", Path(folder) / "stores")


def measure_probe(workspace: Workspace) -> dict[str, Any]:
    """The five tasks of PTB-XL at its real size on random features, and the same heads one after another."""
    from merit.data.cohorts.registry import open_cohort
    from merit.evaluate.probe_bench import measure

    refs = open_cohort("ptb-xl", workspace.sources["ptb-xl"]).refs()
    copies = -(-PTB_XL_SIZE // len(refs))
    records = pd.concat([refs] * copies, ignore_index=True).head(PTB_XL_SIZE)
    return measure(records.assign(record_id=[str(i) for i in range(len(records))]), timed_epochs=3)


def measure_pretraining(workspace: Workspace, updates: int = 30) -> dict[str, Any]:
    """Recordings a second of each objective in the demo's size, data path and all, and the cost beside that of cma."""
    from merit.data.batches import pair
    from merit.pretrain.loop import pretrain

    cohort, text = workspace.pretraining_cohort, workspace.report_embeddings()
    data = pair(workspace.store(cohort), workspace.pretraining_rows, text)
    model = replace(workspace.profile.model, text_width=text.shape[1])
    rates = {}
    for objective in OBJECTIVE_NAMES:
        config = replace(workspace.profile.pretrain, objective=objective, updates=updates)
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            pretrain(data, model, config, Path(folder), cohort=cohort, device=workspace.torch_device(), progress=False)
            rates[objective] = updates * config.batch / (time.perf_counter() - began)
    return {"recordings_per_s": rates, "cost_beside_cma": {name: rates["cma"] / rate for name, rate in rates.items()}}


def describe(found: dict[str, Any]) -> str:
    """The figures as lines."""
    ingest, probe, pretraining = found["ingest"], found["linear_probe"], found["pretraining"]
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in pretraining["recordings_per_s"].items())
    return "\n".join(
        [
            f"ingest: {ingest['ratio']:.2f} times wfdb alone per core, {ingest['recordings_per_s']:.0f} recordings/s, "
            f"memory {ingest['peak_mb_500']:.0f} MB at 500 and {ingest['peak_mb_2000']:.0f} MB at 2,000 recordings",
            f"linear probing: {probe['probe_s']:.1f} s for five tasks, both variants; one fold after another takes "
            f"{probe['ratio']:.1f} times as long",
            f"pretraining, recordings/s: {rates}",
        ]
    )
