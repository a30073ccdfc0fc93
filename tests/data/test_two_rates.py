"""PTB-XL's two publications: what differs, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from merit.config import SignalConfig
from merit.data.ingest import ingest
from merit.data.two_rates import compare, difference


def leads(early_s: float = 0.0, high: float = 0.1) -> np.ndarray:
    """[2, 3, 1000] mV: sines at 8, 20 and 46.5 Hz, the last of this amplitude, so much earlier."""
    gain = np.array([[1.0, 2.0, 0.5], [1.5, 1.0, 3.0]])[..., None]
    t = np.arange(1000) / 100 + early_s
    return gain * (np.sin(2 * np.pi * 8 * t) + 0.3 * np.sin(2 * np.pi * 20 * t) + high * np.sin(2 * np.pi * 46.5 * t))


def test_equal_signals_differ_in_nothing_and_a_scale_leaves_the_correlation():
    found = difference(leads(), leads())
    assert found["correlation"]["worst"] == pytest.approx(1)
    assert found["rms_uv"]["worst"] == 0
    assert found["earlier_ms"] == pytest.approx(0, abs=1e-9)
    assert [band["ratio_db"] for band in found["bands"]] == pytest.approx([0] * 6)
    found = difference(1.1 * leads(), leads())
    assert found["correlation"]["worst"] == pytest.approx(1)
    assert found["rms_uv"]["worst"] == pytest.approx(1000 * 0.3 * np.sqrt((1 + 0.09 + 0.01) / 2), rel=1e-3)


def test_a_delay_and_a_filter_are_told_apart():
    found = difference(leads(early_s=0.002, high=0.05), leads())
    assert found["earlier_ms"] == pytest.approx(2, rel=2e-3)  # segments leak into each other
    ratio = {band["from_hz"]: band["ratio_db"] for band in found["bands"]}
    assert ratio[45] == pytest.approx(-6.02, abs=0.02)
    assert ratio[0.5] == pytest.approx(0, abs=0.01)
    left = 1000 * np.median([1, 2, 0.5, 1.5, 1, 3]) * 0.05 / np.sqrt(2)  # half of the sine at 46.5 Hz
    assert found["rms_shifted_uv"] == pytest.approx(left, rel=0.05)
    # Of each sine a sin(wt) the difference to one 2 ms earlier has the mean square a² (1 − cos(w 2 ms)).
    w = 2 * np.pi * 0.002 * np.array([8, 20, 46.5])
    squares = [1 - np.cos(w[0]), 0.09 * (1 - np.cos(w[1])), (0.01 + 0.0025 - 2 * 0.1 * 0.05 * np.cos(w[2])) / 2]
    assert found["rms_uv"]["worst"] == pytest.approx(3000 * np.sqrt(sum(squares)), rel=0.01)
    assert found["correlation"]["median"] < 1


def test_a_store_from_500_hz_is_the_other_file_resampled(real_data, tmp_path):
    slow, fast = (
        ingest(
            "ptb-xl", real_data, tmp_path / f"{hz}", signal=SignalConfig(ptb_xl_from_hz=hz), limit=25, progress=False
        )
        for hz in (100, 500)
    )
    assert slow.records["source_fs_hz"].tolist() == [100.0] * 25
    assert fast.records["source_fs_hz"].tolist() == [500.0] * 20 + [100.0] * 5  # where one is missing, the other
    assert np.array_equal(slow.signal_uv[20:], fast.signal_uv[20:])
    found = difference(*(store.signal_uv[:20].astype(np.float64) / 1000 for store in (slow, fast)))
    read = compare(real_data / "ptb-xl")
    assert slow.identity != fast.identity
    assert read["n_recordings"] == 20
    for name in ("earlier_ms", "rms_shifted_uv"):
        assert found[name] == pytest.approx(read[name], abs=0.05)
    assert read["earlier_ms"] == pytest.approx(1.25, abs=0.01)


def test_the_setting_is_of_two_rates_and_no_matter_to_other_data_sets(real_data, tmp_path):
    signals = [SignalConfig(ptb_xl_from_hz=hz) for hz in (100, 500)]
    first, second = (ingest("csn", real_data, tmp_path / "csn", signal=s, limit=2, progress=False) for s in signals)
    assert first.manifest == second.manifest
    with pytest.raises(ValueError, match="ptb_xl_from_hz: expected one of 100, 500; got 250"):
        SignalConfig(ptb_xl_from_hz=250)
