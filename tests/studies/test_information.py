"""Studies of Figures 3 and 4: which recordings take part, what is read again, reasons where something is missing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from merit.data import batches
from merit.evaluate import clusters as evaluate
from merit.evaluate.tasks import SeenInPretraining
from merit.studies.information import clusters, information, known_information, pairs, with_rhythm
from merit.studies.workspace import NoCohort


def encoder(name: str) -> SimpleNamespace:
    """Projects to length 1; without a shared space for mse."""
    unit = {"project": lambda z: z / np.linalg.norm(z, axis=1, keepdims=True)}
    return SimpleNamespace(shares_space=name != "mse", **unit)


class Space:
    """A workspace of 160 recordings with 120 distinct reports, in memory."""

    pretraining_cohort, text_identity, folder = "mimic-iv-ecg", "t", Path("nowhere")

    def __init__(self, n: int = 160) -> None:
        self.z = np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)
        patients, reports = [f"p{i // 2}" for i in range(n)], [f"report {i % 120}" for i in range(n)]
        columns = {"patient_id": patients, "group": patients, "report": reports, "has_text": np.arange(n) % 8 != 0}
        self.records, self.pretraining_rows = pd.DataFrame(columns), np.arange(40)
        self.results: dict[str, dict] = {}
        self.profile = SimpleNamespace(name="smoke", pretrain=SimpleNamespace(validation_share=0.1), trial=True)
        self.known = pd.DataFrame(columns=["cohort", "patient_id", "record_id"])
        self.pretraining_seed, self.encoder = lambda seed: 10 + seed, lambda name, seed: encoder(name)
        self.embedding_identity, self.seen = lambda *names: str(names), lambda encoder, seed: self.known

    def store(self, cohort: str) -> SimpleNamespace:
        return SimpleNamespace(records=self.records, identity=f"store of {cohort}")

    def embedding(self, encoder: str, cohort: str, seed: int, rows: np.ndarray | None = None) -> np.ndarray:
        self.embedded = rows
        return self.z if rows is None else self.z[rows]

    def projected_text(self, model: SimpleNamespace, texts: list[str]) -> np.ndarray:
        return model.project(np.array([np.r_[int(t.split()[1]), np.ones(5)] for t in texts], dtype=np.float32))

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
    share = ws.records["report"][ws.records["has_text"]].value_counts(normalize=True)
    assert first["entropy"] == pytest.approx(-(share * np.log(share)).sum())
    assert {"info_nce", "ksg", "gaussian", "gap", "plane_share_1"} < set(found["metric"])
    assert len(ws.embedded) == len(set(ws.embedded)) == 105  # the measured records alone are embedded
    assert ws.records["report"].iloc[ws.embedded].nunique() == 105
    points = information(ws, "random", "unseen", part="points", **QUICK)
    assert points["side"].value_counts().to_dict() == {"ecg": 10, "text": 10}
    assert len(ws.results) == 1
    information(ws, "random", "unseen", **QUICK, seed=1)
    assert len(ws.results) == 2


def test_unseen_pairs_leave_out_what_is_pretrained_on_and_a_seen_patient_is_rejected():
    ws = Space()
    assert len(pairs(ws, "unseen", 0)[1]) == 140
    ws.pretraining_cohort = "ptb-xl"
    cohort, rows = pairs(ws, "unseen", 0)
    assert (cohort, rows.min(), len(rows)) == ("ptb-xl", 41, 105)
    ws.known = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p30"], "record_id": ["r"]})
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
    cohort, rows = pairs(ws, "validation", 3)
    assert cohort == "mimic-iv-ecg"
    assert rows.tolist() == [30, 31, 33, 34, 35, 36, 37, 38, 39]
    assert asked == [(40, 0.1, 13)]


def test_estimators_against_known_pairs_have_a_row_each(monkeypatch):
    asked = []

    def estimate(x, y, groups, critic):
        asked.append((x.shape, y.shape, critic is not None))
        bound = {"info_nce": {"value": 1.0, "ceiling": 4.0}} if critic else {}
        ksg = {"value": 1.0, "plain": 0.8, "ceiling": 5.0, "no_vote": "no"}
        return bound | {"ksg": ksg, "gaussian": {"value": 1}}, []

    monkeypatch.setattr("merit.evaluate.information.estimate", estimate)
    found = known_information(Space())
    assert (asked[0], asked[-1]) == (((200, 2), (200, 2), True), ((500, 69), (500, 4), True))
    assert found["metric"].value_counts().to_dict() == {"ksg": 28, "gaussian": 28, "ksg_plain": 28, "info_nce": 20}
    assert found.loc[found["ceiling"].notna(), "metric"].unique().tolist() == ["info_nce"]
    assert found.loc[found["no_vote"].notna(), "metric"].unique().tolist() == ["ksg"]


@pytest.fixture
def rhythms(monkeypatch) -> Space:
    """Sixty recordings with SR, PACE or AFIB, and ten without a rhythm, one a patient; a plane without UMAP."""
    monkeypatch.setattr(evaluate, "umap_plane", lambda x, config, cache: np.asarray(x[:, :2], dtype=float))
    ws, patients = Space(70), [f"p{i}" for i in range(70)]
    labels = [[["SR"], ["SR", "PACE"], ["AFIB", "NORM"]][i % 3] for i in range(60)] + [["NORM"]] * 10
    ws.records = ws.records.assign(labels=labels, patient_id=patients, group=patients)
    ws.pretraining_rows = np.arange(20)
    return ws


def test_rhythms_count_as_the_rarest_and_what_is_pretrained_on_is_left_out(rhythms):
    found = clusters(rhythms, "random", n_resamples=5)
    macro = found[found["class"] == "macro"].iloc[0]
    assert (macro["n"], macro["n_patients"], macro["n_several"], macro["n_seen"]) == (60, 60, 20, 0)
    counts = found[(found["class"] != "macro") & (found["n"] > 0)].set_index("class")["n"]
    assert counts.to_dict() == {"SR": 20, "AFIB": 20, "PACE": 20}
    points = clusters(rhythms, "random", n_resamples=5, part="points")
    assert points["class"].value_counts().to_dict() == {"SR": 20, "AFIB": 20, "PACE": 20}
    ws = rhythms
    ws.pretraining_cohort = "ptb-xl"
    assert with_rhythm(ws, False).min() == 20
    ws.known = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": ["p30"], "record_id": ["r"]})
    with pytest.raises(SeenInPretraining):
        clusters(ws, "merit", n_resamples=5)
    marked = clusters(ws, "merit", n_resamples=5, allow_seen=True)
    assert set(marked["n_seen"]) == {1}
    assert marked.loc[marked["class"] == "macro", "n"].unique().tolist() == [60]


def test_nothing_to_score_is_a_reason(rhythms, monkeypatch):
    ws = rhythms
    ws.records["labels"] = [["SR"]] * 70
    assert "two classes" in clusters(ws, "random")["reason"].iloc[0]
    with pytest.raises(ValueError, match="unknown settings"):
        clusters(ws, "random", colours=3)
    monkeypatch.setattr(ws, "store", lambda cohort: (_ for _ in ()).throw(NoCohort("ptb-xl: not there")))
    assert clusters(ws, "random")["reason"].iloc[0] == "ptb-xl: not there"
