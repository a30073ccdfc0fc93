"""Masks: the same count in each lead, every patch equally often, hidden is the rest."""

from __future__ import annotations

import torch

from merit.model.vit import hidden_from, n_visible, random_visible


def test_same_count_in_each_lead_and_rising():
    visible = random_visible((4, 12, 20), 0.75, torch.Generator().manual_seed(0))
    assert visible.shape == (4, 12, 5)
    assert (visible.diff(dim=-1) > 0).all()


def test_hidden_is_the_rest():
    visible = torch.tensor([[[0, 3], [1, 2]]])
    assert hidden_from(visible, 4).tolist() == [[[False, True, True, False], [True, False, False, True]]]


def test_each_patch_is_hidden_as_often_as_the_ratio_says():
    visible = random_visible((2000, 1, 8), 0.75, torch.Generator().manual_seed(0))
    share = hidden_from(visible, 8).float().mean((0, 1))
    assert (share - 0.75).abs().max() < 0.04


def test_at_least_one_patch_stays():
    assert n_visible(3, 0.99) == 1
    assert n_visible(40, 0.75) == 10


def test_the_generator_alone_decides():
    draws = [random_visible((2, 3, 8), 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
