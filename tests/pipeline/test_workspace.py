"""The workspace on tiny hospitals: what is made once, what is kept apart, what is said where data are missing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from merit.config import HospitalConfig, ProbeConfig, TextConfig
from merit.evaluate.seen import SeenInPretraining
from merit.pipeline import Workspace
from merit.pipeline.recordings import NoCohort
from merit.profiles import profile

TINY = dataclasses.replace(
    profile("smoke"),
    hospitals=HospitalConfig(recordings={"mimic-iv-ecg": 40, "ptb-xl": 80, "cpsc2018": 12, "csn": 12}, workers=1),
    text=TextConfig(width=16, depth=1, heads=2, vocabulary=400, updates=2, batch=8),
    pretrain=dataclasses.replace(profile("smoke").pretrain, updates=4, batch=8, validate_every=2, save_every=2),
    probe=ProbeConfig(epochs=1, n_resamples=10),
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    return Workspace(TINY, None, "cpu", tmp_path_factory.mktemp("run") / "smoke")


def again(workspace: Workspace, **changes) -> Workspace:
    """Another session on the same folder."""
    return Workspace(**{**vars_of(workspace), **changes})


def vars_of(workspace: Workspace) -> dict:
    return {"profile": workspace.profile, "data": None, "device": "cpu", "folder": workspace.folder}


def test_a_result_is_computed_once_and_then_read(workspace):
    first = workspace.linear_probe(["merit", "random"], ["superclass"], ["as_published"])
    files = sorted((workspace.folder / "results").glob("linear_probe-*.json"))
    assert len(files) == 2
    times = [f.stat().st_mtime_ns for f in files]
    second = again(workspace).linear_probe(["merit", "random"], ["superclass"], ["as_published"])
    assert json.loads(json.dumps(first)) == second
    assert times == [f.stat().st_mtime_ns for f in files]
    assert [r["values"]["encoder"] for r in first] == ["merit", "random"]
    assert first[0]["values"]["protocol"] == "ten folds"
    assert first[0]["device"] == "cpu"


def test_the_variants_are_computed_apart_or_together_alike(workspace):
    both = workspace.linear_probe(["random"], ["superclass"])
    assert [r["values"]["variant"] for r in both] == ["as_published", "standardised"]
    single = again(workspace).linear_probe(["random"], ["superclass"], ["as_published"])
    assert single[0]["id"] == both[0]["id"]


def test_the_random_encoder_depends_on_its_seed_alone(workspace):
    z = [workspace.embedding("random", "csn", seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(z[0], z[1])
    assert not np.allclose(z[0], z[2])
    assert workspace.seen("random").empty


def test_side_by_side_equals_one_after_another(workspace, tmp_path):
    """The network's numbers depend neither on company nor on the number of threads."""
    import torch
    from safetensors.torch import load_file

    alone = load_file(workspace.checkpoint("cma") / "model.safetensors")
    other = again(workspace)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        folder = other.folder / "checkpoints"
        (folder / f"cma-seed0-{other.checkpoint_identity('cma')}").rename(tmp_path / "away")
        both = load_file(other.checkpoint("cma") / "model.safetensors")
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(alone[k], both[k]) for k in alone)


def test_what_was_seen_is_not_scored(workspace, monkeypatch):
    seen = pd.DataFrame(workspace.store("ptb-xl").records[["patient_id", "record_id"]].head(1)).assign(cohort="ptb-xl")
    other = again(workspace)
    monkeypatch.setattr(other, "seen", lambda encoder, seed=0: seen)
    with pytest.raises(SeenInPretraining, match="1 of"):
        other.linear_probe(["random"], ["superclass"], ["as_published"], epochs=2)
    marked = other.linear_probe(["random"], ["superclass"], ["as_published"], epochs=2, allow_seen=True)
    assert marked[0]["values"]["n_seen"] == 1


def test_ptb_xl_in_place_of_mimic_keeps_folds_nine_and_ten_out(workspace, monkeypatch):
    other = again(workspace)
    manifests = {**workspace.cohorts(), "mimic-iv-ecg": "not there"}
    monkeypatch.setattr(other, "cohorts", lambda: manifests)
    records = other.store("ptb-xl").records
    kept_out = records["fold"] > 8
    twin = records.index[~kept_out][0]
    records.loc[twin, "group"] = records.loc[kept_out, "group"].iloc[0]
    rows = other.pretraining_rows
    assert other.pretraining_cohort == "ptb-xl"
    assert set(records["fold"].iloc[rows]) == set(range(1, 9))
    assert twin not in rows
    assert len(rows) == (~kept_out).sum() - 1


def test_too_few_recordings_give_a_reason_in_place_of_scores(workspace):
    (result,) = workspace.linear_probe(["random"], ["csn"], ["as_published"])
    assert "csn" in result["values"]["reason"]
    assert "mean" not in result["values"]


def test_a_cohort_that_is_missing_is_a_reason_and_not_a_stop(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(LookupError, match="looked for"):
        Workspace.open("smoke", tmp_path / "data").store("ptb-xl")
    with pytest.raises(NoCohort, match="there is no folder"):
        Workspace.open("smoke", tmp_path / "nothing")


def test_unknown_names_are_refused_with_the_right_ones(workspace):
    with pytest.raises(ValueError, match="encoder: expected one of merit, cma, ib, mse, random; got 'merti'"):
        workspace.encoder_identity("merti")
    with pytest.raises(ValueError, match=r"unknown settings \['epoch'\] of ProbeConfig"):
        workspace.linear_probe(["random"], ["form"], epoch=3)


def test_every_setting_changes_the_identity_of_a_checkpoint(workspace):
    base = workspace.checkpoint_identity("merit")
    slower = dataclasses.replace(TINY, pretrain=dataclasses.replace(TINY.pretrain, learning_rate=1e-4))
    assert again(workspace, profile=slower).checkpoint_identity("merit") != base
    assert workspace.checkpoint_identity("merit", 1) != base
    assert again(workspace).checkpoint_identity("merit") == base
