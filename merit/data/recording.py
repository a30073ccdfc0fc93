"""What a reader hands over: one recording, always twelve leads in one order, in millivolts.

Legend: L leads, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order of the leads in every signal after reading, whatever the order in the file."""

SEXES = ("female", "male")


class RejectedRecording(ValueError):
    """A recording that cannot be used; its text is the reason, one line, that `rejected.csv` prints."""


UNREADABLE = "unreadable file"
"""How the reason begins where the system would not read a file."""


class UnreadableFile(RejectedRecording):
    """A file that the system would not read (permission, input or output): another time it may."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One recording as published, with the leads in the order of `LEADS`."""

    record_id: str
    """Unique within its cohort."""
    patient_id: str
    """The record's own id where the data set publishes no patient ids."""
    signal_mv: np.ndarray
    """float32 [12, T], millivolts at `fs_hz`; NaN where the file marks a sample as invalid."""
    fs_hz: float
    """Sampling rate of `signal_mv`, Hz."""
    report: str
    """As published, untrusted; empty where there is none."""
    labels: frozenset[str]
    """Codes of the cohort's own vocabulary (see `merit.data.taxonomy`)."""
    fold: int | None = None
    """Official fold, where the data set has one."""
    age: float | None = None
    """Years."""
    sex: str | None = None
    """"female", "male" or None."""
    checksums_agree: bool | None = None
    """Whether the samples add up to what the file's header states; None where it states nothing."""

    def __post_init__(self) -> None:
        if self.signal_mv.ndim != 2 or self.signal_mv.shape[0] != len(LEADS):
            raise ValueError(f"record {self.record_id}: signal_mv has shape {self.signal_mv.shape}, expected (12, T)")
        if self.sex not in (None, *SEXES):
            raise ValueError(f"record {self.record_id}: sex is {self.sex!r}, expected one of {SEXES} or None")
