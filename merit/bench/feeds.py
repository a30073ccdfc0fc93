"""The ways in which recordings reach the network: resident, streamed, and one by one through torch's DataLoader.

The recordings are noise: no time here depends on what they show. B batch, N records, L leads, T samples, W text width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from merit.config import ModelConfig, PretrainConfig
from merit.data.batches import PairedRecordings
from merit.pretrain.loaders import CHUNK, SHARE, Batch, MemmapLoader, Positions, ResidentLoader, free_bytes
from merit.pretrain.train import positions

DISTINCT = 16_000
"""Recordings that are really drawn; a larger set holds them several times, which costs the same."""
REPORTS = 64
"""Distinct reports; how many there are costs nothing."""
ENDLESS = 1_000_000_000
"""Updates that an iterator of batches could give."""


def noise_uv(n: int, model: ModelConfig) -> np.ndarray:
    """White noise, int16 [n, L, T], microvolts, seeded."""
    shape = (n, model.encoder.n_leads, model.encoder.n_samples)
    return np.random.default_rng(0).integers(-1000, 1001, shape, dtype=np.int16)


def paired(signal_uv: np.ndarray, n: int, model: ModelConfig) -> PairedRecordings:
    """N recordings with report embeddings that are noise too; signal_uv [N or fewer, L, T] is gone through in turn."""
    there = len(signal_uv)
    text = torch.from_numpy(np.random.default_rng(1).normal(size=(REPORTS, model.text_width)).astype(np.float32))
    text_row = np.arange(there, dtype=np.int64) % REPORTS
    records = pd.DataFrame({"patient_id": range(there)})
    return PairedRecordings(signal_uv, np.arange(n) % there, text, text_row, records)


def room(model: ModelConfig, device: torch.device) -> int:
    """Recordings that the resident feed could hold in the device's memory now."""
    return int(SHARE * free_bytes(device)) // (model.encoder.n_leads * model.encoder.n_samples * 2)


@contextmanager
def on_disk(n: int, model: ModelConfig, folder: Path) -> Iterator[PairedRecordings]:
    """The same in a file under `folder`, memory-mapped, as a store's are; it lies in the page cache."""
    file = folder / "signal_uv.npy"
    np.save(file, noise_uv(min(n, DISTINCT), model))
    try:
        yield paired(np.load(file, mmap_mode="r"), n, model)
    finally:
        file.unlink()


class OneByOne(Dataset):
    """Recordings as the peers' code serves them: each read, scaled to mV and converted by itself."""

    def __init__(self, data: PairedRecordings) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, bool, int]:
        row = self.data.rows[position]
        signal_mv = torch.from_numpy(self.data.signal_uv[row].astype(np.float32) / 1000)
        text_row = int(self.data.text_row[row])
        return signal_mv, self.data.text[max(text_row, 0)], text_row >= 0, int(self.data.patient[row])


def loaded(data: PairedRecordings, at: Positions, device: torch.device, workers: int) -> Iterator[Batch]:
    """Batches by torch's DataLoader, which collates recordings one by one, here or in worker processes."""
    order = (at(update).tolist() for update in range(ENDLESS))
    loader = DataLoader(OneByOne(data), batch_sampler=order, num_workers=workers, pin_memory=device.type == "cuda")
    for batch in loader:
        yield tuple(part.to(device, non_blocking=True) for part in batch)


class Noise(ResidentLoader):
    """Recordings that are noise, drawn in the device's own memory: a full set in seconds, and nothing is copied."""

    def __init__(self, n: int, model: ModelConfig, device: torch.device) -> None:
        shape = (model.encoder.n_leads, model.encoder.n_samples)
        generator = torch.Generator(device).manual_seed(0)
        self.signal_uv = torch.empty((n, *shape), dtype=torch.int16, device=device)
        for start in range(0, n, CHUNK):
            part = self.signal_uv[start : start + CHUNK]
            part.copy_(torch.randint(-1000, 1001, part.shape, generator=generator, device=device, dtype=torch.int16))
        self.text = torch.randn((REPORTS, model.text_width), generator=generator, device=device)
        self.text_row = torch.arange(n, device=device) % REPORTS
        self.patient = torch.arange(n, device=device)
        self.tokens, self.device = None, device


@contextmanager
def every_way(
    data: PairedRecordings, config: PretrainConfig, device: torch.device, workers: tuple[int, ...]
) -> Iterator[dict[str, Iterator[Batch]]]:
    """Way -> its endless batches, all of the same recordings in the same order: resident, streamed, and `loader_n` by a
    DataLoader with n worker processes.
    """

    def at(update: int) -> np.ndarray:
        return positions(len(data), update, config)

    ways = {
        "resident": ResidentLoader(data, device).batches(at, 0, ENDLESS),
        "streamed": MemmapLoader(data, device).batches(at, 0, ENDLESS),
        **{f"loader_{count}": loaded(data, at, device, count) for count in workers},
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(closing(batches)) for name, batches in ways.items()}
