"""A step at Llama-3.2-1B's shape: small here, whole in the slow test."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from merit.config import GenerationConfig
from merit.evaluate.generation.memory import LLAMA_1B, llama_1b_step
from merit.pool import peak_memory


def test_a_step_runs_at_a_small_shape():
    shape = {
        **LLAMA_1B, "vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    }  # fmt: skip
    found = llama_1b_step(GenerationConfig(max_tokens=16, projector_width=8), batch=2, ecg_tokens_in=3, shape=shape)
    assert (found["tokens"], found["batch"], found["dtype"]) == (16, 2, "bfloat16")
    assert 0 < found["trained"] < found["parameters"]
    assert found["loss"] > 0
    assert 0 <= peak_memory() - found["peak_bytes"] < 2**26  # it never falls; the test itself takes a little


@pytest.mark.slow
def test_the_whole_model_fits_in_eight_gigabytes():
    run = [sys.executable, "-m", "merit.evaluate.generation.memory"]
    found = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)
    assert found["parameters"] > 1.2e9
    assert found["peak_bytes"] < 8e9
