"""What is kept when pretraining's recordings change: the evaluation stays, the encoders differ, nothing is mixed up."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from merit.pipeline import Workspace, dials
from merit.pipeline.kept import kept
from merit.pipeline.transferred import transfer
from merit.profiles import folder_name

SHARES = (0.3, 1.0)


@pytest.fixture(scope="module")
def results(workspace, module_patch):
    """Of merit, mse and random at two shares."""
    module_patch.setattr(dials, "SHARES", SHARES)
    return dials.left_out(workspace, ["merit", "mse", "random"])


@pytest.fixture(scope="module")
def module_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_who_reads_reports_has_a_result_a_share_and_the_others_one(results):
    found = [(one["values"]["encoder"], one["values"]["share"]) for one in results]
    assert found == [("mse", 0.3), ("random", 0.3), ("merit", 0.3), ("merit", 1.0)]


def test_the_same_recordings_are_scored_at_every_share(results):
    scored = {(one["values"]["n_records"], one["values"]["n_features"], one["inputs"]["store"]) for one in results}
    assert len(scored) == 1


def test_the_usual_share_is_the_workspace_itself_and_another_is_another_encoder(workspace, results):
    usual, all_left_out = (one for one in results if one["values"]["encoder"] == "merit")
    (own,) = kept(workspace, ["merit"])
    assert usual["id"] == own["id"]
    assert "share" not in own["values"]
    assert usual["inputs"]["embedding"] != all_left_out["inputs"]["embedding"]


def test_reports_differ_and_hearts_do_not(workspace, results):
    other = dials._with_reports(workspace, 1.0)
    assert other.origin.folder.name.endswith("-left-out-1")
    usual, changed = workspace.store("mimic-iv-ecg"), other.origin.store("mimic-iv-ecg")
    np.testing.assert_array_equal(usual.signal_uv, changed.signal_uv)
    words = [store.records["report"].str.len().sum() for store in (usual, changed)]
    assert words[1] < words[0]
    assert other.store("ptb-xl").identity == workspace.store("ptb-xl").identity


def test_a_transferred_encoder_reads_its_own_weights_and_text(workspace, results):
    other = dials._with_reports(workspace, 1.0)
    assert other.checkpoint("merit") == other.origin.checkpoint("merit")
    assert other.text_identity == other.origin.text_identity != workspace.text_identity
    embedded = other.embedding("merit", "ptb-xl")
    assert embedded.shape == workspace.embedding("merit", "ptb-xl").shape
    assert not np.allclose(embedded, workspace.embedding("merit", "ptb-xl"))
    np.testing.assert_array_equal(
        other.text_embeddings(["sinus rhythm"]), other.origin.text_embeddings(["sinus rhythm"])
    )
    assert set(other.seen("merit")["cohort"]) == {"mimic-iv-ecg"}


def test_synthetic_recordings_have_nothing_to_carry_over_to_and_real_ones_no_dial(workspace, tmp_path):
    assert dials.carried_over(workspace, ["merit"]) == []
    declared = dataclasses.replace(workspace, data=tmp_path)
    assert dials.left_out(declared, ["merit"]) == []


def test_carried_over_has_encoders_of_both_kinds_of_hearts(workspace, monkeypatch):
    """What counts as real is faked here; that real recordings are measured is tested in `test_kept`."""
    asked = []

    def fake(ws, encoders, *, encoder_seed):
        asked.append((ws.folder, ws.checkpoint_identity("merit")))
        return [{"values": {"encoder": name}} for name in encoders]

    monkeypatch.setattr(dials, "kept", fake)
    real = Workspace(workspace.profile, None, "cpu", workspace.folder.with_name("smoke-data-abc"))
    real.synthetic = False
    monkeypatch.setattr(Workspace, "checkpoints", lambda self, names, seeds=(0,): [])
    monkeypatch.setattr(Workspace, "checkpoint_identity", lambda self, name, seed=0: self.folder.name)
    found = dials.carried_over(real, ["merit", "random"])
    assert [tuple(one["values"].values()) for one in found] == [
        (dials.RECORDED, "merit"), (dials.RECORDED, "random"), (dials.MADE, "merit")
    ]  # fmt: skip
    made = folder_name(workspace.profile, None)  # the tiny hospitals are not the profile's own
    assert asked == [(real.folder, "smoke-data-abc"), (real.folder, made)]


def test_transfer_leaves_results_where_they_are_evaluated(workspace):
    moved = transfer(workspace, workspace)
    assert moved.folder == workspace.folder
    assert moved.profile == workspace.profile
    assert json.dumps(moved.used) == "{}"
