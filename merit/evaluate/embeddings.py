"""Embed once, then evaluate arrays: a store through an encoder, stored by the identity of both.

Shapes: N records, n tokens of a recording, D width.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from merit.data.store import Store
from merit.encoders.base import Encoder
from merit.parallel import MAX_THREADS, one_thread_an_operation, usable_cores


def embed_store(
    encoder: Encoder,
    store: Store,
    batch: int = 64,
    progress: bool = True,
    threads: int | None = None,
    *,
    rows: np.ndarray | None = None,
    call: str = "embed",
) -> np.ndarray:
    """float32 [N, D], a row per record of the store, streamed in batches. Refuses what is not finite, by record.

    threads: batches at a time; default: the cores of a CPU. It does not change the numbers. rows: of these records
    alone, in this order. call: another method of the encoder: `tokens`, [N, n, D], what it gives before it averages
    over time (`Sequenced`), or `embed_shared` (`TextAligned`).
    """
    chosen = np.arange(len(store.records)) if rows is None else np.asarray(rows)
    if not hasattr(encoder, call):
        raise ValueError(f"encoder {encoder.name}: expected one with {call}; it has none")
    ndim = 3 if call == "tokens" else 2

    def embed_batch(start: int) -> np.ndarray:
        part = chosen[start : start + batch]
        z = getattr(encoder, call)(store.signal_uv[part].astype(np.float32) / 1000, store.fs_hz)
        if z.ndim != ndim or len(z) != len(part):
            wanted = f"[{len(part)}, {'tokens, ' * (ndim - 2)}width]"
            raise ValueError(f"encoder {encoder.name}: expected embeddings {wanted}; got {list(z.shape)}")
        bad = np.flatnonzero(~np.isfinite(z).reshape(len(z), -1).all(1))
        if len(bad):
            record = store.records["record_id"].iloc[part[bad[0]]]
            raise ValueError(f"encoder {encoder.name}: expected finite embeddings; got none for record {record}")
        return z

    starts = range(0, len(chosen), batch)
    with one_thread_an_operation(), ThreadPoolExecutor(min(MAX_THREADS, threads or usable_cores())) as pool:
        done = tqdm(
            pool.map(embed_batch, starts), total=len(starts), unit="batch", desc=f"embedding by {encoder.name}",
            disable=not progress, mininterval=1.0,
        )  # fmt: skip
        return np.concatenate(list(done)).astype(np.float32)
