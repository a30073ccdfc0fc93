"""Encoders pretrained in one workspace, evaluated on the recordings of another."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merit.config import OBJECTIVE_NAMES
from merit.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from merit.model.text import TextEncoder


@dataclass(eq=False)
class Transferred(Workspace):
    """Recordings, splits and results of this workspace; checkpoints and their text encoder of `origin`.

    No recording of `origin` may be told from one of this workspace by its data set and patient alone where they differ:
    `seen` compares these.
    """

    origin: Workspace | None = None
    """Where encoders are pretrained; never None once made by `transfer`."""

    def checkpoint_identity(self, objective: str, seed: int = 0) -> str:
        """As `Training.checkpoint_identity`, of the other workspace."""
        return self.origin.checkpoint_identity(objective, seed)

    def checkpoint(self, objective: str, seed: int = 0) -> Path:
        """As `Training.checkpoint`, of the other workspace."""
        return self.origin.checkpoint(objective, seed)

    def checkpoints(self, objectives: Sequence[str] = OBJECTIVE_NAMES, seeds: Sequence[int] = (0,)) -> list[Path]:
        """As `Training.checkpoints`, of the other workspace."""
        return self.origin.checkpoints(objectives, seeds)

    @functools.cached_property
    def text_identity(self) -> str:
        """Of the text encoder that the checkpoints were aligned with."""
        return self.origin.text_identity

    def distinct_reports(self) -> list[str]:
        """As `Training.distinct_reports`, of the other workspace."""
        return self.origin.distinct_reports()

    def report_embeddings(self) -> np.ndarray:
        """As `Training.report_embeddings`, of the reports that were pretrained on."""
        return self.origin.report_embeddings()

    @functools.cached_property
    def _text_encoder(self) -> TextEncoder:
        return self.origin._text_encoder


def transfer(origin: Workspace, to: Workspace) -> Transferred:
    """`to` with the encoders of `origin`; both of the same profile's network."""
    own = {one.name: getattr(to, one.name) for one in dataclasses.fields(to) if one.name not in ("used", "origin")}
    return Transferred(**own, origin=origin)
