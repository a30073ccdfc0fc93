"""The small text encoder: trained on the reports, frozen, mean-pooled without padding; folders in place of a hub."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from merit.config import TextConfig
from merit.model import weights
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


def test_a_hub_model_is_pinned_to_the_revision_that_was_found_first(folder, tmp_path, monkeypatch):
    """In a cache as Hugging Face lays it out, without a network."""
    import huggingface_hub
    from huggingface_hub import constants

    first, second = "a" * 40, "b" * 40
    cache = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(folder, cache / "snapshots" / first)
    train_text_encoder(REPORTS, TextConfig(**{**vars(CONFIG), "seed": 1}), cache / "snapshots" / second, progress=False)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(first)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    weights._found.cache_clear()
    assert weights.pinned("owner/name") == weights_identity("owner/name") == f"owner/name@{first}"
    (cache / "refs" / "main").write_text(second)
    weights._found.cache_clear()
    assert weights.pinned("owner/name") == f"owner/name@{first}", "what is published later changes nothing"
    assert weights.pinned(f"owner/name@{second}") == f"owner/name@{second}", "unless it is said"
    assert weights.pinned(str(folder)) == str(folder)
    assert weights_identity(f"owner/name@{second}") != weights_identity("owner/name")
    assert huggingface_hub.snapshot_download("owner/name", revision=first, local_files_only=True).endswith(first)
    expected = TextEncoder(folder, CONFIG).embed(REPORTS)
    np.testing.assert_array_equal(TextEncoder(weights.pinned("owner/name"), CONFIG).embed(REPORTS), expected)
    assert not np.allclose(TextEncoder(f"owner/name@{second}", CONFIG).embed(REPORTS), expected)


def test_what_cannot_be_reached_is_pinned_to_nothing_and_refused_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))
    weights._found.cache_clear()
    assert weights.pinned("owner/that-is-nowhere") == "owner/that-is-nowhere"
    assert not (tmp_path / "artifacts").exists()
    with pytest.raises(FileNotFoundError, match="text encoder owner/that-is-nowhere: expected a local folder"):
        TextEncoder("owner/that-is-nowhere", CONFIG)
