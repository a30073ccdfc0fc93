"""How work is shared out among a machine's cores so that numbers do not depend on how many there are.

Sharing out every single operation means a barrier every 50 microseconds, which on a busy machine costs many times the
arithmetic, and sums in another order. So operations run on one thread, and whole batches, folds or runs are shared out:
among threads, or among processes in bounded memory, which go when their parent does, even killed. NumPy's linear
algebra is told so by OPENBLAS_NUM_THREADS=1, which `__main__` and the notebooks' kernels set: estimates of information
took five times as long without it beside other work.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import re
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

MAX_THREADS = 4
"""Beyond this, Python threads wait for Python's lock rather than for arithmetic."""
AHEAD = 3
"""Tasks a worker handed out before the first result is taken: enough to keep them busy, few enough to fit in memory."""
PATIENCE_S = 3.0
"""How long workers that were told to end may take."""


# -- what there is -----------------------------------------------------------------------------------------------------


def cores() -> int:
    """Cores that this process may use; all of the machine's where the system has no such limit (macOS, Windows)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_cores() -> int:
    """As `cores`; OMP_NUM_THREADS lowers the number."""
    there = cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(there, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else there


def torch_device(name: str) -> str:
    """A device's name for torch, `auto` resolved; a ValueError for another name, or one that is not there."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise ValueError(f"device: expected auto, cpu, cuda or cuda:1; got {name}")
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"device: expected one that is there (cpu); got {name}")
    place = name.removeprefix("cuda").removeprefix(":")
    if place.isdigit() and int(place) >= (there := torch.cuda.device_count()):
        raise ValueError(f"device: expected cuda:0 to cuda:{there - 1}, or cpu; got {name}")
    return name


def together() -> bool:
    """Whether torchrun started this process among others, which train one run together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


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


@contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Torch's operations on the CPU use one thread each within; as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- work in other processes -------------------------------------------------------------------------------------------


def ordered_map(function: Callable[[A], B], tasks: Iterable[A], workers: int) -> Iterator[B]:
    """`map(function, tasks)` in `workers` processes; in this one if it is one. `function` is a module's own."""
    if workers <= 1:
        yield from map(function, tasks)
        return
    with _executor(function, workers) as submit:
        pending: deque[Future[B]] = deque()
        for task in tasks:
            pending.append(submit(task))
            if len(pending) >= AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def as_done(function: Callable[[A], B], tasks: Iterable[A], workers: int) -> Iterator[B]:
    """As `ordered_map`, for few tasks: results as they come. After a failure no further task begins."""
    if workers <= 1:
        yield from map(function, tasks)
        return
    with _executor(function, workers) as submit:
        for future in as_completed([submit(task) for task in tasks]):
            yield future.result()


@contextmanager
def _executor(function: Callable[[A], B], workers: int) -> Iterator[Callable[[A], Future[B]]]:
    """What hands a task to one of several processes."""
    # a fork of this process could inherit locks held by threads; Windows has no forks at all
    served = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if served else "spawn")
    if served:
        context.set_forkserver_preload([function.__module__])
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)

    def submit(task: A) -> Future[B]:
        """Workers start without the caller's script: they need no part of it, and it may be standard input."""
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            return executor.submit(_do, function, task)
        finally:
            sys.modules["__main__"] = main

    try:
        yield submit
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


_ended = threading.Event()
"""Set in a worker that was told to end: what it had been handed ahead does not begin."""


def _do(function: Callable[[A], B], task: A) -> B:
    return sys.exit() if _ended.is_set() else function(task)


def _begin_worker() -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the parent, which then tells this worker to end.

    End it too when the parent does: one killed outright could not tell it to, and it would wait for ever.
    """

    def end(*_: object) -> None:
        _ended.set()
        sys.exit(128 + signal.SIGTERM)

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
    parent = multiprocessing.parent_process()
    threading.Thread(target=watch, daemon=True).start()
