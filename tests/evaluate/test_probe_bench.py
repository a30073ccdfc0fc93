from __future__ import annotations

import pandas as pd
import pytest

from merit.evaluate.probe_bench import measure
from merit.evaluate.settings import ProbeConfig


def test_measure_times_each_task_in_both_ways(records: pd.DataFrame) -> None:
    config = ProbeConfig(epochs=2, n_resamples=2)
    found = measure(records, dims=8, config=config, tasks=("superclass",), timed_epochs=1)
    row = found["tasks"]["superclass"]
    assert (row["records"], row["classes"]) == (480, 5)
    assert row["alone_s_per_epoch"] / row["train_s_per_epoch"] == pytest.approx(row["ratio"])
    assert found["ratio"] == pytest.approx(row["ratio"])
    assert found["probe_s"] == row["probe_s"] > 0
