"""Retention on tiny hospitals: what is asked and scored, reasons in place of numbers, and pretraining that changes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from merit.config import folder_name
from merit.evaluate.retention import TRAINING_ONLY, RetentionConfig
from merit.evaluate.tasks import OFFICIAL_SPLIT, TEN_FOLDS, SeenInPretraining
from merit.studies import retention as module
from merit.studies.retention import retention
from merit.studies.workspace import Workspace
from merit.synthetic.labels import statements

QUICK = {"n_resamples": 10, "folds": 2, "min_silent": 2, "min_positives": 10}
CONFIG = RetentionConfig(**QUICK)


@pytest.fixture(autouse=True)
def forgotten():
    """Nothing is remembered of a workspace that a test has changed."""
    module._asked.cache_clear()


def test_the_second_time_it_is_read_and_a_seen_patient_is_refused(workspace, monkeypatch):
    first = retention(workspace, ["merit", "random"], **QUICK)
    monkeypatch.setattr("merit.evaluate.retention.measure", None)
    pd.testing.assert_frame_equal(retention(workspace, ["merit", "random"], **QUICK), first)
    assert set(first["n_seen"]) == {0}
    assert set(first["n_records"]) == {len(workspace.store("ptb-xl").records)}
    for _, own in first.groupby("encoder"):
        assert set(own.loc[own["kind"] == "factor", "target"]) >= {"qrs", "qt", "axis", "variability", "st_leads"}
        summary = own[own["kind"] == "summary"].set_index(["metric", "decoder"])
        beyond = summary.loc[("r2_partial", "linear")]
        assert beyond["low"] <= beyond["value"] <= beyond["high"]
        assert np.isfinite(summary.loc[("r2_partial_text", "linear"), "value"])
    patient = workspace.store("ptb-xl").records["patient_id"].iloc[0]
    seen = pd.DataFrame({"cohort": ["ptb-xl"], "patient_id": [patient], "record_id": ["r"]})
    monkeypatch.setattr(workspace, "seen", lambda *a: seen)
    with pytest.raises(SeenInPretraining):
        retention(workspace, ["merit"], seed=7, **QUICK)


def test_truth_lies_beside_its_recording_and_silence_is_said_in_no_words(workspace):
    asked = module._asked(workspace, CONFIG)
    row = len(asked.records) // 2
    truth = pd.read_parquet(workspace.truth("ptb-xl"))
    own = truth[truth["record_id"].astype(str) == str(asked.records["record_id"].iloc[row])]
    assert asked.question.factors["qrs"][row, 0] == asked.table["qrs_ms"].iloc[row] == own["qrs_ms"].item()
    said = [statements(report) for report in asked.records["report"]]
    for name, silent in asked.question.silent.items():
        words = set(module.FINDINGS[name]) | set(module.ALSO_STATED_AS.get(name, ()))
        assert silent.tolist() == [not words & set(stated) for stated in said]
    present = [set(codes) for codes in asked.table["findings"]]
    assert asked.question.findings["ST depression"].tolist() == ["STD_" in codes for codes in present]
    degrees = asked.table["axis_deg"]
    assert asked.question.findings[module.AXIS].tolist() == ((degrees < -30) | (degrees > 90)).tolist()
    columns = asked.by_words[0].report
    assert columns.sum(axis=0).min() >= module.FEWEST_STATED
    assert set(np.unique(columns)) == {0, 1}


def test_patients_stay_in_one_fold_and_pretrained_folds_are_never_scored(workspace, monkeypatch):
    asked = module._asked(workspace, CONFIG)
    groups, folds = asked.question.groups, asked.question.folds
    assert all(len(set(folds[groups == name])) == 1 for name in set(groups))
    seen = []
    monkeypatch.setattr("merit.evaluate.retention.blocks", lambda question, *a, **k: seen.append(question) or [])
    monkeypatch.setattr(workspace, "protocol", lambda cohort: OFFICIAL_SPLIT)
    module._asked.__wrapped__(workspace, CONFIG)
    official = asked.records["fold"].to_numpy()
    assert (seen[0].folds == TRAINING_ONLY).tolist() == (official < 9).tolist()
    assert set(seen[0].folds[official == 10]) <= {1}


def test_without_truth_factors_are_measured_and_a_report_is_its_words_and_codes(workspace, monkeypatch):
    """The same recordings as if nobody knew their truth, and measurements that take its place."""
    truth = pd.read_parquet(workspace.sources["ptb-xl"] / "truth.parquet").set_index("record_id")
    table = truth.loc[workspace.store("ptb-xl").records["record_id"]].select_dtypes("number").reset_index()
    table.loc[table.index[:7], "qrs_ms"] = np.nan
    monkeypatch.setattr(Workspace, "truth", lambda *a: None)
    monkeypatch.setattr(module, "measured_factors", lambda *a: table.copy())
    found = retention(workspace, "random", **QUICK)
    about = found.iloc[0]
    assert (about["source"], about["n_failed"]) == ("measured", 7)
    assert set(found.loc[found["target"] == "qrs", "n"]) == {about["n_records"] - 7}
    assert module.AXIS not in set(found["target"])
    assert set(found.loc[found["metric"] == "auroc_silent", "n"]) == {0}
    asked = module._asked(workspace, CONFIG)
    stated = asked.question.stated["SR"]
    assert stated.tolist() == ["SR" in labels for labels in asked.records["labels"]]
    columns = {tuple(column) for column in asked.by_words[0].report.T}
    assert tuple(asked.records["report"].str.lower().str.contains(r"\bsinus rhythm\b").astype(float)) in columns
    assert tuple(stated.astype(float)) in columns
    for name, values in asked.question.factors.items():  # a failed delineation counts for nothing
        assert np.isnan(values[:7]).any(axis=1).all(), name
        assert name == "pr" or np.isfinite(values[7:]).all(), name


@pytest.mark.skipif("MERIT_REAL_DATA" not in os.environ, reason="real recordings: set MERIT_REAL_DATA")
def test_real_recordings_are_measured_once_and_scored(workspace, tmp_path, monkeypatch):
    profile = dataclasses.replace(workspace.profile, limit=100)
    real = Workspace(profile, Path(os.environ["MERIT_REAL_DATA"]), "cpu", tmp_path / "real")
    monkeypatch.setattr(real, "protocol", lambda cohort: TEN_FOLDS)  # the random encoder has seen nobody
    found = retention(real, "random", **QUICK)
    n_records, n_failed = (found[name].iloc[0] for name in ("n_records", "n_failed"))
    assert found["source"].iloc[0] == "measured"
    assert n_records == len(real.store("ptb-xl").records)
    assert n_failed <= 0.05 * n_records
    assert set(found.loc[found["target"] == "qrs", "n"]) == {n_records - n_failed}
    (table,) = (tmp_path / "real" / "measured").glob("ptb-xl-*.parquet")
    assert len(pd.read_parquet(table)) == n_records
    monkeypatch.setattr("merit.evaluate.retention_factors.measure_recordings", None)
    assert len(module.measured_factors(real, progress=False)) == n_records


def test_without_ludb_there_is_no_reliability_but_a_reason(workspace, tmp_path):
    for ws in (workspace, Workspace(workspace.profile, tmp_path, "cpu", tmp_path / "out")):
        found = module.reliability(ws)
        assert list(found["reason"].str[:4]) == ["LUDB"]
        assert found["value"].isna().all()
    assert module.synthetic_to_real(workspace, ["merit"]).empty
    assert module.report_omission(dataclasses.replace(workspace, data=tmp_path), ["merit"]).empty


@pytest.fixture(scope="module")
def omission(workspace) -> pd.DataFrame:
    """Of merit, mse and random at two shares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARES", (0.3, 1.0))
        return module.report_omission(workspace, ["merit", "mse", "random"])


