"""Batches without work per recording: from memory of the device where the recordings fit, else read ahead from disk.

Shapes: B batch, N records, L leads, T samples, W text width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import psutil
import torch
from torch import Tensor

from merit.data.batches import PairedRecordings, Words

Batch = tuple[Tensor, Tensor | Words, Tensor, Tensor]
"""Signals in mV [B, L, T], text embeddings [B, W] (or tokens, where layers of the text encoder are trained), which rows
have one [B], numbers that tell patients apart [B].
"""
Positions = Callable[[int], np.ndarray]
"""Number of an update -> positions of its recordings."""

SHARE = 0.6
"""Of the device's free memory that recordings may take; the rest is for the network."""
AHEAD = 3
"""Batches read ahead of the one in use."""
CHUNK = 4096
"""Recordings copied to the device at a time."""


class ResidentLoader:
    """All recordings in the device's memory, int16; a batch is a gather there."""

    def __init__(self, data: PairedRecordings, device: torch.device) -> None:
        rows = data.rows
        self.signal_uv = torch.empty((len(rows), *data.signal_uv.shape[1:]), dtype=torch.int16, device=device)
        for start in range(0, len(rows), CHUNK):
            part = torch.from_numpy(data.signal_uv[rows[start : start + CHUNK]])
            self.signal_uv[start : start + len(part)] = part
        self.text = data.text.to(device)
        self.tokens = None if data.tokens is None else data.tokens.to(device)
        self.text_rows = data.text_row[rows]
        self.text_row = torch.from_numpy(self.text_rows).to(device)
        self.patient = torch.from_numpy(data.patient[rows]).to(device)
        self.device = device

    def take(self, positions: np.ndarray) -> Batch:
        """One batch; positions: in the training recordings."""
        index = torch.from_numpy(np.ascontiguousarray(positions)).to(self.device, non_blocking=True)
        row = self.text_row[index]
        if self.tokens is None:
            text = self.text[row.clamp(min=0)]
        else:
            text = self.tokens.take(self.text_rows[positions].clip(min=0), self.device)
        return self.signal_uv[index].float() / 1000, text, row >= 0, self.patient[index]

    def batches(self, positions: Positions, start: int, stop: int) -> Iterator[Batch]:
        """The batches of updates `start` to `stop` - 1."""
        for update in range(start, stop):
            yield self.take(positions(update))


class MemmapLoader:
    """Recordings on disk, memory-mapped; a thread reads ahead, and copies to a GPU while that computes."""

    def __init__(self, data: PairedRecordings, device: torch.device) -> None:
        self.data, self.device, self.text = data, device, data.text.to(device)

    def batches(self, positions: Positions, start: int, stop: int) -> Iterator[Batch]:
        """The batches of updates `start` to `stop` - 1, a few read ahead."""
        with ThreadPoolExecutor(1) as reader:
            waiting: list[Future] = []
            try:
                for update in range(start, stop):
                    while len(waiting) <= AHEAD and update + len(waiting) < stop:
                        waiting.append(reader.submit(self._read, positions(update + len(waiting))))
                    words, read = waiting.pop(0).result()
                    signal, row, patient = (x.to(self.device, non_blocking=True) for x in read)
                    text = self.text[row.clamp(min=0)] if words is None else words
                    yield signal.float() / 1000, text, row >= 0, patient
            finally:
                for future in waiting:
                    future.cancel()

    def _read(self, positions: np.ndarray) -> tuple[Words | None, list[Tensor]]:
        """What a batch needs from disk: tokens, and signals with rows of texts and patients."""
        data, rows = self.data, self.data.rows[positions]
        read = [torch.from_numpy(values[rows]) for values in (data.signal_uv, data.text_row, data.patient)]
        words = None if data.tokens is None else data.tokens.take(data.text_row[rows].clip(min=0), self.device)
        return words, [x.pin_memory() for x in read] if self.device.type == "cuda" else read


def loader(data: PairedRecordings, device: torch.device) -> ResidentLoader | MemmapLoader:
    """Resident where the recordings fit into the device's free memory, else from disk, which it reports in one line."""
    needed, free = needed_bytes(data), free_bytes(device)
    if needed <= SHARE * free:
        return ResidentLoader(data, device)
    print(
        f"{len(data):,} recordings need {needed / 1e9:.1f} GB and {device.type} has {free / 1e9:.1f} GB free, of which "
        f"{SHARE:.0%} may be used: they are read from disk as they are needed"
    )
    return MemmapLoader(data, device)


def needed_bytes(data: PairedRecordings) -> int:
    """What the recordings, their texts and two numbers for each take in memory."""
    one = int(np.prod(data.signal_uv.shape[1:])) * data.signal_uv.itemsize
    tokens = 0 if data.tokens is None else data.tokens.n_bytes
    return len(data) * (one + 16) + data.text.numel() * data.text.element_size() + tokens


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device, or in the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available
