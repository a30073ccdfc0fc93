"""An adapted model as a thing to use: from a recording to a text, by the folder that training left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from merit.baselines.base import Sequenced
from merit.config import GenerationConfig, SignalConfig, replace
from merit.data.preprocess import MAX_GAP_FRACTION, process
from merit.data.recording import Recording
from merit.evaluate.generation.compose import wording
from merit.evaluate.generation.conditioned import Conditioned
from merit.evaluate.generation.decoding import generate
from merit.evaluate.generation.training import ADAPTER, load_adapter
from merit.runs import check, read_json, seal, sealed, write_json

ABOUT = "generator.json"


@dataclass(frozen=True)
class Generator:
    """A frozen encoder, a language model adapted to it, and how it decodes."""

    encoder: Sequenced
    model: Conditioned
    config: GenerationConfig

    def write(self, recording: Recording, question: str | None = None) -> str:
        """The text for a recording (float32 [12, T] mV), preprocessed as a store is. question: with its `<ecg>`;
        default: one like those of training. RejectedRecording for a signal that no store would hold.
        """
        signal = SignalConfig()
        stored, _ = process(recording, signal, MAX_GAP_FRACTION)
        read = self.encoder.tokens if self.config.ecg_input == "tokens" else self.encoder.embed
        ecg = read(stored[None].astype(np.float32) / 1000, signal.fs_hz)
        asked = question or wording()["questions"][0]
        return generate(self.model, [asked], ecg, self.config, progress=False)[0]


DECODING = ("decoding", "temperature", "top_p", "max_new_tokens")
"""Settings that a generator takes over from its run, and its user may change."""


def describe(folder: Path, encoder: str, checkpoint: Path | None, config: GenerationConfig) -> None:
    """Write down beside an adapter which encoder it was trained with, where its checkpoint lies from there, and how
    texts were decoded the first time; kept where it is there.
    """
    if sealed(folder / ABOUT):
        return
    where = None if checkpoint is None else os.path.relpath(checkpoint, folder)
    decoding = {name: getattr(config, name) for name in DECODING}
    write_json(folder / ABOUT, {"encoder": encoder, "checkpoint": where, "decoding": decoding})
    seal(folder / ABOUT)


def load(
    folder: str | Path, device: str = "cpu", *, language_model: str | Path | None = None, **decoding: object
) -> Generator:
    """The generator in a folder. language_model: where it lies, if not where it did in training. decoding: settings of
    `GenerationConfig` that concern decoding, as decoding="sampling".

    FileNotFoundError for a folder without a finished adapter, ValueError where its encoder has no checkpoint.
    """
    from merit.baselines import ours

    folder = Path(folder)
    if not (folder / ABOUT).is_file() or not (folder / ADAPTER).is_file():
        raise FileNotFoundError(
            f"{folder}: expected a generator ({ABOUT} and {ADAPTER}), as Table 3 leaves them in generators/ of its "
            "artifacts"
        )
    about = read_json(check(folder / ABOUT))
    if about["checkpoint"] is None:
        raise ValueError(f"{folder}: expected a pretrained encoder of ours; {about['encoder']} has no checkpoint")
    model = load_adapter(folder, language_model, device)
    return Generator(
        ours.load(folder / about["checkpoint"], device), model, replace(model.config, **about["decoding"] | decoding)
    )
