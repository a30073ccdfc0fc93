"""What identifies a model that comes from outside; reads files, never loads them, and needs no torch."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from merit import runs

TEXT_RECIPE = 1
"""Of the small text encoder that is trained here and of how any embeds a text (`model.text`): raised by hand when that
changes the numbers, a default among its settings included; `tests/pretrain/test_golden.py` tells when."""
GLOSSARY = Path(__file__).with_name("glossary.txt")
"""Statements of electrocardiography, a line each, ours, that it is trained on besides the reports; they carry no labels
of any recording."""
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
"""A model's name on the hub, without a revision."""
DECIDING = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
"""Files of a model folder that decide what it computes: weights, settings, tokenizer."""


def weights_identity(source: str | Path) -> str:
    """Digest of the deciding files of a local folder, or name@revision of a hub model (`pinned`)."""
    folder = Path(source)
    if not folder.is_dir():
        return str(pinned(source))
    total = hashlib.sha256()
    for path in sorted({path for pattern in DECIDING for path in folder.glob(pattern)}):
        total.update(path.name.encode() + bytes.fromhex(runs.sha256(path)))
    return total.hexdigest()[:16]


def pinned(source: str | Path) -> str | Path:
    """A hub model as name@revision, which `runs.loading` splits; a folder, or what cannot be reached, as it is.

    `owner/name@revision` says it. A name alone takes the commit that was found first, in Hugging Face's cache or else
    on the hub, which `artifacts/hub.json` keeps: what is published later under the same name changes nothing.
    """
    if isinstance(source, Path) or Path(source).is_dir() or not HUB_NAME.fullmatch(source):
        return source
    kept = runs.home() / "artifacts" / "hub.json"
    if source not in _kept(kept) and (found := _found(source)):
        with runs.claimed(kept):
            runs.write_json(kept, {source: found} | _kept(kept))
    revision = _kept(kept).get(source)
    return f"{source}@{revision}" if revision else source


def _kept(path: Path) -> dict[str, str]:
    return runs.read_json(path) if path.exists() else {}


@functools.cache
def _found(name: str) -> str | None:
    """The commit of a model in the cache, else the one that the hub has now."""
    from huggingface_hub import snapshot_download

    for cached in (True, False):
        try:
            return Path(snapshot_download(name, allow_patterns=["config.json"], local_files_only=cached)).name
        except (OSError, ValueError):
            continue
    return None


def downloaded(source: str | Path) -> str | Path:
    """Folder of a hub model at its pinned revision, for a library that takes no revision; a folder as it is."""
    from huggingface_hub import snapshot_download

    name, _, revision = str(pinned(source)).partition("@")
    if Path(source).is_dir() or not revision:
        return source
    return Path(snapshot_download(name, revision=revision, allow_patterns=list(DECIDING), ignore_patterns=["*/*"]))
