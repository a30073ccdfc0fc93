"""What the adapters of published encoders share: reading their file, bringing a recording to their input, running them.

Shapes: B batch, L leads, T samples, n tokens, R texts, D width of the feature that is probed, d width of the space
shared with texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from merit import runs
from merit.encoders import golden, weights
from merit.encoders.base import InputSpec, fitted
from merit.encoders.blocks import TextTower, frozen
from merit.encoders.weights import State

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order in MIMIC-IV-ECG's files, in which encoders read that were pretrained on them as they stand."""


class PublishedEncoder:
    """A published encoder behind the protocol: subclasses say what its file holds and how it is fed and read."""

    name: str
    input_spec: InputSpec
    network_class: type[nn.Module]
    what: str
    """The network, for messages; {name} and {size} are filled in. For a file of one network; otherwise see `parts`."""
    published: Any = None
    """The sizes of the published weights."""
    small: Any = None
    """The sizes of the golden file, at which tests run; None where there is one network alone."""
    inside: tuple[str, ...] = ()
    """Keys that a published file has its state under."""
    left_out: tuple[str, ...] = ()
    """Prefixes of entries of the state that no evaluation here runs."""
    text_class: type[TextTower] | None = None
    text_prefix: str = ""
    """Prefix of the text tower's names."""
    text_head: str = ""
    """Prefix of the part that leads from the text tower into the shared space."""
    texts_take: str = ""
    """The file that holds the text side too, where another one holds the ECG side alone."""

    path: Path = Path()
    """The file of weights."""
    head: nn.Module | None = None
    """The way from the ECG side into the shared space."""
    text: TextTower | None = None
    """The way from texts into it."""

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        """network: the feature that is probed, [B, D], from [B, L, T] as `prepared` gives it."""
        self.network, self.device = frozen(network, device), device

    # -- the published file ------------------------------------------------------------------------------------------

    @classmethod
    def parts(cls, size: Any) -> dict[str, tuple[str, nn.Module]]:
        """Prefix of names in the file -> what it is, for messages, and a network of random weights.

        The ECG encoder comes first; "" takes all that has no other prefix; the text tower is not among them.
        """
        return {"": (cls.what.format(name=cls.name, size=size), cls.network_class(size))}

    @classmethod
    def ecg_network(cls, size: Any = None) -> nn.Module:
        """The ECG encoder with random weights, at the published size unless another is given."""
        return next(network for _, network in cls.parts(size or cls.published).values())

    @classmethod
    def shapes(cls, size: Any = None) -> State:
        """Everything that is read of a file, by the names there, on the meta device."""
        size = size or cls.published
        with torch.device("meta"):
            networks = {prefix: network for prefix, (_, network) in cls.parts(size).items()}
            if cls.text_class:
                networks[cls.text_prefix] = cls.text_class.build(size.text.config())
        return {prefix + key: value for prefix, part in networks.items() for key, value in part.state_dict().items()}

    @classmethod
    def seeded_state(cls, size: Any = None) -> State:
        """A state in the form of the file, with the weights of `merit.encoders.golden`."""
        return golden.weights(cls.shapes(size))

    @classmethod
    def load(cls, path: Path, device: str = "cpu", size: Any = None) -> Self:
        """The encoder from a published file, every key accounted for. Raises ValueError for any other file."""
        return cls.from_state(weights.read(path, cls.inside), path, device, size)

    @classmethod
    def from_state(cls, state: State, path: Path, device: str = "cpu", size: Any = None) -> Self:
        """The encoder with the state of a published file. path: the file, for messages and for its folder `text`."""
        size, state = size or cls.published, weights.leave(cls.renamed(state, path), *cls.left_out)
        parts = cls.parts(size)
        first, prefixes = next(iter(parts)), [*parts, *([cls.text_prefix] if cls.text_class else [])]
        states = weights.split(state, prefixes)
        alone = bool(cls.texts_take) and all(key.startswith(first) for key in state)
        for prefix in [first] if alone else parts:
            what, network = parts[prefix]
            weights.fill(network, states[prefix], path, what)
        if "" not in parts and states[""]:
            raise ValueError(f"{path}: expected names under {', '.join(prefixes)}; got {min(states[''])}")
        encoder = cls(parts[first][1], device)
        encoder.path = path
        if n_samples := getattr(size, "n_samples", None):
            encoder.input_spec = replace(cls.input_spec, duration_s=n_samples / cls.input_spec.fs_hz)
        if cls.text_class and not alone:
            encoder.head = frozen(parts[""][1], device) if first and "" in parts else None
            text_head = parts[cls.text_head][1] if cls.text_head else nn.Identity()
            encoder.text = cls.text_class(cls.name, path, states[cls.text_prefix], size.text, text_head, device)
        return encoder

    @classmethod
    def renamed(cls, state: State, path: Path) -> State:
        """The state by the names of `shapes`, where a file may have others. Raises ValueError where it contradicts
        itself.
        """
        return state

    @property
    def identity(self) -> str:
        """Digest of the ECG side's weights."""
        total = hashlib.sha256()
        for key, value in sorted(self.network.state_dict().items()):
            total.update(key.encode() + value.cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    # -- embeddings --------------------------------------------------------------------------------------------------

    def embed(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, D] from [B, 12, T] millivolts at any rate."""
        return self.run(self.network, self.prepared(signal_mv, fs_hz))

    def tokens(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, n, D], first to last, by the network's `tokens`, which says whether their mean is the feature."""
        return self.run(self.network.tokens, self.prepared(signal_mv, fs_hz))

    def prepared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, L, T] at the encoder's rate and length, leads in its order, filtered and scaled as it expects."""
        return np.ascontiguousarray(self.conditioned(fitted(signal_mv, fs_hz, self.input_spec)), np.float32)

    def conditioned(self, signal_mv: np.ndarray) -> np.ndarray:
        """[B, L, T] filtered and scaled; millivolts as they are unless a subclass says otherwise."""
        return signal_mv

    def run(self, call: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
        """float32 of `call` on the device, without gradients."""
        with torch.inference_mode():
            return call(torch.from_numpy(x).to(self.device)).float().cpu().numpy()

    def golden(self) -> dict[str, np.ndarray]:
        """Outputs of the small network, for `merit.encoders.golden.agreement`."""
        raise NotImplementedError


class TextAlignedEncoder(PublishedEncoder):
    """One that shares a space with texts; Unavailable where its file, or the folder `text`, does not give them."""

    def embed_shared(self, signal_mv: np.ndarray, fs_hz: float) -> np.ndarray:
        """float32 [B, d] of length 1 from [B, 12, T] millivolts."""
        self.need_texts()
        return self.shared(self.prepared(signal_mv, fs_hz))

    def shared(self, x: np.ndarray) -> np.ndarray:
        """float32 [B, d] of length 1, from what `prepared` gives."""
        return self.run(lambda x: self.head(self.network(x)), x)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """float32 [R, d] of length 1."""
        self.need_texts()
        return self.text.embed(texts)

    def need_texts(self) -> None:
        """Unavailable where the file holds the ECG side alone."""
        if self.text is None:
            raise runs.Unavailable(
                f"{self.name}: {self.path.name} holds the ECG side alone; texts take {self.texts_take}"
            )


def min_max(signal_mv: np.ndarray) -> np.ndarray:
    """[B, L, T] from 0 to 1 over all leads and samples of a recording, in the precision given; a flat one becomes 0."""
    low, high = (bound(axis=(1, 2), keepdims=True) for bound in (signal_mv.min, signal_mv.max))
    return (signal_mv - low) / (high - low + 1e-8)  # as MERL and MELP have it


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, [N, d]."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
