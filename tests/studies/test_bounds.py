"""The studies of the page of bounds: closed forms beside draws, what is computed of a workspace, what is missing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from merit.config import profile
from merit.evaluate.bounds import Signal
from merit.studies import bounds
from merit.studies.workspace import NoCohort

SMALL = {"scales": (1.0, 10.0), "updates": 2, "batch": 4, "n_resamples": 5}
NOWHERE = SimpleNamespace(profile=profile("smoke"), result=lambda study, compute, *_: {"values": compute()})
"""A workspace without recordings, which stores nothing."""


def test_nothing_passes_the_ceiling_and_the_optimal_critic_comes_near_the_truth(monkeypatch):
    plan = {"truths": [0.5, 6.0], "sizes": [2, 128], "temperature": 0.07, "seeds": 2, "most": 2}
    monkeypatch.setattr(bounds, "_contrastive_plan", lambda ws: plan)
    monkeypatch.setattr(bounds, "WIDTH", 4)
    found = bounds.contrastive_bound(NOWHERE)
    assert len(found) == 2 * 3 * 2
    assert set(found["paper_batch"]) == {128}
    assert (found["largest"] <= found["ceiling"]).all()
    by = found.set_index(["truth", "critic", "batch"])["value"]
    assert by[0.5, "best", 128] == pytest.approx(0.5, abs=0.15)
    assert np.log(128) - 1 < by[6.0, "best", 128] < np.log(128)
    assert by[0.5, "model", 128] < by[0.5, "tuned", 128] <= by[0.5, "best", 128]


def test_each_decoder_has_both_variances_and_no_chain_gains_by_processing():
    found = bounds.decoder_bound(NOWHERE)
    assert [*zip(found["factor"], found["kind"])] == [(f, k) for f in (1.0, 0.5, 0.0) for k in ("best", "weight one")]
    np.testing.assert_allclose(found["bound"] + found["gap"], found["information"])
    assert found["value"].between(found["low"], found["high"]).all()
    assert set(found["d"]) == {24}
    chains = bounds.processing_bound(NOWHERE, part="chains")
    assert chains["kind"].value_counts().to_dict() == {"discrete": 200, "gaussian": 200}
    for _, of in chains.groupby("kind"):
        assert (of["both"].between(0, of["first"] + 1e-12)).all()
        assert (of["first"] - of["both"]).max() > 0.1
    assert (chains["first_counted"] - chains["first"]).mean() > 0


def test_a_copied_sample_grows_without_end_and_the_hidden_part_does_not():
    """One number reaches the largest canonical correlation: whiten the cross-covariance, take its singular value."""
    found = bounds.processing_bound(NOWHERE).pivot(index="noise", columns="metric", values="value")
    signal = Signal()
    fine = found.index < 1e-2
    slope = np.polyfit(np.log(found.index[fine]), found.loc[fine, "copy"], 1)[0]
    assert slope == pytest.approx(-1, abs=1e-3)
    assert found["one"].is_monotonic_decreasing
    assert found["whole"].is_monotonic_decreasing
    assert (found["one"] <= found["whole"]).all()
    assert found["whole"].max() == pytest.approx(signal.information, abs=1e-4)
    blocks = [signal.covariance[np.ix_(p, p)] for p in (signal.visible, signal.hidden)]
    white = [np.linalg.inv(np.linalg.cholesky(block)) for block in blocks]
    cross = white[0] @ signal.covariance[np.ix_(signal.visible, signal.hidden)] @ white[1].T
    rho = np.linalg.svd(cross, compute_uv=False)[0]
    assert found["one"].max() == pytest.approx(-0.5 * np.log(1 - rho**2), abs=1e-6)


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


def test_reports_of_the_recordings_that_are_pretrained_on_or_a_reason(workspace):
    found = bounds.report_ceiling(workspace)
    assert 0 < found["n_distinct"].iloc[0] <= found["n"].iloc[0] <= 40
    assert workspace.profile.pretrain.batch in set(found["batch"])

    class Empty(type(workspace)):
        @property
        def pretraining_cohort(self):
            raise NoCohort("no recordings under /nowhere")

    empty = Empty(workspace.profile, None, "cpu", workspace.folder)
    for study in (bounds.report_ceiling, bounds.target_scale):
        assert study(empty)["reason"].tolist() == ["no recordings under /nowhere"]
