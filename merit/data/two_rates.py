"""PTB-XL is published twice: at 500 Hz, and at 100 Hz as its publishers resampled and filtered it. What differs?

Recordings that are there in both are compared: the published 100 Hz file with the 500 Hz file resampled here, as the
other data sets are. Legend: N recordings, L leads, T samples at 100 Hz.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import csd, welch

from merit import runs
from merit.data.cohorts import open_cohort
from merit.data.preprocess import resample
from merit.data.recording import LEADS, RejectedRecording

HZ, FAST_HZ = 100, 500
MOST = 200
"""Recordings compared, the first that are there in both."""
BANDS = ((0.5, 10), (10, 20), (20, 40), (40, 45), (45, 48), (48, 50))
"""Hz, from and to."""
DELAY_BAND = (5, 30)
"""Hz in which a constant delay is read off the phase."""
SEGMENT, EDGE = 2 * HZ, HZ
"""Samples: of a segment of the spectra; of what is left out at either end where signals are shifted."""


def compare(root: str | Path) -> dict[str, Any] | None:
    """`difference` over the PTB-XL recordings below `root` that are there at both rates; None where there are none."""
    cohort = open_cohort("ptb-xl", root)
    pairs, ids = [], []
    for ref in cohort.refs()[cohort.present()].itertuples(index=False):
        if cohort.readable_path(ref, HZ) == cohort.readable_path(ref, FAST_HZ):
            continue
        try:
            published, fast = cohort.read(ref, HZ), cohort.read(ref, FAST_HZ)
        except (RejectedRecording, OSError):  # the page's table of what is not stored lists it
            continue
        pair = published.signal_mv, resample(fast.signal_mv, fast.fs_hz, HZ)
        whole = pair[0].shape == pair[1].shape == (len(LEADS), 10 * HZ)
        if published.fs_hz == HZ and whole and np.isfinite(pair).all():
            pairs.append(pair)
            ids.append(ref.record_id)
        if len(pairs) == MOST:
            break
    if not pairs:
        return None
    return {"records": f"{ids[0]} to {ids[-1]}", **difference(*(np.stack(side) for side in zip(*pairs)))}


def difference(published: np.ndarray, resampled: np.ndarray) -> dict[str, Any]:
    """How two versions [N, L, T] in mV of the same leads differ.

    correlation and rms_uv: median and worst over leads. earlier_ms: how much earlier `published` is; rms_shifted_uv:
    the median once that is corrected, without the ends. bands: rms of each in µV, and the ratio of powers in dB.
    """
    gap = published.astype(np.float64) - resampled
    rms = 1000 * np.sqrt((gap**2).mean(axis=-1))
    centred = [signal - signal.mean(axis=-1, keepdims=True) for signal in (published.astype(np.float64), resampled)]
    product, *squares = ((a * b).sum(axis=-1) for a, b in (centred, *((side, side) for side in centred)))
    there = squares[0] * squares[1] > 0
    correlation = product[there] / np.sqrt(squares[0] * squares[1])[there]
    length = published.shape[-1]
    # the delay is the slope of the phase of their cross-spectrum, weighted by it
    frequency, cross = csd(*centred, HZ, nperseg=min(SEGMENT, length))
    inside = (frequency >= DELAY_BAND[0]) & (frequency <= DELAY_BAND[1])
    f, total = frequency[inside], cross.sum(axis=(0, 1))[inside]
    weight = np.abs(total)
    delay_s = float(-(weight * f * np.angle(total)).sum() / (2 * np.pi * (weight * f**2).sum()))
    # moved by its spectrum, as if it began again after its end
    turn = np.exp(2j * np.pi * np.fft.rfftfreq(length, 1 / HZ) * delay_s)
    shifted = published - np.fft.irfft(np.fft.rfft(resampled, axis=-1) * turn, length, axis=-1)
    frequency, power = welch(np.stack(centred), HZ, nperseg=min(SEGMENT, length))
    bands = []
    for low, high in BANDS:
        inside = (frequency >= low) & ((frequency < high) | (high == HZ / 2))
        first, second = (float(side[..., inside].sum(axis=-1).mean() * frequency[1]) for side in power)
        rms_in_uv = {"published_uv": 1000 * first**0.5, "resampled_uv": 1000 * second**0.5}
        bands.append({"from_hz": low, "to_hz": high, **rms_in_uv, "ratio_db": 10 * float(np.log10(first / second))})
    return {
        "n_recordings": len(published),
        "correlation": {"median": float(np.median(correlation)), "worst": float(correlation.min())},
        "rms_uv": {"median": float(np.median(rms)), "worst": float(rms.max())},
        "earlier_ms": 1000 * delay_s,
        "rms_shifted_uv": float(np.median(1000 * np.sqrt((shifted[..., EDGE:-EDGE] ** 2).mean(axis=-1)))),
        "bands": bands,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of PTB-XL, with records100 and records500")
    parser.add_argument("--out", type=Path, required=True, help="book/reference/ptb_xl_rates.json")
    options = parser.parse_args()
    made_by = "python -m merit.data.two_rates --data DATA/ptb-xl --out FILE"
    runs.write_json(options.out, {"source": "PTB-XL 1.0.3", "made_by": made_by, **(compare(options.data) or {})})
