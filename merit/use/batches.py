"""Work in batches on the cores that there are, with few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from merit.threads import MAX_THREADS, one_thread_an_operation, usable_cores

A, B = TypeVar("A"), TypeVar("B")


def batched(items: Iterable[A], size: int) -> Iterator[list[A]]:
    """Lists of `size` items, the last one shorter."""
    if size < 1:
        raise ValueError(f"batch: expected at least 1; got {size}")
    held: list[A] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


def in_threads(call: Callable[[A], B], batches: Iterable[A]) -> Iterator[B]:
    """`map(call, batches)`; the batches are made in the caller's thread, as they are needed."""
    workers = min(MAX_THREADS, usable_cores())
    with one_thread_an_operation(), ThreadPoolExecutor(workers) as pool:
        pending = deque()
        for one in batches:
            pending.append(pool.submit(call, one))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
