"""Figure 3's stage: which pairs are measured, what is read again, what is said where something is missing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.evaluate.tasks import SeenInPretraining
from merit.pipeline import information as stage
from merit.pipeline.recordings import NoCohort


class Encoder:
    """Projects to length 1; without a shared space for mse."""

    def __init__(self, name: str) -> None:
        self.shares_space = name != "mse"

    def project(self, z: np.ndarray) -> np.ndarray:
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    project_text = project


class Space:
    """A workspace of 160 recordings with 120 distinct reports, in memory."""

    pretraining_cohort = "mimic-iv-ecg"
    text_identity = "t"

    def __init__(self, n: int = 160) -> None:
        self.z = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
        self.records = pd.DataFrame(
            {
                "patient_id": [f"p{i // 2}" for i in range(n)], "group": [f"p{i // 2}" for i in range(n)],
                "report": [f"report {i % 120}" for i in range(n)], "has_text": np.arange(n) % 8 != 0,
            }
        )  # fmt: skip
        self.pretraining_rows = np.arange(40)
        self.kept: dict[str, dict] = {}
        self.profile = SimpleNamespace(name="smoke", pretrain=SimpleNamespace(validation_share=0.1))
        self.known = pd.DataFrame(columns=["cohort", "patient_id", "record_id"])

    def pretraining_seed(self, seed: int) -> int:
        return 10 + seed

    def store(self, cohort: str) -> SimpleNamespace:
        return SimpleNamespace(records=self.records, identity=f"store of {cohort}")

    def embedding_identity(self, encoder: str, cohort: str, seed: int) -> str:
        return f"{encoder} {cohort} {seed}"

    def embedding(self, encoder: str, cohort: str, seed: int, rows: np.ndarray) -> np.ndarray:
        self.embedded = rows
        return self.z[rows]

    def projected_text(self, model: Encoder, texts: list[str]) -> np.ndarray:
        embedded = np.array([np.r_[int(t.split()[1]), np.ones(5)] for t in texts], dtype=np.float32)
        return model.project_text(embedded)

    def encoder(self, name: str, seed: int) -> Encoder:
        return Encoder(name)

    def seen(self, encoder: str, seed: int) -> pd.DataFrame:
        return self.known

    def result(self, stage, compute, parameters, inputs, modules, seed=None):
        key = json.dumps([stage, str(parameters), inputs])
        if key not in self.kept:
            self.kept[key] = {"stage": stage, "values": compute(), "parameters": parameters}
        return self.kept[key]


QUICK = {"halves": 3, "most_points": 10}


def test_pairs_are_counted_and_results_read_again():
    ws = Space()
    (one,) = stage.information(ws, ["random"], ["unseen"], **QUICK)
    values = one["values"]
    assert (values["n_pairs"], values["n_reports"], values["n"], values["n_seen"]) == (140, 105, 105, 0)
    assert values["entropy"] < np.log(105)
    assert len(ws.embedded) == len(set(ws.embedded)) == 105  # the measured records alone are embedded
    assert ws.records["report"].iloc[ws.embedded].nunique() == 105
    assert stage.information(ws, ["random"], ["unseen"], **QUICK)[0] is one
    assert stage.information(ws, ["random"], ["unseen"], **QUICK, seed=1)[0] is not one


def test_unseen_pairs_leave_out_what_is_pretrained_on():
    ws = Space()
    assert len(stage._rows(ws, "unseen", "ptb-xl", 0)) == 140
    ws.pretraining_cohort = "ptb-xl"
    rows = stage._rows(ws, "unseen", "ptb-xl", 0)
    assert rows.min() == 41
    assert len(rows) == 105


def test_a_seen_patient_is_refused_among_the_unseen():
    ws = Space()
    ws.known = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p3"], "record_id": ["r"]})
    with pytest.raises(SeenInPretraining):
        stage.information(ws, ["merit"], ["unseen"], **QUICK)


def test_no_pairs_at_all_are_a_reason_and_nothing_is_embedded():
    ws = Space()
    ws.records["has_text"] = False
    values = stage.information(ws, ["random"], ["unseen"], **QUICK)[0]["values"]
    assert values["reason"] == "information: expected at least 60 pairs with distinct reports; got none"
    assert (values["n_pairs"], hasattr(ws, "embedded")) == (0, False)


def test_too_few_pairs_no_shared_space_and_no_data_set_are_reasons(monkeypatch):
    few = stage.information(Space(40), ["random"], ["unseen"], **QUICK)[0]["values"]
    assert "at least 60 pairs" in few["reason"]
    assert few["n_pairs"] == 35
    without = stage.information(Space(), ["mse"], ["unseen"], **QUICK)[0]["values"]
    assert "no shared space" in without["reason"]
    ws = Space()
    monkeypatch.setattr(ws, "embedding_identity", lambda *a: (_ for _ in ()).throw(NoCohort("no ptb-xl")))
    assert stage.information(ws, ["merit"], ["unseen"])[0]["values"]["reason"] == "no ptb-xl"
    with pytest.raises(ValueError, match="scope: expected one of"):
        stage.information(ws, ["merit"], ["training"])


def test_validation_pairs_are_those_of_pretraining(monkeypatch):
    """The same patients as the loop holds out, by its own function, seed and share."""
    from merit.data import batches

    ws, asked = Space(), []
    ws.report_embeddings = lambda: np.zeros((1, 4), np.float32)
    monkeypatch.setattr(batches, "pair", lambda store, rows, text: rows)

    def hold_out(data, share, seed):
        asked.append((len(data), share, seed))
        return None, SimpleNamespace(rows=np.arange(30, 40))

    monkeypatch.setattr(batches, "hold_out_patients", hold_out)
    assert stage._rows(ws, "validation", "mimic-iv-ecg", 3).tolist() == [30, 31, 33, 34, 35, 36, 37, 38, 39]
    assert asked == [(40, 0.1, 13)]
