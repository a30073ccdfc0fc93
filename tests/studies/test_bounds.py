"""The studies of the page of bounds from a workspace: what is computed, what is missing, what is read again."""

from __future__ import annotations

import dataclasses

import pytest

from merit.config import profile
from merit.studies import bounds
from merit.studies.workspace import NoCohort

SMALL = {"scales": (1.0, 10.0), "updates": 2, "batch": 4, "n_resamples": 5}


def test_closed_forms_need_no_recordings(workspace):
    contrastive = bounds.contrastive_bound(workspace)
    assert set(contrastive["critic"]) == {"best", "model", "tuned"}
    assert set(contrastive["paper_batch"]) == {128}
    assert set(bounds.decoder_bound(workspace)["d"]) == {24}
    chains = bounds.processing_bound(workspace, part="chains")
    assert chains["kind"].value_counts().to_dict() == {"discrete": 200, "gaussian": 200}


def test_reports_of_the_recordings_that_are_pretrained_on(workspace):
    found = bounds.report_ceiling(workspace)
    assert 0 < found["n_distinct"].iloc[0] <= found["n"].iloc[0] <= 40
    assert (found["value"] <= found["ceiling"] + 1e-12).all()
    assert workspace.profile.pretrain.batch in set(found["batch"])


def test_the_sweep_has_a_row_per_scale_and_the_random_network(workspace):
    found = bounds.target_scale(workspace, **SMALL)
    errors = found[found["metric"] == "masked_mse"]
    assert errors["scale"].fillna(0).tolist() == [1.0, 10.0, 0]
    assert all(len(each) == 2 for each in errors["each"])
    gradients = bounds.target_scale(workspace, part="gradients", **SMALL)
    assert set(gradients["way"]) == {"start", "target alone", "trained"}
    start = gradients.loc[gradients["way"] == "start", "value"].tolist()
    assert start[1] / start[0] == pytest.approx(100, rel=1e-2)
    encoder = workspace.profile.model.encoder
    hidden = encoder.n_patches - max(1, round(encoder.n_patches / 4))
    assert found["n_hidden"].iloc[0] == 12 * encoder.patch * hidden
    made = workspace.used["target_scale"]
    bounds.target_scale(workspace, **SMALL)
    assert workspace.used["target_scale"]["finished"] == made["finished"]
    spreads = bounds.target_scale(workspace, part="spreads", **SMALL).set_index("scaling")
    assert spreads.loc["zscore", "value"] == pytest.approx(1)


def test_nothing_to_pretrain_on_gives_a_reason(workspace):
    class Empty(type(workspace)):
        @property
        def pretraining_cohort(self):
            raise NoCohort("no recordings under /nowhere")

    empty = Empty(workspace.profile, None, "cpu", workspace.folder)
    for study in (bounds.report_ceiling, bounds.target_scale):
        assert study(empty)["reason"].tolist() == ["no recordings under /nowhere"]


def test_a_run_with_a_limit_tries_as_little_as_smoke_does(workspace, monkeypatch):
    plans = []
    for chosen in (workspace.profile, dataclasses.replace(profile("paper"), limit=40), profile("paper")):
        monkeypatch.setattr(workspace, "profile", chosen)
        plans.append(bounds._contrastive_plan(workspace))
    smoke, limited, paper = ((plan["truths"], plan["sizes"], plan["seeds"]) for plan in plans)
    assert smoke == limited
    assert len(paper[1]) > len(limited[1])
