"""Factors measured on a store's recordings, kept as a table; and how well such measurements agree with manual marks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from merit import runs
from merit.data.store import Store
from merit.threads import usable_cores

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

MODULES = ("merit.evaluate.retention_factors",)
LUDB = "ludb"
"""Folder of LUDB under the data root."""
CEILING_MODULES = ("merit.evaluate.retention_reliability",)


def identity(store: Store) -> str:
    """Of the table of a store's measured factors: its signals, the library and our code around it."""
    from merit.evaluate.retention_factors import version

    return runs.identity("measured", {"neurokit2": version()}, {"store": store.identity}, MODULES)


def measured(ws: Workspace, cohort: str, progress: bool = True) -> pd.DataFrame:
    """A row a record of the cohort's store, with its record_id and the columns of `synthetic.truth`; NaN: not measured.

    Delineated once, which takes a tenth of a second of a core a recording, and read from then on.
    """
    store = ws.store(cohort)
    key = identity(store)
    path = ws.folder / "measured" / f"{cohort}-{key}.parquet"
    runs.once(path, lambda: _write(path, store, progress))
    ws.used[f"delineation {cohort}"] = {"id": key, "device": "cpu"}
    return pd.read_parquet(path)


def _write(path: Path, store: Store, progress: bool) -> None:
    from merit.evaluate.retention_factors import measure_recordings

    table = measure_recordings(store.signal_uv, store.fs_hz, usable_cores(), progress)
    table.insert(0, "record_id", store.records["record_id"].astype(str).to_numpy())
    with runs.new_file(path) as made:
        table.to_parquet(made, index=False)


def ceiling(ws: Workspace, n_resamples: int = 2000, seed: int = 0, progress: bool = True) -> list[dict[str, Any]]:
    """How well measured factors agree with LUDB's manual marks, as `evaluate.retention_reliability` gives it, with 95 %
    intervals over records; [] where there is no LUDB beside the other data.
    """
    if ws.data is None or not (ws.data / LUDB / "data").is_dir():
        return []
    from merit.evaluate import retention_reliability
    from merit.evaluate.retention_factors import version

    root = ws.data / LUDB
    parameters = {
        "delineators": retention_reliability.DELINEATORS,
        "n_resamples": n_resamples,
        "neurokit2": version(),
    }
    inputs = {"ludb": runs.digest([runs.file_digest(path) for path in retention_reliability.files(root)])}

    def compute() -> dict[str, Any]:
        """The values of the stage."""
        found = retention_reliability.measure_agreement(
            root, n_resamples=n_resamples, seed=seed, workers=usable_cores(), progress=progress
        )
        return {"rows": found}

    return ws.result("ceiling", compute, parameters, inputs, CEILING_MODULES, seed=seed)["values"]["rows"]
