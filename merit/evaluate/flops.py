"""What one forward costs and passes along: FLOPs, shapes, parameters. A network on torch's meta device will do.

A FLOP is half of a multiply-add. Counted are matrix products alone (linear maps, and both products of attention, with
whatever columns are really multiplied); softmax, norms, activations and additions are not. On the meta device attention
is taken apart into its products, so the count does not depend on which fused kernel a machine has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> dict[str, int]:
    """Part (a direct child of the network) -> number of its parameters; "own": those of the network itself, if any."""
    found = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    own = sum(p.numel() for p in model.parameters(recurse=False))
    return {**found, "own": own} if own else found


def flops(model: nn.Module, call: Callable[[], Any]) -> dict[str, int]:
    """Part -> FLOPs of the matrix products that `call` runs in it; a part that does not run is left out.

    call: runs `model` in whatever way; what it multiplies outside the parts is not counted.
    """
    found: dict[str, int] = {}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hooks = []
        for name, part in model.named_children():

            def before(_module: nn.Module, _args: Any, name: str = name) -> None:
                found[name] = found.get(name, 0) - counter.get_total_flops()

            def after(_module: nn.Module, _args: Any, _out: Any, name: str = name) -> None:
                found[name] += counter.get_total_flops()

            hooks += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
        try:
            call()
        finally:
            for hook in hooks:
                hook.remove()
    return found


def total_flops(call: Callable[[], Any]) -> int:
    """FLOPs of all matrix products in `call`."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return counter.get_total_flops()


def shapes(model: nn.Module, call: Callable[[], Any], names: Iterable[str]) -> dict[str, dict[str, list[int]]]:
    """Name of a module -> the shapes of its first input and of its output in `call`, without the batch.

    A module that the network lacks, or that does not run, is left out.
    """
    found: dict[str, dict[str, list[int]]] = {}
    there, hooks = dict(model.named_modules()), []
    for name in names:

        def after(_module: nn.Module, args: Any, out: Any, name: str = name) -> None:
            found[name] = {"in": list(args[0].shape[1:]), "out": list(out.shape[1:])}

        if name in there:
            hooks.append(there[name].register_forward_hook(after))
    try:
        with torch.no_grad():
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return found
