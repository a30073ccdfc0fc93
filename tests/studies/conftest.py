"""A workspace on tiny hospitals, made once; every module of tests works on a copy of its own."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from merit.config import GenerationConfig, HospitalConfig, ProbeConfig, Profile, TextConfig, profile
from merit.data import taxonomy
from merit.evaluate.tasks import OFFICIAL_SPLIT, TEN_FOLDS
from merit.studies import Workspace
from merit.studies.workspace import NoCohort


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


@pytest.fixture(scope="session")
def again() -> Callable[..., Workspace]:
    """Another session on the same folder, or on what is changed."""

    def opened(ws: Workspace, **changes: Any) -> Workspace:
        return Workspace(**{"profile": ws.profile, "data": None, "device": "cpu", "folder": ws.folder, **changes})

    return opened


@pytest.fixture
def made_up_workspace() -> type[Workspace]:
    """A workspace of n drawn recordings a cohort and random embeddings of width 4: no hospital, no network."""
    codes = {name: taxonomy.classes(name) for name in ("cpsc2018", "csn")}
    codes["ptb-xl"] = ("NORM", "IMI", "LVH", "CLBBB", "NDT")

    class MadeUp(Workspace):
        synthetic, pretrained_on_ptb_xl, n = True, False, 200
        missing: tuple[str, ...] = ()

        def store(self, cohort: str) -> SimpleNamespace:
            if cohort in self.missing:
                raise NoCohort(f"{cohort}: no such data set under /nowhere")
            generator, n = np.random.default_rng(len(cohort)), self.n
            records = pd.DataFrame({
                "record_id": [f"{cohort}{i:03d}" for i in range(n)],
                "patient_id": [f"p{i // 2}" for i in range(n)],
                "group": [f"p{i // 2}" for i in range(n)],
                "fold": pd.array(np.arange(n) // 2 % 10 + 1, dtype="Int64"),
                "labels": [["XYZ", codes[cohort][k % len(codes[cohort])]] for k in generator.permutation(n)],
                "age": np.where(np.arange(n) < 20, np.nan, generator.uniform(20, 95, n)),
                "sex": [None if i < 4 else "male" if i // 2 % 3 else "female" for i in range(n)],
            })  # fmt: skip
            return SimpleNamespace(records=records, identity=f"store of {cohort}")

        def embedding_identity(self, encoder: str, cohort: str, seed: int = 0) -> str:
            return f"{encoder} {cohort} {seed}"

        def embedding(self, encoder: str, cohort: str, seed: int = 0) -> np.ndarray:
            return np.random.default_rng([len(encoder), len(cohort)]).normal(size=(self.n, 4)).astype(np.float32)

        def seen(self, encoder: str, seed: int = 0) -> pd.DataFrame:
            patients = [f"p{i}" for i in range(100) if i % 10 < 8] if self.pretrained_on_ptb_xl else []
            return pd.DataFrame({"cohort": "ptb-xl", "patient_id": patients, "record_id": patients})

        def protocol(self, cohort: str) -> str:
            return OFFICIAL_SPLIT if cohort == "ptb-xl" and self.pretrained_on_ptb_xl else TEN_FOLDS

    return MadeUp
