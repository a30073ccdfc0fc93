"""The page of bounds from a workspace: what is computed, what is refused, what is read again."""

from __future__ import annotations

import dataclasses

import pytest

from merit.pipeline import bounds
from merit.pipeline.recordings import NoCohort
from merit.profiles import profile

SMALL = {"scales": (1.0, 10.0), "updates": 2, "batch": 4, "n_resamples": 5}


def test_closed_forms_need_no_recordings(workspace):
    contrastive = bounds.contrastive_bound(workspace)
    assert {row["critic"] for row in contrastive["values"]["rows"]} == {"best", "model", "tuned"}
    assert contrastive["values"]["paper_batch"] == 128
    decoder = bounds.decoder_bound(workspace)["values"]
    assert decoder["d"] == 24
    processing = bounds.processing_bound(workspace)["values"]
    assert len(processing["discrete"]) == len(processing["gaussian"]) == 200
    assert bounds.decoder_bound(workspace)["finished"]


def test_reports_of_the_recordings_that_are_pretrained_on(workspace):
    values = bounds.report_ceiling(workspace)["values"]
    assert 0 < values["n_distinct"] <= values["n_reports"] <= 40
    assert all(row["value"] <= row["ceiling"] + 1e-12 for row in values["rows"])
    assert workspace.profile.pretrain.batch in [row["batch"] for row in values["rows"]]


def test_the_sweep_has_a_row_a_scale_and_the_random_network(workspace):
    result = bounds.target_scale(workspace, **SMALL)
    values = result["values"]
    assert [row["name"] for row in values["runs"]] == ["1.0", "10.0", "random"]
    assert all(len(row["masked_mse"]["each"]) == 2 for row in values["runs"])
    assert {row["way"] for row in values["gradients"]} == {"start", "target alone", "trained"}
    start = [row["ratio"] for row in values["gradients"] if row["way"] == "start"]
    assert start[1] / start[0] == pytest.approx(100, rel=1e-2)
    encoder = workspace.profile.model.encoder
    hidden = encoder.n_patches - max(1, round(encoder.n_patches / 4))
    assert values["n_hidden"] == 12 * encoder.patch * hidden
    assert bounds.target_scale(workspace, **SMALL)["finished"] == result["finished"]
    assert bounds._Sweep(workspace, _config()).values()["runs"] == values["runs"]


def _config() -> bounds.ScaleConfig:
    small = {"batches": 2, "first": 2, "seeds": 2, "probe_epochs": 2}
    return bounds.ScaleConfig(**(small | SMALL))


def test_nothing_to_pretrain_on_gives_a_reason(workspace, monkeypatch):
    class Empty(type(workspace)):
        @property
        def pretraining_cohort(self):
            raise NoCohort("no recordings under /nowhere")

    empty = Empty(workspace.profile, None, "cpu", workspace.folder)
    for stage in (bounds.report_ceiling, bounds.target_scale):
        assert stage(empty)["values"] == {"reason": "no recordings under /nowhere"}


def test_a_run_with_a_limit_tries_as_little_as_smoke_does(workspace, monkeypatch):
    seen = []
    monkeypatch.setattr(workspace, "result", lambda stage, compute, parameters, *_, **__: seen.append(parameters))
    for chosen in (workspace.profile, dataclasses.replace(profile("paper"), limit=40), profile("paper")):
        monkeypatch.setattr(workspace, "profile", chosen)
        bounds.contrastive_bound(workspace)
    smoke, limited, paper = ((one["truths"], one["sizes"], one["seeds"]) for one in seen)
    assert smoke == limited
    assert len(paper[1]) > len(limited[1])
