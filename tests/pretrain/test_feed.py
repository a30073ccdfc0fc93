"""Batches from memory and from disk are the same batches, and what does not fit into memory is read from disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.pretrain import feed as feeds
from merit.pretrain.feed import Resident, Streamed, feed, needed_bytes

CPU = torch.device("cpu")


def positions(update: int) -> np.ndarray:
    return np.random.default_rng(update).permutation(20)[:6]


@pytest.mark.parametrize("kind", [Resident, Streamed])
def test_every_update_gets_its_recordings_in_order(paired, kind):
    part = paired.only(paired.rows[::2])
    made = list(kind(part, CPU).batches(positions, 3, 9))
    assert len(made) == 6
    for update, batch in zip(range(3, 9), made):
        for one, other in zip(batch, part.take(positions(update), CPU), strict=True):
            assert torch.equal(one, other)
        names = part.records["patient_id"].iloc[part.rows[positions(update)]].to_numpy()
        assert ((batch[3][:, None] == batch[3]).numpy() == (names[:, None] == names)).all()
    assert not all(valid.all() for _, _, valid, _ in made)


def test_a_run_that_stops_early_leaves_no_reader_behind(paired):
    batches = Streamed(paired, CPU).batches(positions, 0, 1000)
    next(batches)
    batches.close()


def test_what_does_not_fit_is_streamed_and_said(paired, monkeypatch, capsys):
    assert isinstance(feed(paired, CPU), Resident)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(feeds, "free_bytes", lambda device: needed_bytes(paired))
    assert isinstance(feed(paired, CPU), Streamed)
    assert "40 recordings need 0.0 GB and cpu has 0.0 GB free, of which 60% may be used" in capsys.readouterr().out


def test_needed_memory_is_that_of_signals_texts_and_patients(paired):
    assert needed_bytes(paired) == 40 * (12 * 1000 * 2 + 8 + 8) + 8 * 16 * 4
