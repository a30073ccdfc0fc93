"""The attention with biases as one product, against softmax over an explicit matrix of biases."""

from __future__ import annotations

import pytest
import torch

from merit.model.attention import BiasedAttention, sin_cos, token_codes, use_kernel

POSITIONS, LEADS, WIDTH, HEADS = 6, 3, 8, 2


@pytest.fixture
def place() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, LEADS, POSITIONS, generator=generator).argsort(-1)[..., :4].sort(-1).values


def slow_attention(layer: BiasedAttention, tokens: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """One head, one query, one key at a time."""
    out = torch.zeros_like(tokens)
    size = WIDTH // HEADS
    time = place.flatten(1)
    lead = torch.arange(LEADS).repeat_interleave(place.shape[-1])
    for b in range(len(tokens)):
        qkv = layer.qkv(tokens[b])
        for h in range(HEADS):
            q, k, v = (qkv[:, i * WIDTH + h * size : i * WIDTH + (h + 1) * size] for i in range(3))
            for i in range(len(q)):
                scores = []
                for j in range(len(k)):
                    bias = layer.offset_bias[h, time[b, i] - time[b, j] + POSITIONS - 1]
                    bias = bias + layer.lead_bias[h, lead[i], lead[j]]
                    scores.append(q[i] @ k[j] / size**0.5 + bias)
                out[b, i, h * size : (h + 1) * size] = torch.softmax(torch.stack(scores), 0) @ v
    return layer.out(out)


def test_biases_equal_the_explicit_matrix(place):
    torch.manual_seed(0)
    layer = BiasedAttention(WIDTH, HEADS, POSITIONS, LEADS, 4.0).double()
    with torch.no_grad():
        layer.offset_bias.add_(torch.randn_like(layer.offset_bias))
        tokens = torch.randn(2, LEADS * 4, WIDTH, dtype=torch.float64)
        codes = token_codes(place, POSITIONS, LEADS).double()
        torch.testing.assert_close(layer(tokens, codes), slow_attention(layer, tokens, place), rtol=1e-10, atol=1e-10)


def test_offset_zero_starts_high_and_all_biases_learn(place):
    torch.manual_seed(0)
    layer = BiasedAttention(WIDTH, HEADS, POSITIONS, LEADS, 4.0)
    assert layer.offset_bias[:, POSITIONS - 1].tolist() == [4.0] * HEADS
    assert layer.offset_bias.sum().item() == 4.0 * HEADS
    layer(torch.randn(2, LEADS * 4, WIDTH), token_codes(place, POSITIONS, LEADS).float()).square().sum().backward()
    assert (layer.offset_bias.grad != 0).any()
    assert (layer.lead_bias.grad != 0).all()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch itself, as it traces
@pytest.mark.parametrize("bias_start", [4.0, None])
@pytest.mark.parametrize("shared_places", [False, True])
def test_flex_attention_gives_the_reference_and_its_gradients(place, monkeypatch, bias_start, shared_places):
    """On a CPU torch refuses the gradients of queries and keys, though its unfused form has them: the refusal is taken
    away here, so this holds the formula. The fused kernel of a GPU is not run.
    """
    from torch.nn.attention import flex_attention as flex

    monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)
    torch.manual_seed(0)
    layer = BiasedAttention(WIDTH, HEADS, POSITIONS, LEADS, bias_start).double()
    tokens = torch.randn(2, LEADS * 4, WIDTH, dtype=torch.float64)
    codes = token_codes(place[:1] if shared_places else place, POSITIONS, LEADS).double()
    found = []
    for kernel in ("sdpa", "flex"):
        assert use_kernel(layer, kernel) == 1
        own = tokens.clone().requires_grad_()
        out = layer(own, codes)
        layer.zero_grad()
        (out * torch.arange(WIDTH)).square().sum().backward()
        found.append([out.detach(), own.grad, *(p.grad.clone() for p in layer.parameters())])
    for flexed, reference in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(flexed, reference, rtol=1e-9, atol=1e-8)
    assert found[0][1].abs().max() > 1e-3


def test_sin_cos_rows_are_distinct_unit_pairs():
    codes = sin_cos(22, 16)
    assert codes.shape == (22, 16)
    torch.testing.assert_close(codes[:, :8].square() + codes[:, 8:].square(), torch.ones(22, 8))
    assert torch.cdist(codes, codes).add(torch.eye(22)).min() > 0.1
