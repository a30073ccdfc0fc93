"""What masked reconstruction is held against, as shares of the target's variance: linear maps, and noise.

Shapes: N recordings, L leads, T samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from merit.data.leads import hardness, lead_covariances, masked_bound


def bounds(signal: np.ndarray, mask_ratio: float, truth: Path | None) -> dict[str, float | None]:
    """three_lead_error: a linear map from three whole leads; linear_bound: one from what the mask leaves visible at an
    instant; noise_floor: the share that is noise of the electrodes, from the hidden truth of a synthetic hospital.

    signal: [N, L, T] of any unit. truth: `truth.parquet` of the hospital, or None: not known. See `merit.data.leads`.
    """
    shares = hardness(signal)
    noise = None if truth is None else float(pd.read_parquet(truth, columns=["noise_share"])["noise_share"].mean())
    return {
        **shares,
        "three_lead_error": shares["three_lead_bound"],
        "linear_bound": masked_bound(lead_covariances(signal).mean(0), mask_ratio),
        "noise_floor": noise,
    }
