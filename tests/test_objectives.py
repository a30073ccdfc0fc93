"""Each loss against a slow oracle written from the paper, a closed form, a symmetry and its edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from merit.config import OBJECTIVE_NAMES, PretrainConfig
from merit.objectives import OBJECTIVES, bottleneck, info_nce, masked_mse, weights


def slow_info_nce(ecg: np.ndarray, text: np.ndarray, temperature: float) -> float:
    """Eq. 3 in loops: both directions, averaged."""
    ecg = ecg / np.linalg.norm(ecg, axis=1, keepdims=True)
    text = text / np.linalg.norm(text, axis=1, keepdims=True)
    total = 0.0
    for i in range(len(ecg)):
        own = math.exp(ecg[i] @ text[i] / temperature)
        over_text = sum(math.exp(ecg[i] @ text[j] / temperature) for j in range(len(text)))
        over_ecg = sum(math.exp(ecg[j] @ text[i] / temperature) for j in range(len(ecg)))
        total += -0.5 * (math.log(own / over_text) + math.log(own / over_ecg))
    return total / len(ecg)


@pytest.fixture
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2))


def test_info_nce_equals_the_loop(pairs):
    ecg, text = pairs
    assert info_nce(ecg, text, 0.2).item() == pytest.approx(slow_info_nce(ecg.numpy(), text.numpy(), 0.2), rel=1e-12)


def test_info_nce_leaves_out_rows_that_are_not_valid(pairs):
    ecg, text = pairs
    valid = torch.tensor([True, True, False, True, False, True])
    expected = slow_info_nce(ecg[valid].numpy(), text[valid].numpy(), 0.2)
    assert info_nce(ecg, text, 0.2, valid).item() == pytest.approx(expected, rel=1e-12)


def test_info_nce_of_unrelated_constant_rows_is_log_n():
    same = torch.ones(7, 3)
    assert info_nce(same, same, 0.07).item() == pytest.approx(math.log(7), rel=1e-6)


def test_info_nce_of_perfect_pairs_vanishes_as_the_temperature_falls():
    eye = torch.eye(5)
    assert info_nce(eye, eye, 0.01).item() == pytest.approx(0, abs=1e-6)


def test_info_nce_is_symmetric_and_blind_to_length(pairs):
    ecg, text = pairs
    assert info_nce(ecg, text, 0.1).item() == pytest.approx(info_nce(3 * text, 0.5 * ecg, 0.1).item(), rel=1e-12)


def test_info_nce_without_a_valid_row_is_zero_with_finite_gradient(pairs):
    ecg, text = pairs
    ecg.requires_grad_()
    loss = info_nce(ecg, text, 0.1, torch.zeros(6, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(ecg.grad, torch.zeros_like(ecg))


def test_masked_mse_looks_at_hidden_patches_alone():
    generator = torch.Generator().manual_seed(1)
    prediction, target = (torch.randn(3, 2, 4, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    hidden = torch.rand(3, 2, 4, generator=generator) < 0.5
    errors = [
        float((prediction[b, lead, n, s] - target[b, lead, n, s]) ** 2)
        for b in range(3) for lead in range(2) for n in range(4) for s in range(5) if hidden[b, lead, n]
    ]  # fmt: skip
    assert masked_mse(prediction, target, hidden).item() == pytest.approx(np.mean(errors), rel=1e-12)
    moved = torch.where(hidden[..., None], prediction, prediction + 9)
    assert masked_mse(moved, target, hidden).item() == pytest.approx(np.mean(errors), rel=1e-12)


def test_masked_mse_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="expected prediction and target of one shape"):
        masked_mse(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.bool))


def test_bottleneck_is_the_mean_of_one_minus_cosine(pairs):
    ecg, text = pairs
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(ecg, text)]
    assert bottleneck(ecg, text).item() == pytest.approx(1 - np.mean(cosines), rel=1e-12)
    valid = torch.tensor([True, False, False, True, False, False])
    assert bottleneck(ecg, text, valid).item() == pytest.approx(1 - np.mean([cosines[0], cosines[3]]), rel=1e-12)
    assert bottleneck(ecg, ecg).item() == pytest.approx(0, abs=1e-12)


def test_objectives_are_the_papers_four():
    assert set(OBJECTIVES) == set(OBJECTIVE_NAMES)
    settings = {"bottleneck_strength": 0.25, "info_nce_scale": 2.0}
    assert weights("merit", settings) == {"info_nce": 2.0, "masked_mse": 1.0}
    assert weights("ib", settings) == {"info_nce": 2.0, "bottleneck": 0.25}
    assert weights("mse", settings) == {"masked_mse": 1.0}
    for name in OBJECTIVES:
        assert set(weights(name, vars(PretrainConfig(objective=name)))) == set(OBJECTIVES[name])
