"""The compiled network gives the eager one's numbers but for rounding. A minute of compiling; run with -m slow."""

from __future__ import annotations

import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig
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
