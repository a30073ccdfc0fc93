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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: np.where(np.arange(len(z))[:, None] == 3, np.nan, z), "finite embeddings; got none for record r3"),
        (lambda z: z.mean(1), r"embeddings \[4, width\]; got \[4\]"),
    ],
)
def test_what_is_not_finite_or_of_a_wrong_shape_is_refused(store, change, message):
    class Changed(Means):
        def embed(self, signal_mv, fs_hz):
            return change(super().embed(signal_mv, fs_hz))

    with pytest.raises(ValueError, match=f"encoder means: expected {message}"):
        embed_store(Changed(), store, 4, progress=False)
    with pytest.raises(ValueError, match="encoder means: expected one with tokens"):
        embed_store(Means(), store, call="tokens")
