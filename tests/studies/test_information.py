"""Figure 3's study: which pairs are measured, what is read again, what is said where something is missing."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.data import batches
from merit.evaluate.tasks import SeenInPretraining
from merit.studies.information import information, pairs
from merit.studies.workspace import NoCohort


class Encoder:
    """Projects to length 1; without a shared space for mse."""

    def __init__(self, name: str) -> None:
        self.shares_space = name != "mse"

    def project(self, z: np.ndarray) -> np.ndarray:
        return z / np.linalg.norm(z, axis=1, keepdims=True)


class Space:
    """A workspace of 160 recordings with 120 distinct reports, in memory."""

    pretraining_cohort = "mimic-iv-ecg"
    text_identity = "t"

    def __init__(self, n: int = 160) -> None:
        self.z = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
        patients = [f"p{i // 2}" for i in range(n)]
        reports = [f"report {i % 120}" for i in range(n)]
        has_text = np.arange(n) % 8 != 0
        columns = {"patient_id": patients, "group": patients, "report": reports, "has_text": has_text}
        self.records = pd.DataFrame(columns)
        self.pretraining_rows = np.arange(40)
        self.results: dict[str, dict] = {}
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
        return model.project(np.array([np.r_[int(t.split()[1]), np.ones(5)] for t in texts], dtype=np.float32))

    def encoder(self, name: str, seed: int) -> Encoder:
        return Encoder(name)

    def seen(self, encoder: str, seed: int) -> pd.DataFrame:
        return self.known

    def result(self, study, compute, arguments, inputs, source):
        key = json.dumps([study, str(arguments), inputs])
        if key not in self.results:
            self.results[key] = {"values": compute()}
        return self.results[key]


QUICK = {"halves": 3, "most_points": 10}


def test_pairs_are_counted_and_results_read_again():
    ws = Space()
    found = information(ws, "random", "unseen", **QUICK)
    first = found.iloc[0]
    assert (first["n_pairs"], first["n_reports"], first["n"], first["n_seen"]) == (140, 105, 105, 0)
    assert first["entropy"] < np.log(105)
    assert {"info_nce", "ksg", "gaussian", "gap", "plane_share_1"} < set(found["metric"])
    assert len(ws.embedded) == len(set(ws.embedded)) == 105  # the measured records alone are embedded
    assert ws.records["report"].iloc[ws.embedded].nunique() == 105
    points = information(ws, "random", "unseen", part="points", **QUICK)
    assert points["side"].value_counts().to_dict() == {"ecg": 10, "text": 10}
    assert len(ws.results) == 1
    information(ws, "random", "unseen", **QUICK, seed=1)
    assert len(ws.results) == 2


def test_unseen_pairs_leave_out_what_is_pretrained_on():
    ws = Space()
    assert len(pairs(ws, "unseen", 0)) == 140
    ws.pretraining_cohort = "ptb-xl"
    rows = pairs(ws, "unseen", 0)
    assert (rows.min(), len(rows)) == (41, 105)


def test_a_seen_patient_is_rejected_among_the_unseen():
    ws = Space()
    ws.known = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p3"], "record_id": ["r"]})
    with pytest.raises(SeenInPretraining):
        information(ws, "merit", "unseen", **QUICK)


def test_what_cannot_be_measured_is_a_reason(monkeypatch):
    ws = Space()
    ws.records["has_text"] = False
    (reason,) = information(ws, "random", "unseen", **QUICK)["reason"]
    assert reason == "information: expected at least 60 pairs with distinct reports; got none"
    assert not hasattr(ws, "embedded")
    assert "at least 60 pairs" in information(Space(40), "random", "unseen", **QUICK)["reason"].iloc[0]
    assert "no shared space" in information(Space(), "mse", "unseen", **QUICK)["reason"].iloc[0]
    ws = Space()
    monkeypatch.setattr(ws, "embedding_identity", lambda *a: (_ for _ in ()).throw(NoCohort("no ptb-xl")))
    assert information(ws, "merit", "unseen")["reason"].iloc[0] == "no ptb-xl"
    with pytest.raises(ValueError, match="scope: expected one of"):
        information(ws, "merit", "training")


def test_validation_pairs_are_those_of_pretraining(monkeypatch):
    """The same patients as the loop holds out, by its own function, seed and share."""
    ws, asked = Space(), []
    ws.report_embeddings = lambda: np.zeros((1, 4), np.float32)
    monkeypatch.setattr(batches, "pair", lambda store, rows, text: rows)

    def hold_out(data, share, seed):
        asked.append((len(data), share, seed))
        return None, SimpleNamespace(rows=np.arange(30, 40))

    monkeypatch.setattr(batches, "hold_out_patients", hold_out)
    assert pairs(ws, "validation", 3).tolist() == [30, 31, 33, 34, 35, 36, 37, 38, 39]
    assert asked == [(40, 0.1, 13)]