def test_who_reads_reports_is_scored_at_every_share_on_the_same_recordings(workspace, omission):
    assert list(omission.groupby(["encoder", "share"], sort=False).groups) == [
        ("mse", 0.3), ("random", 0.3), ("merit", 0.3), ("merit", 1.0)
    ]  # fmt: skip
    assert len(omission[["n_records", "n_features"]].drop_duplicates()) == 1
    usual = omission[(omission["encoder"] == "merit") & (omission["share"] == 0.3)].reset_index(drop=True)
    own = retention(workspace, ["merit"])
    assert "share" not in own
    pd.testing.assert_frame_equal(usual[list(own.columns)], own)
    pairs = module.differences(omission, "share")
    assert set(zip(pairs["encoder"], pairs["other"], pairs["share"])) == {
        ("mse", "random", 0.3), ("mse", "merit", 0.3), ("random", "merit", 0.3)
    }  # fmt: skip


def test_reports_differ_and_hearts_do_not(workspace, omission):
    other = module._with_reports(workspace, 1.0)
    assert other.origin.folder.name.endswith("-left-out-1")
    usual, changed = workspace.store("mimic-iv-ecg"), other.origin.store("mimic-iv-ecg")
    np.testing.assert_array_equal(usual.signal_uv, changed.signal_uv)
    words = [store.records["report"].str.len().sum() for store in (usual, changed)]
    assert words[1] < words[0]
    assert other.store("ptb-xl").identity == workspace.store("ptb-xl").identity
    assert other.checkpoint("merit") == other.origin.checkpoint("merit")
    assert other.text_identity == other.origin.text_identity != workspace.text_identity
    embedded = other.embedding("merit", "ptb-xl")
    assert embedded.shape == workspace.embedding("merit", "ptb-xl").shape
    assert not np.allclose(embedded, workspace.embedding("merit", "ptb-xl"))
    texts = (ws.text_embeddings(["sinus rhythm"]) for ws in (other, other.origin))
    np.testing.assert_array_equal(*texts)
    assert set(other.seen("merit")["cohort"]) == {"mimic-iv-ecg"}


def test_what_carries_over_has_encoders_of_both_kinds_of_hearts(workspace, monkeypatch):
    """What counts as real is faked here; that real recordings are measured is tested above."""
    asked = []

    def fake(ws, encoders, *, encoder_seed):
        asked.append((ws.folder, ws.checkpoint_identity("merit")))
        return pd.DataFrame({"encoder": encoders})

    monkeypatch.setattr(module, "retention", fake)
    real = Workspace(workspace.profile, None, "cpu", workspace.folder.with_name("smoke-data-abc"))
    real.synthetic = False
    monkeypatch.setattr(Workspace, "checkpoints", lambda self, names, seeds=(0,): [])
    monkeypatch.setattr(Workspace, "checkpoint_identity", lambda self, *a: (self.origin or self).folder.name)
    found = module.synthetic_to_real(real, ["merit", "random"])
    assert list(found["hearts"]) == ["real hearts", "real hearts", "synthetic hearts"]
    assert list(found["encoder"]) == ["merit", "random", "merit"]
    made = folder_name(workspace.profile, None)  # the tiny hospitals are not the profile's own
    assert asked == [(real.folder, "smoke-data-abc"), (real.folder, made)]
