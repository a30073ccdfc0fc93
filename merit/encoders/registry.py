"""One registry of the encoders that are not pretrained here: the published ones, and a reader's own.

Facts about the published ones are data, `published.toml`; a reader brings their weights. A reader's own are named by
`MERIT_ENCODER`: `path/to/file.py:Class`, `path/to/file.py` (every registered class of it), or an entry point in the
group `merit.encoders`; several are separated by commas. Nothing of an encoder is imported before it is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merit import runs
from merit.data.recording import LEADS, shown, something_else
from merit.encoders.base import Encoder, InputSpec

# -- published ---------------------------------------------------------------------------------------------------------

ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
NOT_WHOLE = "was not downloaded whole, or is no file of weights"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published encoder, whose weights a reader brings."""

    name: str
    label: str
    """How tables write it."""
    adapter: str
    """`module:Class` of the `PublishedEncoder` that reads its weights."""
    published: str
    """Where the authors publish the weights."""
    terms: str
    """Licence of the authors' code, and what a user may do with the weights."""
    fs_hz: float
    """The rate that it reads, Hz, as its `input_spec` says."""
    pretrained_on: tuple[str, ...]
    """Data sets of ours that its authors pretrained on: which patients of them it has seen is not known."""
    trained_further_prefix: str | None = None
    """What names begin with in another published file (safetensors), whose weights were trained on from these."""
    trained_further_on: tuple[str, ...] = ()
    """The data sets of ours that the weights of that file have seen in addition."""
    input_shape: tuple[int, int, int]
    """What its network is fed for one recording: crops, leads, samples."""
    feature: str
    """What is probed."""
    text: str | None = None
    """What belongs into `weights/<name>/text` for zero-shot classification; None: no space shared with texts."""
    remark: str = ""
    """What of the original is reproduced, or differs, that a reader of a table should know."""

    @property
    def shares_space(self) -> bool:
        """Whether it shares a space with texts."""
        return self.text is not None

    def adapter_class(self) -> type[Any]:
        """The class that reads its weights, a `PublishedEncoder`."""
        module, _, name = self.adapter.partition(":")
        return getattr(importlib.import_module(module), name)

    def load(self, device: str) -> Encoder:
        """The encoder itself. Unavailable where there is no file."""
        return self.adapter_class().load(self.weights_file(), device)

    def weights_file(self) -> Path:
        """The one file of weights in its folder; Unavailable where there is none, or a damaged one; ValueError where
        there are several.
        """
        folder = weights_folder() / self.name
        names = folder.iterdir() if folder.is_dir() else ()
        paths = sorted(path for path in names if path.suffix in ENDINGS and not path.name.startswith("._"))
        if not paths:
            raise runs.Unavailable(f"{self.name}: no weights in weights/{self.name}; published: {self.published}")
        if len(paths) > 1:
            raise ValueError(f"{folder}: expected one weights file; got {', '.join(path.name for path in paths)}")
        if why := not_whole(paths[0]):
            raise runs.Unavailable(f"{self.name}: weights/{self.name}/{paths[0].name} {why}")
        return paths[0]

    def pretraining_cohorts(self) -> tuple[str, ...]:
        """Data sets of ours that the weights at hand were pretrained on; those of the first file where none are."""
        if self.trained_further_prefix is None:
            return self.pretrained_on
        try:
            path = self.weights_file()
        except runs.Unavailable:
            return self.pretrained_on
        further = False
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="np") as file:  # which reads names alone
                further = any(name.startswith(self.trained_further_prefix) for name in file.keys())  # noqa: SIM118
        return self.pretrained_on + (self.trained_further_on if further else ())

    def identity(self) -> str:
        """Identity of its files and of the code that reads them. Unavailable where there is no file."""
        path = self.weights_file()
        text = path.parent / "text"
        files = [path, *(sorted(p for p in text.rglob("*") if p.is_file()) if text.is_dir() else [])]
        digests = {file.relative_to(path.parent).as_posix(): runs.file_digest(file) for file in files}
        return runs.identity("published", {"encoder": self.name}, digests, [self.adapter.partition(":")[0]])


