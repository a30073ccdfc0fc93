"""Our encoders from outside: any rate and length, one recording or many, refusals in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

import merit
from merit.config import EncoderConfig, ModelConfig, PretrainConfig
from merit.encoders.base import Encoder
from merit.encoders.ours import MeritEncoder, random_encoder
from merit.model.merit import Merit
from merit.pretrain.train import pretrain

CONFIG = ModelConfig(encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), text_width=16, shared_width=16)


@pytest.fixture(scope="module")
def encoder():
    return random_encoder(CONFIG, seed=0)


@pytest.fixture
def signal_mv() -> np.ndarray:
    t = np.arange(1000) / 100
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 6, (3, 12, 1))
    return (np.sin(2 * np.pi * 1.3 * t + phase) + 0.3 * np.sin(2 * np.pi * 7 * t + 2 * phase)).astype(np.float32)


def test_one_recording_or_many_and_their_tokens(encoder, signal_mv):
    assert isinstance(encoder, Encoder)
    assert (encoder.input_spec.fs_hz, encoder.input_spec.duration_s) == (100, 10)
    z = encoder.embed(signal_mv, fs_hz=100)
    assert z.shape == (3, 16)
    np.testing.assert_allclose(encoder.embed(signal_mv[1], fs_hz=100), z[1], atol=1e-5)
    np.testing.assert_allclose(encoder.tokens(signal_mv, fs_hz=100).mean(1), z, atol=1e-5)
    ecg, text = encoder.project(z), encoder.project_text(np.ones((2, 16), np.float32))
    assert (ecg.shape, text.shape) == ((3, 16), (2, 16))
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([ecg, text]), axis=1), 1, atol=1e-5)


def test_projection_is_what_pretraining_compares(encoder, signal_mv):
    visible = torch.arange(10).expand(3, 12, -1)
    with torch.inference_mode():
        tokens = encoder.model(torch.from_numpy(signal_mv), torch.ones(3, 16), visible)
    expected = torch.nn.functional.normalize(tokens.ecg, dim=-1).numpy()
    np.testing.assert_allclose(encoder.project(encoder.embed(signal_mv, 100)), expected, atol=1e-5)
    alone = MeritEncoder(Merit(CONFIG, aligns=False), "mse")
    assert not alone.shares_space
    with pytest.raises(ValueError, match="encoder mse: expected one with a shared space"):
        alone.project(alone.embed(signal_mv, 100))


def test_any_rate_and_length_and_what_cannot_be_embedded_is_refused(encoder, signal_mv):
    z = encoder.embed(signal_mv, 100)
    for fs_hz in (250, 500):
        faster = resample_poly(signal_mv, fs_hz, 100, axis=-1, padtype="line").astype(np.float32)
        assert np.linalg.norm(z - encoder.embed(faster, fs_hz)) < 0.05 * np.linalg.norm(z - z.mean(0))
    np.testing.assert_allclose(encoder.embed(np.concatenate([signal_mv, signal_mv], -1), 100), z, atol=1e-5)
    padded = np.concatenate([signal_mv[..., :600], np.zeros((3, 12, 400), np.float32)], -1)
    np.testing.assert_allclose(encoder.embed(signal_mv[..., :600], 100), encoder.embed(padded, 100), atol=1e-5)
    with pytest.raises(ValueError, match=r"signal_mv: expected \[batch, 12, samples\]"):
        encoder.embed(signal_mv[:, :8], 100)
    signal_mv[0, 3, 5] = np.nan
    with pytest.raises(ValueError, match="expected finite values"):
        encoder.embed(signal_mv, 100)


def test_a_checkpoint_is_loaded_by_its_folder(paired, tmp_path, signal_mv):
    run = PretrainConfig(epochs=None, updates=2, batch=8, validate_every=2, save_every=2, validation_share=0.2)
    folder = pretrain(paired, CONFIG, run, tmp_path / "c", cohort="here", progress=False)
    loaded = merit.load(folder)
    assert loaded.name == "merit"
    assert loaded.embed(signal_mv, 100).shape == (3, 16)
    assert loaded.identity == merit.load(folder).identity
    assert loaded.identity != random_encoder(CONFIG, 0).identity
    with pytest.raises(FileNotFoundError, match="expected a finished checkpoint"):
        merit.load(tmp_path)
