"""Embedding a store: every record once, in order, whatever the batch and the threads; what is not finite is refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.evaluate.embeddings import embed_store


class Means:
    """An encoder that returns the mean of each lead, in millivolts."""

    name = "means"

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        assert fs_hz == 100
        return signal_mv.mean(-1)


@pytest.fixture
def store():
    signal = np.random.default_rng(0).integers(-3000, 3000, (11, 12, 50)).astype(np.int16)
    return SimpleNamespace(
        signal_uv=signal, fs_hz=100, records=pd.DataFrame({"record_id": [f"r{i}" for i in range(11)]})
    )


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (4, 1), (4, 3), (64, 2)])
def test_every_record_once_and_in_order(store, batch, threads):
    z = embed_store(Means(), store, batch, progress=False, threads=threads)
    np.testing.assert_allclose(z, store.signal_uv.mean(-1) / 1000, rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_is_refused_by_record(store):
    class Broken(Means):
        def embed(self, signal_mv, fs_hz):
            z = super().embed(signal_mv, fs_hz)
            z[-1, 0] = np.nan
            return z

    with pytest.raises(ValueError, match="encoder means: expected finite embeddings; got none for record r3"):
        embed_store(Broken(), store, 4, progress=False)


def test_a_wrong_shape_is_refused(store):
    class Flat(Means):
        def embed(self, signal_mv, fs_hz):
            return signal_mv.mean((1, 2))

    with pytest.raises(ValueError, match=r"expected embeddings \[4, width\]; got \[4\]"):
        embed_store(Flat(), store, 4, progress=False)
