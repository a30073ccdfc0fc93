"""A workspace on tiny hospitals, made once; every module of tests works on a copy of its own."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from merit.config import GenerationConfig, HospitalConfig, ProbeConfig, Profile, TextConfig, profile
from merit.studies import Workspace


def tiny() -> Profile:
    """The smoke profile, smaller still."""
    smoke = profile("smoke")
    return dataclasses.replace(
        smoke,
        hospitals=HospitalConfig(recordings={"mimic-iv-ecg": 40, "ptb-xl": 80, "cpsc2018": 12, "csn": 12}, workers=1),
        text=TextConfig(width=16, depth=1, heads=2, vocabulary=400, updates=2, batch=8),
        pretrain=dataclasses.replace(smoke.pretrain, updates=4, batch=8, validate_every=2, save_every=2),
        probe=ProbeConfig(epochs=1, n_resamples=10),
        generation=GenerationConfig(
            lm_width=16, lm_depth=1, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=2, projector_width=8,
            lora_rank=2, max_tokens=200, epochs=None, updates=3, batch=4, learning_rate=1e-2, max_new_tokens=6,
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """Hospitals, stores, text encoder and the checkpoints of merit and cma."""
    folder = tmp_path_factory.mktemp("prepared") / "smoke"
    made = Workspace(tiny(), None, "cpu", folder)
    made.cohorts()
    for objective in ("merit", "cma"):
        made.checkpoint(objective)
    return folder


@pytest.fixture(scope="module")
def workspace(prepared, tmp_path_factory) -> Workspace:
    """A workspace of its own for a module, with what `prepared` made."""
    folder = tmp_path_factory.mktemp("run") / "smoke"
    shutil.copytree(prepared, folder)
    return Workspace(tiny(), None, "cpu", folder)
