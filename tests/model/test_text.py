"""The small text encoder: trained on the reports, frozen, mean-pooled without padding; folders in place of a hub."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import TextConfig
from merit.model.text import TextEncoder, glossary, train_text_encoder
from merit.model.weights import weights_identity

CONFIG = TextConfig(width=16, depth=1, heads=2, vocabulary=400, updates=4, batch=8, max_tokens=24)
REPORTS = ["sinus rhythm, normal ecg", "atrial fibrillation, left axis deviation", "sinus bradycardia, st depression"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train_text_encoder(REPORTS, CONFIG, tmp_path_factory.mktemp("text") / "small", progress=False)


def test_embedding_ignores_padding_and_company(folder):
    encoder = TextEncoder(folder, CONFIG)
    together = encoder.embed(REPORTS)
    alone = np.concatenate([encoder.embed([r]) for r in REPORTS])
    assert together.shape == (3, 16)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(np.unique(together.round(4), axis=0)) == 3


def test_mean_pooling_is_the_mean_over_tokens(folder):
    encoder = TextEncoder(folder, CONFIG)
    tokens = encoder.tokenizer(REPORTS[0], return_tensors="pt")
    with torch.inference_mode():
        states = encoder.model(**tokens).last_hidden_state[0]
    np.testing.assert_allclose(encoder.embed(REPORTS[:1])[0], states.mean(0).numpy(), atol=1e-5)
    first = TextEncoder(folder, TextConfig(**{**vars(CONFIG), "pooling": "cls"}))
    np.testing.assert_allclose(first.embed(REPORTS[:1])[0], states[0].numpy(), atol=1e-5)


def test_training_is_deterministic_and_done_once(folder, tmp_path):
    again = train_text_encoder(REPORTS, CONFIG, tmp_path / "small", progress=False)
    assert weights_identity(again) == weights_identity(folder)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    train_text_encoder(REPORTS, CONFIG, folder, progress=False)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    other = train_text_encoder(REPORTS, TextConfig(**{**vars(CONFIG), "seed": 1}), tmp_path / "b", progress=False)
    assert weights_identity(other) != weights_identity(folder)


def test_a_source_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a local folder with model and tokenizer") as caught:
        TextEncoder(tmp_path / "nothing", CONFIG)
    assert "\n" not in str(caught.value)


def test_the_glossary_has_one_statement_a_line():
    lines = glossary()
    assert len(lines) == len(set(lines)) > 100
    assert all(line == line.lower() for line in lines)
