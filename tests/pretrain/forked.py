"""A group of processes that train together, forked from one that has imported the network, so that torch is read once.

    python forked.py tests/pretrain/test_world.py gradients '["merit"]' 4 found.pt

calls that function of that file in 4 processes; the first writes what it returned. What imports torch's compiler must
not be imported before the fork (its children hang). `torchrun` itself is in the tests that kill and warn.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import traceback
from pathlib import Path

import torch


def member(function, arguments: list, place: dict[str, str], out: str) -> int:
    """One process of the group; its exit status."""
    os.environ.update(place)
    try:
        found = function(*arguments)
        if place["RANK"] == "0":
            torch.save(found, out)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def group(function, arguments: list, n: int, out: str) -> int:
    """0 where all n processes ended well."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    everywhere = {"WORLD_SIZE": str(n), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    children = []
    for rank in map(str, range(n)):
        child = os.fork()
        if child == 0:
            os._exit(member(function, arguments, {**everywhere, "RANK": rank, "LOCAL_RANK": rank}, out))
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


if __name__ == "__main__":
    file, name, arguments, n, out = sys.argv[1:]
    sys.path.insert(0, str(Path(file).parent))
    function = getattr(importlib.import_module(Path(file).stem), name)
    sys.exit(group(function, json.loads(arguments), int(n), out))
