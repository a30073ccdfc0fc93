"""Agreement with manual values: closed forms, and an oracle by scikit-learn and loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from merit.evaluate.kept.agreement import COLUMNS, FEWEST, agreement, explained


def frames(n: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(0)
    manual = pd.DataFrame({column: rng.uniform(50, 150, n) for column in COLUMNS.values()})
    measured = manual + rng.normal(5, 10, manual.shape)
    measured.loc[:9, "pr_ms"] = np.nan
    manual.loc[5:19, "pr_ms"] = np.nan
    return measured, manual


def rows(measured, manual, resamples: int = 50) -> dict[str, dict]:
    return {row["factor"]: row for row in agreement(measured, manual, resamples, 0)}


def test_numbers_are_those_of_a_regression_and_of_the_differences():
    measured, manual = frames()
    found = rows(measured, manual)
    x, y = manual["qrs_ms"].to_numpy(), measured["qrs_ms"].to_numpy()
    assert found["qrs"]["r2"]["value"] == pytest.approx(
        LinearRegression().fit(x[:, None], y).score(x[:, None], y), abs=1e-6
    )
    assert found["qrs"]["bias"]["value"] == pytest.approx(sum(b - a for a, b in zip(x, y)) / len(x), abs=1e-6)
    assert found["qrs"]["sd"]["value"] == pytest.approx(np.std(y - x), abs=1e-6)
    angles = [np.radians(frame["axis_deg"].to_numpy()) for frame in (manual, measured)]
    a, b = (np.column_stack([np.cos(angle), np.sin(angle)]) for angle in angles)
    left = b - LinearRegression().fit(a, b).predict(a)
    oracle = 1 - (left**2).sum() / ((b - b.mean(axis=0)) ** 2).sum()
    assert found["axis"]["r2"]["value"] == pytest.approx(oracle, abs=1e-6)
    for row in found.values():
        for key in ("bias", "sd", "r2"):
            assert row[key]["low"] <= row[key]["value"] <= row[key]["high"]


def test_missing_values_are_counted_on_both_sides():
    row = rows(*frames())["pr"]
    assert (row["n"], row["n_manual"], row["n_without"], row["n_invented"]) == (60, 65, 15, 10)


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
    assert rows(measured, manual)["axis"]["bias"]["value"] == pytest.approx(2)


def test_too_few_recordings_say_nothing():
    measured, manual = frames(FEWEST - 1)
    assert rows(measured, manual)["qt"]["r2"] == {"value": None, "low": None, "high": None}
