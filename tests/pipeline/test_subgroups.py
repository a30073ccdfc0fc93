"""Linear probing by group from a workspace whose store and embeddings are made up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.config import ProbeConfig, replace
from merit.evaluate.tasks import TEN_FOLDS, SeenInPretraining
from merit.pipeline import Workspace
from merit.pipeline.recordings import NoCohort
from merit.pipeline.subgroups import subgroups
from merit.profiles import profile

PROFILE = replace(profile("smoke"), probe=ProbeConfig(epochs=1, n_resamples=10))
LABELS = ("NORM", "IMI", "LVH", "CLBBB", "NDT")


class MadeUp(Workspace):
    """A workspace of 600 drawn recordings of PTB-XL and random embeddings of width 3; no other cohort."""

    synthetic = True

    def store(self, cohort: str) -> SimpleNamespace:
        if cohort != "ptb-xl":
            raise NoCohort(f"{cohort}: no such data set under /nowhere")
        generator = np.random.default_rng(0)
        records = pd.DataFrame({
            "record_id": [f"r{i:03d}" for i in range(600)],
            "patient_id": [f"p{i // 2}" for i in range(600)],
            "fold": pd.array(np.arange(600) // 2 % 10 + 1, dtype="Int64"),
            "labels": [[str(generator.choice(LABELS)), "SR"] for _ in range(600)],
            "age": np.where(np.arange(600) < 20, np.nan, generator.uniform(20, 95, 600)),
            "sex": ["male" if i // 2 % 3 else "female" for i in range(600)],
        })  # fmt: skip
        records.loc[records.index[:4], "sex"] = None
        return SimpleNamespace(records=records, identity="store")

    def embedding_identity(self, encoder: str, cohort: str, seed: int = 0) -> str:
        self.store(cohort)
        return f"{encoder} {seed}"

    def embedding(self, encoder: str, cohort: str, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(len(encoder)).normal(size=(600, 3)).astype(np.float32)

    def seen(self, encoder: str, seed: int = 0) -> pd.DataFrame:
        return pd.DataFrame(columns=["cohort", "patient_id", "record_id"])

    def protocol(self, cohort: str) -> str:
        return TEN_FOLDS


@pytest.fixture
def workspace(tmp_path: Path) -> MadeUp:
    return MadeUp(PROFILE, None, "cpu", tmp_path / "run")


def test_groups_are_those_of_the_records_of_the_task(workspace: MadeUp) -> None:
    (result,) = subgroups(workspace, ["random"], ["superclass"])
    values, records = result["values"], workspace.store("ptb-xl").records
    sexes, ages = (values["attributes"][name]["groups"] for name in ("sex", "age"))
    assert {name: one["n_records"] for name, one in sexes.items()} == {
        "female": int((records["sex"] == "female").sum()), "male": int((records["sex"] == "male").sum()), "unknown": 4,
    }  # fmt: skip
    assert ages["unknown"]["n_records"] == 20
    assert ages["80 and over"]["n_records"] == int((records["age"] >= 80).sum())
    assert values["n_records"] == 600
    assert values["attributes"]["sex"]["reference"] == "male"
    assert set(values["attributes"]["age"]["differences"]) < {"under 40", "40 to 64", "65 to 79", "80 and over"}


def test_a_result_is_computed_once_and_limits_make_others(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    first = subgroups(workspace, ["random"], ["superclass"])
    strict = subgroups(workspace, ["random"], ["superclass"], min_positives=100_000)
    assert strict[0]["id"] != first[0]["id"]
    assert "no class has 100000" in strict[0]["values"]["attributes"]["sex"]["reason"]
    monkeypatch.setattr("merit.evaluate.subgroups.out_of_fold", lambda *_, **__: pytest.fail("computed again"))
    assert subgroups(workspace, ["random"], ["superclass"]) == first
    with pytest.raises(ValueError, match="min_records: expected at least 1; got 0"):
        subgroups(workspace, ["random"], ["superclass"], min_records=0)


def test_what_is_missing_or_too_little_is_a_reason(workspace: MadeUp) -> None:
    csn, form = subgroups(workspace, ["random"], ["csn", "form"])
    assert csn["values"]["reason"] == "csn: no such data set under /nowhere"
    assert form["values"]["reason"].startswith("form: ")


def test_what_was_seen_is_not_scored(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p7"], "record_id": ["x"]})
    monkeypatch.setattr(MadeUp, "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match="patient p7"):
        subgroups(workspace, ["merit"], ["superclass"])
    (marked,) = subgroups(workspace, ["merit"], ["superclass"], allow_seen=True)
    assert marked["values"]["n_seen"] == 1
