"""What identifies a text encoder that comes from outside; reads files, never loads them, and needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

TEXT_RECIPE = 1
"""Of the small text encoder that is trained here and of how any embeds a text (`model.text`): raised by hand when that
changes the numbers, a default among its settings included; `tests/pretrain/test_golden.py` tells when."""
GLOSSARY = Path(__file__).with_name("glossary.txt")
"""Statements of electrocardiography, a line each, ours, that it is trained on besides the reports; they carry no labels
of any recording."""
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