_TABLE = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
PUBLISHED = {
    name: Published(name=name, **{key: tuple(it) if isinstance(it, list) else it for key, it in facts.items()})
    for name, facts in _TABLE.items()
}
"""Name in a table -> encoder, in the order of tables."""


def weights_folder() -> Path:
    """`weights`, or `$MERIT_WEIGHTS`, there or not; it has a folder for each encoder, by its name."""
    return Path(os.environ.get("MERIT_WEIGHTS") or runs.home() / "weights")


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


# -- a reader's own ----------------------------------------------------------------------------------------------------

GROUP = "merit.encoders"
NEEDED = ("input_spec", "embed")
TRIED_HZ, TRIED_S = 500, 10


def register(name: str) -> Callable[[type], type]:
    """Class decorator: the encoder's name in tables. The class is called with a device, "cpu" or "cuda".

    It has `input_spec` (an `InputSpec`), `embed(signal_mv, fs_hz)`, and what it likes of `Sequenced` and `TextAligned`.
    `weights`, a path or several, names files that its embeddings depend on; `pretrained_on`, data sets of ours.
    """

    def mark(encoder: type) -> type:
        encoder.name = name
        encoder.merit_registered = True
        return encoder

    return mark


@dataclass(frozen=True, kw_only=True)
class UserEncoder:
    """The registry's entry for an encoder of a reader's own; the same questions as of a published one."""

    name: str
    encoder: type
    fs_hz: float
    """The rate that it reads, Hz."""
    shares_space: bool
    """Whether it shares a space with texts."""

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
        found = []
        for batch in (signal_mv, *(signal_mv[i : i + 1] for i in range(len(signal_mv)))):  # together, then each alone
            try:
                z = np.asarray(encoder.embed(batch, TRIED_HZ))
            except Exception as error:  # a reader's code may raise anything
                raise ValueError(
                    f"encoder {self.name}: expected embeddings of a float32 array {list(batch.shape)} in mV at "
                    f"{TRIED_HZ} Hz; it raised {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                ) from error
            if z.ndim != 2 or len(z) != len(batch):
                raise ValueError(f"encoder {self.name}: expected [{len(batch)}, width]; got {list(z.shape)}")
            if not np.issubdtype(z.dtype, np.floating) or not np.isfinite(z).all():
                raise ValueError(f"encoder {self.name}: expected finite numbers; got {z.dtype} with NaN or infinity")
            found.append(z)
        whole, alone = found[0], np.concatenate(found[1:])
        if alone.shape != whole.shape or not np.allclose(alone, whole, rtol=1e-3, atol=1e-3 * np.abs(whole).max()):
            raise ValueError(
                f"encoder {self.name}: expected the same embedding of a recording whatever the batch; one at a time it "
                "differs (batch normalisation or dropout left in training mode?)"
            )
        return encoder


def registered() -> dict[str, UserEncoder]:
    """Name -> encoder of those that `MERIT_ENCODER` names. Raises ValueError, in one line, for what is not there."""
    return dict(_named(os.environ.get("MERIT_ENCODER", "")))


@functools.cache
def _named(setting: str) -> tuple[tuple[str, UserEncoder], ...]:
    """The encoders that a value of `MERIT_ENCODER` names; a file among them is run: it is the reader's own."""
    entries: dict[str, UserEncoder] = {}
    for part in filter(None, (part.strip() for part in setting.split(","))):
        # An installed entry point
        if not part.endswith(".py") and ".py:" not in part:
            points = importlib.metadata.entry_points(group=GROUP)
            if part not in points.names:
                there = ", ".join(sorted(points.names)) or "none installed"
                raise ValueError(
                    f"MERIT_ENCODER: expected path.py:Class or an entry point of {GROUP} ({there}); got {part!r}"
                )
            classes = [points[part].load()]

        # or a file, of which one class is named, or every registered one is meant.
        else:
            stem, _, wanted = part.partition(".py:") if ".py:" in part else (part.removesuffix(".py"), "", "")
            path = Path(f"{stem}.py")
            if not path.is_file():
                raise ValueError(f"MERIT_ENCODER: expected path.py:Class; there is no file {path}")
            name = f"merit_own_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
            spec = importlib.util.spec_from_file_location(name, path)
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except Exception as error:  # a reader's code may raise anything
                raise ValueError(f"MERIT_ENCODER: {path} does not run: {type(error).__name__}: {error}") from error
            there = [value for value in vars(module).values() if inspect.isclass(value)]
            if wanted and getattr(module, wanted, None) not in there:
                raise ValueError(f"MERIT_ENCODER: expected a class {wanted} in {path}; there is none")
            marked = [encoder for encoder in there if hasattr(encoder, "merit_registered")]
            classes = [getattr(module, wanted)] if wanted else marked
            if not classes:
                raise ValueError(f"MERIT_ENCODER: expected a class under @register in {path}; there is none")

        for encoder in classes:
            name = encoder.name = getattr(encoder, "name", None) or encoder.__name__
            if not name[:1].isalnum() or not all(letter.isalnum() or letter in "-_." for letter in name):
                raise ValueError(
                    f"encoder: expected a name of letters, digits, - _ and ., a letter first; got {name!r}"
                )
            if name in entries:
                raise ValueError(f"MERIT_ENCODER: {name} is registered twice")
            lacking = [needed for needed in NEEDED if not hasattr(encoder, needed)]
            if lacking or not isinstance(encoder.input_spec, InputSpec):
                raise ValueError(
                    f"encoder {name}: expected a class with input_spec (merit.encoders.base.InputSpec) and "
                    f"embed(signal_mv, fs_hz); it lacks {', '.join(lacking) or 'an InputSpec'}"
                )
            fs_hz, shares_space = float(encoder.input_spec.fs_hz), hasattr(encoder, "embed_text")
            entries[name] = UserEncoder(name=name, encoder=encoder, fs_hz=fs_hz, shares_space=shares_space)
    return tuple(entries.items())


# -- both --------------------------------------------------------------------------------------------------------------


class Absent(NamedTuple):
    """A published encoder whose weights are not at hand: a row of dashes with a footnote."""

    name: str
    label: str
    note: str
    text: bool
    """Whether it shares a space with texts."""


def known(name: str) -> bool:
    """Whether an encoder is in the registry: published, or a reader's own."""
    return name in PUBLISHED or name in registered()


def entry(name: str) -> Published | UserEncoder:
    """An encoder's entry; KeyError for a name that is not `known`."""
    return PUBLISHED[name] if name in PUBLISHED else registered()[name]


def choose(which: str) -> tuple[list[str], list[Absent]]:
    """Names whose weights are at hand, and those absent.

    which: all, none, or published names, separated by commas; a reader's own encoders are always among them. Raises
    ValueError for a name that is not published.
    """
    names = {"all": list(PUBLISHED), "none": []}.get(which, [name for name in which.split(",") if name])
    if unknown := [name for name in names if name not in PUBLISHED]:
        raise ValueError(f"peers: expected all, none or any of {', '.join(PUBLISHED)}; got {', '.join(unknown)}")
    there, absent = [], []
    for encoder in (PUBLISHED[name] for name in names):
        try:
            encoder.weights_file()
            there.append(encoder.name)
        except runs.Unavailable as reason:
            note = str(reason).removeprefix(f"{encoder.name}: ")
            absent.append(Absent(encoder.name, encoder.label, note, encoder.shares_space))
    return [*there, *registered()], absent


def describe() -> str:
    """One line per published encoder, whether its weights are there, and one per encoder of a reader's own."""
    there, absent = choose("all")
    notes = dict.fromkeys(there, "weights there") | {row.name: row.note for row in absent}
    notes |= dict.fromkeys(registered(), "your own")
    return "\n".join(["Other encoders", *(f"  {name:<14}{note}" for name, note in notes.items())])


def surroundings() -> Any:
    """What a page that shows all encoders depends on: files of weights by name, size and time, and own classes."""
    folder = weights_folder()
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    facts = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    own = {name: encoder.digest() for name, encoder in registered().items()}
    return [os.environ.get("MERIT_ENCODER", ""), facts, own]
