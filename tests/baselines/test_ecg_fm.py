"""ECG-FM's adapter: the authors' network by golden file, its published format, its segments and its scaling."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from merit.baselines import ecg_fm, golden
from merit.baselines.base import Encoder, TextAligned

PRETRAINING = {
    "mask_emb": (768,), "quantizer.vars": (1, 640, 128), "quantizer.weight_proj.weight": (640, 256),
    "quantizer.weight_proj.bias": (640,), "project_q.weight": (256, 256), "project_q.bias": (256,),
    "final_proj.weight": (256, 768), "final_proj.bias": (256,),
}  # fmt: skip
"""What the published state holds besides."""


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return golden.weights(ecg_fm.network(size=ecg_fm.SMALL).state_dict())


def written(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    """A file as fairseq writes it: the state under `model`, plain values beside it."""
    left = {key: torch.zeros(2) for key in PRETRAINING}
    torch.save({"cfg": {"model": {"_name": "wav2vec2_cmsc"}}, "model": {**state, **left}}, folder / "ecg_fm.pt")
    return folder / "ecg_fm.pt"


@pytest.fixture
def encoder(state, tmp_path) -> ecg_fm.ECGFMEncoder:
    return ecg_fm.load(written(tmp_path, state), size=ecg_fm.SMALL)


def recordings(seconds: float = 10, fs_hz: int = 500) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.3, (2, 12, round(seconds * fs_hz))).astype(np.float32)


def test_it_is_the_authors_network():
    assert max(golden.agreement("ecg-fm", "merit.baselines.ecg_fm").values()) <= golden.TOLERANCE


def test_it_accounts_for_the_published_keys_and_shapes():
    with torch.device("meta"):
        network = ecg_fm.network()
        assert network(torch.zeros(1, 12, 5000)).shape == (1, 768)
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    lines = sorted(f"{key} {list(shape)}" for key, shape in (shapes | PRETRAINING).items())
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    assert f"{len(lines)} {digest}" == golden.kept("ecg-fm")["about"]["published_keys"]
    assert sum(p.numel() for p in network.parameters()) == 90_373_248


@pytest.mark.parametrize(("seconds", "fs_hz"), [(10, 500), (10, 250), (10, 100), (3, 500), (17, 100)])
def test_it_embeds_at_any_rate_and_length(encoder, seconds, fs_hz):
    assert isinstance(encoder, Encoder)
    assert not isinstance(encoder, TextAligned)
    signal_mv = recordings(seconds, fs_hz)
    z, tokens = encoder.embed(signal_mv, fs_hz), encoder.tokens(signal_mv, fs_hz)
    assert z.shape == (2, 16)
    assert tokens.shape == (2, 312, 16)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(tokens.mean(1), z, atol=1e-5)


def test_a_segment_knows_nothing_of_the_other(encoder):
    x = encoder.prepared(recordings(), 500)
    changed = x.copy()
    changed[:, :, 2500:] = 0
    one, other = (encoder.run(encoder.network.positions, part) for part in (x, changed))
    np.testing.assert_allclose(one[:, :156], other[:, :156], atol=1e-6)
    assert np.abs(one[:, 156:] - other[:, 156:]).max() > 0.1


def test_gain_and_offset_of_a_lead_do_nothing_and_its_place_does(encoder):
    signal_mv = recordings()
    z = encoder.embed(signal_mv, 500)
    gains = np.linspace(0.5, 2, 12, dtype=np.float32)[:, None]
    np.testing.assert_allclose(encoder.embed(gains * signal_mv + 0.1 * gains, 500), z, atol=1e-4)
    assert np.abs(encoder.embed(signal_mv[:, ::-1], 500) - z).max() > 1e-2


def test_leads_are_standardised_over_the_recording_and_constant_ones_are_zero(encoder):
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
def test_other_files_are_refused_in_one_line(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=message) as error:
        ecg_fm.load(tmp_path / "x.pt", size=ecg_fm.SMALL)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_every_key_counts(state, tmp_path, change):
    changed, key = dict(state), "encoder.layers.1.fc1.weight"
    if change == "missing":
        del changed[key]
    else:
        changed[key if change == "shape" else "encoder.layers.2.fc1.weight"] = torch.zeros(3, 3)
    with pytest.raises(ValueError, match="expected ECG-FM"):
        ecg_fm.load(written(tmp_path, changed), size=ecg_fm.SMALL)
