"""Effects of protocol rules on tiny hospitals: what is computed, kept, refused, and said where something is missing."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from merit.config import HospitalConfig, ProbeConfig, TextConfig, profile
from merit.evaluate import protocol_effects as measures
from merit.evaluate.tasks import SeenInPretraining
from merit.studies import Workspace
from merit.studies.protocol_effects import protocol_effects, seen_effects

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
def results(workspace) -> pd.DataFrame:
    return protocol_effects(workspace, ["random"], ["superclass", "csn"])


def again(workspace: Workspace) -> Workspace:
    """Another session on the same folder."""
    return Workspace(workspace.profile, None, "cpu", workspace.folder)


def test_every_rule_is_there_for_ptb_xl(results):
    found = results[results["task"] == "superclass"]
    assert set(found["rule"]) == {
        "threshold", "sign_oracle", "sign", "epoch", "epoch_validation", "by_recording", "all",
    }  # fmt: skip
    row = found.iloc[0]
    assert (row["encoder"], row["variant"], row["protocol"]) == ("random", "as_published", "ten folds")
    published, corrected, effect = found.iloc[:3]["value"]
    assert published - corrected == pytest.approx(effect)


def test_what_is_missing_is_a_reason(results):
    assert "csn" in results[results["task"] == "csn"]["reason"].item()


def test_results_are_read_again_without_computing(workspace, results, monkeypatch):
    seen = seen_effects(workspace, "random")
    monkeypatch.setattr(measures, "protocol_effects", None)
    monkeypatch.setattr(measures, "retrieval", None)
    pd.testing.assert_frame_equal(protocol_effects(again(workspace), ["random"], ["superclass", "csn"]), results)
    pd.testing.assert_frame_equal(seen_effects(again(workspace), "random"), seen)
    files = [path.name.split("-")[0] for path in (workspace.folder / "results").glob("*_effects-*.json")]
    assert sorted(files) == ["protocol_effects", "protocol_effects", "seen_effects"]


def test_seen_patients_are_told_from_held_out_ones_as_pretraining_did(workspace, monkeypatch):
    from merit.data.batches import hold_out_patients, pair

    caught = {}

    def stand_in(ecg, text, text_row, sides, seed):
        caught["sides"] = sides
        return [{"rule": "seen", "scored": "effect", "metric": "recall@10", "value": 0.0}]

    monkeypatch.setattr(measures, "retrieval", stand_in)
    found = seen_effects(again(workspace), ["merit", "mse"], "standardised")
    store = workspace.store("mimic-iv-ecg")
    data = pair(store, workspace.pretraining_rows, workspace.report_embeddings())
    training, validation = hold_out_patients(data, 0.3, 0)
    sides = caught["sides"]
    assert sides.seen.tolist() == training.rows.tolist()
    assert sides.held_out.tolist() == validation.rows.tolist()
    assert not set(sides.patients[sides.seen]) & set(sides.patients[sides.held_out])
    assert found["n_seen"].iloc[0] == len(set(sides.patients[sides.seen]))
    without = found[(found["encoder"] == "mse") & (found["metric"] == "recall@10")]
    assert "without text" in without["reason"].item()
    probed = found[(found["metric"] == "auroc") & (found["scored"] == "effect")]
    assert list(probed["encoder"]) == ["merit", "mse"]


def test_patients_that_were_seen_are_refused(workspace, monkeypatch):
    other = again(workspace)
    seen = pd.DataFrame(other.store("ptb-xl").records[["patient_id", "record_id"]].head(3)).assign(cohort="ptb-xl")
    monkeypatch.setattr(other, "seen", lambda encoder, seed=0: seen)
    with pytest.raises(SeenInPretraining):
        protocol_effects(other, ["random"], ["superclass"], epochs=1)


def test_where_ptb_xl_is_pretrained_on_folds_by_recording_are_not_drawn(workspace):
    other = again(workspace)
    other.sources.pop("mimic-iv-ecg")
    found = protocol_effects(other, ["merit", "random"], ["superclass"], epochs=1)
    assert set(found["protocol"]) == {other.protocol("ptb-xl")} != {"ten folds"}
    reasons = found[found["rule"] == "by_recording"].groupby("encoder")["reason"].first()
    assert "pretrained on" in reasons["merit"]
    assert "pretrained on" not in str(reasons["random"])


def test_without_a_cohort_every_line_says_why(workspace):
    other = again(workspace)
    for cohort in ("mimic-iv-ecg", "ptb-xl", "csn"):
        other.sources.pop(cohort)
    found = protocol_effects(other, ["merit", "random"], ["superclass", "csn"])
    reasons = [*found["reason"], *seen_effects(other, ["merit", "random"])["reason"]]
    assert len(reasons) == 6
    assert all("no such data set" in reason or "expected mimic-iv-ecg" in reason for reason in reasons)


def test_unknown_names_are_refused(workspace):
    with pytest.raises(ValueError, match="variant: expected one of"):
        protocol_effects(workspace, variant="raw")
    with pytest.raises(ValueError, match="task: expected one of"):
        protocol_effects(workspace, ["random"], ["superclas"])
    with pytest.raises(ValueError, match="select: expected one of last"):
        protocol_effects(workspace, ["random"], ["superclass"], select="best_validation")
