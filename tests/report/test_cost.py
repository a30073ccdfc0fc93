"""The page `cost` on made-up measurements: every figure is read from a file, and what is not there is said."""

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
                "records": [{"value": 1000, "samples_per_s": 160.0, **SAME}, {"value": 4000, **beside(0.99, 158.4)}],
                "batch": [{"value": 16, "samples_per_s": 150.0, **SAME}, {"value": 32, **beside(1.1, 165.0)}],
                "width": [{"value": 64, "samples_per_s": 160.0, **SAME}, {"value": 128, **beside(0.5, 80.0)}],
                "objective": [{"value": "merit", "samples_per_s": 160.0, **SAME}, {"value": "ib", **beside(2.2, 352)}],
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
    }  # fmt: skip


def write(path: Path, found: dict) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found))
    return path


@pytest.fixture
def columns(tmp_path) -> list[cost.Column]:
    write(tmp_path / "reference" / "bench-cpu.json", measurement())
    return cost.load(tmp_path / "reference", tmp_path / "bench.json")


SECTIONS = ("feeds", "alone", "parts", "use", "stages", "objectives", "published")


def test_every_figure_is_read_from_the_file(columns):
    page = "".join(cost.table(columns, section)._repr_html_() for section in SECTIONS)
    page += cost.table(columns, "projection", 2.0)._repr_html_()
    for shown in (
        "1.00; 160/s", "0.98 (0.97 to 0.99); 157/s", "0.75 (0.74 to 0.76)", "2.0 ms (1.0 %)",
        "118 ms (59.0 %)", "200 ms", "0.0600 GFLOP", "180 GFLOP/s at 1,024 rows", "16 %", "567 MB",
        "2.20 (2.19 to 2.21); 352/s", "8.95 million", "7.40 (7.39 to 7.41)", "16,576 h (691 days)",
        "at 2.00 USD an hour", "33,152 USD", "for 4 h, 10,360 recordings a second", "4,144 times as fast",
        "1.12 times", "at most 1.3", "321 recordings a second", "250 and 254 MB", "78 s", "8.8 times as long",
        "batch 32, 4,000 recordings",
    ):  # fmt: skip
        assert shown.lower() in page.lower(), shown
    assert "49,728" not in page  # the price of the page, not of the file


def test_the_full_size_shows_ways_and_what_was_left_out(tmp_path):
    found = measurement("cuda", "NVIDIA H200")
    found["full"] = {
        "records": 745_916, "paper_recordings": 745_916, "batch": 128, "needed_gb": {"recordings": 17.9, "update": 6.1},
        "free_gb": 139.0, "paths": {"eager": {"samples_per_s": 5000.0, **SAME}, "graphs": beside(2.5, 12_500.0)},
        "skipped": {"flex": "no such kernel"}, "utilisation": 0.12, "rounds": 9, "seconds": 355.0,
        "peak_mb": 6000.0, "forward_flops": 1, "product": {"size": 8192, "flops_per_s": 7e14},
    }  # fmt: skip
    write(tmp_path / "bench-cpu.json", measurement())
    write(tmp_path / "bench-cuda.json", found)
    page = cost.table(cost.load(tmp_path, tmp_path / "none.json"), "full")._repr_html_()
    for shown in (
        "745,916, 128", "17.9, 6.1 and 139.0 GB", "1.00; 5,000/s", "2.50 (2.49 to 2.51); 12,500/s", "12 % and 30 %",
        "left out: no such kernel", "9 rounds, 355 s in all", "3.3 h",
    ):  # fmt: skip
        assert shown in page, shown
    assert ">–<" in page  # the CPU's


def test_nobody_measured_the_full_size(columns):
    assert "Nothing of it has been measured" in cost.table(columns, "full")._repr_html_()


def test_the_gpu_column_is_empty_and_says_why(columns):
    assert [one.head for one in columns] == ["CPU, 2 cores", "GPU"]
    assert ">–<" in cost.table(columns, "feeds")._repr_html_()
    assert "GPU: none was at hand" in cost.where(columns)


def test_a_committed_gpu_fills_its_column(tmp_path):
    write(tmp_path / "bench-cpu.json", measurement())
    write(tmp_path / "bench-cuda.json", measurement("cuda", "NVIDIA H200", rate=20_000.0))
    columns = cost.load(tmp_path, tmp_path / "none.json")
    assert [one.head for one in columns] == ["CPU, 2 cores", "NVIDIA H200"]
    assert "none was at hand" not in cost.where(columns, tmp_path / "none.json")
    assert "20,000/s" in cost.table(columns, "feeds")._repr_html_()


def test_the_readers_own_stands_last_or_is_asked_for(tmp_path):
    write(tmp_path / "reference" / "bench-cpu.json", measurement())
    own = tmp_path / "bench.json"
    assert "`make bench` measures your machine" in cost.where(cost.load(tmp_path / "reference", own), own)
    write(own, measurement(rate=99.0))
    columns = cost.load(tmp_path / "reference", own)
    assert [one.head for one in columns] == ["CPU, 2 cores", "GPU", "yours: CPU, 2 cores"]
    assert "measures your machine" not in cost.where(columns, own)
    assert "99/s" in cost.table(columns, "feeds")._repr_html_()


