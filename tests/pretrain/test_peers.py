"""Peers' objectives, and alignment without a mask, in our loop: every weight learns, resume is exact, a checkpoint
comes back, numbers fall.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import merit
from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig
from merit.methods import ABLATIONS, PEERS
from merit.pretrain import checkpoint
from merit.pretrain.loop import pretrain
from merit.pretrain.step import build, total_loss, update_terms
from merit.pretrain.world import World

MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2, resnet_width=2),
    decoder=DecoderConfig(width=16, depth=1, heads=2), text_width=16, shared_width=16,
)  # fmt: skip
METHODS = {**ABLATIONS, **PEERS}
SETTINGS = {"epochs": None, "updates": 6, "batch": 8, "learning_rate": 3e-3, "validate_every": 3, "save_every": 3}


def run(data, folder: Path, name: str, stop_after: int | None = None, **changes) -> Path:
    config = PretrainConfig(**{**SETTINGS, "validation_share": 0.2, "objective": METHODS[name].objective, **changes})
    model = METHODS[name].model(MODEL)
    return pretrain(data, model, config, folder, cohort="here", progress=False, stop_after=stop_after)


def history(folder: Path) -> list[dict]:
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "samples_per_s"} for line in lines]


@pytest.mark.parametrize("name", METHODS)
def test_six_updates_equal_three_and_three(paired, tmp_path, name):
    """Whatever is drawn (masks, alterations, dropout) and counted (statistics of BatchNorm) goes on as it was."""
    whole = run(paired, tmp_path / "whole", name)
    run(paired, tmp_path / "parts", name, stop_after=3)
    parts = run(paired, tmp_path / "parts", name)
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert history(whole) == history(parts)


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_has_a_finite_gradient(paired, name):
    config = PretrainConfig(**SETTINGS, objective=METHODS[name].objective)
    model = build(METHODS[name].model(MODEL), config).train()
    batch = paired.take(np.arange(8), torch.device("cpu"))
    terms = update_terms(model, model, batch, config, 0, World())
    total_loss(terms, config).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_comes_back_as_it_was(paired, tmp_path, name):
    folder = run(paired, tmp_path / "c", name)
    encoder, signal_mv = merit.load(folder).encoder, paired.signal_uv[:5].astype(np.float32) / 1000
    assert encoder.model.config == METHODS[name].model(MODEL)
    assert encoder.shares_space == (name in ("merl-ours", "cma-whole"))
    z = encoder.embed(signal_mv, 100)
    assert z.shape == (5, encoder.model.config.encoder.embedding_width)
    np.testing.assert_allclose(encoder.tokens(signal_mv, 100).mean(1), z, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(signal_mv[2], 100), z[2], atol=1e-5)
    _, settings = checkpoint.load_model(folder)
    assert settings["pretrain"]["objective"] == METHODS[name].objective
    assert ("ResNet18" if name == "merl-ours" else "ViT") in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", ["merl-ours", "simclr", "clocs"])
def test_the_contrast_is_learnt(paired, tmp_path, name):
    alone = replace(paired, records=paired.records.assign(patient_id=paired.records["record_id"]))
    folder = run(alone, tmp_path, name, updates=60, validate_every=20, save_every=20)
    lines = history(folder)
    for term in lines[0]["train"]:
        assert lines[-1]["train"][term] < lines[0]["train"][term], term


def test_recordings_of_one_patient_are_positives_of_clocs(paired):
    config = PretrainConfig(**SETTINGS, objective="clocs")
    model = build(MODEL, config)
    signal, text, valid, patient = paired.take(np.arange(8), torch.device("cpu"))
    assert patient.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    together, apart = (
        update_terms(model, model, (signal, text, valid, who), config, 0, World())["segments"].item()
        for who in (patient, torch.arange(8))
    )
    assert together != apart


def test_views_are_settings_of_a_run(paired, tmp_path):
    views = PretrainConfig(**SETTINGS).views
    run(paired, tmp_path, "simclr", stop_after=3)
    with pytest.raises(ValueError, match=r"differ in pretrain.views.gain: 0.2 there, 0.5 here"):
        run(paired, tmp_path, "simclr", views=replace(views, gain=0.5))
