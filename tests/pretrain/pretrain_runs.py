"""Small runs that the tests of this folder share, also in processes of their own."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, TextTowerConfig, replace
from merit.data.batches import PairedRecordings, TokenStates
from merit.model.text import TextTower
from merit.pretrain.train import Preempted, pretrain

CPU = torch.device("cpu")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
"""For processes of their own."""
MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2, resnet_width=2),
    decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16,
    shared_width=16,
)
TOWER = TextTowerConfig(layers=1, width=16, heads=2, hidden=32)
WITH_TOWER = replace(MODEL, text_tower=TOWER)


def settings(**changes) -> PretrainConfig:
    """Six updates of batch 8, validated and saved every three."""
    usual = {"epochs": None, "updates": 6, "batch": 8, "learning_rate": 3e-3, "validate_every": 3, "save_every": 3}
    return PretrainConfig(**{**usual, "validation_share": 0.2, **changes})


def run(
    data: PairedRecordings, folder: Path, model: ModelConfig = MODEL, *, how: dict | None = None, **changes
) -> Path:
    """A run with other `settings`; how: arguments of `pretrain`, such as stop_after."""
    return pretrain(data, model, settings(**changes), folder, cohort="here", progress=False, **(how or {}))


def token_states(n: int = 8, dtype: torch.dtype = torch.float32) -> TokenStates:
    """Texts of 1 to 12 tokens that are noise."""
    rng = np.random.default_rng(3)
    start = np.concatenate([[0], rng.integers(1, 13, n).cumsum()])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        weights = TextTower(TOWER).state_dict()
    tokens = torch.from_numpy(rng.normal(size=(start[-1], 16))).to(dtype)
    return TokenStates(tokens, start, dataclasses.asdict(TOWER), weights)


def recordings(tokens: TokenStates | None = None) -> PairedRecordings:
    """Forty recordings that every process makes alike, some without a report."""
    rng = np.random.default_rng(0)
    signal_uv = (rng.normal(size=(40, 12, 1000)).cumsum(-1) * 20).clip(-3e4, 3e4).astype(np.int16)
    names = [f"r{i}" for i in range(40)]
    records = pd.DataFrame({"record_id": names, "patient_id": names, "group": names})
    text_row = np.arange(40) % 8
    text_row[::10] = -1
    text = torch.from_numpy(rng.normal(size=(8, 16)).astype(np.float32))
    return PairedRecordings(signal_uv, np.arange(40), text, text_row, records, tokens)


def train_here(folder: Path | str, updates: int, stop_after: int | None = None, text_layers: int = 0) -> None:
    """A run on these recordings; SystemExit 75 where it was preempted."""
    data, model = recordings(token_states() if text_layers else None), WITH_TOWER if text_layers else MODEL
    every = {"validate_every": 5, "save_every": 5, "learning_rate": 1e-3, "text_layers": text_layers}
    try:
        run(data, Path(folder), model, how={"stop_after": stop_after}, updates=updates, **every)
    except Preempted as error:
        raise SystemExit(error.exit_code) from error


def history(folder: Path) -> list[dict]:
    """The lines of a history, without what depends on the clock."""
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "samples_per_s"} for line in lines]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same(one: Path, other: Path) -> None:
    """Two runs ended with the same weights and the same history, bit for bit."""
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert history(one) == history(other)


if __name__ == "__main__":
    train_here(sys.argv[1], *map(int, sys.argv[2:]))
