"""Embed once, then evaluate arrays: a store through an encoder, kept on disk by the identity of both.

Shapes: N records, D width.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from merit.baselines.base import Encoder
from merit.data.store import Store
from merit.threads import MAX_THREADS, one_thread_an_operation, usable_cores


def embed_store(
    encoder: Encoder, store: Store, batch: int = 64, progress: bool = True, threads: int | None = None
) -> np.ndarray:
    """float32 [N, D], a row per record of the store, streamed in batches. Refuses what is not finite, by record.

    threads: batches at a time; default: the cores of a CPU. It does not change the numbers.
    """

    def one(start: int) -> np.ndarray:
        signal_mv = store.signal_uv[start : start + batch].astype(np.float32) / 1000
        return check(encoder.embed(signal_mv, store.fs_hz), len(signal_mv), encoder.name, start, store)

    starts = range(0, len(store.records), batch)
    with one_thread_an_operation(), ThreadPoolExecutor(min(MAX_THREADS, threads or usable_cores())) as pool:
        done = tqdm(
            pool.map(one, starts), total=len(starts), unit="batch", desc=f"embedding by {encoder.name}",
            disable=not progress, mininterval=1.0,
        )  # fmt: skip
        return np.concatenate(list(done)).astype(np.float32)


def check(z: np.ndarray, expected: int, name: str, start: int, store: Store) -> np.ndarray:
    """The batch itself, when it is [expected, D] and finite; a ValueError in one line else."""
    if z.ndim != 2 or len(z) != expected:
        raise ValueError(f"encoder {name}: expected embeddings [{expected}, width]; got {list(z.shape)}")
    bad = np.flatnonzero(~np.isfinite(z).all(1))
    if len(bad):
        record = store.records["record_id"].iloc[start + bad[0]]
        raise ValueError(f"encoder {name}: expected finite embeddings; got none for record {record}")
    return z


def cached_embedding(
    path: Path, make_encoder: Callable[[], Encoder], store: Store, batch: int, progress: bool = True
) -> np.ndarray:
    """The array at `path`, or `embed_store` written there; one whose rows are not the store's is refused."""
    if not path.exists():
        save_array(path, embed_store(make_encoder(), store, batch, progress))
    z = np.load(path, allow_pickle=False)
    if len(z) != len(store.records):
        raise ValueError(f"{path}: expected {len(store.records)} rows, one a record of the store; got {len(z)}")
    return z


def save_array(path: Path, array: np.ndarray) -> None:
    """An .npy file, renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    np.save(temporary, array, allow_pickle=False)
    os.replace(temporary, path)
