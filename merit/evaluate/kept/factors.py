"""Known factors of a recording as targets: what is measured on its beats, apart from absolute voltage.

Every recording is divided by its own spread before an encoder sees it, so the size of a voltage is lost and only its
share of the recording's own size can be asked for. A factor is float64 [N, K] (K numbers that belong together, such as
the 12 leads), NaN in a row where there is no such thing. N recordings.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from merit.data.recording import LEADS

LEAST_MV = 1e-3
"""Size of QRS under which it counts as this."""
LEAST_MS = 1.0
"""Variability under which it counts as this, so that it has a logarithm."""
NORMAL_AXIS = (-30.0, 90.0)
"""Degrees between which the axis does not deviate."""


def continuous(measured: pd.DataFrame) -> dict[str, np.ndarray]:
    """Factor -> [N, K] from a row a recording with columns as `synthetic.truth` names them (ms, degrees, mV).

    Durations in ms; the axis as its cosine and sine; beat-to-beat variability as the logarithm of RMSSD in ms; QRS
    (peak to peak), T and ST of each lead as shares of the size of QRS over the leads (root of the mean square).
    """
    axis = np.radians(measured["axis_deg"].to_numpy(np.float64))
    peak_to_peak = _leads(measured, "r") - _leads(measured, "s")
    size = np.maximum(np.sqrt((peak_to_peak**2).mean(axis=1, keepdims=True)), LEAST_MV)
    return {
        "heart_rate": _column(measured, "heart_rate_bpm"),
        "pr": _column(measured, "pr_ms"),
        "qrs": _column(measured, "qrs_ms"),
        "qt": _column(measured, "qt_ms"),
        "axis": np.column_stack([np.cos(axis), np.sin(axis)]),
        "variability": np.log(np.maximum(_column(measured, "rr_rmssd_ms"), LEAST_MS)),
        "qrs_leads": peak_to_peak / size,
        "t_leads": _leads(measured, "t") / size,
        "st_leads": _leads(measured, "st") / size,
    }


def axis_deviates(measured: pd.DataFrame) -> np.ndarray:
    """bool [N]: whether the axis lies outside `NORMAL_AXIS`."""
    axis = measured["axis_deg"].to_numpy(np.float64)
    return (axis < NORMAL_AXIS[0]) | (axis > NORMAL_AXIS[1])


def _column(measured: pd.DataFrame, name: str) -> np.ndarray:
    return measured[[name]].to_numpy(np.float64)


def _leads(measured: pd.DataFrame, wave: str) -> np.ndarray:
    return measured[[f"{wave}_mv_{lead}" for lead in LEADS]].to_numpy(np.float64)
