"""Recordings from whatever a user has: arrays in any order of leads and at any rate, WFDB files, or a `Recording`.

Legend: L leads as given, T samples.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from merit.config import SignalConfig
from merit.data.preprocess import MAX_GAP_FRACTION, MAX_MICROVOLTS, Outcome, arrange, process, to_millivolts
from merit.data.recording import LEADS, Recording, RejectedRecording
from merit.data.wfdb_io import read_record
from merit.parallel import MAX_THREADS, one_thread_an_operation, usable_cores

A, B = TypeVar("A"), TypeVar("B")
Rate, Leads = float | Sequence[float] | None, Sequence[str] | None
"""Rate of arrays, Hz, or one for each; names of their rows."""
DOUBTFUL_SHARE = 0.01
"""Share of samples out of a store's range from which on the unit is doubted."""
CHECKSUMS_DIFFER = "the samples do not add up to the checksums in the header; is the signal file damaged?"


class Prepared(NamedTuple):
    """A recording as a store holds it."""

    name: str
    """Name of the record; the position of an array."""
    signal_uv: np.ndarray
    """int16 [12, T], microvolts at the encoder's rate and length."""
    outcome: Outcome


def is_one(x: object) -> bool:
    """Whether `x` is one recording rather than several."""
    return isinstance(x, str | os.PathLike | Recording) or (hasattr(x, "__array__") and np.ndim(x) == 2)


def prepared(
    x: object, signal: SignalConfig, fs_hz: Rate = None, leads: Leads = None, unit: str = "mV"
) -> Iterator[Prepared]:
    """Each recording of `x` through ingest's own preprocessing, one after the other.

    x: a path, a `Recording`, an array [L, T], several of these, or an array [B, L, T]. fs_hz: rate of the arrays, Hz,
    or one for each. leads: names of the arrays' rows; default: all twelve in the order of `LEADS`. unit: mV, uV or V.
    RejectedRecording, which names the recording, for what a store would not hold; ValueError for wrong arguments.
    """
    several = [x] if is_one(x) else x
    if not isinstance(several, Iterable) or (hasattr(x, "__array__") and np.ndim(x) not in (2, 3)):
        raise ValueError(
            "x: expected a path, a Recording, an array [leads, samples], several of these, or an array [recordings, "
            f"leads, samples]; got {list(np.shape(x)) if hasattr(x, '__array__') else type(x).__name__}"
        )
    rates = None if fs_hz is None or np.ndim(fs_hz) == 0 else list(fs_hz)
    if rates is not None and (not hasattr(several, "__len__") or len(rates) != len(several)):
        raise ValueError(f"fs_hz: expected one rate, or one for each recording; got {len(rates)}")
    for i, item in enumerate(several):
        name = str(os.fspath(item) if isinstance(item, str | os.PathLike) else getattr(item, "record_id", i))
        try:
            recording = _recording(item, str(i), fs_hz if rates is None else rates[i], leads, unit)
            signal_uv, outcome = process(recording, signal, MAX_GAP_FRACTION)
        except RejectedRecording as refusal:
            raise RejectedRecording(f"recording {name}: {refusal}") from refusal
        share = outcome.n_saturated / signal_uv.size
        if share > DOUBTFUL_SHARE:
            warnings.warn(
                f"recording {name}: {share:.0%} of the samples are beyond {MAX_MICROVOLTS / 1000:g} mV and were "
                "clipped; is the unit right?",
                stacklevel=2,
            )
        yield Prepared(recording.record_id, signal_uv, outcome)


def _recording(item: object, name: str, fs_hz: float | None, leads: Leads, unit: str) -> Recording:
    """One recording in the order of `LEADS` at its own rate."""
    if isinstance(item, str | os.PathLike | Recording):
        if fs_hz is not None or leads is not None:
            raise ValueError("fs_hz, leads: expected with arrays alone; files and Recordings know their own")
        if isinstance(item, Recording):
            return item
        recording = read_record(item)
        if recording.checksums_agree is False:
            warnings.warn(f"recording {os.fspath(item)}: {CHECKSUMS_DIFFER}", stacklevel=3)
        return recording
    signal = np.asarray(item)
    names = LEADS if leads is None else tuple(leads)
    if signal.ndim != 2 or len(signal) != len(names):
        raise ValueError(
            f"recording {name}: expected [{len(names)}, samples], rows {' '.join(names)}; got {list(signal.shape)}; "
            "rows in another order or number are named by leads=[...]"
        )
    if fs_hz is None or not (np.isfinite(fs_hz) and fs_hz > 0):
        raise ValueError(f"fs_hz: expected the sampling rate of the arrays, Hz; got {fs_hz}")
    if signal.dtype.kind != "f" and unit.casefold() == "mv":
        raise ValueError(f"recording {name}: expected floating-point numbers in mV, or unit='uV'; got {signal.dtype}")
    signal_mv = arrange(to_millivolts(signal, [unit] * len(names)), names)
    about = {"record_id": name, "patient_id": name, "report": "", "labels": frozenset()}
    return Recording(signal_mv=signal_mv, fs_hz=float(fs_hz), **about)


# -- in batches, on the cores that there are, with few of them in memory -----------------------------------------------


def batched(items: Iterable[A], size: int) -> Iterator[list[A]]:
    """Lists of `size` items, the last one shorter."""
    if size < 1:
        raise ValueError(f"batch: expected at least 1; got {size}")
    held: list[A] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def in_threads(call: Callable[[A], B], batches: Iterable[A]) -> Iterator[B]:
    """`map(call, batches)`; the batches are made in the caller's thread, as they are needed."""
    workers = min(MAX_THREADS, usable_cores())
    with one_thread_an_operation(), ThreadPoolExecutor(workers) as pool:
        pending = deque()
        for batch in batches:
            pending.append(pool.submit(call, batch))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
