"""The projector against loops in NumPy, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.evaluate.generation.projector import Projector, attention_pool

B, N, D, P, H = 2, 5, 6, 7, 4


def projector(ecg_tokens: int = 1) -> Projector:
    torch.manual_seed(3)
    return Projector(D, P, H, ecg_tokens).double()


def by_loops(model: Projector, ecg: np.ndarray) -> np.ndarray:
    """The description of peers.md section 9, a number at a time where that is bearable."""
    w = {name: value.detach().numpy() for name, value in model.named_parameters()}
    out = []
    for tokens in ecg:
        state, states = np.zeros(P), []
        for token in tokens:
            unit = token / np.sqrt((token**2).sum())
            state = np.tanh(
                w["recurrent.weight_ih_l0"] @ unit + w["recurrent.bias_ih_l0"]
                + w["recurrent.weight_hh_l0"] @ state + w["recurrent.bias_hh_l0"]
            )  # fmt: skip
            states.append(state)
        rows = []
        for query in w["queries.weight"]:
            score = np.exp([query @ s for s in states])
            pooled = sum(a * s for a, s in zip(score / score.sum(), states))
            x = w["to_lm.weight"] @ pooled + w["to_lm.bias"]
            for k in range(3):
                r = x / np.sqrt((x**2).mean() + 1e-6) * w[f"blocks.{k}.norm.weight"]
                gate = w[f"blocks.{k}.gate.weight"] @ r
                x = x + w[f"blocks.{k}.down.weight"] @ (gate / (1 + np.exp(-gate)) * (w[f"blocks.{k}.up.weight"] @ r))
            rows.append(x)
        out.append(rows)
    return np.array(out)


@pytest.mark.parametrize("ecg_tokens", [1, 3])
def test_it_is_what_the_loops_give(ecg_tokens):
    model, ecg = projector(ecg_tokens), np.random.default_rng(0).normal(size=(B, N, D))
    got = model(torch.from_numpy(ecg)).detach().numpy()
    assert got.shape == (B, ecg_tokens, H)
    np.testing.assert_allclose(got, by_loops(model, ecg), rtol=1e-10)


def test_a_pooled_embedding_is_a_sequence_of_one_token():
    model, ecg = projector(2), torch.randn(B, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(ecg), model(ecg[:, None]))


def test_the_length_of_a_token_does_not_matter_and_the_order_does():
    model, ecg = projector(), torch.randn(B, N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(ecg * torch.arange(1, N + 1)[:, None]), model(ecg))
    assert not torch.allclose(model(ecg.flip(1)), model(ecg))


def test_equal_scores_pool_to_the_mean():
    states = torch.randn(B, N, P, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        attention_pool(states, torch.ones(B, N, 2)), states.mean(1, keepdim=True).expand(-1, 2, -1)
    )


def test_the_blocks_have_no_biases():
    assert not [name for name, _ in projector().named_parameters() if "blocks" in name and "bias" in name]


@pytest.mark.parametrize("shape", [(B, N, D + 1), (B, D + 1), (D,)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"ecg: expected \[B, n, 6\] or \[B, 6\]; got"):
        projector()(torch.zeros(shape, dtype=torch.float64))
