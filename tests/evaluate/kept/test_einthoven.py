"""Einthoven's law, on leads that obey it and on leads that were scaled one by one."""

from __future__ import annotations

import numpy as np

from merit.evaluate.kept import einthoven


def leads(n: int = 5) -> np.ndarray:
    """int16 [n, 12, 1000], µV, whose limb leads obey the law up to rounding."""
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 300, (n, 12, 1000))
    signal[:, 2] = signal[:, 1] - signal[:, 0]
    return np.rint(signal).astype(np.int16)


def test_leads_that_were_scaled_by_themselves_are_told(monkeypatch):
    signal = leads()
    assert einthoven.on_one_scale(signal).all()
    signal[1, 0] = signal[1, 0] // 2
    signal[3] *= 2
    signal[4, 1] += 500
    monkeypatch.setattr(einthoven, "CHUNK", 2)
    assert einthoven.on_one_scale(signal).tolist() == [True, False, True, True, True]


def test_it_is_the_share_that_its_docstring_says():
    signal = leads(2).astype(np.float64)
    off = np.random.default_rng(1).normal(0, 1, 1000)
    for share, holds in ((0.9, True), (1.1, False)):
        one = signal.copy()
        spread = np.sqrt((one[0, :3] ** 2).mean())
        one[0, 2] += share * einthoven.MOST * spread * off / off.std()
        assert einthoven.on_one_scale(one).tolist() == [holds, True]


def test_flat_and_no_recordings():
    assert einthoven.on_one_scale(np.zeros((1, 12, 10), np.int16)).tolist() == [True]
    assert einthoven.on_one_scale(np.zeros((0, 12, 10), np.int16)).tolist() == []
