"""Reading the weights that authors publish: nothing executed, every key accounted for, errors in one line."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from merit.baselines.outside import NOT_WHOLE, not_whole
from merit.data.paths import shown

State = dict[str, Tensor]


def read(path: Path, inside: Sequence[str] = ()) -> State:
    """The state in a file of weights: safetensors, or PyTorch's format, read as tensors and plain values alone.

    inside: keys to descend, such as ("model",). Raises ValueError for what was not downloaded whole, for a file that
    holds other objects, that lacks these keys, or where something in the state is no tensor.
    """
    if why := not_whole(path):
        raise ValueError(f"{path} {why}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" not in str(error):  # which names what else a whole pickle would make
            raise ValueError(f"{path} {NOT_WHOLE} (it ends early)") from error
        raise ValueError(
            f"{path}: expected tensors and plain values; the file holds other objects, which would be executed; where "
            "you trust it, open it with its authors' code and save the state alone as safetensors"
        ) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"{path} {NOT_WHOLE} ({shown(str(error), 120)})") from error
    for key in inside:
        if not isinstance(found, Mapping) or key not in found:
            raise ValueError(f"{path}: expected the weights under {'.'.join(inside)}; got {_form(found)}")
        found = found[key]
    other = [key for key, value in found.items() if not isinstance(value, Tensor)] if isinstance(found, Mapping) else []
    if not isinstance(found, Mapping) or other:
        raise ValueError(f"{path}: expected names and tensors; got {_form(found)}")
    return dict(found)


def take(state: Mapping[str, Tensor], prefix: str) -> State:
    """The entries under a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def leave(state: Mapping[str, Tensor], *prefixes: str) -> State:
    """Without the entries under these prefixes: parts of a peer that no evaluation here runs."""
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load `state` into `network`, strictly. what: the network, for the message of the ValueError."""
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(f"{path}: expected {what}; {first[:300]}") from error


def _form(found: object) -> str:
    return f"the keys {sorted(map(str, found))[:5]}" if isinstance(found, Mapping) else type(found).__name__
