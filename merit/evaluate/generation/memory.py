"""Does the paper's language model fit? A step of training and one of decoding at Llama-3.2-1B's shape, random weights.

python -m merit.evaluate.generation.memory
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import torch

from merit.config import GenerationConfig, replace
from merit.evaluate.generation.conditioned import Conditioned, collate, encode_pair
from merit.evaluate.generation.decoding import generate
from merit.evaluate.generation.language_model import make_tokenizer
from merit.evaluate.generation.training import make_optimiser
from merit.pool import peak_memory

LLAMA_1B = {
    "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}  # fmt: skip
"""Llama-3.2-1B-Instruct's config.json, its long-context scaling of the rotation apart, which takes no memory."""


def llama_1b_step(
    config: GenerationConfig | None = None,
    *,
    batch: int = 1,
    ecg_tokens_in: int = 1,
    ecg_width: int = 192,
    device: str = "cpu",
    dtype: str = "bfloat16",
    shape: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """One update and one decoded token of a random model of Llama-3.2-1B's shape, adapter and projector included.

    config: its `max_tokens` is the length of the sequences (default 64). Peak memory in bytes: of the GPU since the
    start of this call, or the high-water mark of this process, all that ran before included, so call it in a fresh one.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = config or GenerationConfig(max_tokens=64)
    place, began = torch.device(device), time.perf_counter()
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats(place)
    question, answer = "<ecg> What does this ECG show?", "Sinus rhythm. " * config.max_tokens
    tokenizer = make_tokenizer([question, answer], 300)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        llama = LlamaForCausalLM._from_config(LlamaConfig(**(shape or LLAMA_1B)), dtype=getattr(torch, dtype))
    model = Conditioned(llama.to(place), tokenizer, ecg_width, config).train()
    ecg = np.random.default_rng(config.seed).normal(size=(batch, ecg_tokens_in, ecg_width)).astype(np.float32)

    optimiser = make_optimiser(model, config)
    pairs = collate([encode_pair(tokenizer, question, answer, config)] * batch, tokenizer, config)
    loss = model(pairs.to(place), torch.from_numpy(ecg).to(place))
    loss.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    generate(model, [question] * batch, ecg, replace(config, max_new_tokens=1), batch, progress=False)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.trained().values()),
        "batch": batch,
        "tokens": pairs.ids.shape[1],
        "dtype": dtype,
        "device": place.type,
        "loss": loss.item(),
        "peak_bytes": torch.cuda.max_memory_allocated(place) if place.type == "cuda" else peak_memory(),
        "seconds": round(time.perf_counter() - began, 1),
    }


if __name__ == "__main__":
    print(json.dumps(llama_1b_step(device="cuda" if torch.cuda.is_available() else "cpu"), indent=1))
