"""What published encoders are built of: attention and positions against loops and definitions; a frozen BERT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from merit.config import TextConfig
from merit.encoders import blocks, golden
from merit.encoders.blocks import BertSize, TextTower, attend, sin_cos
from merit.encoders.report_aligned import EcgChatText, MerlText
from merit.model.text import make_tokenizer

SIZE = BertSize(vocabulary=100, width=16, depth=1, heads=2, positions=12)
TEXTS = ["sinus rhythm", "atrial fibrillation, left axis deviation", "st depression"]
TOWERS: list[type[TextTower]] = [MerlText, EcgChatText, type("First", (TextTower,), {"max_tokens": 12})]


def test_attention_against_loops():
    drawn = torch.Generator().manual_seed(0)
    qkv = torch.randn(1, 3, 3 * 4, generator=drawn)
    allowed = torch.tensor([[1, 1, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.bool)
    expected = torch.zeros(1, 3, 4)
    q, k, v = qkv[0].split(4, -1)
    for head in (slice(0, 2), slice(2, 4)):
        for i in range(3):
            reads = [j for j in range(3) if allowed[i, j]]
            weight = torch.stack([(q[i, head] @ k[j, head]) / 2**0.5 for j in reads]).softmax(0)
            expected[0, i, head] = sum(w * v[j, head] for w, j in zip(weight, reads))
    torch.testing.assert_close(attend(*qkv.chunk(3, dim=2), 2, allowed), expected)


@pytest.mark.parametrize("context_width", [8, 6])
def test_attention_is_pytorchs(context_width):
    torch.manual_seed(0)
    ours = blocks.Attention(8, 2, kdim=context_width, vdim=context_width, batch_first=True)
    nn.init.normal_(ours.in_proj_bias)
    x, context = torch.randn(2, 3, 8), torch.randn(2, 5, context_width)
    expected, _ = nn.MultiheadAttention.forward(ours, x, context, context)
    torch.testing.assert_close(ours(x, context), expected)


def test_positions_at_zero_and_one():
    table = sin_cos(2, 4)
    torch.testing.assert_close(table[0], torch.tensor([0.0, 0.0, 1.0, 1.0]))
    expected = torch.tensor([1.0, 0.01]).sin().tolist() + torch.tensor([1.0, 0.01]).cos().tolist()
    torch.testing.assert_close(table[1], torch.tensor(expected))


# -- text towers -------------------------------------------------------------------------------------------------------


def state(pooler: bool) -> dict[str, torch.Tensor]:
    shapes = type("Tower", (TextTower,), {"pooler": pooler}).build(SIZE.config()).state_dict()
    return golden.weights(shapes)


@pytest.fixture
def folder(tmp_path) -> Path:
    make_tokenizer(TEXTS, TextConfig(vocabulary=100, max_tokens=12)).save_pretrained(tmp_path / "text")
    SIZE.config().save_pretrained(tmp_path / "text")
    return tmp_path


def tower(kind: type[TextTower], folder: Path, head: nn.Module | None = None) -> TextTower:
    return kind("merl", folder / "weights.pt", state(kind.pooler), SIZE, head or nn.Identity())


@pytest.mark.parametrize("kind", TOWERS)
def test_company_and_padding_do_nothing(folder, kind, monkeypatch):
    built = tower(kind, folder)
    together = built.embed(TEXTS)
    assert together.shape == (3, 16)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate([built.embed([text]) for text in TEXTS]), atol=1e-5)
    monkeypatch.setattr(blocks, "BATCH", 2)
    np.testing.assert_allclose(built.embed(TEXTS), together, atol=1e-5)
    double = nn.Linear(16, 16, bias=False)
    double.weight.data = 2 * torch.eye(16)
    np.testing.assert_allclose(tower(kind, folder, double).embed(TEXTS), 2 * together, atol=1e-5)


def test_poolings_by_their_definitions():
    weights, ids = state(pooler=True), golden.tokens(100, 2, 5)
    attention = torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])
    merl, chat, first = (tower(kind, Path("here")) for kind in TOWERS)
    output = merl.filled(SIZE.config(), weights)(input_ids=ids, attention_mask=attention)
    states = output.last_hidden_state
    expected = torch.tanh(states[:, 0] @ weights["pooler.dense.weight"].T + weights["pooler.dense.bias"])
    torch.testing.assert_close(merl.pool(output, attention), expected)
    torch.testing.assert_close(chat.pool(output, attention)[1], states[1, :3].mean(0))
    torch.testing.assert_close(first.pool(output, attention), states[:, 0])


def test_texts_are_cut(folder, monkeypatch):
    built, long = tower(EcgChatText, folder), "sinus rhythm " * 40
    whole = built.embed([long])  # as many as there are positions for, of the 77
    assert whole.shape == (1, 16)
    monkeypatch.setattr(built, "max_tokens", 4)
    assert np.abs(built.embed([long]) - whole).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (MerlText, lambda s: {k: v for k, v in s.items() if "pooler" not in k}),
        (EcgChatText, lambda s: state(pooler=True)),
        (MerlText, lambda s: {**s, "other": torch.zeros(1)}),
        (MerlText, lambda s: {}),
        (MerlText, lambda s: {k: v[:-1] if "word" in k else v for k, v in s.items()}),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line_before_any_text(kind, change):
    with pytest.raises(ValueError, match=r"weights.pt: expected a BERT of width 16") as error:
        kind("merl", Path("weights.pt"), change(state(kind.pooler)), SIZE, nn.Identity())
    assert "\n" not in str(error.value)
