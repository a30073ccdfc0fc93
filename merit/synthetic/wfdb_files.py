"""WFDB headers and sample files written as bytes: what wfdb reads back, many times faster than its writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

INVALID = -32768
"""Format 16 keeps this value for a sample that is not valid; a signal is clipped above it."""


def quantise(signal_mv: np.ndarray, gain_per_mv: int) -> np.ndarray:
    """int16 samples [L, T] of a signal in mV."""
    return np.clip(np.rint(signal_mv * gain_per_mv), INVALID + 1, 32767).astype("<i2")


def header(name: str, suffix: str, fs_hz: int, samples: np.ndarray, leads: tuple[str, ...], *, form: str = "16",
           gain: str = "1000.0(0)", comments: tuple[str, ...] = ()) -> str:  # fmt: skip
    """The text of a header: one line a signal with gain, first value and checksum, then comments."""
    sums = samples.sum(axis=1, dtype=np.int64) % 65536
    lines = [f"{name} {len(leads)} {fs_hz} {samples.shape[1]}"]
    lines += [
        f"{name}{suffix} {form} {gain}/mV 16 0 {first} {checksum} 0 {lead}"
        for first, checksum, lead in zip(samples[:, 0], sums, leads)
    ]
    return "\n".join([*lines, *comments]) + "\n"


def write_samples(path: Path, samples: np.ndarray, matlab: bool = False) -> None:
    """Samples int16 [L, T] in WFDB's order, all leads of an instant together; behind a MATLAB header if asked."""
    body = np.ascontiguousarray(samples.T).tobytes()
    if matlab:
        head = np.array([30, samples.shape[0], samples.shape[1], 0, 4], "<i4").tobytes() + b"val\0"
        body = head + body
    path.write_bytes(body)


def every_fifth(signal_mv: np.ndarray) -> np.ndarray:
    """From 500 to 100 Hz: a low-pass at 40 Hz (windowed sinc, edges held), then one sample in five [L, T / 5]."""
    taps = np.arange(-60, 61)
    kernel = np.sinc(2 * 40 / 500 * taps) * np.hanning(len(taps) + 2)[1:-1]
    padded = np.pad(signal_mv, ((0, 0), (60, 60)), mode="edge")
    return np.stack([np.convolve(lead, kernel / kernel.sum(), "valid")[::5] for lead in padded])
