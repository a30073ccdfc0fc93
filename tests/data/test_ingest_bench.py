"""The rate of ingest, taken in processes of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from merit.data import ingest_bench


def test_a_rate_is_recordings_over_seconds_and_leaves_no_store(
    ptb_xl: Any, make_ecg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        ptb_xl.add(number, make_ecg(number))
    seen = []
    fresh = ingest_bench._fresh
    monkeypatch.setattr(ingest_bench, "_fresh", lambda *call: seen.append(fresh(*call)) or seen[-1])
    found = ingest_bench.rate(ptb_xl.root, "ptb-xl", tmp_path / "stores", 2)
    assert seen[1]["recordings"] == 2
    assert found == 2 / seen[1]["wall_s"]
    assert not (tmp_path / "stores").exists()
