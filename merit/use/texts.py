"""The text side of a checkpoint: where its frozen text encoder lies, and the texts to compare recordings with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from merit import runs
from merit.data.taxonomy import TASKS
from merit.evaluate import prompts as prompt_sets
from merit.evaluate.prompts import Prompts
from merit.model.text import TextEncoder
from merit.pretrain.checkpoint import read_origin, text_config

INSIDE = "text"
"""Where `save_pretrained` puts the text encoder, so that a folder holds all that it needs."""


class NoText(FileNotFoundError):
    """A checkpoint whose text encoder is not at hand; one line says what to do."""


def find(folder: Path, given: str | Path | None = None) -> str | Path:
    """Folder (or hub name, if that is what is given) of the text encoder of the checkpoint in `folder`.

    In turn: `given`; where the checkpoint says that it lies; `text` in its folder; the only one in `text` two folders
    up, beside `checkpoints`, as in artifacts. Nothing is downloaded for what the checkpoint says. NoText where there is
    none.
    """
    if given is not None:
        return given
    said = read_origin(folder).get("text", {}).get("source")
    beside = sorted(path.parent for path in (folder.resolve().parents[1] / "text").glob("*/config.json"))
    candidates = [folder / (said or INSIDE), folder / INSIDE, *(beside if len(beside) == 1 else ())]
    for candidate in candidates:
        if (candidate / "config.json").is_file():
            return candidate
    if said and not said.startswith(".") and (cached := _cached(said)):
        return cached
    raise NoText(
        f"{folder}: no text encoder at hand{f'; it was aligned with {said}' if said else ''}; give its folder or hub "
        "name as text_encoder (it is the one of pretraining, under artifacts/*/text)"
    )


def load(folder: Path, width: int, device: str, given: str | Path | None = None) -> TextEncoder:
    """The frozen text encoder of the checkpoint in `folder`; ValueError where it is not `width` wide."""
    source = find(folder, given)
    if isinstance(source, Path) and runs.sealed(source):
        runs.check(source)
    encoder = TextEncoder(source, text_config(folder), device)
    if encoder.width != width:
        raise ValueError(f"text encoder {source}: expected one {width} wide, as in pretraining; got {encoder.width}")
    return encoder


def classes(source: str | Path | Mapping[str, str | list[str]]) -> Prompts:
    """Classes and their texts: a task's name (ours), a dict of class and text or texts, or a JSON file of one."""
    if isinstance(source, Mapping):
        return prompt_sets.free(source)
    if str(source) in TASKS:
        return prompt_sets.load("enriched", str(source))
    if not os.path.isfile(source):
        raise ValueError(
            f"prompts: expected one of {', '.join(TASKS)}, or a dict of class and text (or a JSON file of one); got "
            f"{str(source)!r}"
        )
    return prompt_sets.free(source)


def _cached(name: str) -> Path | None:
    """The folder of a hub model, with or without @revision, that was downloaded before; None where it was not."""
    from huggingface_hub import snapshot_download

    name, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except (OSError, ValueError):
        return None
