"""Encoders of a reader's own: a registered class in a file, or an installed entry point, named by `MERIT_ENCODER`.

The setting is `path/to/file.py:Class`, `path/to/file.py` (every registered class of it), or the name of an entry point
in the group `merit.encoders`; several are separated by commas. The file is run: it is the reader's own.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from merit import runs
from merit.data.recording import LEADS
from merit.encoders.base import Encoder, InputSpec

GROUP = "merit.encoders"
NEEDED = ("input_spec", "embed")
TRIED_HZ, TRIED_S = 500, 10


def register(name: str) -> Callable[[type], type]:
    """Class decorator: the encoder's name in tables. The class is called with a device, "cpu" or "cuda".

    It has `input_spec` (an `InputSpec`), `embed(signal_mv, fs_hz)`, and what it likes of `Sequenced` and `TextAligned`.
    `weights`, a path or several, names files that its embeddings depend on; `pretrained_on`, data sets of ours.
    """
    _check_name(name)

    def mark(encoder: type) -> type:
        encoder.name = name
        encoder.merit_registered = True
        return encoder

    return mark


def _check_name(name: str) -> None:
    """ValueError for a name that cannot stand in tables and in names of files."""
    if not name[:1].isalnum() or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise ValueError(f"encoder: expected a name of letters, digits, - _ and ., a letter first; got {name!r}")


@dataclass(frozen=True)
class UserEncoder:
    """The registry's entry for an encoder of a reader's own; the same questions as of a published one."""

    name: str
    encoder: type

    @property
    def fs_hz(self) -> float:
        """The rate that it reads, Hz."""
        return float(self.encoder.input_spec.fs_hz)

    @property
    def shares_space(self) -> bool:
        """Whether it shares a space with texts."""
        return hasattr(self.encoder, "embed_text")

    def pretraining_cohorts(self) -> tuple[str, ...]:
        """Data sets of ours that it says it was pretrained on."""
        return tuple(getattr(self.encoder, "pretrained_on", ()))

    def digest(self) -> str:
        """Changes with the class's file and with the files under `weights`."""
        total = hashlib.sha256(Path(inspect.getfile(self.encoder)).read_bytes())
        given = getattr(self.encoder, "weights", ())
        for path in [given] if isinstance(given, str | Path) else given:
            files = sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]
            for file in (file for file in files if file.is_file()):
                total.update(str(file).encode() + hashlib.sha256(file.read_bytes()).digest())
        return total.hexdigest()[:16]

    def identity(self) -> str:
        """Identity of the encoder in results."""
        return runs.identity("own", {"encoder": self.name}, {"source": self.digest()}, [])

    def load(self, device: str) -> Encoder:
        """An instance that has embedded three made-up recordings: ValueError, saying what was expected, unless it gives
        finite [B, D] that do not depend on B.
        """
        encoder = self.encoder(device)
        signal_mv = np.random.default_rng(0).normal(0, 0.2, (3, len(LEADS), TRIED_HZ * TRIED_S)).astype(np.float32)
        whole = _embedded(encoder, signal_mv)
        alone = np.concatenate([_embedded(encoder, signal_mv[i : i + 1]) for i in range(len(signal_mv))])
        if alone.shape != whole.shape or not np.allclose(alone, whole, rtol=1e-3, atol=1e-3 * np.abs(whole).max()):
            raise ValueError(
                f"encoder {self.name}: expected the same embedding of a recording whatever the batch; one at a time it "
                "differs (batch normalisation or dropout left in training mode?)"
            )
        return encoder


def _embedded(encoder: Encoder, signal_mv: np.ndarray) -> np.ndarray:
    try:
        z = np.asarray(encoder.embed(signal_mv, TRIED_HZ))
    except Exception as error:  # a reader's code may raise anything
        raise ValueError(
            f"encoder {encoder.name}: expected embeddings of a float32 array {list(signal_mv.shape)} in mV at "
            f"{TRIED_HZ} Hz; it raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        ) from error
    if z.ndim != 2 or len(z) != len(signal_mv):
        raise ValueError(f"encoder {encoder.name}: expected [{len(signal_mv)}, width]; got {list(z.shape)}")
    if not np.issubdtype(z.dtype, np.floating) or not np.isfinite(z).all():
        raise ValueError(f"encoder {encoder.name}: expected finite numbers; got {z.dtype} with NaN or infinity")
    return z


def registered() -> dict[str, UserEncoder]:
    """Name -> encoder of those that `MERIT_ENCODER` names. Raises ValueError, in one line, for what is not there."""
    return dict(_named(os.environ.get("MERIT_ENCODER", "")))


@functools.cache
def _named(setting: str) -> tuple[tuple[str, UserEncoder], ...]:
    encoders: dict[str, UserEncoder] = {}
    for part in filter(None, (part.strip() for part in setting.split(","))):
        for encoder in _classes(part):
            name = encoder.name = getattr(encoder, "name", None) or encoder.__name__
            _check_name(name)
            if name in encoders:
                raise ValueError(f"MERIT_ENCODER: {name} is registered twice")
            lacking = [needed for needed in NEEDED if not hasattr(encoder, needed)]
            if lacking or not isinstance(encoder.input_spec, InputSpec):
                raise ValueError(
                    f"encoder {name}: expected a class with input_spec (merit.encoders.base.InputSpec) and "
                    f"embed(signal_mv, fs_hz); it lacks {', '.join(lacking) or 'an InputSpec'}"
                )
            encoders[name] = UserEncoder(name, encoder)
    return tuple(encoders.items())


def _classes(part: str) -> list[type]:
    """The classes that one part of the setting names."""
    if not part.endswith(".py") and ".py:" not in part:
        points = importlib.metadata.entry_points(group=GROUP)
        if part not in points.names:
            there = ", ".join(sorted(points.names)) or "none installed"
            raise ValueError(
                f"MERIT_ENCODER: expected path.py:Class or an entry point of {GROUP} ({there}); got {part!r}"
            )
        return [points[part].load()]
    stem, _, name = part.partition(".py:") if ".py:" in part else (part.removesuffix(".py"), "", "")
    path = Path(f"{stem}.py")
    module = _module(path)
    if name:
        if not inspect.isclass(encoder := getattr(module, name, None)):
            raise ValueError(f"MERIT_ENCODER: expected a class {name} in {path}; there is none")
        return [encoder]
    marked = [value for value in vars(module).values() if inspect.isclass(value) and hasattr(value, "merit_registered")]
    if not marked:
        raise ValueError(f"MERIT_ENCODER: expected a class under @register in {path}; there is none")
    return marked


def _module(path: Path) -> object:
    """A reader's file, run."""
    if not path.is_file():
        raise ValueError(f"MERIT_ENCODER: expected path.py:Class; there is no file {path}")
    name = f"merit_own_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a reader's code may raise anything
        raise ValueError(f"MERIT_ENCODER: {path} does not run: {type(error).__name__}: {error}") from error
    return module
