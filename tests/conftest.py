"""Fixtures that many tests share: no network, fixed seeds, few threads, a small training set, small peers."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import string
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))


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


class SmallPeer:
    """A published encoder at its adapter's small size (its only one, where it has one alone), with seeded weights."""

    texts = ("sinus rhythm", "atrial fibrillation", "left bundle branch block", "myocardial infarction", "normal ecg")

    def __init__(self, name: str) -> None:
        from merit.encoders.registry import PUBLISHED

        self.name, self.adapter = name, PUBLISHED[name].adapter_class()
        self.has_text, self.small = PUBLISHED[name].shares_space, self.adapter.small

    def state(self) -> dict:
        """Weights by the names in the file, at the small size."""
        return self.adapter.seeded_state(self.small)

    def write(self, folder: Path, state: dict | None = None) -> Path:
        """A file in the published form."""
        import torch

        state = self.state() if state is None else state
        for key in reversed(self.adapter.inside):
            state = {key: state}
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / "weights.pt")
        return folder / "weights.pt"

    def write_text(self, folder: Path) -> None:
        """What belongs into `text` beside the weights: a small tokenizer, and BERT's configuration."""
        if self.name == "d-beta":
            from transformers import T5Tokenizer

            pieces = [(f"▁{one}", -2.0) for one in string.ascii_letters] + [(one, -1.0) for one in string.printable]
            vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces]
            T5Tokenizer(vocab=vocabulary[:60], extra_ids=0).save_pretrained(folder)
            return
        from merit.config import TextConfig
        from merit.model.text import make_tokenizer

        words = self.small.text.vocabulary - (self.name == "melp")  # to which MELP adds [BOS]
        make_tokenizer(self.texts, TextConfig(vocabulary=words)).save_pretrained(folder)
        self.small.text.config().save_pretrained(folder)

    def load(self, path: Path, device: str = "cpu"):
        """The encoder of such a file."""
        return self.adapter.load(path, device, self.small)


@pytest.fixture(scope="session")
def small_peer() -> type[SmallPeer]:
    """Call it with a name of `merit.encoders.registry.PUBLISHED`."""
    return SmallPeer
