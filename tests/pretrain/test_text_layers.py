"""A text encoder whose last layers are trained with the network: what learns, how fast, and the same loss whatever the
padding. Kills and several processes are in `test_train` and `test_distributed`.
"""

from __future__ import annotations

import pytest
import torch
from pretrain_runs import MODEL, TOWER, WITH_TOWER, assert_same, recordings, run, settings, token_states, weights_of

from merit.pretrain import checkpoint
from merit.pretrain.train import build, make_optimiser


def test_six_updates_equal_three_and_three_and_the_layers_learn(tmp_path):
    data = recordings(token_states())
    whole = run(data, tmp_path / "whole", WITH_TOWER, text_layers=1)
    run(data, tmp_path / "parts", WITH_TOWER, how={"stop_after": 3}, text_layers=1)
    assert_same(whole, run(data, tmp_path / "parts", WITH_TOWER, text_layers=1))
    trained, before = weights_of(whole), token_states().weights
    assert all((trained[f"text_tower.{name}"] - value).abs().max() > 1e-5 for name, value in before.items())
    model, about = checkpoint.load_model(whole)
    assert about["pretrain"]["text_layers"] == 1
    assert model.config.text_tower == TOWER


def test_its_layers_learn_slowly_their_matrices_alone_decay_and_all_else_starts_as_without_it():
    config = settings(text_layers=1)
    model, plain = build(WITH_TOWER, config), build(MODEL, settings()).state_dict()
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in plain.items())
    assert {name.partition(".")[0] for name in own.keys() - plain.keys()} == {"text_tower"}
    name_of, groups = {id(p): name for name, p in model.named_parameters()}, {}
    for group in make_optimiser(model, config).param_groups:
        groups |= {name_of[id(p)]: (group["peak_lr"], group["weight_decay"]) for p in group["params"]}
    assert groups.keys() == set(name_of.values())
    rate, decay = config.learning_rate, config.weight_decay
    assert groups["text_tower.layer.0.output.dense.weight"] == (rate * config.text_rate_scale, decay)
    assert groups["text_tower.layer.0.output.dense.bias"] == (rate * config.text_rate_scale, 0.0)
    assert groups["text_head.0.weight"] == (rate, decay)
    assert groups["encoder.norm.weight"] == (rate, 0.0)
    assert groups["encoder.blocks.0.attention.offset_bias"] == (rate * config.bias_rate_scale, 0.0)


def test_settings_that_do_not_belong_together_are_rejected(tmp_path):
    data = recordings(token_states())
    with pytest.raises(ValueError, match="neither where it is 0; got text_layers 0"):
        run(data, tmp_path / "c", WITH_TOWER)
    run(data, tmp_path / "d", WITH_TOWER, how={"stop_after": 3}, text_layers=1)
    with pytest.raises(ValueError, match=r"they differ in pretrain.text_rate_scale: 0.1 there, 1.0 here"):
        run(data, tmp_path / "d", WITH_TOWER, text_layers=1, text_rate_scale=1.0)
