"""A batch's texts in groups of similar length: every one there once, in its place, with little padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.data.batches import TokenStates, grouped

CPU = torch.device("cpu")
LENGTH = np.array([5, 2, 9, 2, 7, 3, 12, 1])


@pytest.fixture
def tokens() -> TokenStates:
    """Eight texts whose tokens are numbered through."""
    start = np.concatenate([[0], LENGTH.cumsum()])
    states = torch.arange(float(LENGTH.sum()))[:, None] + torch.tensor([[0.0, 0.5]])
    return TokenStates(states, start, {}, {})


@pytest.mark.parametrize("n_groups", [1, 2, 4, 20])
def test_every_recording_finds_its_own_tokens(tokens, n_groups):
    rows = np.array([6, 0, 0, 7, 3, 6, 4])
    words = tokens.take(rows, CPU, n_groups)
    texts = [(states, real) for group in words.groups for states, real in zip(*group)]
    assert len(texts) == len(set(rows))
    for row, place in zip(rows, words.place):
        states, real = texts[place]
        assert torch.equal(states[real], tokens.states[tokens.start[row] : tokens.start[row + 1]])
        assert real.tolist() == sorted(real.tolist(), reverse=True)


def test_groups_are_by_length_and_follow_from_the_rows_alone():
    rows = np.random.default_rng(0).permutation(8)
    parts, place = grouped(rows, LENGTH, 4)
    assert [part.tolist() for part in parts] == [[7, 1], [3, 5], [0, 4], [2, 6]]
    assert np.concatenate(parts)[place].tolist() == rows.tolist()


@pytest.mark.parametrize(("n_groups", "computed"), [(1, 8 * 12), (4, 2 * (2 + 3 + 7 + 12)), (8, LENGTH.sum())])
def test_more_groups_pad_less(n_groups, computed):
    assert sum(len(part) * LENGTH[part].max() for part in grouped(np.arange(8), LENGTH, n_groups)[0]) == computed


def test_padding_is_never_read_as_a_token(tokens):
    words = tokens.take(np.array([7, 6]), CPU, 1)
    (states, real) = words.groups[0]
    assert real.sum(1).tolist() == [1, 12]
    assert states.isfinite().all()
