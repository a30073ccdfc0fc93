"""Reading the weights that authors publish: nothing executed, every key accounted for, errors in one line."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from merit.data.recording import shown, something_else

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]
"""Name of an entry -> its weights."""
NOT_WHOLE = "was not downloaded whole, or is no file of weights"


def not_whole(path: Path) -> str:
    """Why a file holds no weights, such as what a failed download leaves; "" where nothing speaks against it.

    Looks at the file's beginning and end alone, whatever its size.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return "is no ordinary file"
    with path.open("rb") as file:
        head = file.read(512)
    got = something_else(head) or ("" if head else "it is empty")
    if not got and path.suffix == ".safetensors":
        try:
            safe_open(path, framework="np").__exit__(None, None, None)
        except SafetensorError as error:
            got = shown(str(error))
    elif not got and head.startswith(b"PK"):
        try:
            got = "" if zipfile.is_zipfile(path) else "the end of its archive is missing"
        except zipfile.BadZipFile as error:
            got = str(error)
    elif not got and not head.startswith(b"\x80") and not tarfile.is_tarfile(path):
        got = "it holds something else"
    return got and f"{NOT_WHOLE} ({got}); delete it and download it again"


def read(path: Path, inside: Sequence[str] = ()) -> State:
    """The state in a file of weights: safetensors, or PyTorch's format, read as tensors and plain values alone.

    inside: keys to descend, such as ("model",). Raises ValueError for a file that was not downloaded whole, that holds
    other objects, that lacks these keys, or whose state holds anything but tensors.
    """
    import torch

    if why := not_whole(path):
        raise ValueError(f"{path} {why}")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
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
        if not isinstance(content, Mapping) or key not in content:
            raise ValueError(f"{path}: expected the weights under {'.'.join(inside)}; got {_form(content)}")
        content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"{path}: expected names and tensors; got {_form(content)}")
    return dict(content)


def split(state: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, State]:
    """Prefix -> the entries under it, without it; "" -> those under none of them."""
    states: dict[str, State] = {prefix: {} for prefix in ("", *prefixes)}
    for key, value in state.items():
        prefix = next((prefix for prefix in prefixes if prefix and key.startswith(prefix)), "")
        states[prefix][key.removeprefix(prefix)] = value
    return states


def strip(state: Mapping[str, Tensor], prefix: str) -> State:
    """Names without a prefix that all should have; one that lacks it gets a slash, so that it fits nothing."""
    return {key.removeprefix(prefix) if key.startswith(prefix) else f"/{key}": value for key, value in state.items()}


def leave(state: Mapping[str, Tensor], *prefixes: str) -> State:
    """Without the entries under these prefixes."""
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Load `state` into `network`, strictly. what: the network, for the message of the ValueError."""
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ValueError(f"{path}: expected {what}; {first[:300]}") from error


def _form(content: object) -> str:
    return f"the keys {sorted(map(str, content))[:5]}" if isinstance(content, Mapping) else type(content).__name__
