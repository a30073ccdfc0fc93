"""The compiled network gives the eager one's numbers but for rounding. A minute of compiling; run with -m slow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, TextTowerConfig, replace
from merit.data.batches import TokenStates
from merit.pretrain.step import build, ready, total_loss, update_terms
from merit.pretrain.world import World

MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16, shared_width=16,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself, as it compiles
def test_terms_and_gradients_are_the_eager_ones():
    config, world = PretrainConfig(batch=8, epochs=None, updates=1), World()
    generator = torch.Generator().manual_seed(0)
    batch = (
        torch.randn((8, 12, 1000), generator=generator), torch.randn((8, 16), generator=generator),
        torch.ones(8, dtype=torch.bool), torch.arange(8),
    )  # fmt: skip
    found = []
    for compiled in (False, True):
        model = build(MODEL, config)
        terms = update_terms(ready(model, world, compiled), model, batch, config, 3, world)
        total_loss(terms, config).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        found.append({name: value.detach() for name, value in terms.items()} | gradients)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch itself, as it compiles
def test_trained_text_layers_run_eagerly_inside_and_compile_nothing_again():
    config, world = PretrainConfig(objective="cma", batch=8, epochs=None, updates=1, text_layers=1), World()
    model = build(replace(MODEL, text_tower=TextTowerConfig(layers=1, width=16, heads=2, hidden=32)), config)
    start = np.concatenate([[0], np.array([3, 1, 9, 4, 12, 2, 7, 5, 3, 6]).cumsum()])
    generator = torch.Generator().manual_seed(0)
    tokens = TokenStates(torch.randn((int(start[-1]), 16), generator=generator), start, {}, {})
    signal, valid = torch.randn((8, 12, 1000), generator=generator), torch.ones(8, dtype=torch.bool)
    called = ready(model, world, True)
    counts = []
    for rows in ([0, 1, 2, 3, 4, 5, 6, 7], [9, 9, 9, 9, 1, 1, 1, 1], [2, 4, 6, 8, 9, 0, 1, 3]):
        batch = (signal, tokens.take(np.array(rows), torch.device("cpu")), valid, torch.arange(8))
        found = []
        for way in (model, called):
            model.zero_grad()
            term = update_terms(way, model, batch, config, 3, world)["info_nce"]
            term.backward()
            found.append((term.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[0] == counts[-1]
