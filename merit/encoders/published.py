"""Reading the weights that authors publish: nothing executed, every key accounted for, errors in one line."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from merit.data.recording import shown
from merit.encoders.outside import NOT_WHOLE, not_whole

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
    except OSError:
        raise
    except Exception as error:  # a damaged file makes torch.load raise whatever its parsing runs into
        if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
            raise ValueError(
                f"{path}: expected tensors and plain values; the file holds other objects, which would be executed, "
                "or is damaged; what is needed is the state alone, as safetensors"
            ) from error
        detail = shown(f"{type(error).__name__}: {error}", 120)
        raise ValueError(f"{path} {NOT_WHOLE} ({detail})") from error
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
