"""Noise arises at the electrodes, with the density, the hum and the wander that a site has."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from merit.synthetic.recordings import SITES, electrode_noise, noise_share

QUIET = dataclasses.replace(SITES["csn"], mains_uv=0.0, muscle_uv=0.0, wander_uv=0.0)


def noise(fs_hz: int = 500, n: int = 5000, seed: int = 0, site=QUIET, **changes) -> np.ndarray:
    site = dataclasses.replace(site, **changes)
    return electrode_noise(site, fs_hz, n, site.guard_s, np.random.default_rng(seed))


def test_hum_sits_at_the_mains_frequency_and_without_noise_a_site_is_silent():
    assert np.abs(noise()).max() == 0
    for hz in (50.0, 60.0):
        power = np.abs(np.fft.rfft(noise(mains_uv=20.0, mains_hz=hz)[0])) ** 2
        assert np.fft.rfftfreq(5000, 1 / 500)[power.argmax()] == hz
        assert power.max() > 0.99 * power.sum()
    for n in (3001, 5003, 7919):
        assert noise(n=n, site=SITES["cpsc2018"]).shape == (8, n), "any length is possible"


def test_wander_is_slow_and_muscle_is_not():
    f = np.fft.rfftfreq(5000, 1 / 500)
    wander, muscle = (np.abs(np.fft.rfft(noise(**{kind: 50.0}))) ** 2 for kind in ("wander_uv", "muscle_uv"))
    assert wander[:, f < 3].sum() > 0.98 * wander.sum()
    assert muscle[:, f > 10].sum() > 0.8 * muscle.sum()
    soft = np.abs(np.fft.rfft(noise(muscle_uv=50.0, lowpass_hz=38))) ** 2
    assert soft[:, f > 80].sum() < 0.1 * muscle[:, f > 80].sum()


def test_muscle_noise_has_one_density_at_both_rates():
    fast = np.mean([noise(500, 5000, k, muscle_uv=30.0)[:2].var() for k in range(60)])
    slow = np.mean([noise(100, 1000, k, muscle_uv=30.0, lowpass_hz=38)[:2].var() for k in range(60)])
    assert 0.08 < slow / fast < 0.5


def test_share_of_noise():
    rng = np.random.default_rng(1)
    heart, disturbance = rng.normal(size=(8, 1000)), rng.normal(size=(8, 1000))
    assert noise_share(heart, disturbance, 100) == pytest.approx(0.5, abs=0.03)
    assert noise_share(heart, 0 * disturbance, 100) == 0
    steady = np.repeat(rng.normal(size=(8, 200)), 5, axis=1)
    assert noise_share(steady, disturbance, 500) == pytest.approx(1 / 6, abs=0.03)
