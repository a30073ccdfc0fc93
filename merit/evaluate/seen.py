"""Nothing that was seen in pretraining is scored: every evaluator asks here first."""

from __future__ import annotations

from collections.abc import Iterable

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
