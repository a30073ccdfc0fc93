"""An untrained checkpoint with its text encoder, laid out as in artifacts, and small WFDB files to use it on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from wfdb_trees import put_record

from merit.data.preprocess import DERIVED
from merit.data.recording import LEADS


def hearts(n: int) -> np.ndarray:
    """float32 [n, 12, 1000] mV at 100 Hz: smooth, below 20 Hz, limb leads as Einthoven and Goldberger have them."""
    rng = np.random.default_rng(0)
    time_s, phase, rate = np.arange(1000) / 100, rng.uniform(0, 6, (n, 12, 1)), rng.uniform(0.8, 2, (n, 1, 1))
    waves = [(1.0, 1), (0.5, 3), (0.3, 7)]
    signal = sum(size * np.sin(2 * np.pi * rate * k * time_s + k * phase) for size, k in waves)
    for name, (one, two) in DERIVED.items():
        signal[:, LEADS.index(name)] = one * signal[:, 0] + two * signal[:, 1]
    return signal.astype(np.float32)


def write_record(folder: Path, name: str, signal_mv: np.ndarray, fs_hz: float = 100, leads=LEADS) -> Path:
    """A format-16 record with 1 µV steps; returns the header's path."""
    digital = np.rint(signal_mv.astype(np.float64) * 1000).astype(np.int16)
    return put_record(folder, name, digital, fs=fs_hz, names=leads)


def write_checkpoint(folder: Path, objective: str = "merit") -> Path:
    """A tiny untrained network, finished by the project's own writer."""
    import torch

    from merit.config import EncoderConfig, ModelConfig, PretrainConfig
    from merit.model.merit import Merit
    from merit.pretrain import checkpoint
    from merit.runs import plain

    config = ModelConfig(encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), text_width=16, shared_width=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Merit(config, reconstructs=objective in ("merit", "mse"), aligns=objective != "mse")
    run = PretrainConfig(objective=objective, epochs=None, updates=2, batch=8, validate_every=2, save_every=2)
    seen = pd.DataFrame({"cohort": "ptb-xl", "patient_id": ["p1", "p2"], "record_id": ["r1", "r2"]})
    folder.mkdir(parents=True)
    settings = plain({"model": config, "pretrain": run, "total_updates": 2, "device": "cpu"})
    checkpoint.finish(folder, model, settings, seen, 1.0, {"text": {}, "synthetic": None})
    return folder


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory) -> Path:
    """`checkpoints/` with one of merit and one of mse, `text/` with their text encoder."""
    from merit.config import TextConfig
    from merit.model.text import train_text_encoder

    root = tmp_path_factory.mktemp("artifacts") / "tiny"
    for objective in ("merit", "mse"):
        write_checkpoint(root / "checkpoints" / f"{objective}-seed0-0123", objective)
    config = TextConfig(width=16, depth=1, heads=2, vocabulary=300, updates=1, batch=4)
    (root / "text").mkdir()
    train_text_encoder(["sinus rhythm", "atrial fibrillation"], config, root / "text" / "4567", progress=False)
    return root


@pytest.fixture(scope="session")
def folder(artifacts) -> Path:
    return artifacts / "checkpoints" / "merit-seed0-0123"


@pytest.fixture(scope="session")
def model(folder):
    import merit

    return merit.load(folder)


@pytest.fixture
def own(artifacts, tmp_path) -> Path:
    """The same artifacts, to be changed."""
    return Path(shutil.copytree(artifacts, tmp_path / "own"))


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Five records of 100 Hz."""
    return [write_record(tmp_path / "wfdb", f"r{i}", one) for i, one in enumerate(hearts(5))]


@pytest.fixture
def writer(tmp_path) -> Callable[..., Path]:
    return lambda name, *given, **named: write_record(tmp_path / "wfdb", name, *given, **named)


@pytest.fixture(scope="session")
def signal_mv() -> np.ndarray:
    """float32 [5, 12, 1000], whole microvolts."""
    return (np.rint(hearts(5).astype(np.float64) * 1000) / 1000).astype(np.float32)
