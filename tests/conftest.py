"""Fixtures that many tests share: no network, fixed seeds, few threads, a small training set."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder of real recordings; skips where MERIT_REAL_DATA does not name one."""
    root = os.environ.get("MERIT_REAL_DATA")
    if not root:
        pytest.skip("MERIT_REAL_DATA is not set")
    return Path(root)


@pytest.fixture
def paired():
    """Forty recordings of twenty patients whose leads are mixtures of two rhythms, with eight distinct reports."""
    import torch

    from merit.data.batches import PairedRecordings

    rng = np.random.default_rng(0)
    n, t = 40, np.arange(1000) / 100
    rate = rng.uniform(0.8, 2.0, n)
    source = np.stack([np.sin(2 * np.pi * rate[:, None] * t), np.cos(6 * np.pi * rate[:, None] * t)], 1)
    signal = np.einsum("lk,nkt->nlt", rng.normal(size=(12, 2)), source) * 300 + rng.normal(size=(n, 12, 1000)) * 30
    records = pd.DataFrame(
        {
            "record_id": [f"r{i}" for i in range(n)],
            "patient_id": [f"p{i // 2}" for i in range(n)],
            "group": [f"g{i}" for i in range(n)],
        }
    )
    text_row = np.arange(n) % 8
    text_row[::10] = -1
    text = torch.from_numpy(rng.normal(size=(8, 16)).astype(np.float32))
    return PairedRecordings(signal.astype(np.int16), np.arange(n), text, text_row.astype(np.int64), records)
