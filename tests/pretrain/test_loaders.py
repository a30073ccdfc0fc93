"""Batches from memory and from disk are the same batches, and what does not fit into memory is read from disk."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from pretrain_runs import CPU, recordings, token_states

from merit.pretrain import loaders
from merit.pretrain.loaders import MemmapLoader, ResidentLoader, loader, needed_bytes


def positions(update: int) -> np.ndarray:
    return np.random.default_rng(update).permutation(20)[:6]


def flat(batch: tuple) -> list[torch.Tensor]:
    """A batch's tensors, also those of words."""
    return [tensor for value in batch for tensor in ([value] if isinstance(value, torch.Tensor) else flat(value))]


@pytest.mark.parametrize("kind", [ResidentLoader, MemmapLoader])
@pytest.mark.parametrize("words", [False, True])
def test_every_update_gets_its_recordings_in_order(paired, kind, words):
    data = recordings(token_states()) if words else paired
    part = data.only(data.rows[::2])
    made = list(kind(part, CPU).batches(positions, 3, 9))
    assert len(made) == 6
    for update, batch in zip(range(3, 9), made):
        for value, expected in zip(flat(batch), flat(part.take(positions(update), CPU)), strict=True):
            assert torch.equal(value, expected)
        names = part.records["patient_id"].iloc[part.rows[positions(update)]].to_numpy()
        assert ((batch[3][:, None] == batch[3]).numpy() == (names[:, None] == names)).all()
    assert not all(valid.all() for _, _, valid, _ in made)


def test_what_does_not_fit_is_read_from_disk_and_reported(paired, monkeypatch, capsys):
    assert isinstance(loader(paired, CPU), ResidentLoader)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(loaders, "free_bytes", lambda device: needed_bytes(paired))
    assert isinstance(loader(paired, CPU), MemmapLoader)
    assert "40 recordings need 0.0 GB and cpu has 0.0 GB free, of which 60% may be used" in capsys.readouterr().out


def test_needed_memory_is_that_of_signals_texts_patients_and_tokens(paired):
    assert needed_bytes(paired) == 40 * (12 * 1000 * 2 + 8 + 8) + 8 * 16 * 4
    data = recordings(token_states())
    assert needed_bytes(data) == needed_bytes(dataclasses.replace(data, tokens=None)) + data.tokens.n_bytes
