"""The lines that `make bench` prints say every figure that was measured."""

from __future__ import annotations

from merit.bench import describe


def test_describe():
    found = {
        "ingest": {"ratio": 1.1, "recordings_per_s": 300.0, "peak_mb_500": 250.0, "peak_mb_2000": 254.0},
        "linear_probe": {"probe_s": 70.0, "ratio": 9.0},
        "pretraining": {"recordings_per_s": {"merit": 150.0, "cma": 330.0}},
    }
    text = describe(found)
    for shown in (
        "1.10 times wfdb",
        "300 recordings/s",
        "250 MB",
        "254 MB",
        "70.0 s",
        "9.0 times",
        "merit 150, cma 330",
    ):
        assert shown in text
