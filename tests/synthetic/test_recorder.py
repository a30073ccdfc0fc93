"""Noise arises at the electrodes, with the density, the hum and the wander that a site has."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from merit.synthetic.recorder import SITES, electrode_noise, noise_share

QUIET = dataclasses.replace(SITES["csn"], mains_uv=0.0, muscle_uv=0.0, wander_uv=0.0)


def noise(site, fs_hz: int = 500, n: int = 5000, seed: int = 0) -> np.ndarray:
    return electrode_noise(site, fs_hz, n, site.guard_s, np.random.default_rng(seed))


def test_a_site_without_noise_is_silent():
    assert np.abs(noise(QUIET)).max() == 0


def test_hum_sits_at_the_mains_frequency():
    for hz in (50.0, 60.0):
        power = np.abs(np.fft.rfft(noise(dataclasses.replace(QUIET, mains_uv=20.0, mains_hz=hz))[0])) ** 2
        assert np.fft.rfftfreq(5000, 1 / 500)[power.argmax()] == hz
        assert power.max() > 0.99 * power.sum()


def test_wander_is_slow_and_muscle_is_not():
    f = np.fft.rfftfreq(5000, 1 / 500)
    wander = np.abs(np.fft.rfft(noise(dataclasses.replace(QUIET, wander_uv=50.0)), axis=1)) ** 2
    muscle = np.abs(np.fft.rfft(noise(dataclasses.replace(QUIET, muscle_uv=50.0)), axis=1)) ** 2
    assert wander[:, f < 3].sum() > 0.98 * wander.sum()
    assert muscle[:, f > 10].sum() > 0.8 * muscle.sum()


def test_muscle_noise_has_one_density_at_both_rates():
    site = dataclasses.replace(QUIET, muscle_uv=30.0)
    fast = np.mean([noise(site, 500, 5000, k)[:2].var() for k in range(60)])
    slow = np.mean([noise(dataclasses.replace(site, lowpass_hz=38), 100, 1000, k)[:2].var() for k in range(60)])
    assert 0.08 < slow / fast < 0.5


@pytest.mark.parametrize("n", [3001, 5003, 7919])
def test_any_length_is_possible(n):
    assert noise(SITES["cpsc2018"], 500, n).shape == (8, n)


def test_share_of_noise():
    rng = np.random.default_rng(1)
    heart, disturbance = rng.normal(size=(8, 1000)), rng.normal(size=(8, 1000))
    assert noise_share(heart, disturbance, 100) == pytest.approx(0.5, abs=0.03)
    assert noise_share(heart, 0 * disturbance, 100) == 0
    steady = np.repeat(rng.normal(size=(8, 200)), 5, axis=1)
    assert noise_share(steady, disturbance, 500) == pytest.approx(1 / 6, abs=0.03)
