"""The stage on tiny hospitals: what is asked, what is scored, and reasons in place of numbers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.evaluate.retention import TRAINING_ONLY
from merit.evaluate.seen import SeenInPretraining
from merit.evaluate.splits import OFFICIAL_SPLIT, TEN_FOLDS
from merit.pipeline import Workspace, kept_factors
from merit.pipeline import kept as stage
from merit.pipeline.recordings import NoCohort

QUICK = {"n_resamples": 10, "folds": 2, "min_silent": 2, "min_positives": 10}


@pytest.fixture(scope="module")
def session(workspace) -> stage._Session:
    config = stage.replace(stage.RetentionConfig(), **QUICK)
    return stage._Session(workspace, config, 0)


def test_one_result_an_encoder_and_the_second_time_it_is_read(workspace, monkeypatch):
    first = stage.kept(workspace, ["merit", "random"], **QUICK)
    monkeypatch.setattr(stage._Session, "_values", None)
    assert stage.kept(workspace, ["merit", "random"], **QUICK) == first
    for one in first:
        values = one["values"]
        assert values["n_seen"] == 0
        assert values["n_records"] == len(workspace.store("ptb-xl").records)
        assert set(values["factors"]) >= {"qrs", "qt", "axis", "variability", "st_leads"}
        assert values["summary"]["linear"]["beyond"]["low"] <= values["summary"]["linear"]["beyond"]["high"]
        assert values["beyond_text"]["value"] is not None


def test_truth_lies_beside_its_recording(session):
    row = len(session.factors.records) // 2
    truth = pd.read_parquet(session.ws.truth("ptb-xl"))
    of_row = truth[truth["record_id"].astype(str) == str(session.factors.records["record_id"].iloc[row])]
    assert session.factors.table["qrs_ms"].iloc[row] == of_row["qrs_ms"].item()
    assert session.asked.factors["qrs"][row, 0] == session.factors.table["qrs_ms"].iloc[row]


def test_a_report_is_silent_on_what_it_does_not_state_in_any_words(session):
    asked = session.asked
    for name, silent in asked.silent.items():
        words = set(stage.FINDINGS[name]) | set(stage.ALSO_STATED_AS.get(name, ()))
        for one, alone in zip(session.factors.stated, silent):
            assert alone == (not words & one)
    present = [set(one) for one in session.factors.table["findings"]]
    assert asked.findings["ST depression"].tolist() == ["STD_" in one for one in present]
    degrees = session.factors.table["axis_deg"]
    assert asked.findings[stage.AXIS].tolist() == ((degrees < -30) | (degrees > 90)).tolist()


def test_statements_that_decoders_read_are_made_by_several_reports(session):
    assert session._statements.sum(axis=0).min() >= stage.FEWEST_STATED
    assert set(np.unique(session._statements)) == {0.0, 1.0}


def test_patients_stay_in_one_fold_and_pretrained_folds_are_never_scored(session, monkeypatch):
    groups = session.asked.groups
    assert all(len(set(session.asked.folds[groups == one])) == 1 for one in set(groups))
    monkeypatch.setattr(session.ws, "protocol", lambda cohort: OFFICIAL_SPLIT)
    folds, official = session._folds(groups), session.factors.records["fold"].to_numpy()
    assert (folds == TRAINING_ONLY).tolist() == (official < 9).tolist()
    assert set(folds[official == 10]) <= {1}


def test_a_seen_patient_is_refused(workspace, monkeypatch):
    patient = workspace.store("ptb-xl").records["patient_id"].iloc[0]
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": [patient], "record_id": ["r"]})
    monkeypatch.setattr(workspace, "seen", lambda *a: seen)
    with pytest.raises(SeenInPretraining):
        stage.kept(workspace, ["merit"], seed=7, **QUICK)


@pytest.fixture
def unknown(workspace, monkeypatch) -> pd.DataFrame:
    """The same recordings as if nobody knew their truth; the measurements that take its place."""
    store = workspace.store("ptb-xl")
    truth = pd.read_parquet(workspace.sources["ptb-xl"] / "truth.parquet").set_index("record_id")
    table = truth.loc[store.records["record_id"]].select_dtypes("number").reset_index()
    table.loc[table.index[:7], "qrs_ms"] = np.nan
    monkeypatch.setattr(Workspace, "truth", lambda *a: None)
    monkeypatch.setattr(kept_factors.measured, "measured", lambda *a: table.copy())
    return table


def test_without_truth_factors_are_measured_and_a_report_is_its_words_and_codes(workspace, unknown):
    values = stage.kept(workspace, ["random"], **QUICK)[0]["values"]
    assert (values["source"], values["n_failed"]) == ("measured", 7)
    assert values["factors"]["qrs"]["n"] == values["n_records"] - 7
    assert stage.AXIS not in values["findings"]
    assert all(one["n_silent"] == 0 for one in values["findings"].values())
    session = stage._Session(workspace, stage.replace(stage.RetentionConfig(), **QUICK), 0)
    labels, reports = session.factors.records["labels"], session.factors.records["report"].str.lower()
    assert session._made["SR"].tolist() == ["SR" in one for one in labels]
    columns = {tuple(column) for column in session._statements.T}
    assert tuple(reports.str.contains(r"\bsinus rhythm\b").astype(float)) in columns
    assert tuple(session._made["SR"].astype(float)) in columns


def test_a_failed_delineation_counts_for_nothing(workspace, unknown):
    session = stage._Session(workspace, stage.replace(stage.RetentionConfig(), **QUICK), 0)
    assert session.factors.failed.tolist() == [True] * 7 + [False] * (len(unknown) - 7)
    for name, values in session.asked.factors.items():
        assert np.isnan(values[:7]).any(axis=1).all(), name
        assert name == "pr" or np.isfinite(values[7:]).all(), name


def test_no_data_and_too_few_recordings_are_reasons(workspace, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(workspace, "embedding_identity", lambda *a: (_ for _ in ()).throw(NoCohort("no ptb-xl")))
        assert stage.kept(workspace, ["random"], **QUICK)[0]["values"]["reason"] == "no ptb-xl"
    with monkeypatch.context() as patch:
        patch.setattr(stage._Session, "_folds", lambda self, groups: np.full(len(groups), TRAINING_ONLY))
        found = stage.kept(workspace, ["random"], seed=8, **QUICK)[0]["values"]
        assert "at least 60 scored recordings" in found["reason"]


@pytest.mark.skipif("MERIT_REAL_DATA" not in os.environ, reason="real recordings: set MERIT_REAL_DATA")
def test_real_recordings_are_measured_once_and_scored(workspace, tmp_path, monkeypatch):
    profile = dataclasses.replace(workspace.profile, limit=100)
    real = Workspace(profile, Path(os.environ["MERIT_REAL_DATA"]), "cpu", tmp_path / "real")
    monkeypatch.setattr(real, "protocol", lambda cohort: TEN_FOLDS)  # the random encoder has seen nobody
    values = stage.kept(real, ["random"], **QUICK)[0]["values"]
    assert values["source"] == "measured"
    assert values["n_records"] == len(real.store("ptb-xl").records)
    assert values["n_failed"] <= 0.05 * values["n_records"]
    assert values["factors"]["qrs"]["n"] == values["n_records"] - values["n_failed"]
    assert values["summary"]["linear"]["beyond"]["value"] is not None
    (table,) = (tmp_path / "real" / "measured").glob("ptb-xl-*.parquet")
    assert len(pd.read_parquet(table)) == values["n_records"]
    monkeypatch.setattr("merit.evaluate.retention_factors.measure_recordings", None)
    assert len(kept_factors.measured.measured(real, "ptb-xl", progress=False)) == values["n_records"]


def test_without_ludb_there_is_no_ceiling(workspace, tmp_path):
    assert kept_factors.measured.ceiling(workspace) == []
    assert kept_factors.measured.ceiling(Workspace(workspace.profile, tmp_path, "cpu", tmp_path / "out")) == []
