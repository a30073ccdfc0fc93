"""One registry of the encoders that are not pretrained here: the published ones, and a reader's own.

Facts about the published ones are data, `published.toml`; a reader brings their weights. Nothing of an encoder is
imported or loaded before it is asked for.
"""

from __future__ import annotations

import importlib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from merit import runs
from merit.encoders import user, weights
from merit.encoders.base import Encoder
from merit.encoders.user import UserEncoder

ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")


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

    def adapter_class(self) -> type[Any]:
        """The class that reads its weights, a `PublishedEncoder`."""
        module, _, name = self.adapter.partition(":")
        return getattr(importlib.import_module(module), name)

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
        if why := weights.not_whole(paths[0]):
            raise runs.Unavailable(f"{self.name}: weights/{self.name}/{paths[0].name} {why}")
        return paths[0]

    def text_folder(self, weights_file: Path) -> Path:
        """The folder `text` beside the weights; Unavailable where it is not there."""
        folder = weights_file.parent / "text"
        if not folder.is_dir():
            raise runs.Unavailable(f"{self.name}: no folder weights/{self.name}/text; it takes {self.text}")
        return folder

    @property
    def shares_space(self) -> bool:
        """Whether it shares a space with texts."""
        return self.text is not None

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

    def load(self, device: str) -> Encoder:
        """The encoder itself. Unavailable where there is no file."""
        return self.adapter_class().load(self.weights_file(), device)


_TABLE = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
PUBLISHED = {
    name: Published(name=name, **{key: tuple(it) if isinstance(it, list) else it for key, it in facts.items()})
    for name, facts in _TABLE.items()
}
"""Name in a table -> encoder, in the order of tables."""


class Absent(NamedTuple):
    """A published encoder whose weights are not at hand: a row of dashes with a footnote."""

    name: str
    label: str
    note: str
    text: bool
    """Whether it shares a space with texts."""


def weights_folder() -> Path:
    """`weights`, or `$MERIT_WEIGHTS`, there or not; it has a folder for each encoder, by its name."""
    return Path(os.environ.get("MERIT_WEIGHTS") or runs.home() / "weights")


def known(name: str) -> bool:
    """Whether an encoder is in the registry: published, or a reader's own."""
    return name in PUBLISHED or name in user.registered()


def entry(name: str) -> Published | UserEncoder:
    """An encoder's entry; KeyError for a name that is not `known`."""
    return PUBLISHED[name] if name in PUBLISHED else user.registered()[name]


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
    return [*there, *user.registered()], absent


def describe() -> str:
    """One line per published encoder, whether its weights are there, and one per encoder of a reader's own."""
    there, absent = choose("all")
    notes = dict.fromkeys(there, "weights there") | {row.name: row.note for row in absent}
    notes |= dict.fromkeys(user.registered(), "your own")
    return "\n".join(["Other encoders", *(f"  {name:<14}{note}" for name, note in notes.items())])


def surroundings() -> Any:
    """What a page that shows all encoders depends on: files of weights by name, size and time, and own classes."""
    folder = weights_folder()
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    facts = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    own = {name: encoder.digest() for name, encoder in user.registered().items()}
    return [os.environ.get("MERIT_ENCODER", ""), facts, own]
