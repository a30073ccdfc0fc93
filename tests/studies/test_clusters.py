"""Figure 4's study: which recordings take part, and what is said where something is missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.evaluate import clusters as evaluate
from merit.evaluate.tasks import SeenInPretraining
from merit.studies.clusters import clusters, with_rhythm
from merit.studies.workspace import NoCohort


class Space:
    """Sixty recordings with SR, PACE or AFIB, and ten without a rhythm."""

    pretraining_cohort = "mimic-iv-ecg"
    folder, profile = Path("nowhere"), None
    pretraining_rows = np.arange(20)

    def __init__(self) -> None:
        labels = [[["SR"], ["SR", "PACE"], ["AFIB", "NORM"]][i % 3] for i in range(60)] + [["NORM"]] * 10
        patients = [f"p{i}" for i in range(70)]
        self.records = pd.DataFrame({"labels": labels, "patient_id": patients, "group": patients})
        self.known = pd.DataFrame(columns=["cohort", "patient_id", "record_id"])

    def store(self, cohort: str) -> SimpleNamespace:
        return SimpleNamespace(records=self.records, identity=cohort)

    def embedding_identity(self, encoder: str, cohort: str, seed: int) -> str:
        return encoder

    def embedding(self, encoder: str, cohort: str, seed: int) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(70, 4))

    def seen(self, encoder: str, seed: int) -> pd.DataFrame:
        return self.known

    def result(self, study, compute, arguments, inputs, source):
        return {"values": compute()}


@pytest.fixture(autouse=True)
def _no_umap(monkeypatch):
    monkeypatch.setattr(evaluate, "umap_plane", lambda x, config, cache: np.asarray(x[:, :2], dtype=float))


def test_recordings_with_a_rhythm_count_as_the_rarest():
    found = clusters(Space(), "random", n_resamples=5)
    macro = found[found["class"] == "macro"].iloc[0]
    assert (macro["n"], macro["n_patients"], macro["n_several"], macro["n_seen"]) == (60, 60, 20, 0)
    counts = found[(found["class"] != "macro") & (found["n"] > 0)].set_index("class")["n"]
    assert counts.to_dict() == {"SR": 20, "AFIB": 20, "PACE": 20}
    points = clusters(Space(), "random", n_resamples=5, part="points")
    assert points["class"].value_counts().to_dict() == {"SR": 20, "AFIB": 20, "PACE": 20}


def test_what_is_pretrained_on_is_left_out_and_the_seen_are_rejected():
    ws = Space()
    ws.pretraining_cohort = "ptb-xl"
    assert with_rhythm(ws, False).min() == 20
    ws.known = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p30"], "record_id": ["r"]})
    with pytest.raises(SeenInPretraining):
        clusters(ws, "merit", n_resamples=5)
    marked = clusters(ws, "merit", n_resamples=5, allow_seen=True)
    assert set(marked["n_seen"]) == {1}
    assert marked.loc[marked["class"] == "macro", "n"].unique().tolist() == [60]


def test_nothing_to_score_is_a_reason(monkeypatch):
    ws = Space()
    ws.records["labels"] = [["SR"]] * 70
    assert "two classes" in clusters(ws, "random")["reason"].iloc[0]
    monkeypatch.setattr(ws, "store", lambda cohort: (_ for _ in ()).throw(NoCohort("ptb-xl: not there")))
    assert clusters(ws, "random")["reason"].iloc[0] == "ptb-xl: not there"
    with pytest.raises(ValueError, match="unknown settings"):
        clusters(Space(), "random", colours=3)
