"""Values that are not numbers are named with their first update, at once or when they are looked at."""

from __future__ import annotations

import pytest
import torch

from merit.pretrain.watch import Finite, NonFiniteLoss

NAN = torch.tensor(float("nan"))


def test_on_a_cpu_at_once():
    watch = Finite(torch.device("cpu"))
    watch.note({"loss": torch.tensor(1.0)}, 1)
    with pytest.raises(NonFiniteLoss, match="update 2: expected a finite loss; got nan"):
        watch.note({"loss": NAN}, 2)


def test_on_a_gpu_only_when_asked_and_then_the_first():
    watch = Finite(torch.device("cuda"))  # where values lie does not matter to it
    for update, value in enumerate((torch.tensor(1.0), NAN, torch.tensor(2.0), NAN), 1):
        watch.note({"loss": value, "gradient": torch.tensor(1.0)}, update)
    with pytest.raises(NonFiniteLoss, match="update 2: expected a finite loss"):
        watch.check()
    Finite(torch.device("cuda")).check()
