"""A text encoder whose last layers are trained with the network: what learns, how fast, and the same loss whatever the
padding. Kills and several processes are in `test_train` and `test_distributed`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretrain_runs import (
    CPU,
    MODEL,
    TOWER,
    WITH_TOWER,
    assert_same,
    recordings,
    run,
    settings,
    token_states,
    weights_of,
)

from merit.pretrain import checkpoint
from merit.pretrain.distributed import World
from merit.pretrain.train import build, make_optimiser, update_terms


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


def test_its_layers_learn_slowly_and_their_matrices_alone_decay():
    config = settings(text_layers=1)
    model = build(WITH_TOWER, config)
    name_of = {id(p): name for name, p in model.named_parameters()}
    groups = {}
    for group in make_optimiser(model, config).param_groups:
        groups |= {name_of[id(p)]: (group["peak_lr"], group["weight_decay"]) for p in group["params"]}
    assert groups.keys() == set(name_of.values())
    rate, decay = config.learning_rate, config.weight_decay
    assert groups["text_tower.layer.0.output.dense.weight"] == (rate * config.text_rate_scale, decay)
    assert groups["text_tower.layer.0.output.dense.bias"] == (rate * config.text_rate_scale, 0.0)
    assert groups["text_head.0.weight"] == (rate, decay)
    assert groups["encoder.norm.weight"] == (rate, 0.0)
    assert groups["encoder.blocks.0.attention.offset_bias"] == (rate * config.bias_rate_scale, 0.0)


def test_everything_else_starts_as_without_it():
    plain, own = build(MODEL, settings()).state_dict(), build(WITH_TOWER, settings()).state_dict()
    assert all(torch.equal(own[name], value) for name, value in plain.items())
    assert {name.partition(".")[0] for name in own.keys() - plain.keys()} == {"text_tower"}


def test_the_loss_is_that_of_each_text_alone():
    config, tokens, world = settings(objective="cma", text_layers=1), token_states(dtype=torch.float64), World()
    model = build(WITH_TOWER, config, tokens.weights).double()
    rows = np.array([0, 5, 5, 2, 7, 1, 3, 6])
    signal_mv = torch.randn((8, 12, 1000), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    valid, patient = torch.ones(8, dtype=torch.bool), torch.arange(8)
    batch = (signal_mv, tokens.take(rows, CPU), valid, patient)
    found = update_terms(model, model, batch, config, 5, world)["info_nce"]
    alone = torch.cat([model.text_tower(tokens.take(rows[i : i + 1], CPU)) for i in range(8)])
    tower, model.text_tower = model.text_tower, None
    expected = update_terms(model, model, (signal_mv, alone, valid, patient), config, 5, world)["info_nce"]
    model.text_tower = tower
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_settings_that_do_not_belong_together_are_rejected(tmp_path):
    data = recordings(token_states())
    with pytest.raises(ValueError, match="neither where it is 0; got text_layers 0"):
        run(data, tmp_path / "c", WITH_TOWER)
    run(data, tmp_path / "d", WITH_TOWER, how={"stop_after": 3}, text_layers=1)
    with pytest.raises(ValueError, match=r"they differ in pretrain.text_rate_scale: 0.1 there, 1.0 here"):
        run(data, tmp_path / "d", WITH_TOWER, text_layers=1, text_rate_scale=1.0)
