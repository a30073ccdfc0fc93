"""Nothing that was seen in pretraining is scored: every evaluator asks here first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd


class SeenInPretraining(ValueError):
    """Patients that the checkpoint was pretrained on were about to be scored."""


def refuse_seen(patients_scored: Iterable[tuple[str, str]], seen: pd.DataFrame, allow_seen: bool = False) -> int:
    """Number of scored patients that the checkpoint has seen; raises SeenInPretraining unless that is 0 or allowed.

    patients_scored: (cohort, patient_id) pairs. seen: the checkpoint's `seen.parquet`, columns cohort, patient_id,
    record_id. Patients count, not recordings: two recordings of one heart are not independent. Patient ids are compared
    within a cohort only, as text.
    """
    scored = {(str(cohort), str(patient)) for cohort, patient in patients_scored}
    common = scored & set(zip(seen["cohort"].astype(str), seen["patient_id"].astype(str)))
    if common and not allow_seen:
        cohort, patient = min(common)
        raise SeenInPretraining(
            f"{len(common)} of {len(scored)} patients to be scored were seen in pretraining, e.g. patient {patient} of "
            f"{cohort}: score patients the checkpoint has not seen (PTB-XL: folds 9 and 10), pretrain without them, or "
            "pass allow_seen=True, which marks the number"
        )
    return len(common)


def remarks(overlap: bool, rates_hz: np.ndarray, wanted_hz: float) -> dict[str, Any]:
    """What a number of an encoder of others must be read with. overlap: the data set was in its pretraining, of which
    the patients are not known, so that n_seen is None; n_band_limited: recordings whose files (rates_hz) have a lower
    rate than it reads.
    """
    found = {"overlap": overlap, "n_band_limited": int((rates_hz < wanted_hz).sum())}
    return {**found, "n_seen": None} if overlap else found
