"""How work is shared out among a machine's cores so that numbers do not depend on how many there are.

Sharing out every single operation means a barrier every 50 microseconds, which on a busy machine costs many times the
arithmetic, and sums in another order. So operations run on one thread, and whole batches, folds or runs are shared out.
NumPy's linear algebra is told so by OPENBLAS_NUM_THREADS=1, which `__main__` and the notebooks' kernels set: estimates
of information took five times as long without it beside other work.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

MAX_THREADS = 4
"""Beyond this, Python threads wait for Python's lock rather than for arithmetic."""


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
