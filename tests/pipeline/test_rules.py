"""The stage `rules` on tiny hospitals: what is computed, kept, refused, and said where something is missing."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest
from merit.pipeline.rules import rules

from merit.config import HospitalConfig, ProbeConfig, TextConfig
from merit.evaluate import rules as worth
from merit.evaluate import rules_seen
from merit.evaluate.tasks import SeenInPretraining
from merit.pipeline import Workspace
from merit.profiles import profile

SMOKE = profile("smoke")
TINY = dataclasses.replace(
    SMOKE,
    hospitals=HospitalConfig(recordings={"mimic-iv-ecg": 60, "ptb-xl": 80, "cpsc2018": 12, "csn": 12}, workers=1),
    text=TextConfig(width=16, depth=1, heads=2, vocabulary=400, updates=2, batch=8),
    pretrain=dataclasses.replace(
        SMOKE.pretrain, updates=2, batch=8, validate_every=2, save_every=2, validation_share=0.3
    ),
    probe=ProbeConfig(epochs=2, n_resamples=10, min_positives=1),
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(TINY, None, "cpu", tmp_path_factory.mktemp("run") / "smoke")


@pytest.fixture(scope="module")
def results(workspace) -> list[dict]:
    return rules(workspace, ["random"], ["superclass", "csn"])


def again(workspace: Workspace) -> Workspace:
    """Another session on the same folder."""
    return Workspace(workspace.profile, None, "cpu", workspace.folder)


def values(results: list[dict], **wanted: str) -> list[dict]:
    found = [one["values"] for one in results]
    return [one for one in found if all(one.get(name) == value for name, value in wanted.items())]


def test_every_rule_is_there_for_ptb_xl(results):
    found = values(results, task="superclass")
    assert {one["rule"] for one in found} == {
        "threshold", "sign_oracle", "sign", "epoch", "epoch_validation", "by_recording", "all",
    }  # fmt: skip
    one = found[0]
    assert (one["encoder"], one["variant"], one["protocol"]) == ("random", "as_published", "ten folds")
    assert one["published"] - one["proper"] == pytest.approx(one["worth"])


def test_what_is_missing_is_a_reason(results):
    (csn,) = values(results, task="csn")
    assert "csn" in csn["reason"]
    assert {one["rule"] for one in values(results, task="pretraining")} == {"seen"}


def test_results_are_read_again_without_computing(workspace, results, monkeypatch):
    monkeypatch.setattr(worth, "worth_of_rules", None)
    monkeypatch.setattr(rules_seen, "retrieval", None)
    assert rules(again(workspace), ["random"], ["superclass", "csn"]) == results
    assert len(list((workspace.folder / "results").glob("rules-*.json"))) == 3  # a file a task and encoder


def test_seen_patients_are_told_from_held_out_ones_as_pretraining_did(workspace, monkeypatch):
    from merit.data.batches import hold_out_patients, pair

    caught = {}

    def stand_in(ecg, text, text_row, sides, seed):
        caught["sides"], caught["text_row"] = sides, text_row
        return [{"rule": "seen", "metric": "recall@10", "worth": 0.0}]

    monkeypatch.setattr(rules_seen, "retrieval", stand_in)
    found = values(rules(again(workspace), ["merit", "mse"], [], variant="standardised"), rule="seen")
    store = workspace.store("mimic-iv-ecg")
    data = pair(store, workspace.pretraining_rows, workspace.report_embeddings())
    training, validation = hold_out_patients(data, 0.3, 0)
    sides = caught["sides"]
    assert sides.seen.tolist() == training.rows.tolist()
    assert sides.held_out.tolist() == validation.rows.tolist()
    assert not set(sides.patients[sides.seen]) & set(sides.patients[sides.held_out])
    assert found[0]["n_seen_patients"] == len(set(sides.patients[sides.seen]))
    without = [one for one in found if one["encoder"] == "mse" and one["metric"] == "recall@10"]
    assert "without text" in without[0]["reason"]
    probed = [one for one in found if one["metric"] == "auroc"]
    assert [one["encoder"] for one in probed] == ["merit", "mse"]


def test_patients_that_were_seen_are_refused(workspace, monkeypatch):
    other = again(workspace)
    seen = pd.DataFrame(other.store("ptb-xl").records[["patient_id", "record_id"]].head(3)).assign(cohort="ptb-xl")
    monkeypatch.setattr(other, "seen", lambda encoder, seed=0: seen)
    with pytest.raises(SeenInPretraining):
        rules(other, ["random"], ["superclass"], epochs=1)


def test_where_ptb_xl_is_pretrained_on_folds_by_recording_are_not_drawn(workspace):
    other = again(workspace)
    other.sources.pop("mimic-iv-ecg")
    found = values(rules(other, ["merit", "random"], ["superclass"], epochs=1), task="superclass")
    assert {one["protocol"] for one in found} == {other.protocol("ptb-xl")} != {"ten folds"}
    reasons = {one["encoder"]: one.get("reason", "") for one in found if one["rule"] == "by_recording"}
    assert "pretrained on" in reasons["merit"]
    assert "pretrained on" not in reasons["random"]


def test_without_a_cohort_every_line_says_why(workspace):
    other = again(workspace)
    for cohort in ("mimic-iv-ecg", "ptb-xl", "csn"):
        other.sources.pop(cohort)
    found = [one["values"] for one in rules(other, ["merit", "random"], ["superclass", "csn"])]
    assert len(found) == 6
    assert all("no such data set" in one["reason"] or "expected mimic-iv-ecg" in one["reason"] for one in found)


def test_unknown_names_are_refused(workspace):
    with pytest.raises(ValueError, match="variant: expected one of"):
        rules(workspace, variant="raw")
    with pytest.raises(ValueError, match="task: expected one of"):
        rules(workspace, ["random"], ["superclas"])
