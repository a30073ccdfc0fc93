from __future__ import annotations

import pandas as pd
import pytest
from merit.evaluate.probe_bench import measure

from merit.config import ProbeConfig
from merit.evaluate import probe_bench


def test_measure_times_each_task_in_both_ways(records: pd.DataFrame) -> None:
    config = ProbeConfig(epochs=2, n_resamples=2)
    found = measure(records, dims=8, config=config, tasks=("superclass",))
    row = found["tasks"]["superclass"]
    assert (row["records"], row["classes"]) == (480, 5)
    assert row["alone_s"] / row["together_s"] == pytest.approx(row["ratio"]) == pytest.approx(found["ratio"])
    assert found["probe_s"] == row["probe_s"] > 0


def test_a_whole_run_is_extrapolated_from_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(probe_bench.time, "perf_counter", lambda: clock[0])

    def run(config: ProbeConfig) -> None:
        clock[0] += 5 + 2 * config.epochs

    assert probe_bench._whole_run(run, ProbeConfig(epochs=100), 3) == pytest.approx(5 + 2 * 100)
