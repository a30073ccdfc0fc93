"""How a site records: rate, gain, filter, mains, and noise where it arises, at the nine electrodes.

E the nine electrodes RA, LA, LL, V1..V6, L the eight independent leads, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from merit.synthetic.leads import EIGHT_TO_TWELVE, ELECTRODES_TO_LEADS


@dataclass(frozen=True, kw_only=True)
class Site:
    """One hospital's equipment and habits."""

    name: str
    fs_hz: int
    gain_per_mv: int
    """Quantisation steps a millivolt, as in the headers of the data set whose layout it writes."""
    lowpass_hz: float
    mains_hz: float
    mains_uv: float
    muscle_uv: float
    """Broad noise of an electrode, standard deviation before the filter at 500 Hz."""
    wander_uv: float
    wander_hz: float
    """Above this, baseline wander falls off; a site with a strong high-pass keeps little below it."""
    spread: float = 1.25
    """Variation of the lead field between patients (0: none)."""
    nondipolar: float = 0.10

    @property
    def guard_s(self) -> float:
        """Standard deviation of the Gaussian low-pass that is 3 dB down at `lowpass_hz`."""
        return 0.1325 / self.lowpass_hz


SITES = {
    "mimic-iv-ecg": Site(name="mimic-iv-ecg", fs_hz=500, gain_per_mv=200, lowpass_hz=150, mains_hz=60, mains_uv=2,
                         muscle_uv=7, wander_uv=24, wander_hz=0.5),
    "ptb-xl": Site(name="ptb-xl", fs_hz=100, gain_per_mv=1000, lowpass_hz=38, mains_hz=50, mains_uv=1.5,
                   muscle_uv=9.5, wander_uv=22, wander_hz=0.45),
    "cpsc2018": Site(name="cpsc2018", fs_hz=500, gain_per_mv=1000, lowpass_hz=100, mains_hz=50, mains_uv=4,
                     muscle_uv=9.5, wander_uv=30, wander_hz=0.6),
    "csn": Site(name="csn", fs_hz=500, gain_per_mv=1000, lowpass_hz=100, mains_hz=50, mains_uv=3,
                muscle_uv=8, wander_uv=22, wander_hz=0.5),
}  # fmt: skip


CLOTHING = np.array([1.0, 1.0, 0.7, 0.55, 0.55, 0.55, 0.55, 0.55, 0.55])
"""Muscle noise of each electrode: arms more than the leg, the chest least."""


def electrode_noise(site: Site, fs_hz: int, n_samples: int, guard_s: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of one recording in eight leads [L, T], mV: wander, muscle and mains, shaped in the frequency domain.

    Muscle noise has the same density whatever the rate, so a slower recording holds less of it.
    """
    wanted, n_samples = n_samples, scipy.fft.next_fast_len(n_samples, real=True)
    f = scipy.fft.rfftfreq(n_samples, 1 / fs_hz).astype(np.float32)
    quality = np.exp(rng.normal(0, 0.55))
    level = np.exp(rng.normal(0, 0.5, 9)) * quality * CLOTHING
    drift = np.exp(rng.normal(0, 0.6, 9)) * np.exp(rng.normal(0, 0.6))
    bin_hz = fs_hz / n_samples
    muscle = np.exp(-0.5 * (2 * np.pi * f * guard_s) ** 2) / (1 + 3.0 / np.maximum(f, 0.5)) * np.sqrt(bin_hz / 250)
    wander = np.exp(-f / site.wander_hz) * (f > 0.04)
    wander /= np.sqrt((wander**2).sum())
    shape = (site.muscle_uv * level)[:, None] * muscle + (site.wander_uv * drift)[:, None] * wander
    spectrum = rng.standard_normal((9, len(f), 2), dtype=np.float32) * shape[:, :, None].astype(np.float32)
    spectrum = spectrum.view(np.complex64)[..., 0]
    if site.mains_hz < fs_hz / 2:
        k = round(site.mains_hz * n_samples / fs_hz)
        hum = site.mains_uv * np.exp(rng.normal(0, 0.8)) * np.exp(1j * rng.normal(0, 0.6, 9) + rng.normal(0, 0.4, 9))
        spectrum[:, k] += hum.astype(np.complex64)
    noise = scipy.fft.irfft(spectrum, n_samples, axis=1) * np.float32(n_samples / 2 / 1000)
    return (ELECTRODES_TO_LEADS @ noise[:, :wanted]).astype(np.float32)


def noise_share(eight_mv: np.ndarray, noise_mv: np.ndarray, fs_hz: int) -> float:
    """Share of the variance of the twelve leads at 100 Hz, z-scored together, that is noise of the electrodes.

    Both [L, T]. Baseline wander counts as noise although it can partly be foreseen, so this is the floor of an error
    that knows nothing but the heart.
    """
    step = fs_hz // 100
    length = noise_mv.shape[1] // step * step
    noise, both = (
        EIGHT_TO_TWELVE @ x[:, :length].reshape(8, -1, step).mean(2) for x in (noise_mv, eight_mv + noise_mv)
    )
    return float((noise**2).mean() / both.var())
