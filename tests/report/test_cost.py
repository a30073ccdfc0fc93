"""Measurements as text, and the page `cost`: each figure is read from a file, and what is not there is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merit.report import cost

COMMITTED = Path(__file__).parents[2] / "book" / "reference" / "bench-cpu.json"


def beside(ratio: float, rate: float) -> dict:
    return {"samples_per_s": rate, "ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01}


def measurement(kind: str = "cpu", device: str = "Chip <9>", rate: float = 160.0) -> dict:
    """What `merit bench` wrote once, with round numbers where they are asked for, and stages that were added since."""
    found = json.loads(COMMITTED.read_text(encoding="utf-8"))
    found["about"] |= {"kind": kind, "device": device, "cores": 2}
    network, projection = found["updates"]["networks"]["demo"], found["updates"]["projection"]
    network["parts_s"] = {"data": 0.002, "forward": 0.078, "backward": 0.118, "optimiser": 0.002}
    network |= {"update_s": 0.2, "forward_flops": 60_000_000, "utilisation": 0.16, "peak_mb": 567.4}
    network["product"] |= {"flops_per_s": 180e9}
    network["paths"]["resident"]["samples_per_s"] = rate
    network["paths"] |= {"streamed": beside(0.98, 157.0), "loader_0": beside(0.75, 120.0)}
    found["updates"]["growth"]["objective"][-1] = {"value": "ib", **beside(2.2, 352)}
    projection |= {"samples_per_s": 2.5, "hours": 16_575.9, "arithmetic_h": 4144.0, "price": 49_727.7}
    found["ingest"] |= {"ratio": 1.1234, "recordings_per_s": 321.4, "peak_mb_500": 250.2, "mimic_per_s": 100.0}
    found["linear_probe"] |= {"probe_s": 77.7, "ratio": 8.76}
    found["kept"] = {"records": 21_799, "words": 2_923, "statements": 71, "width": 192, "report_s": 40.4}
    found["kept"] |= {"embedding_s": 90.2, "peak_mb": 980.2}
    full = {"records": 745_916, "paper_recordings": 745_916, "batch": 128, "free_gb": 139.0, "rounds": 9}
    full |= {"needed_gb": {"recordings": 17.9, "update": 6.1}, "skipped": {"flex": "no such kernel"}, "seconds": 355.0}
    full["paths"] = {"eager": beside(1.0, 5000.0), "graphs": beside(2.5, 12_500.0)}
    return found | {"full": full | {"utilisation": 0.12}}


def write(path: Path, found: dict) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(found))
    return path


def test_every_figure_is_read_from_the_file():
    page = "\n".join(f"{a}\n{b}" for rows in cost.sections(measurement(), 2.0).values() for a, b in rows.items())
    for shown in (
        "1.00; 160/s", "0.98 (0.97 to 0.99); 157/s", "0.75 (0.74 to 0.76)", "2.0 ms (1.0 %)", "118 ms (59.0 %)",
        "200 ms", "0.0600 GFLOP", "180 GFLOP/s at 1,024 rows", "16 %", "567 MB", "2.20 (2.19 to 2.21); 352/s",
        "8.95 million", "16,576 h (691 days)", "at 2.00 USD an hour", "33,152 USD", "1.12 times",
        "for 4 h, 10,360 recordings a second\n4,144 times as fast", "321 recordings a second", "250 and 209 MB", "78 s",
        "8.8 times as long", "all its 800,035 at that rate\n2.2 h", "980 MB", "21,799, 2,994", "745,916, 128",
        "17.9, 6.1 and 139.0 GB", "2.50 (2.49 to 2.51); 12,500/s", "12 % and 30 %", "left out: no such kernel",
        "9 rounds, 355 s in all", "3.3 h",
    ):  # fmt: skip
        assert shown in page, shown
    assert "49,728" not in page  # the price that was asked for, not the file's
    assert cost.sections({}) == {}


def test_a_goal_says_what_it_needs_and_the_command_prints_ratios_first():
    found = measurement()
    for rate, said in ((5000.0, "2.1 times as fast; utilisation 23 %"), (12_000.0, "reached; utilisation 23 %")):
        found["updates"]["projection"] |= {"samples_per_s": rate, "hours": 8.29, "arithmetic_h": 0.93}
        rows = cost.sections(found)["projection"]
        assert rows["200 epochs of 745,916 recordings"] == "8.3 h"
        assert rows["for 4 h, 10,360 recordings a second"] == said
    said = cost.lines("updates", found)
    assert said.index("0.98 (0.97 to 0.99)") < said.index("118 ms")
    assert cost.lines("ingest", found).splitlines()[0].startswith("ingest beside wfdb alone")
    assert "78 s" in cost.lines("linear_probe", found)


def test_columns_are_devices_an_empty_one_without_a_gpu_and_the_readers_own_last(tmp_path):
    def heads() -> list[str]:
        return [column.head for column in cost.load(tmp_path / "reference", tmp_path / "bench.json")]

    assert heads() == ["GPU"]
    write(tmp_path / "reference" / "bench-a.json", measurement())
    write(tmp_path / "bench.json", {"about": {"cores": 2}})  # of another version
    assert heads() == ["CPU, 2 cores", "GPU"]
    write(tmp_path / "bench.json", measurement())
    assert heads() == ["CPU, 2 cores", "GPU", "yours: CPU, 2 cores"]
    write(tmp_path / "reference" / "bench-b.json", measurement())
    write(tmp_path / "reference" / "bench-cuda.json", measurement("cuda", "NVIDIA H200"))
    assert heads() == ["CPU, 2 cores", "CPU, 2 cores #2", "NVIDIA H200", "yours: CPU, 2 cores"]
    write(tmp_path / "reference" / "bench-old.json", {"about": {"cores": 2}})
    with pytest.raises(ValueError, match=r"bench-old\.json: expected format 1"):
        heads()


def test_the_page_shows_what_there_is_and_says_what_measures_the_rest(tmp_path, run_cells, monkeypatch):
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))

    def page() -> str:
        cells = run_cells("cost", "cost-2 where", price_per_hour=2.0)
        tables = "".join(map(cells["table"], ("feeds", "full", "projection", "stages")))
        return tables + cells["shown"].text + run_cells("cost", "reading", **cells)["shown"].text

    nothing = page()
    assert nothing.count("make bench") == 6
    assert "GPU: none was at hand" in nothing
    write(tmp_path / "book" / "reference" / "bench-cpu.json", measurement())
    write(tmp_path / "artifacts" / "bench.json", {"about": {"cores": 2}})
    here = page()
    for text in ("33,152 USD", "at most 1.3", "Batch 32, 4,000 recordings.", ">–<", "another version"):
        assert text in here
    assert "data take 1.0 % of an update; no other feed is faster" in here
    faster = measurement("cuda", "<GPU>")
    faster["updates"]["networks"]["demo"]["paths"]["streamed"] = beside(1.2, 190.0)
    write(tmp_path / "book" / "reference" / "bench-gpu.json", faster)
    assert "&lt;GPU&gt;" in page()
    assert "none was at hand" not in page()
    assert "faster than the resident feed in every round: streamed from disk" in page()
