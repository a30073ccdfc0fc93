"""What identifies a text encoder that comes from outside; reads files, never loads them, and needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

DECIDING = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")
"""Files of a model folder that decide what it computes: weights, settings, tokenizer."""


def weights_identity(source: str | Path) -> str:
    """Digest of the deciding files of a local folder, or the name of a hub model."""
    folder = Path(source)
    if not folder.is_dir():
        return str(source)
    total = hashlib.sha256()
    for path in sorted({path for pattern in DECIDING for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
