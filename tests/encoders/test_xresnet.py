"""MedTVT-R1's ECG encoder: the published file, which lists layers twice, and gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from merit.encoders.xresnet import XResNet1d101, XResNetEncoder, load


@pytest.fixture(scope="module")
def state(small_peer) -> dict[str, torch.Tensor]:
    return small_peer("medtvt-r1").state()


@pytest.fixture
def published(state, tmp_path) -> Path:
    """A file in the published form: the blocks' convolutions listed twice."""
    twice = {key.replace(".convs.", ".convpath.0."): value for key, value in state.items()}
    torch.save({"ecg_model": {**state, **twice}}, tmp_path / "ked.pt")
    return tmp_path / "ked.pt"


def test_gaps_are_zero_and_the_columns_mean_is_the_feature(published, recordings):
    encoder, signal_mv = load(published), recordings()
    signal_mv[0, 0, 5] = np.nan
    z = encoder.embed(signal_mv, 500)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(z, encoder.tokens(signal_mv, 500).mean(1))
    assert encoder.identity != XResNetEncoder(XResNet1d101()).identity


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "expected the weights under ecg_model; got the keys"),
        ({"ecg_model": {"0.0.weight": torch.zeros(3)}}, "expected an xresnet1d101 of 768 channels"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, refused, content, message):
    torch.save(content, tmp_path / "x.pt")
    refused(message, load, tmp_path / "x.pt")


def test_layers_that_stand_twice_must_agree(state, tmp_path):
    other = {"4.0.convpath.0.0.0.weight": state["4.0.convs.0.0.weight"] + 1}
    torch.save({"ecg_model": {**state, **other}}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="one layer under two names"):
        load(tmp_path / "x.pt")
