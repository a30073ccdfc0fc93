from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from merit.baselines import golden
from merit.baselines.base import Encoder
from merit.baselines.xresnet import XResNet1d101, XResNetEncoder, load


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return golden.weights(XResNet1d101().state_dict())


@pytest.fixture
def published(state, tmp_path) -> Path:
    """A file in the published form: the blocks' convolutions listed twice."""
    twice = {key.replace(".convs.", ".convpath.0."): value for key, value in state.items()}
    torch.save({"ecg_model": {**state, **twice}}, tmp_path / "ked.pt")
    return tmp_path / "ked.pt"


def test_it_is_the_authors_network():
    found = golden.agreement("medtvt-r1", "merit.baselines.xresnet")
    assert max(found.values()) <= golden.TOLERANCE


def test_parameters():
    assert sum(p.numel() for p in XResNet1d101().parameters()) == 7_865_984


def test_it_fulfils_the_protocol_at_any_rate(published):
    encoder = load(published)
    assert isinstance(encoder, Encoder)
    signal_mv = np.random.default_rng(0).normal(size=(2, 12, 5000)).astype(np.float32)
    signal_mv[0, 0, 5] = np.nan
    z = encoder.embed(signal_mv, 500)
    assert z.shape == (2, 768)
    np.testing.assert_allclose(z, encoder.tokens(signal_mv, 500).mean(1))
    assert np.isfinite(encoder.embed(signal_mv[:, :, :300], 100)).all()
    assert encoder.identity == load(published).identity != XResNetEncoder(XResNet1d101()).identity


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "expected the weights under ecg_model; got the keys"),
        ({"ecg_model": {"0.0.weight": torch.zeros(3)}}, "expected an xresnet1d101 of 768 channels"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=message) as error:
        load(tmp_path / "x.pt")
    assert "\n" not in str(error.value)


def test_layers_that_stand_twice_must_agree(state, tmp_path):
    other = {"4.0.convpath.0.0.0.weight": state["4.0.convs.0.0.weight"] + 1}
    torch.save({"ecg_model": {**state, **other}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="one layer under two names"):
        load(tmp_path / "x.pt")
