"""The committed measurement is shown with its figures; where there is none, it says what makes one."""

from __future__ import annotations

import json

from merit.report import speed


def test_every_figure_is_read_from_the_file(tmp_path):
    found = {
        "ingest": {"ratio": 1.1234, "recordings_per_s": 321.4, "peak_mb_500": 250.2, "peak_mb_2000": 253.7},
        "linear_probe": {"probe_s": 77.7, "ratio": 8.76},
        "pretraining": {"recordings_per_s": {"merit": 155.0, "cma": 333.0}},
        "about": {"cores": 2, "synthetic": False, "commit": "abc", "versions": {"torch": "1", "python": "3"}},
    }
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(found))
    page = speed.table(path)._repr_html_()
    for shown in ("1.12 times", "321 recordings/s", "250 and 254 MB", "78 s", "8.8 times", "155 recordings/s"):
        assert shown in page
    assert "2 CPU cores with 2,000 real recordings" in speed.where(path)


def test_nothing_measured_says_what_measures(tmp_path):
    assert "make bench" in speed.table(tmp_path / "bench.json")._repr_html_()
    assert speed.where(tmp_path / "bench.json") == ""
