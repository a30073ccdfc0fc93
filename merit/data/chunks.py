"""What a worker does with a handful of recordings: read, repair, resample, cut, scale. Imports no torch."""

from __future__ import annotations

import functools
import hashlib
import math
from collections import namedtuple
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from merit.config import SignalConfig
from merit.data.cohorts.base import Cohort
from merit.data.preprocess import fix_length, is_flat, repair_gaps, resample, to_microvolts
from merit.data.recording import LEADS, UNREADABLE, Recording, RejectedRecording

MARGIN_S = 1.0
"""Read beyond the stored length before resampling, so that the cut end is filtered with what really follows it."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive rows of `refs()` and all that is needed to process them elsewhere."""

    cohort: Cohort
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    signal: SignalConfig
    max_gap_fraction: float


class Outcome(NamedTuple):
    """What became of one recording. JSON-like, for the journal."""

    reason: str = ""
    """Why it is not stored; "" if it is, and the rest holds."""
    digest: str = ""
    """Of the stored signal: equal for identical ones."""
    source_fs_hz: float = 0.0
    source_duration_s: float = 0.0
    n_repaired: int = 0
    """Samples of the source that were invalid and interpolated."""
    n_saturated: int = 0
    """Stored samples that were clipped."""
    age: float | None = None
    sex: str | None = None
    checksums_differ: bool = False
    """The samples do not add up to what the file's header states: damaged, or of another record."""


def process_chunk(chunk: Chunk) -> tuple[np.ndarray, list[Outcome]]:
    """int16 [stored, 12, T] in µV and the outcome of each row, both in the order of the rows."""
    ref_type = _ref_type(chunk.columns)
    signals, outcomes = [], []
    for row in chunk.rows:
        ref = ref_type(*row)
        try:
            recording = chunk.cohort.read(ref, fs_hz=max(chunk.signal.fs_hz, chunk.signal.ptb_xl_from_hz))
            signal_uv, outcome = process(recording, chunk.signal, chunk.max_gap_fraction)
        except RejectedRecording as refusal:
            outcomes.append(Outcome(reason=str(refusal)))
        except OSError as error:
            outcomes.append(Outcome(reason=f"{UNREADABLE}: {error.strerror or type(error).__name__}"))
        except Exception as error:
            raise RuntimeError(f"{chunk.cohort.name} record {ref.record_id!r} ({ref.path!r}): {error!r}") from error
        else:
            signals.append(signal_uv)
            outcomes.append(outcome)
    empty = np.empty((0, len(LEADS), chunk.signal.n_samples), np.int16)
    return (np.stack(signals) if signals else empty), outcomes


def process(recording: Recording, signal: SignalConfig, max_gap_fraction: float) -> tuple[np.ndarray, Outcome]:
    """int16 [12, n_samples] in µV, and what was done to get it. Raises RejectedRecording."""
    signal_mv, fs_hz = recording.signal_mv, recording.fs_hz
    if signal_mv.shape[1] == 0:
        raise RejectedRecording("no samples")
    needed = math.ceil((signal.duration_s + MARGIN_S) * fs_hz)
    repaired, n_repaired = repair_gaps(signal_mv[:, :needed], max_gap_fraction)
    stored = resample(repaired, fs_hz, signal.fs_hz)[:, : signal.n_samples]
    if not np.isfinite(stored).all():  # finite samples whose filtered sum is not
        raise RejectedRecording("not finite: after repair and resampling")
    signal_uv, n_saturated = to_microvolts(stored)
    if signal_uv.shape[1] == 0:
        raise RejectedRecording(f"no samples: {signal_mv.shape[1]} at {fs_hz:g} Hz")
    if is_flat(signal_uv):
        raise RejectedRecording("flat in every lead")
    signal_uv = np.ascontiguousarray(fix_length(signal_uv, signal.n_samples))
    return signal_uv, Outcome(
        digest=signal_digest(signal_uv),
        source_fs_hz=fs_hz,
        source_duration_s=round(signal_mv.shape[1] / fs_hz, 6),
        n_repaired=n_repaired,
        n_saturated=n_saturated,
        age=recording.age,
        sex=recording.sex,
        checksums_differ=recording.checksums_agree is False,
    )


def signal_digest(signal_uv: np.ndarray | bytes) -> str:
    """Of a signal as it is stored, 32 hexadecimal digits."""
    return hashlib.blake2b(signal_uv, digest_size=16).hexdigest()


@functools.cache
def _ref_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Ref", columns)
