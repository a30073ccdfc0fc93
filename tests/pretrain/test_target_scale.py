"""The scale of the target: a weight of s², exactly; short runs that go as pretraining goes."""

from __future__ import annotations

import numpy as np
import pretrain_runs
import pytest
import torch

from merit.config import PretrainConfig, replace
from merit.data.batches import hold_out_patients
from merit.objectives import info_nce, masked_mse
from merit.pretrain import target_scale
from merit.pretrain.checkpoint import load_model
from merit.pretrain.train import build, draw, mask_generator, pretrain

MODEL = replace(pretrain_runs.MODEL, encoder=replace(pretrain_runs.MODEL.encoder, patch=125), shared_width=8)
RUN = PretrainConfig(batch=8, epochs=None, updates=3, validation_share=0.1, validate_every=3, save_every=3)


def test_the_masked_errors_gradient_grows_as_the_square_and_info_nce_stays(paired):
    model = build(MODEL, RUN)
    rows = target_scale.gradients(model, paired, RUN, [0.1, 1.0, 10.0], 2)
    assert rows.shape == (2, 4)
    np.testing.assert_allclose(rows[:, 1] / rows[:, 2], 0.01, rtol=1e-3)
    np.testing.assert_allclose(rows[:, 3] / rows[:, 2], 100, rtol=1e-3)
    assert rows[0, 0] != rows[1, 0]
    np.testing.assert_array_equal(rows[:, 0], target_scale.gradients(model, paired, RUN, [7.0], 2)[:, 0])
    alone = target_scale.gradients(model, paired, RUN, [1.0, 10.0], 1, own_unit=False)
    assert alone[0, 2] / alone[0, 1] < 20, "a target scaled alone has a smaller power"


def test_norms_are_those_of_the_whole_loss_by_backward(paired):
    """The gradient that pretraining's own backward leaves on the encoder, term by term."""
    model, batch = build(MODEL, RUN), paired.take(np.arange(8), torch.device("cpu"))
    visible = draw(model, 8, RUN, mask_generator(0, 0, torch.device("cpu")))["visible"]
    aligned, (error,) = target_scale.gradient_norms(model, batch, visible, [2.0])
    for found in (aligned, error):
        model.zero_grad()
        out = model(batch[0], batch[1], visible)
        masked = 4 * masked_mse(out.prediction, out.target, out.hidden)
        (info_nce(out.ecg, out.text, 0.07, batch[2]) if found is aligned else masked).backward()
        slow = sum(float(p.grad.square().sum()) for p in model.encoder.parameters() if p.grad is not None) ** 0.5
        assert found == pytest.approx(slow, rel=1e-4)


def test_at_weight_one_a_short_run_is_pretraining_and_another_weight_another_network(paired, tmp_path):
    training, _ = hold_out_patients(paired, RUN.validation_share, RUN.seed)
    short, other = (target_scale.short_run(training, MODEL, RUN, weight).state_dict() for weight in (1.0, 100.0))
    whole, _ = load_model(pretrain(paired, MODEL, RUN, tmp_path / "run", cohort="ptb-xl", progress=False))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(short[name], value, msg=name)
    assert any(not torch.equal(value, other[name]) for name, value in short.items())


def test_recordings_are_cut_and_their_scales_measured(paired):
    assert target_scale.first_samples(paired, 250).signal_uv.shape == (40, 12, 250)
    spreads = target_scale.target_spreads(paired)
    signal = paired.signal_uv / 1000
    np.testing.assert_allclose(spreads["mv"], signal.reshape(40, -1).std(1), rtol=1e-4)
    np.testing.assert_allclose(spreads["zscore"], 1, rtol=1e-4)
    span = signal.reshape(40, -1).max(1) - signal.reshape(40, -1).min(1)
    np.testing.assert_allclose(spreads["minmax"], spreads["mv"] / span, rtol=1e-4)
