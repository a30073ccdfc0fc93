"""Encoders that are not ours under one roof: published ones with weights at hand, and a reader's own."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from merit import runs
from merit.encoders import outside, own
from merit.encoders.base import Encoder


class Absent(NamedTuple):
    """A published encoder whose weights are not at hand: a row of dashes with a footnote."""

    name: str
    label: str
    note: str
    text: bool
    """Whether it shares a space with texts."""


def known(name: str) -> bool:
    """Whether an encoder is one of others."""
    return name in outside.OUTSIDE or name in own.registered()


def choose(which: str) -> tuple[list[str], list[Absent]]:
    """Names whose weights are at hand, and those absent. which: all, none, or published names, separated by commas; a
    reader's own encoders are always among them. Raises ValueError for a name that is not published.
    """
    names = {"all": list(outside.OUTSIDE), "none": []}.get(which, [name for name in which.split(",") if name])
    if unknown := [name for name in names if name not in outside.OUTSIDE]:
        raise ValueError(f"peers: expected all, none or any of {', '.join(outside.OUTSIDE)}; got {', '.join(unknown)}")
    there, absent = [], []
    for name in names:
        entry = outside.OUTSIDE[name]
        try:
            outside.weights_file(name)
            there.append(name)
        except outside.NoWeights as reason:
            note = str(reason).removeprefix(f"{name}: ")
            absent.append(Absent(name, entry.label, note, entry.text is not None))
    return [*there, *own.registered()], absent


def describe() -> str:
    """A line a published encoder, whether its weights are there, and a line a reader's own encoder."""
    there, absent = choose("all")
    notes = dict.fromkeys(there, "weights there") | {one.name: one.note for one in absent}
    notes |= dict.fromkeys(own.registered(), "your own")
    return "\n".join(["Other encoders", *(f"  {name:<14}{note}" for name, note in notes.items())])


def identity(name: str) -> str:
    """Identity of an encoder. NoWeights where a user has to bring them."""
    if name in outside.OUTSIDE:
        return outside.identity(name)
    return runs.identity("own", {"encoder": name}, {"source": own.identity(own.registered()[name])}, [])


def load(name: str, device: str) -> Encoder:
    """The encoder itself. NoWeights where a user has to bring them, ValueError where a reader's own is broken."""
    return outside.load(name, device) if name in outside.OUTSIDE else own.load(own.registered()[name], device)


def fs_hz(name: str) -> float:
    """The rate that an encoder reads, Hz."""
    return outside.OUTSIDE[name].fs_hz if name in outside.OUTSIDE else float(own.registered()[name].input_spec.fs_hz)


def pretrained_on(name: str) -> tuple[str, ...]:
    """Data sets of ours in an encoder's pretraining, of which it is not known which patients it has seen."""
    if name in outside.OUTSIDE:
        return outside.pretrained_on(name)
    return tuple(getattr(own.registered()[name], "pretrained_on", ()))


def shares_space(name: str) -> bool:
    """Whether an encoder shares a space with texts."""
    if name in outside.OUTSIDE:
        return outside.OUTSIDE[name].text is not None
    return hasattr(own.registered()[name], "embed_text")


def surroundings() -> Any:
    """What a page that shows all encoders depends on: files of weights by name, size and time, and own classes."""
    folder = outside.weights_folder("")
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    facts = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    mine = {name: own.identity(encoder) for name, encoder in own.registered().items()}
    return [os.environ.get("MERIT_ENCODER", ""), facts, mine]
