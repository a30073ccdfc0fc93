"""ESI's adapter: its published format, its scaling and the order of its leads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit.data.recording import LEADS
from merit.encoders import esi


@pytest.fixture(scope="module")
def state(small_peer) -> dict[str, torch.Tensor]:
    """What `load` reads, at the small size."""
    return small_peer("esi").state()


@pytest.fixture(scope="module")
def published(state) -> dict[str, torch.Tensor]:
    """As accelerate saves it: the text tower under both names, the captioning parts there."""
    twice = {key.replace(*esi.TOWERS): value.clone() for key, value in state.items() if key.startswith(esi.TOWERS[0])}
    left = {name + "weight" * name.endswith("."): torch.zeros(2) for name in esi.NOT_RUN}
    return {**state, **twice, **left}


@pytest.fixture
def encoder(published, tmp_path) -> esi.EsiEncoder:
    torch.save(published, tmp_path / "pytorch_model.bin")
    return esi.load(tmp_path / "pytorch_model.bin", size=esi.SMALL)


def test_gain_and_offset_of_the_whole_recording_do_nothing_but_of_one_lead_do(encoder, recordings):
    signal_mv = recordings()
    x = encoder.prepared(signal_mv, 500)
    assert abs(x.mean()) < 1e-6
    assert x[0].std(ddof=1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(encoder.prepared(3 * signal_mv + 0.5, 500), x, atol=2e-5)
    one = signal_mv * np.where(np.arange(12) == 4, 3, 1)[:, None]
    assert np.abs(encoder.prepared(one, 500) - x).max() > 0.1


def test_leads_come_in_the_order_of_its_pretraining(encoder):
    signal_mv = np.zeros((1, 12, 5000), np.float32)
    signal_mv[0, LEADS.index("aVL"), 7] = 1
    assert encoder.prepared(signal_mv, 500)[0, :, 7].argmax() == 5


@pytest.mark.parametrize("name", esi.TOWERS)
def test_a_file_that_lists_the_text_tower_once_loads_under_either_name(state, tmp_path, encoder, name):
    save_file({key.replace(esi.TOWERS[0], name): value for key, value in state.items()}, tmp_path / "model.safetensors")
    assert esi.load(tmp_path / "model.safetensors", size=esi.SMALL).identity == encoder.identity


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"model": s}, "expected names and tensors; got the keys"),
        (lambda s: {"x": torch.zeros(3)}, "expected ESI's ConvNeXt V2; Missing key"),
        (lambda s: _renamed(s, "img_encoder.norm.bias", "img_encoder.norm.offset"), "expected ESI's ConvNeXt V2"),
        (lambda s: _renamed(s, "img_token_head.bias", "img_token_head.offset"), "expected ESI's image heads"),
        (lambda s: {**s, "more.weight": torch.zeros(2)}, "expected ESI's image heads; Unexpected key"),
        (lambda s: {**s, "text_to_latents.to_latents.weight": torch.zeros(3, 3)}, "expected ESI's text head"),
        (lambda s: {k: v for k, v in s.items() if not k.startswith(esi.TOWERS)}, "expected a BERT of width 16"),
        (lambda s: {**s, esi.TOWERS[0] + "pooler.dense.bias": torch.ones(16)}, "one text tower, and differ in pooler"),
    ],
)
def test_other_files_are_refused_in_one_line(published, tmp_path, refused, change, message):
    torch.save(change(published), tmp_path / "x.bin")
    refused(message, esi.load, tmp_path / "x.bin", size=esi.SMALL)


def _renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    return {new if key == old else key: value for key, value in state.items()}
