"""An adapted model as a thing to use: from a recording to a text, by the folder that adaptation left.

Does the paper's language model fit a machine? `python -m merit.evaluate.generation.generator` takes a step of training
and one of decoding at Llama-3.2-1B's shape, with random weights, and prints what they took.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merit import runs
from merit.config import GenerationConfig, SignalConfig, replace
from merit.data.preprocess import MAX_GAP_FRACTION, process
from merit.data.recording import Recording
from merit.evaluate.generation.language_model import (
    ADAPTER,
    DECODING,
    Batch,
    Conditioned,
    collate,
    encode_pair,
    generate,
    load_adapted,
    make_optimiser,
    make_tokenizer,
)
from merit.evaluate.generation.texts import wording
from merit.parallel import peak_memory

ABOUT = "generator.json"


def describe(folder: Path, encoder: str, checkpoint: Path | None, config: GenerationConfig) -> None:
    """Write down beside an adapter which encoder it was trained with, where its checkpoint lies from there, and how
    texts were decoded the first time; kept where it is there.
    """
    if not runs.sealed(folder / ABOUT):
        where = None if checkpoint is None else os.path.relpath(checkpoint, folder)
        decoding = {name: getattr(config, name) for name in DECODING}
        runs.write_json(folder / ABOUT, {"encoder": encoder, "checkpoint": where, "decoding": decoding})
        runs.seal(folder / ABOUT)


class Generator:
    """The frozen encoder, the language model adapted to it, and how it decodes, that a folder names.

    language_model: where it lies, if not where it did in training. decoding: settings of `GenerationConfig` that
    concern decoding, as decoding="sampling". FileNotFoundError for a folder without a finished adapter, ValueError
    where its encoder has no checkpoint.
    """

    def __init__(
        self, folder: str | Path, device: str = "cpu", *, language_model: str | Path | None = None, **decoding: object
    ) -> None:
        from merit.encoders import ours

        folder = Path(folder)
        if not (folder / ABOUT).is_file() or not (folder / ADAPTER).is_file():
            raise FileNotFoundError(
                f"{folder}: expected a generator ({ABOUT} and {ADAPTER}), as Table 3 leaves them in generators/ of its "
                "artifacts"
            )
        about = runs.read_json(runs.check(folder / ABOUT))
        if about["checkpoint"] is None:
            raise ValueError(f"{folder}: expected a pretrained encoder of ours; {about['encoder']} has no checkpoint")
        self.model = load_adapted(folder, language_model, device)
        self.encoder = ours.load(folder / about["checkpoint"], device)
        self.config = replace(self.model.config, **about["decoding"] | decoding)

    def write(self, recording: Recording, question: str | None = None) -> str:
        """The text for a recording (float32 [12, T] mV), preprocessed as a store is. question: with its `<ecg>`;
        default: one like those of training. RejectedRecording for a signal that no store would hold.
        """
        signal = SignalConfig()
        stored, _ = process(recording, signal, MAX_GAP_FRACTION)
        read = self.encoder.tokens if self.config.ecg_input == "tokens" else self.encoder.embed
        ecg = read(stored[None].astype(np.float32) / 1000, signal.fs_hz)
        return generate(self.model, [question or wording()["questions"][0]], ecg, self.config, progress=False)[0]


# -- what the paper's language model takes -----------------------------------------------------------------------------

LLAMA_1B = {
    "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}  # fmt: skip
"""Llama-3.2-1B-Instruct's config.json, its long-context scaling of the rotation apart, which takes no memory."""


def llama_1b_step(max_tokens: int = 64, device: str = "cpu", **shape: Any) -> dict[str, Any]:
    """One update and one decoded token of a random model of Llama-3.2-1B's shape, adapter and projector included.

    max_tokens: length of the sequence. shape: changes of LLAMA_1B. Peak memory in bytes: of the GPU since the start of
    this call, or the high-water mark of this process, all that ran before included, so call it in a fresh one.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config, place, began = GenerationConfig(max_tokens=max_tokens), torch.device(device), time.perf_counter()
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    question, answer = "<ecg> What does this ECG show?", "Sinus rhythm. " * max_tokens
    tokenizer = make_tokenizer([question, answer], 300)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        llama = LlamaForCausalLM._from_config(LlamaConfig(**LLAMA_1B | shape), dtype=torch.bfloat16)
    ecg = np.random.default_rng(config.seed).normal(size=(1, 1, 192)).astype(np.float32)
    model = Conditioned(llama.to(place), tokenizer, ecg.shape[-1], config).train()
    optimiser = make_optimiser(model, config)
    pairs = collate([encode_pair(tokenizer, question, answer, config)], tokenizer, config)
    loss = model(Batch(*(part.to(place) for part in pairs)), torch.from_numpy(ecg).to(place))
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    generate(model, [question], ecg, replace(config, max_new_tokens=1), progress=False)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.trained().values()),
        "batch": 1,
        "tokens": pairs.ids.shape[1],
        "dtype": "bfloat16",
        "device": place.type,
        "loss": loss.item(),
        "peak_bytes": torch.cuda.max_memory_allocated(place) if place.type == "cuda" else peak_memory(),
        "seconds": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    print(json.dumps(llama_1b_step(device="cuda" if torch.cuda.is_available() else "cpu"), indent=1))
