"""What ends a run early: a value that is not a number, and a cluster's warning."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class NonFiniteLoss(RuntimeError):
    """A term of the loss is not a number; the message names it and the update."""


class Warned(RuntimeError):
    """SIGTERM came; a checkpoint was written and the run left."""

    exit_code = 75
    """"Temporary failure" in sysexits.h: the same command goes on."""


class Finite:
    """Looks at values at every update; on a GPU without waiting for them: `check` reads what was noted."""

    def __init__(self, device: torch.device) -> None:
        self.waits = device.type == "cpu"
        self.first: dict[str, Tensor] = {}

    def note(self, values: Mapping[str, Tensor], update: int) -> None:
        """Remember the first update at which a value was not finite; on a CPU raise at once."""
        if self.waits:
            require_finite(values, update)
            return
        for name, value in values.items():
            before = self.first.get(name, torch.full_like(value, -1, dtype=torch.int64))
            self.first[name] = torch.where((before < 0) & ~value.isfinite(), update, before)

    def check(self) -> None:
        """Raise NonFiniteLoss where any value was not finite since the beginning; waits for the device."""
        for name, first in self.first.items():
            if first.item() >= 0:
                raise NonFiniteLoss(_message(name, "none", int(first.item())))


def require_finite(values: Mapping[str, Tensor], update: int) -> None:
    """Stop at the first value that is not finite, by name; the last checkpoint stays as it is."""
    for name, value in values.items():
        if not torch.isfinite(value):
            raise NonFiniteLoss(_message(name, str(value.item()), update))


def _message(name: str, got: str, update: int) -> str:
    return (
        f"update {update}: expected a finite {name}; got {got}; the last good checkpoint is kept; lower the learning "
        "rate or look at the recordings of this update"
    )


@contextmanager
def warning() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, in place of ending the process; outside the main thread it is never set."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGTERM, lambda *_: came.set())
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
