"""A few updates of every objective against numbers that are kept: checkpoints are told apart by a recipe number and not
by the source, so a change of what training computes has to raise that number.

`python tests/pretrain/test_golden.py` writes the numbers again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from merit import runs
from merit.config import (
    TRAINED_NAMES,
    DecoderConfig,
    EncoderConfig,
    ModelConfig,
    PretrainConfig,
    TextConfig,
    TinyVitConfig,
    method,
    replace,
)
from merit.data.batches import PairedRecordings
from merit.model import weights as text_weights
from merit.model.text import TextEncoder, train_text_encoder
from merit.pretrain import RECIPE, train
from merit.pretrain.train import pretrain

GOLDEN = Path(__file__).with_name("golden.json")
RAISE = (
    "training computes other numbers than the kept checkpoints were made with: raise {0} by one, so that they are made "
    "again, and write the new numbers with `python tests/pretrain/test_golden.py` (or take the change back)"
)
TINY_VIT = "merit on tiny_vit"
MODEL = ModelConfig(
    encoder=EncoderConfig(
        patch=100, width=16, depth=1, heads=2, resnet_width=2,
        tiny_vit=TinyVitConfig(widths=(8, 16, 16, 16), depths=(1, 1, 1, 1), heads=(1, 2, 2, 2)),
    ),
    decoder=DecoderConfig(width=16, depth=1, heads=2), text_width=16, shared_width=16,
)  # fmt: skip
TEXT = TextConfig(width=16, depth=1, heads=2, vocabulary=300, updates=4, batch=8, max_tokens=24)
REPORTS = ["sinus rhythm, normal ecg", "atrial fibrillation, left axis deviation", "sinus bradycardia, st depression"]


def recordings(n: int = 40) -> PairedRecordings:
    """Sines of other rates and phases, two recordings a patient, a report for three of four; no generator, which
    another version of a library might change.
    """
    number, lead, second = np.ogrid[:n, :12, :1000]
    wave = np.sin(second * 2 * np.pi * (0.7 + number * 0.05) / 100 + lead * 0.5)
    signal = np.round(400 * wave**3 + 60 * np.sin(number + second * (lead + 1) * 0.01)).astype(np.int16)
    text = torch.from_numpy(np.sin(np.arange(8)[:, None] * 1.7 + np.arange(16) * 0.9).astype(np.float32))
    text_row = np.where(np.arange(n) % 4 == 3, -1, np.arange(n) % 8)
    patients = [f"p{k // 2}" for k in range(n)]
    records = pd.DataFrame({"record_id": [f"r{k}" for k in range(n)], "patient_id": patients, "group": patients})
    return PairedRecordings(signal, np.arange(n), text, text_row, records)


def trained(name: str, folder: Path) -> dict[str, Any]:
    """The terms at each of four updates, and how far the weights went from where they began."""
    found = method("merit" if name == TINY_VIT else name)
    model = found.model(MODEL)
    if name == TINY_VIT:
        model = replace(model, encoder=replace(model.encoder, kind="tiny_vit"))
    config = PretrainConfig(
        objective=found.objective, epochs=None, updates=4, batch=8, learning_rate=3e-3, validation_share=0.3,
        validate_every=1, save_every=4, warmup_share=0.5,
    )  # fmt: skip
    start = {k: v.double().clone() for k, v in train.build(model, config).state_dict().items()}
    pretrain(recordings(), model, config, folder, cohort="here", progress=False)
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    end = {k: v.double() for k, v in load_file(folder / "model.safetensors").items()}
    return {
        "train": [line["train"] for line in lines],
        "validation": [line["validation"] for line in lines],
        "rates": [line["learning_rate"] for line in lines],
        "start": sum(float(v.abs().sum()) for v in start.values()),
        "moved": {part: sum(float((end[k] - start[k]).abs().sum()) for k in end if k.startswith(part))
                  for part in sorted({k.split(".")[0] for k in end})},
    }  # fmt: skip


def texts(folder: Path) -> list[list[float]]:
    """The embeddings of three reports by an encoder of four updates."""
    train_text_encoder(REPORTS, TEXT, folder, progress=False)
    return TextEncoder(folder, TEXT).embed(REPORTS).tolist()


def defaults() -> dict[str, Any]:
    """Identities hold what is not at its default."""
    kinds = {"model": ModelConfig, "pretrain": PretrainConfig, "text": TextConfig}
    return {name: runs.plain(kind()) for name, kind in kinds.items()}


def differing(there: Any, here: Any, where: str = "") -> list[str]:
    """Leaves that differ by more than rounding; a setting that is new is none."""
    if isinstance(there, Mapping):
        return [text for k, v in there.items() for text in differing(v, here.get(k), f"{where}.{k}")]
    if isinstance(there, list):
        if not isinstance(here, list) or len(there) != len(here):
            return [f"{where}: {there} there, {here} here"]
        return [text for k, (a, b) in enumerate(zip(there, here)) for text in differing(a, b, f"{where}[{k}]")]
    same = there == pytest.approx(here, rel=1e-4, abs=1e-7) if isinstance(there, float) else there == here
    return [] if same else [f"{where}: {there} there, {here} here"]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", [*TRAINED_NAMES, TINY_VIT])
def test_updates_are_those_of_the_recipe(golden, tmp_path, name):
    assert golden["recipe"] == RECIPE, "write the numbers of the new recipe"
    found = differing(golden["trained"][name], trained(name, tmp_path / "c"), name)
    assert not found, f"{RAISE.format('RECIPE in merit/pretrain/__init__.py')}; {found[:3]}"


def test_the_text_encoder_is_that_of_its_recipe(golden, tmp_path):
    assert golden["text_recipe"] == text_weights.TEXT_RECIPE, "write the numbers of the new recipe"
    found = differing(golden["texts"], texts(tmp_path / "t"), "texts")
    assert not found, f"{RAISE.format('TEXT_RECIPE in merit/model/weights.py')}; {found[:3]}"


def test_defaults_are_those_of_the_recipe(golden):
    found = differing(golden["defaults"], json.loads(json.dumps(defaults())))
    assert not found, f"{RAISE.format('RECIPE (or TEXT_RECIPE)')}; {found[:3]}"


def other_betas(monkeypatch):
    make = train.make_optimiser
    monkeypatch.setattr(
        "merit.pretrain.train.make_optimiser", lambda model, config: make(model, replace(config, betas=(0.9, 0.99)))
    )


def other_scale(monkeypatch):
    """Of one term: Adam and the clipped norm see nothing of a common one."""
    total = train.total_loss
    monkeypatch.setattr(
        "merit.pretrain.train.total_loss", lambda terms, *given: total(terms, *given) + 0.05 * terms["info_nce"]
    )


def other_clipping(monkeypatch):
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda weights, norm: clip(weights, 1e9))


def other_masks(monkeypatch):
    make = train.mask_generator
    monkeypatch.setattr(train, "mask_generator", lambda seed, update, device: make(seed + 1, update, device))


@pytest.mark.parametrize("change", [other_betas, other_scale, other_clipping, other_masks])
def test_a_change_of_the_update_does_not_go_unnoticed(golden, tmp_path, monkeypatch, change):
    change(monkeypatch)
    assert differing(golden["trained"]["merit"], trained("merit", tmp_path / "c"), "merit")


def test_a_new_setting_is_no_change_and_another_default_is(golden):
    now = defaults()
    now["pretrain"] |= {"of_next_year": 3}
    assert not differing(golden["defaults"], json.loads(json.dumps(now)))
    now["pretrain"] |= {"learning_rate": 1e-3}
    assert differing(golden["defaults"], json.loads(json.dumps(now)))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        names = {name: trained(name, Path(scratch, name)) for name in [*TRAINED_NAMES, TINY_VIT]}
        found = {"recipe": RECIPE, "text_recipe": text_weights.TEXT_RECIPE, "defaults": defaults(), "trained": names}
        runs.write_json(GOLDEN, {**found, "texts": texts(Path(scratch, "text"))})
