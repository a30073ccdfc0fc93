"""ECG-FM's adapter: its published format, its segments and its scaling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from merit.encoders import ecg_fm, golden

PRETRAINING = {
    "mask_emb": (768,), "quantizer.vars": (1, 640, 128), "quantizer.weight_proj.weight": (640, 256),
    "quantizer.weight_proj.bias": (640,), "project_q.weight": (256, 256), "project_q.bias": (256,),
    "final_proj.weight": (256, 768), "final_proj.bias": (256,),
}  # fmt: skip
"""What the published state holds besides."""


@pytest.fixture(scope="module")
def state(small_peer) -> dict[str, torch.Tensor]:
    return small_peer("ecg-fm").state()


def written(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """A file as fairseq writes it: the state under `model`, plain values beside it."""
    left = {key: torch.zeros(2) for key in PRETRAINING}
    torch.save({"cfg": {"model": {"_name": "wav2vec2_cmsc"}}, "model": {**state, **left}}, folder / "ecg_fm.pt")
    return folder / "ecg_fm.pt"


@pytest.fixture
def encoder(state, tmp_path) -> ecg_fm.ECGFMEncoder:
    return ecg_fm.load(written(tmp_path, state), size=ecg_fm.SMALL)


def test_it_accounts_for_the_published_keys_and_shapes():
    with torch.device("meta"):
        whole = ecg_fm.network().state_dict() | {key: torch.empty(shape) for key, shape in PRETRAINING.items()}
    assert golden.key_digest(whole) == golden.kept("ecg-fm")["about"]["published_keys"]


def test_a_segment_knows_nothing_of_the_other(encoder, recordings):
    x = encoder.prepared(recordings(), 500)
    changed = x.copy()
    changed[:, :, 2500:] = 0
    one, other = (encoder.run(encoder.network.positions, part) for part in (x, changed))
    np.testing.assert_allclose(one[:, :156], other[:, :156], atol=1e-6)
    assert np.abs(one[:, 156:] - other[:, 156:]).max() > 0.1


def test_gain_and_offset_of_a_lead_do_nothing_and_its_place_does(encoder, recordings):
    signal_mv = recordings()
    z = encoder.embed(signal_mv, 500)
    gains = np.linspace(0.5, 2, 12, dtype=np.float32)[:, None]
    np.testing.assert_allclose(encoder.embed(gains * signal_mv + 0.1 * gains, 500), z, atol=1e-4)
    assert np.abs(encoder.embed(signal_mv[:, ::-1], 500) - z).max() > 1e-2


def test_leads_are_standardised_over_the_recording_and_constant_ones_are_zero(encoder, recordings):
    signal_mv = recordings()
    signal_mv[0, 3] = 0.7
    x = encoder.prepared(signal_mv, 500)
    assert not x[0, 3].any()
    np.testing.assert_allclose(x.std(2)[1], 1, atol=1e-5)
    np.testing.assert_allclose(x.mean(2), 0, atol=1e-6)


def test_older_names_of_the_normalised_weight_load(encoder, state, tmp_path):
    renamed = dict(state)
    for i, name in enumerate(("weight_g", "weight_v")):
        weight = renamed.pop(f"conv_pos.pos_conv.0.parametrizations.weight.original{i}")
        renamed[f"conv_pos.pos_conv.0.{name}"] = weight
    assert ecg_fm.load(written(tmp_path, renamed), size=ecg_fm.SMALL).identity == encoder.identity


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {}}, r"expected the weights under model; got the keys \['state_dict'\]"),
        ({"model": {"encoder.mask_emb": 1.0}}, "expected names and tensors"),
        ({"model": {"layer_norm.weight": torch.zeros(8)}}, "expected ECG-FM, 2 layers of width 16; Missing key"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, refused, content, message):
    torch.save(content, tmp_path / "x.pt")
    refused(message, ecg_fm.load, tmp_path / "x.pt", size=ecg_fm.SMALL)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_every_key_counts(state, tmp_path, change):
    changed, key = dict(state), "encoder.layers.1.fc1.weight"
    if change == "missing":
        del changed[key]
    else:
        changed[key if change == "shape" else "encoder.layers.2.fc1.weight"] = torch.zeros(3, 3)
    with pytest.raises(ValueError, match="expected ECG-FM"):
        ecg_fm.load(written(tmp_path, changed), size=ecg_fm.SMALL)
