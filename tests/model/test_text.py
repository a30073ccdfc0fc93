"""The small text encoder: trained on the reports, frozen, mean-pooled without padding; folders in place of a hub; its
last layers in our hands give what Hugging Face's give, and go back where they came from.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from merit.config import TextConfig, TextTowerConfig, replace
from merit.data.batches import load_tokens
from merit.model import text, weights
from merit.model.weights import weights_identity

CONFIG = TextConfig(width=16, depth=1, heads=2, vocabulary=400, updates=4, batch=8, max_tokens=24)
REPORTS = ["sinus rhythm, normal ecg", "atrial fibrillation, left axis deviation", "sinus bradycardia, st depression"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return text.train_text_encoder(REPORTS, CONFIG, tmp_path_factory.mktemp("text") / "small", progress=False)


def test_mean_pooling_is_the_mean_over_tokens_without_padding(folder):
    encoder, first = text.TextEncoder(folder, CONFIG), text.TextEncoder(folder, replace(CONFIG, pooling="cls"))
    together = encoder.embed(REPORTS)
    for row, report in enumerate(REPORTS):
        with torch.inference_mode():
            states = encoder.model(**encoder.tokenizer(report, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(together[row], states.mean(0).numpy(), atol=1e-5)
        np.testing.assert_allclose(first.embed(REPORTS)[row], states[0].numpy(), atol=1e-5)
    assert len(np.unique(together.round(4), axis=0)) == 3


def test_training_is_deterministic_and_done_once(folder, tmp_path):
    again = text.train_text_encoder(REPORTS, CONFIG, tmp_path / "small", progress=False)
    assert weights_identity(again) == weights_identity(folder)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    text.train_text_encoder(REPORTS, CONFIG, folder, progress=False)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    other = text.train_text_encoder(REPORTS, replace(CONFIG, seed=1), tmp_path / "b", progress=False)
    assert weights_identity(other) != weights_identity(folder)


def test_a_hub_model_is_pinned_to_the_revision_that_was_found_first(folder, tmp_path, monkeypatch):
    """In a cache as Hugging Face lays it out, without a network."""
    import huggingface_hub
    from huggingface_hub import constants

    first, second = "a" * 40, "b" * 40
    cache = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(folder, cache / "snapshots" / first)
    text.train_text_encoder(REPORTS, replace(CONFIG, seed=1), cache / "snapshots" / second, progress=False)
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
    expected = text.TextEncoder(folder, CONFIG).embed(REPORTS)
    np.testing.assert_array_equal(text.TextEncoder(weights.pinned("owner/name"), CONFIG).embed(REPORTS), expected)
    assert not np.allclose(text.TextEncoder(f"owner/name@{second}", CONFIG).embed(REPORTS), expected)


def test_what_cannot_be_reached_is_pinned_to_nothing_and_rejected_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("MERIT_HOME", str(tmp_path))
    weights._found.cache_clear()
    assert weights.pinned("owner/that-is-nowhere") == "owner/that-is-nowhere"
    assert not (tmp_path / "artifacts").exists()
    with pytest.raises(FileNotFoundError, match="text encoder owner/that-is-nowhere: expected a local folder"):
        text.TextEncoder("owner/that-is-nowhere", CONFIG)


# -- last layers that are trained -------------------------------------------------------------------------------------

DEEP = replace(CONFIG, depth=3, updates=2)
LONGER = [*REPORTS, "pacemaker rhythm, no further analysis", "st depression"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return text.train_text_encoder(LONGER, DEEP, tmp_path_factory.mktemp("text") / "small", progress=False)


@pytest.fixture
def frozen(deep) -> text.TextEncoder:
    return text.TextEncoder(deep, DEEP)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_untrained_it_gives_the_frozen_encoders_embeddings(deep, tmp_path, layers, pooling):
    frozen = text.TextEncoder(deep, replace(DEEP, pooling=pooling))
    tokens = load_tokens(text.write_states(frozen, LONGER, layers, tmp_path / "states", batch=2))
    tower = text.TextTower(TextTowerConfig(**tokens.tower))
    tower.load_state_dict(tokens.weights)
    with torch.inference_mode():
        found = tower(tokens.take(np.array([4, 0, 1, 2, 3, 1]), CPU))
    np.testing.assert_allclose(found.numpy(), frozen.embed(LONGER)[[4, 0, 1, 2, 3, 1]], atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["states"]


def test_trained_layers_go_back_and_the_frozen_ones_stay(frozen):
    before = frozen.embed(LONGER)
    tower = text.tower_of(frozen, 2)
    np.testing.assert_allclose(text.with_tower(frozen, tower).embed(LONGER), before, atol=1e-6)
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    tuned = text.with_tower(frozen, tower)
    assert np.abs(tuned.embed(LONGER) - before).max() > 1e-2
    assert np.array_equal(frozen.embed(LONGER), before)
    first, own = (encoder.model.encoder.layer for encoder in (frozen, tuned))
    assert all(torch.equal(a, b) for a, b in zip(first[0].parameters(), own[0].parameters()))
    assert all(torch.equal(a, b) for a, b in zip(tower.layer[1].parameters(), own[2].parameters()))


def test_what_it_cannot_train_is_rejected_in_one_line(frozen, monkeypatch):
    with pytest.raises(ValueError, match=r"text_layers: expected 0 to 3, the encoder's layers; got 4"):
        text.tower_config(frozen, 4)
    monkeypatch.setattr(frozen.model.config, "model_type", "t5")
    with pytest.raises(ValueError, match=r"expected a BERT with GELU as text encoder, to train layers of; got t5 with"):
        text.tower_config(frozen, 1)
