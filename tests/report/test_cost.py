"""Measurements as text, and the page `cost` on made-up ones: each figure is read from a file, and what lacks is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merit.report import cost


def beside(ratio: float, rate: float) -> dict:
    return {"samples_per_s": rate, "ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01}


SAME = {"ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0}


def measurement(kind: str = "cpu", device: str = "Chip <9>", rate: float = 160.0) -> dict:
    """What `merit bench` writes, in round numbers."""
    paths = {
        "resident": {"samples_per_s": rate, **SAME},
        "streamed": beside(0.98, 157.0),
        "loader_0": beside(0.75, 120.0),
        "loader_2": beside(0.9, 144.0),
    }
    network = {
        "batch": 32, "records": 4000, "objective": "merit", "update_s": 0.2, "paths": paths, "feeds_alone": paths,
        "parts_s": {"data": 0.002, "forward": 0.078, "backward": 0.118, "optimiser": 0.002},
        "forward_flops": 60_000_000, "utilisation": 0.16, "peak_mb": 567.4,
        "product": {"size": 1024, "flops_per_s": 180e9},
    }  # fmt: skip
    row = {"batch": 8, "parameters": 8_950_000, "forward_flops": 5_953_000_000, "utilisation": 0.25, "peak_mb": None}
    return {
        "about": {
            "format": cost.FORMAT, "kind": kind, "device": device, "cores": 2, "memory_gb": 8.2,
            "commit": "abc", "versions": {"torch": "2", "python": "3"}, "finished": "2026-11-21T15:00:00Z",
            "seconds": 290.0, "synthetic": True,
        },
        "updates": {
            "networks": {"demo": network},
            "growth": {
                "objective": [{"value": "merit", "samples_per_s": 160.0, **SAME}, {"value": "ib", **beside(2.2, 352)}]
            },
            "published": [
                {"value": "vit", "samples_per_s": 2.5, **SAME, **row},
                {"value": "tiny_vit", **beside(7.4, 18.5), **row},
            ],
            "projection": {
                "recordings": 745_916, "epochs": 200.0, "batch": 128, "measured_batch": 8, "samples_per_s": 2.5,
                "hours": 16_575.9, "arithmetic_h": 4144.0, "price_per_hour": 3.0,
                "currency": "USD", "price": 49_727.7,
                "goals": [{"hours": 4, "samples_per_s": 10_359.9}, {"hours": 2, "samples_per_s": 20_719.9}],
            },
        },
        "ingest": {
            "ratio": 1.1234, "recordings_per_s": 321.4, "peak_mb_500": 250.2, "peak_mb_2000": 253.7,
            "mimic_per_s": 100.0,
        },
        "linear_probe": {"probe_s": 77.7, "ratio": 8.76},
        "kept": {
            "records": 21_799, "words": 2_923, "statements": 71, "width": 192, "report_s": 40.4, "embedding_s": 90.2,
            "peak_mb": 980.2,
        },
        "full": {
            "records": 745_916, "paper_recordings": 745_916, "batch": 128, "free_gb": 139.0,
            "needed_gb": {"recordings": 17.9, "update": 6.1}, "skipped": {"flex": "no such kernel"},
            "paths": {"eager": {"samples_per_s": 5000.0, **SAME}, "graphs": beside(2.5, 12_500.0)},
            "utilisation": 0.12, "rounds": 9, "seconds": 355.0, "peak_mb": 6000.0, "forward_flops": 1,
            "product": {"size": 8192, "flops_per_s": 7e14},
        },
    }  # fmt: skip


def write(path: Path, found: dict) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(found))
    return path


def test_every_figure_is_read_from_the_file():
    page = "\n".join(f"{a}\n{b}" for rows in cost.sections(measurement(), 2.0).values() for a, b in rows.items())
    for shown in (
        "1.00; 160/s", "0.98 (0.97 to 0.99); 157/s", "0.75 (0.74 to 0.76)", "2.0 ms (1.0 %)", "118 ms (59.0 %)",
        "200 ms", "0.0600 GFLOP", "180 GFLOP/s at 1,024 rows", "16 %", "567 MB", "2.20 (2.19 to 2.21); 352/s",
        "8.95 million", "7.40 (7.39 to 7.41)", "16,576 h (691 days)", "at 2.00 USD an hour", "33,152 USD",
        "for 4 h, 10,360 recordings a second", "4,144 times as fast", "1.12 times", "321 recordings a second",
        "250 and 254 MB", "78 s", "8.8 times as long", "all its 800,035 at that rate\n2.2 h", "980 MB", "21,799, 2,994",
        "745,916, 128", "17.9, 6.1 and 139.0 GB", "2.50 (2.49 to 2.51); 12,500/s", "12 % and 30 %",
        "left out: no such kernel", "9 rounds, 355 s in all", "3.3 h",
    ):  # fmt: skip
        assert shown in page, shown
    assert "49,728" not in page  # the price that was asked for, not the file's
    assert cost.sections({}) == {}


def test_a_goal_says_what_it_needs():
    found = measurement()
    projection = found["updates"]["projection"]
    projection |= {"samples_per_s": 5000.0, "hours": 8.29, "arithmetic_h": 0.93}
    rows = cost.sections(found)["projection"]
    assert rows["200 epochs of 745,916 recordings"] == "8.3 h"
    assert rows["for 4 h, 10,360 recordings a second"] == "2.1 times as fast; utilisation 23 %"
    projection["samples_per_s"] = 12_000.0
    assert cost.sections(found)["projection"]["for 4 h, 10,360 recordings a second"] == "reached; utilisation 23 %"


def test_the_command_prints_ratios_first():
    said = cost.lines("updates", measurement())
    assert said.index("0.98 (0.97 to 0.99)") < said.index("118 ms")
    assert cost.lines("ingest", measurement()).splitlines()[0].startswith("ingest beside wfdb alone")
    assert "78 s" in cost.lines("linear_probe", measurement())


def test_columns_are_devices_an_empty_one_without_a_gpu_and_the_readers_own_last(tmp_path):
    def heads() -> list[str]:
        return [column.head for column in cost.load(tmp_path / "reference", tmp_path / "bench.json")]

    assert heads() == ["GPU"]
    write(tmp_path / "reference" / "bench-a.json", measurement())
    assert heads() == ["CPU, 2 cores", "GPU"]
    write(tmp_path / "bench.json", measurement(rate=99.0))
    assert heads() == ["CPU, 2 cores", "GPU", "yours: CPU, 2 cores"]
    write(tmp_path / "reference" / "bench-b.json", measurement())
    write(tmp_path / "reference" / "bench-cuda.json", measurement("cuda", "NVIDIA H200"))
    assert heads() == ["CPU, 2 cores", "CPU, 2 cores #2", "NVIDIA H200", "yours: CPU, 2 cores"]


def test_a_file_of_another_version_is_not_shown(tmp_path):
    old = {"about": {"cores": 2}}
    own = write(tmp_path / "bench.json", old)
    assert [column.head for column in cost.load(tmp_path / "nothing", own)] == ["GPU"]
    write(tmp_path / "bench-cpu.json", old)
    with pytest.raises(ValueError, match=r"bench-cpu\.json: expected format 1"):
        cost.load(tmp_path, own)


def test_the_page_shows_what_there_is_and_says_what_measures_the_rest(tmp_path, run_cells, monkeypatch):
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))

    def page() -> tuple[str, str, str]:
        """All tables, the line on each device, and the sentence on feeds."""
        cells = run_cells("cost", "cost-2 where", price_per_hour=2.0)
        sections = ("feeds", "alone", "parts", "use", "full", "objectives", "published", "projection", "stages")
        tables = "".join(map(cells["table"], sections))
        return tables, cells["shown"].text, run_cells("cost", "reading", **cells)["shown"].text

    tables, where, reading = page()
    assert tables.count("make bench") == 9
    assert "GPU: none was at hand" in where
    assert "`make bench` measures your machine" in where
    assert "make bench" in reading
    first = {key: value for key, value in measurement().items() if key not in ("full", "kept")}
    write(tmp_path / "book" / "reference" / "bench-cpu.json", first)
    tables, _, reading = page()
    assert "33,152 USD" in tables
    assert "at most 1.3" in tables
    assert "Batch 32, 4,000 recordings." in tables
    assert ">–<" in tables  # the GPU's column
    assert "data take 1.0 % of an update; no other feed is faster" in reading
    faster = measurement("cuda", "<GPU>")
    faster["updates"]["networks"]["demo"]["paths"]["streamed"] = beside(1.2, 190.0)
    write(tmp_path / "book" / "reference" / "bench-gpu.json", faster)
    write(tmp_path / "artifacts" / "bench.json", {"about": {"cores": 2}})
    tables, where, reading = page()
    assert "&lt;GPU&gt;" in tables
    assert "<GPU>" not in tables
    assert "none was at hand" not in where
    assert "another version" in where
    assert "faster than the resident feed in every round: streamed from disk" in reading
