"""What does not fit a newcomer's twenty minutes: several pretraining seeds of every objective, as committed numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from merit import runs
from merit.config import OBJECTIVE_NAMES
from merit.pipeline.training import ENCODER_NAMES
from merit.pipeline.workspace import Workspace
from merit.threads import usable_cores

KEPT = ("task", "encoder", "variant", "protocol", "n_records", "mean", "sd", "pooled", "reason")
"""Of each result's values; the rest is in the result files of the run."""


def make_reference(workspace: Workspace, seeds: int, folder: Path) -> Path:
    """Linear probing of every encoder at `seeds` seeds into `folder/linear_probe-<run>.json`: numbers, provenance.

    A run that was stopped goes on where it was: every checkpoint and every result is kept as it is made.
    """
    workspace.checkpoints(OBJECTIVE_NAMES, range(seeds))
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for result in workspace.linear_probe(ENCODER_NAMES, encoder_seed=seed):
            values = {name: result["values"][name] for name in KEPT if name in result["values"]}
            rows.append({"encoder_seed": seed, "id": result["id"], "seconds": result["seconds"], **values})
    path = folder / f"linear_probe-{workspace.folder.name}.json"
    about = {"profile": workspace.profile.name, "synthetic": workspace.synthetic, "seeds": seeds}
    where = {
        "device": workspace.torch_device(),
        "cores": usable_cores(),
        "finished": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    runs.write_json(path, {**about, **where, "commit": runs.commit(), "versions": runs.versions(), "results": rows})
    return path
