"""A group of processes that train together, forked from one that has imported the network, so that torch is read once.

    python forked.py tests/pretrain/test_distributed.py gradients '["merit"]' 4 found.pt

calls that function of that file in 4 processes; the first writes what it returned. What imports torch's compiler must
not be imported before the fork (its children hang). `torchrun` itself is in the tests that kill and warn.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from pathlib import Path

import torch
from torch.multiprocessing import start_processes


def member(rank: int, function, arguments: list, n: str, port: int, out: str) -> None:
    """One process of the group."""
    place = {"WORLD_SIZE": n, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank))
    found = function(*arguments)
    if rank == 0:
        torch.save(found, out)


if __name__ == "__main__":
    file, name, arguments, n, out = sys.argv[1:]
    sys.path.insert(0, str(Path(file).parent))
    function = getattr(importlib.import_module(Path(file).stem), name)
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    start_processes(member, (function, json.loads(arguments), n, port, out), int(n), start_method="fork")
