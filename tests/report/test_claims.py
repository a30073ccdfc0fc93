"""Sentences say what the numbers say."""

from __future__ import annotations

import pandas as pd

from merit.report import claims


def test_masked_error_takes_the_last_validation_and_compares_with_the_linear_map():
    rows = [
        ("merit", 100, "validation", "masked_mse", 0.9),
        ("merit", 200, "validation", "masked_mse", 0.3),
        ("mse", 200, "validation", "masked_mse", 0.5),
        ("mse", 200, "train", "masked_mse", 0.1),
        ("cma", 200, "validation", "info_nce", 2.5),
    ]
    history = pd.DataFrame(rows, columns=["objective", "update", "split", "term", "value"])
    bounds = {"three_lead_error": 0.37, "linear_bound": 0.45, "noise_floor": 0.05}
    text = claims.masked_error(history, bounds)
    assert "MERIT 0.300 and MSE 0.500" in text
    assert "0.450: below it is MERIT. " in text
    assert "0.050" in text
    assert "noise" not in claims.masked_error(history, bounds | {"noise_floor": None})
    assert "2.50" in claims.alignment(history)
    assert (
        claims.alignment(history[history["term"] == "masked_mse"]) == "No objective with an alignment term was trained."
    )
