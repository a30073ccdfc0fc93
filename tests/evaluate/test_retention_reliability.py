"""Agreement with manual marks: closed forms, oracles by scikit-learn and loops, and LUDB where it is at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from merit.data.wfdb_io import read_raw
from merit.evaluate import retention_reliability as reliability
from merit.evaluate.retention_reliability import COLUMNS, FEWEST, agreement, explained


def frames(n: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measured and manual values; of PR, ten are not measured and fifteen not marked."""
    rng = np.random.default_rng(0)
    manual = pd.DataFrame({column: rng.uniform(50, 150, n) for column in COLUMNS.values()})
    measured = manual + rng.normal(5, 10, manual.shape)
    measured.loc[:9, "pr_ms"] = np.nan
    manual.loc[5:19, "pr_ms"] = np.nan
    return measured, manual


def by_factor(measured: pd.DataFrame, manual: pd.DataFrame) -> dict[str, dict]:
    return {row["factor"]: row for row in agreement(measured, manual, 50, 0)}


def test_numbers_are_those_of_a_regression_and_of_the_differences():
    measured, manual = frames()
    found = by_factor(measured, manual)
    x, y = manual["qrs_ms"].to_numpy(), measured["qrs_ms"].to_numpy()
    r2 = LinearRegression().fit(x[:, None], y).score(x[:, None], y)
    values = {key: found["qrs"][key]["value"] for key in ("bias", "sd", "r2")}
    assert values == pytest.approx({"bias": sum(y - x) / len(x), "sd": np.std(y - x), "r2": r2}, abs=1e-6)
    angles = [np.radians(frame["axis_deg"].to_numpy()) for frame in (manual, measured)]
    a, b = (np.column_stack([np.cos(angle), np.sin(angle)]) for angle in angles)
    left = b - LinearRegression().fit(a, b).predict(a)
    oracle = 1 - (left**2).sum() / ((b - b.mean(axis=0)) ** 2).sum()
    assert found["axis"]["r2"]["value"] == pytest.approx(oracle, abs=1e-6)
    for row in found.values():
        for key in ("bias", "sd", "r2"):
            assert row[key]["low"] <= row[key]["value"] <= row[key]["high"]
    pr = found["pr"]
    assert (pr["n"], pr["n_manual"], pr["n_without"], pr["n_invented"]) == (60, 65, 15, 10)


def test_an_offset_and_a_scale_cost_nothing_and_noise_costs_all():
    rng = np.random.default_rng(1)
    x = rng.normal(size=500)
    assert explained(3 * x + 7, x) == pytest.approx(1)
    assert explained(rng.normal(size=500), x) < 0.02
    assert np.isnan(explained(np.ones(5), x[:5]))
    assert np.isnan(explained(x[:5], np.ones(5)))


def test_angles_are_compared_around_the_circle():
    measured, manual = frames()
    manual["axis_deg"] = 179.0
    measured["axis_deg"] = -179.0
    assert by_factor(measured, manual)["axis"]["bias"]["value"] == pytest.approx(2)


def test_too_few_recordings_say_nothing():
    assert by_factor(*frames(FEWEST - 1))["qt"]["r2"] == {"value": None, "low": None, "high": None}


def test_waves_belong_to_the_beat_that_they_are_near_and_an_end_needs_its_bracket(monkeypatch, tmp_path):
    """QRS at 1 and 2 s; P before both, the second without its onset; T after the first, and too late after the last."""
    waves = {"p": (0.8, 1.8), "N": (1.0, 2.0), "t": (1.3, 2.6)}
    marks = sorted((500 * peak, kind) for kind, peaks in waves.items() for peak in peaks)
    found = [(at + shift, symbol) for at, kind in marks for shift, symbol in ((-10, "("), (0, kind), (20, ")"))]
    found.remove((500 * 1.8 - 10, "("))
    samples, symbols = zip(*found)
    monkeypatch.setattr(reliability, "read_annotation", lambda *a: (np.array(samples), list(symbols)))
    marks = reliability.manual_marks(tmp_path, "1")
    assert marks.r_s.tolist() == [1.0, 2.0]
    expected = {
        "p_on_s": [0.78, np.nan],
        "qrs_on_s": [0.98, 1.98],
        "qrs_off_s": [1.04, 2.04],
        "t_off_s": [1.34, np.nan],
    }
    for name, times in expected.items():
        np.testing.assert_allclose(getattr(marks, name), [times] * 12)


@pytest.fixture
def ludb(real_data):
    root = real_data / "ludb"
    if not root.is_dir():
        pytest.skip("no ludb in MERIT_REAL_DATA")
    return root


def test_raw_units_satisfy_einthoven_and_manual_marks_are_those_of_the_files(ludb):
    signal = read_raw(str(ludb / "data"), "1")
    assert signal.shape == (12, 5000)
    assert np.abs(signal[0] + signal[2] - signal[1]).max() <= 2
    marks = reliability.manual_marks(ludb, "1")
    assert marks.r_s.shape == (6,)
    assert marks.qrs_on_s.shape == (12, 6)
    assert (marks.qrs_on_s[1, 0], marks.qrs_off_s[1, 0], marks.t_off_s[1, 0]) == (644 / 500, 682 / 500, 878 / 500)
    assert np.isnan(marks.p_on_s[1, 0])
    assert marks.p_on_s[1, 1] == 1250 / 500


def test_measured_factors_agree_with_manual_marks(ludb, monkeypatch):
    names = reliability.record_names(ludb)[:30]
    monkeypatch.setattr(reliability, "record_names", lambda root: names)
    how = {"n_resamples": 20, "seed": 0, "workers": 1, "progress": False}
    rows = reliability.measure_agreement(ludb, [reliability.Delineator(100.0)], **how)
    least = {"heart_rate": 0.8, "pr": 0.3, "qrs": 0.5, "qt": 0.6, "axis": 0.7, "variability": 0.6}
    assert [row["factor"] for row in rows] == list(least)
    for row in rows:
        assert row["r2"]["value"] > least[row["factor"]], row["factor"]
        assert row["n"] >= 0.8 * row["n_manual"]
