"""The text encoder's last layers in our hands give what Hugging Face's give, and go back where they came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import TextConfig, TextTowerConfig, replace
from merit.data.batches import load_tokens
from merit.model.text import TextEncoder, train_text_encoder
from merit.model.text_states import tower_config, tower_of, with_tower, write_states
from merit.model.text_tower import TextTower

CONFIG = TextConfig(width=16, depth=3, heads=2, vocabulary=400, updates=2, batch=8, max_tokens=24)
REPORTS = [
    "sinus rhythm, normal ecg", "atrial fibrillation, left axis deviation, nonspecific st depression, abnormal ecg",
    "sinus bradycardia", "pacemaker rhythm, no further analysis", "st depression",
]  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train_text_encoder(REPORTS, CONFIG, tmp_path_factory.mktemp("text") / "small", progress=False)


@pytest.fixture
def frozen(folder) -> TextEncoder:
    return TextEncoder(folder, CONFIG)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_untrained_it_gives_the_frozen_encoders_embeddings(folder, tmp_path, layers, pooling):
    frozen = TextEncoder(folder, replace(CONFIG, pooling=pooling))
    tokens = load_tokens(write_states(frozen, REPORTS, layers, tmp_path / "states", batch=2))
    tower = TextTower(TextTowerConfig(**tokens.tower))
    tower.load_state_dict(tokens.weights)
    with torch.inference_mode():
        found = tower(tokens.take(np.array([4, 0, 1, 2, 3, 1]), CPU))
    np.testing.assert_allclose(found.numpy(), frozen.embed(REPORTS)[[4, 0, 1, 2, 3, 1]], atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["states"]


def test_groups_change_neither_output_nor_gradient(frozen, tmp_path):
    tokens = load_tokens(write_states(frozen, REPORTS, 2, tmp_path / "states"))
    rows = np.array([1, 0, 4, 4, 2, 3, 1])
    found = []
    for n_groups in (1, 2, 7):
        tower = TextTower(TextTowerConfig(**tokens.tower))
        tower.load_state_dict(tokens.weights)
        groups, place = tokens.take(rows, CPU, n_groups)
        out = tower.double()((tuple((states.double(), real) for states, real in groups), place))
        (out * torch.arange(16)).square().sum().backward()
        found.append([out.detach(), *(p.grad for p in tower.parameters())])
    for other in found[1:]:
        for value, expected in zip(other, found[0], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-8)


def test_trained_layers_go_back_and_the_frozen_ones_stay(frozen):
    before = frozen.embed(REPORTS)
    tower = tower_of(frozen, 2)
    np.testing.assert_allclose(with_tower(frozen, tower).embed(REPORTS), before, atol=1e-6)
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    tuned = with_tower(frozen, tower)
    assert np.abs(tuned.embed(REPORTS) - before).max() > 1e-2
    assert np.array_equal(frozen.embed(REPORTS), before)
    first, own = (encoder.model.encoder.layer for encoder in (frozen, tuned))
    assert all(torch.equal(a, b) for a, b in zip(first[0].parameters(), own[0].parameters()))
    assert all(torch.equal(a, b) for a, b in zip(tower.layer[1].parameters(), own[2].parameters()))


def test_what_it_cannot_train_is_refused_in_one_line(frozen, monkeypatch):
    with pytest.raises(ValueError, match=r"text_layers: expected 0 to 3, the encoder's layers; got 4"):
        tower_config(frozen, 4)
    monkeypatch.setattr(frozen.model.config, "model_type", "t5")
    with pytest.raises(ValueError, match=r"expected a BERT with GELU as text encoder, to train layers of; got t5 with"):
        tower_config(frozen, 1)
