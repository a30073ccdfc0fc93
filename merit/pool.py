"""Work in other processes, in bounded memory; how much a process took. Workers go when the parent does, even killed."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

AHEAD = 3
"""Tasks a worker handed out before the first result is taken: enough to keep them busy, few enough to fit in memory."""
PATIENCE_S = 3.0
"""How long workers that were told to end may take."""


def ordered_map(function: Callable[[A], B], tasks: Iterable[A], workers: int) -> Iterator[B]:
    """`map(function, tasks)` in `workers` processes; in this one if it is one. `function` is a module's own."""
    if workers <= 1:
        yield from map(function, tasks)
        return
    with _executor(function, workers) as executor:
        pending: deque[Future[B]] = deque()
        for task in tasks:
            with _without_main():
                pending.append(executor.submit(_do, function, task))
            if len(pending) >= AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def as_done(function: Callable[[A], B], tasks: Iterable[A], workers: int) -> Iterator[B]:
    """As `ordered_map`, for few tasks: results as they come. After a failure no further task begins."""
    if workers <= 1:
        yield from map(function, tasks)
        return
    with _executor(function, workers) as executor:
        with _without_main():
            pending = [executor.submit(_do, function, task) for task in tasks]
        for one in as_completed(pending):
            yield one.result()


@contextmanager
def _executor(function: Callable[[A], B], workers: int) -> Iterator[ProcessPoolExecutor]:
    # a fork of this process could inherit locks held by threads; Windows has no forks at all
    served = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if served:
        context.set_forkserver_preload([function.__module__])
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield executor
    except KeyboardInterrupt:
        executor.shutdown(wait=False, cancel_futures=True)
        end_workers()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def end_workers() -> None:
    """End this process's workers now: told first, so that what they began is cleared away, and killed after that."""
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
    last = time.monotonic() + PATIENCE_S
    for worker in workers:
        worker.join(max(0.0, last - time.monotonic()))
        worker.kill()


@contextmanager
def _without_main() -> Iterator[None]:
    """Start workers without the caller's script: they need no part of it, and it may be standard input or unguarded."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_ended = threading.Event()
"""Set in a worker that was told to end: what it had been handed ahead does not begin."""


def _do(function: Callable[[A], B], task: A) -> B:
    return sys.exit() if _ended.is_set() else function(task)


def _end(*_: object) -> None:
    _ended.set()
    sys.exit(128 + signal.SIGTERM)


def _begin_worker() -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the parent, which then tells this worker to end.

    End it too when the parent does: one killed outright could not tell it to, and it would wait for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def peak_memory() -> int:
    """Bytes of memory that this process held at most; 0 where the system does not say.

    Linux' own file where there is one: what getrusage gives can be the parent's, which a child takes over.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
