"""Each loss against a slow oracle written from the paper, a closed form, a symmetry and its edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from merit.config import OBJECTIVE_NAMES, PEER_OBJECTIVES, PretrainConfig
from merit.objectives import OBJECTIVES, bottleneck, info_nce, masked_mse, nt_xent, segments, weights


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


@pytest.mark.parametrize("valid", [None, [True, True, False, True, False, True]])
def test_info_nce_equals_the_loop_over_valid_rows_is_symmetric_and_blind_to_length(pairs, valid):
    ecg, text = pairs
    rows = slice(None) if valid is None else torch.tensor(valid)
    expected = pytest.approx(slow_info_nce(ecg[rows].numpy(), text[rows].numpy(), 0.2), rel=1e-12)
    mask = None if valid is None else rows
    assert info_nce(ecg, text, 0.2, mask).item() == expected
    assert info_nce(3 * text, 0.5 * ecg, 0.2, mask).item() == expected


def test_contrastive_losses_in_closed_form():
    """Rows without a relation give the log of the number of candidates; of perfect pairs a low temperature leaves 0."""
    same, eye, patient = torch.ones(7, 3), torch.eye(5), torch.tensor([0, 0, 1, 2, 3, 4, 5])
    assert info_nce(same, same, 0.07).item() == pytest.approx(math.log(7), rel=1e-6)
    assert nt_xent(same, same, 0.1).item() == pytest.approx(math.log(13), rel=1e-6)
    assert segments(same, same, patient, 0.1).item() == pytest.approx(math.log(7), rel=1e-6)
    assert info_nce(eye, eye, 0.01).item() == pytest.approx(0, abs=1e-6)
    assert nt_xent(eye, eye, 0.01).item() == pytest.approx(0, abs=1e-6)


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
    places = [index for index in np.ndindex(3, 2, 4, 5) if hidden[index[:3]]]
    expected = pytest.approx(np.mean([float((prediction[i] - target[i]) ** 2) for i in places]), rel=1e-12)
    assert masked_mse(prediction, target, hidden).item() == expected
    moved = torch.where(hidden[..., None], prediction, prediction + 9)
    assert masked_mse(moved, target, hidden).item() == expected
    with pytest.raises(ValueError, match="expected prediction and target of one shape"):
        masked_mse(torch.zeros(2, 3, 4), torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.bool))


def test_bottleneck_is_the_mean_of_one_minus_cosine(pairs):
    ecg, text = pairs
    cosines = [float(a @ b / (a.norm() * b.norm())) for a, b in zip(ecg, text)]
    assert bottleneck(ecg, text).item() == pytest.approx(1 - np.mean(cosines), rel=1e-12)
    valid = torch.tensor([True, False, False, True, False, False])
    assert bottleneck(ecg, text, valid).item() == pytest.approx(1 - np.mean([cosines[0], cosines[3]]), rel=1e-12)
    assert bottleneck(ecg, ecg).item() == pytest.approx(0, abs=1e-12)


def slow_nt_xent(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """Eq. 1 of Chen et al. (2020) in loops: l(i, j) over all 2B views."""
    views = [view / np.linalg.norm(view) for view in (*one, *other)]
    n, total = len(one), 0.0
    for i, view in enumerate(views):
        partner = views[(i + n) % (2 * n)]
        over = sum(math.exp(view @ views[k] / temperature) for k in range(2 * n) if k != i)
        total -= math.log(math.exp(view @ partner / temperature) / over)
    return total / (2 * n)


def test_nt_xent_equals_the_loop_and_is_symmetric_blind_to_length_and_to_order(pairs):
    one, other = pairs
    expected = pytest.approx(slow_nt_xent(one.numpy(), other.numpy(), 0.2), rel=1e-12)
    order = torch.randperm(len(one), generator=torch.Generator().manual_seed(3))
    for views in ((one, other), (2 * other, 0.3 * one), (one[order], other[order])):
        assert nt_xent(*views, 0.2).item() == expected


def slow_segments(first: np.ndarray, second: np.ndarray, patient: list[int], temperature: float) -> float:
    """Eq. 1 to 3 of Kiyasseh et al. (2021) in loops, each term a mean over its pairs, then a mean over terms."""
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    terms = []
    for a, b in ((first, second), (second, first)):
        for own in (True, False):
            over = [sum(math.exp(a[i] @ b[k] / temperature) for k in range(len(b))) for i in range(len(a))]
            found = [
                -math.log(math.exp(a[i] @ b[j] / temperature) / over[i])
                for i in range(len(a)) for j in range(len(b))
                if (i == j if own else i != j and patient[i] == patient[j])
            ]  # fmt: skip
            terms += [np.mean(found)] if found else []
    return float(np.mean(terms))


@pytest.mark.parametrize("patient", [[0, 1, 2, 3, 4, 5], [0, 0, 1, 2, 2, 2], [4, 4, 4, 4, 4, 4]])
def test_segments_equal_the_loop_and_are_symmetric_blind_to_length_order_and_numbers_of_patients(pairs, patient):
    (first, second), of = pairs, torch.tensor(patient)
    expected = pytest.approx(slow_segments(first.numpy(), second.numpy(), patient, 0.2), rel=1e-12)
    order = torch.randperm(len(first), generator=torch.Generator().manual_seed(3))
    for given in ((first, second, of), (2 * second, 0.3 * first, of), (first[order], second[order], 7 - of[order])):
        assert segments(*given, 0.2).item() == expected
    if len(set(patient)) == 6:  # one recording each
        assert info_nce(first, second, 0.2).item() == expected


def test_a_batch_of_one_recording_has_nothing_to_contrast(pairs):
    first, second = (one[:1].clone().requires_grad_() for one in pairs)
    loss = nt_xent(first, second, 0.1) + segments(first, second, torch.zeros(1), 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert torch.isfinite(first.grad).all()


def test_objectives_are_the_papers_four_and_those_of_peers():
    assert tuple(OBJECTIVES) == ("merit", "cma", "mse", "ib", "merl", "simclr", "clocs")
    assert set(OBJECTIVES) == {*OBJECTIVE_NAMES, *PEER_OBJECTIVES}
    settings = {"bottleneck_strength": 0.25, "info_nce_scale": 2.0, "masked_mse_scale": 3.0}
    assert weights("merit", settings) == {"info_nce": 2.0, "masked_mse": 3.0}
    assert weights("mse", settings | {"view_scale": 0.5}) == {"masked_mse": 1.0, "dropout_views": 0.5}
    assert weights("ib", settings) == {"info_nce": 2.0, "bottleneck": 0.25}
    assert weights("mse", settings) == {"masked_mse": 1.0}
    assert weights("merl", settings) == {"info_nce": 2.0, "dropout_views": 2.0}
    for name in OBJECTIVES:
        assert set(weights(name, vars(PretrainConfig(objective=name)))) == set(OBJECTIVES[name])
