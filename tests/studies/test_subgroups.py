"""Linear probing by group from a workspace whose store and embeddings are made up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.config import ProbeConfig, profile, replace
from merit.evaluate.tasks import TEN_FOLDS, SeenInPretraining
from merit.studies import Workspace
from merit.studies.subgroups import subgroups
from merit.studies.workspace import NoCohort

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


def macro(found: pd.DataFrame, attribute: str, scored: str = "level") -> pd.DataFrame:
    """A row per group."""
    own = found[(found["attribute"] == attribute) & (found["scored"] == scored) & (found["class"] == "macro")]
    return own.set_index("group")


def test_groups_are_those_of_the_records_of_the_task(workspace: MadeUp) -> None:
    found, records = subgroups(workspace, "random", "superclass"), workspace.store("ptb-xl").records
    sexes, ages = macro(found, "sex"), macro(found, "age")
    assert sexes["n"].to_dict() == {
        "female": int((records["sex"] == "female").sum()), "male": int((records["sex"] == "male").sum()), "unknown": 4,
    }  # fmt: skip
    assert ages.loc["unknown", "n"] == 20
    assert ages.loc["80 and over", "n"] == int((records["age"] >= 80).sum())
    assert sexes["n"].sum() == ages["n"].sum() == 600
    assert list(macro(found, "sex", "difference")["against"]) == ["male"]
    assert set(macro(found, "age", "difference").index) < {"under 40", "40 to 64", "65 to 79", "80 and over"}


def test_a_result_is_computed_once_and_limits_make_others(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    first = subgroups(workspace, "random", "superclass")
    strict = subgroups(workspace, "random", "superclass", min_positives=100_000)
    assert "no class has 100000" in macro(strict, "sex")["reason"].iloc[0]
    monkeypatch.setattr("merit.evaluate.subgroups.out_of_fold", lambda *_, **__: pytest.fail("computed again"))
    pd.testing.assert_frame_equal(subgroups(workspace, "random", "superclass"), first)
    with pytest.raises(ValueError, match="min_records: expected at least 1; got 0"):
        subgroups(workspace, "random", "superclass", min_records=0)
    with pytest.raises(ValueError, match="select: expected one of last"):
        subgroups(workspace, "random", "superclass", select="best_validation")


def test_what_is_missing_or_too_little_is_a_reason(workspace: MadeUp) -> None:
    csn, form = subgroups(workspace, "random", ["csn", "form"])["reason"]
    assert csn == "csn: no such data set under /nowhere"
    assert form.startswith("form: ")


def test_what_was_seen_is_not_scored(workspace: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p7"], "record_id": ["x"]})
    monkeypatch.setattr(MadeUp, "seen", lambda *_: seen)
    with pytest.raises(SeenInPretraining, match="patient p7"):
        subgroups(workspace, "merit", "superclass")
    assert set(subgroups(workspace, "merit", "superclass", allow_seen=True)["n_seen"]) == {1}
