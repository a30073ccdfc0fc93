"""A BERT with a checkpoint's weights: pooling without padding, batches, cutting, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from merit.config import TextConfig
from merit.encoders import bert_text, golden
from merit.encoders.bert_text import BertSize, FrozenBert
from merit.model.text import make_tokenizer

SIZE = BertSize(vocabulary=100, width=16, depth=1, heads=2, positions=12)
TEXTS = ["sinus rhythm", "atrial fibrillation, left axis deviation", "st depression"]
HERE = Path("weights.pt")


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return golden.weights(bert_text.shapes(SIZE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    there = tmp_path_factory.mktemp("text")
    make_tokenizer(TEXTS, TextConfig(vocabulary=100, max_tokens=12)).save_pretrained(there)
    SIZE.config().save_pretrained(there)
    return there


@pytest.mark.parametrize("pool", [bert_text.pooler, bert_text.cls, bert_text.mean])
def test_company_and_padding_do_nothing(state, folder, pool, monkeypatch):
    tower = bert_text.from_folder(folder, state, HERE)
    together = tower.embed(TEXTS, 12, pool)
    assert together.shape == (3, 16)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate([tower.embed([t], 12, pool) for t in TEXTS]), atol=1e-5)
    monkeypatch.setattr(bert_text, "BATCH", 2)
    np.testing.assert_allclose(tower.embed(TEXTS, 12, pool), together, atol=1e-5)
    np.testing.assert_allclose(tower.embed(TEXTS, 12, pool, lambda v: 2 * v), 2 * together, atol=1e-5)


def test_poolings_by_their_definitions(state):
    tower = FrozenBert(bert_text.bert(SIZE.config(), state, HERE))
    states, pooled, attention = tower.outputs(
        torch.from_numpy(golden.tokens(100, 2, 5)), torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    )
    weight, bias = state["pooler.dense.weight"], state["pooler.dense.bias"]
    expected = torch.tanh(states[:, 0] @ weight.T + bias)
    torch.testing.assert_close(bert_text.pooler(states, pooled, attention), expected)
    torch.testing.assert_close(bert_text.mean(states, pooled, attention)[1], states[1, :3].mean(0))
    torch.testing.assert_close(bert_text.cls(states, None, attention), states[:, 0])


def test_texts_are_cut(state, folder):
    tower = bert_text.from_folder(folder, state, HERE)
    long = "sinus rhythm " * 40
    assert tower.embed([long], 12, bert_text.cls).shape == (1, 16)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(tower.embed([long], 12, bert_text.mean), tower.embed([long], 4, bert_text.mean))


@pytest.mark.parametrize(
    ("with_pooler", "change"),
    [
        (True, lambda s: {k: v for k, v in s.items() if "pooler" not in k}),
        (False, lambda s: s),
        (True, lambda s: {**s, "other": torch.zeros(1)}),
        (True, lambda s: {}),
        (True, lambda s: {k: v[:-1] if "word" in k else v for k, v in s.items()}),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(state, with_pooler, change):
    with pytest.raises(ValueError, match=r"weights.pt: expected a BERT of width 16") as error:
        bert_text.check(SIZE, change(state), HERE, with_pooler)
    assert "\n" not in str(error.value)


def test_a_folder_that_lacks_its_files_and_a_tower_without_tokenizer(state, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected config.json and a tokenizer's files") as error:
        bert_text.from_folder(tmp_path, state, HERE)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="expected a tower with a tokenizer"):
        FrozenBert(bert_text.bert(SIZE.config(), state, HERE)).embed(TEXTS, 12, bert_text.cls)
