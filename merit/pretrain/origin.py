"""`origin.json` in a checkpoint folder: what the run's own settings do not say, for whoever uses it later.

Which text encoder it was aligned with, and whether its recordings were of real hearts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from merit.config import TextConfig, replace
from merit.runs import read_json

FILE = "origin.json"
USED = ("pooling", "max_tokens")
"""Settings of a text encoder that matter once it is there."""


def about(folder: Path, text: str | Path, config: TextConfig, synthetic: bool | None) -> dict[str, Any]:
    """What it holds for a checkpoint in `folder`.

    text: the text encoder's folder, noted as seen from `folder`, or hub name. synthetic: None where it is not known.
    """
    source = os.path.relpath(text, folder) if isinstance(text, Path) or Path(text).is_dir() else text
    return {"text": {"source": source, **{name: getattr(config, name) for name in USED}}, "synthetic": synthetic}


def read(folder: Path) -> dict[str, Any]:
    """What is written there; an empty dict where nothing is."""
    path = folder / FILE
    return read_json(path) if path.is_file() else {}


def text_config(folder: Path) -> TextConfig:
    """How the checkpoint's text encoder pools and cuts; the defaults where it is not written down."""
    about = read(folder).get("text", {})
    return replace(TextConfig(), **{name: about[name] for name in USED if name in about})
