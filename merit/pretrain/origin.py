"""`origin.json` in a checkpoint folder: what the run's own settings do not say, for whoever uses it later.

Which text encoder it was aligned with, and whether its recordings were of real hearts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from merit.config import TextConfig, replace
from merit.pretrain.card import card
from merit.runs import write_json, write_text

FILE = "origin.json"
USED = ("pooling", "max_tokens")
"""Settings of a text encoder that matter once it is there."""


def describe(folder: Path, text: str | Path, config: TextConfig, synthetic: bool | None) -> None:
    """Write it, and a model card that says so, into a finished checkpoint; kept where it is there.

    text: the text encoder's folder, noted as seen from `folder`, or hub name. synthetic: None where it is not known.
    """
    if (folder / FILE).exists():
        return
    source = os.path.relpath(text, folder) if isinstance(text, Path) or Path(text).is_dir() else text
    about = {"text": {"source": source, **{name: getattr(config, name) for name in USED}}, "synthetic": synthetic}
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    write_text(folder / "README.md", card(settings, about, pd.read_parquet(folder / "seen.parquet")))
    write_json(folder / FILE, about)


def read(folder: Path) -> dict[str, Any]:
    """What `describe` wrote; an empty dict where nothing was written."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def text_config(folder: Path) -> TextConfig:
    """How the checkpoint's text encoder pools and cuts; the defaults where it is not written down."""
    about = read(folder).get("text", {})
    return replace(TextConfig(), **{name: about[name] for name in USED if name in about})