def test_a_file_of_another_version_is_not_shown(tmp_path):
    old = {"about": {"cores": 2}}
    own = write(tmp_path / "bench.json", old)
    columns = cost.load(tmp_path / "nothing", own)
    assert [one.head for one in columns] == ["GPU"]
    assert "another version" in cost.where(columns, own)
    write(tmp_path / "bench-cpu.json", old)
    with pytest.raises(ValueError, match=r"bench-cpu\.json: expected format 1"):
        cost.load(tmp_path, own)


def test_two_of_one_kind_keep_their_columns(tmp_path):
    for name in "ab":
        write(tmp_path / f"bench-{name}.json", measurement())
    assert [one.head for one in cost.load(tmp_path)][:2] == ["CPU, 2 cores", "CPU, 2 cores #2"]


def test_nothing_measured_says_what_measures(tmp_path):
    columns = cost.load(tmp_path, tmp_path / "none.json")
    for section in SECTIONS:
        assert "make bench" in cost.table(columns, section)._repr_html_()
    assert "make bench" in cost.table(columns, "projection", 3.0)._repr_html_()
    assert "make bench" in cost.reading(columns)
    assert len(cost.growth(columns)) == 0
    assert cost.inputs(columns) == []


def test_stages_that_were_not_measured_leave_dashes(tmp_path):
    only = {key: value for key, value in measurement("cuda", "GPU 1").items() if key in ("about", "updates")}
    write(tmp_path / "bench-cpu.json", measurement())
    write(tmp_path / "bench-cuda.json", only)
    columns = cost.load(tmp_path, tmp_path / "none.json")
    assert ">–<" in cost.table(columns, "stages")._repr_html_()
    assert "1.12 times" in cost.table(columns, "stages")._repr_html_()
    assert "all its 800,035 at that rate" in cost.table(columns, "stages")._repr_html_()
    assert "2.2 h" in cost.table(columns, "stages")._repr_html_()


def test_what_is_kept_at_full_size_stands_beside_what_it_may_take(tmp_path):
    kept = {"records": 21_799, "words": 2_923, "statements": 71, "width": 192}
    kept |= {"report_s": 40.4, "embedding_s": 90.2, "peak_mb": 980.2}
    write(tmp_path / "bench-cpu.json", measurement() | {"kept": kept})
    shown = cost.table(cost.load(tmp_path, tmp_path / "none.json"), "stages")._repr_html_()
    for text in ("980 MB", "at most 4,000 MB", "21,799, 2,994", "40 s", "90 s"):
        assert text in shown


def test_growth_has_a_row_per_device_setting_and_value(columns):
    grown = cost.growth([*columns, columns[0]._replace(head="yours")])
    assert list(grown["device"].unique()) == ["CPU, 2 cores", "yours"]
    assert list(grown["setting"].unique()) == ["recordings", "batch", "width of the encoder"]
    wide = grown[(grown["setting"] == "width of the encoder") & (grown["size"] == 128)].iloc[0]
    assert (wide["value"], wide["low"], wide["high"]) == (0.5, 0.49, 0.51)


def test_reading_says_what_data_cost_and_whether_a_feed_is_faster(columns):
    assert "data take 1.0 % of an update; no other feed is faster" in cost.reading(columns)
    columns[0].found["updates"]["networks"]["demo"]["paths"]["streamed"] = beside(1.2, 190.0)
    assert "faster than the resident feed in every round: streamed from disk" in cost.reading(columns)


def test_a_goal_says_what_it_needs():
    found = measurement()
    one = found["updates"]["projection"]
    one |= {"samples_per_s": 5000.0, "hours": 8.29, "arithmetic_h": 0.93}
    rows = cost.sections(found)["projection"]
    assert rows["200 epochs of 745,916 recordings"] == "8.3 h"
    assert rows["for 4 h, 10,360 recordings a second"] == "2.1 times as fast; utilisation 23 %"
    one["samples_per_s"] = 12_000.0
    assert cost.sections(found)["projection"]["for 4 h, 10,360 recordings a second"] == "reached; utilisation 23 %"


def test_the_command_prints_ratios_first():
    said = cost.lines("updates", measurement())
    assert said.index("0.98 (0.97 to 0.99)") < said.index("118 ms")
    assert cost.lines("ingest", measurement()).splitlines()[0].startswith("ingest beside wfdb alone")
    assert "78 s" in cost.lines("linear_probe", measurement())


def test_inputs_name_file_device_and_commit(columns):
    (one,) = cost.inputs(columns)
    assert one["what"] == "measurement CPU, 2 cores"
    assert (one["device"], one["commit"], one["seconds"]) == ("cpu", "abc", 290.0)
    assert len(one["id"]) == 16


def test_the_language_models_memory_is_read_and_its_absence_said(tmp_path):
    assert "billion parameters" in cost.language_model()
    assert cost.language_model(tmp_path / "none.json").startswith("Not measured")
