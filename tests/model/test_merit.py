"""The network: one forward for pretraining and use, no leak from hidden patches, branches as the objective needs; masks
with the same number in each lead.
"""

from __future__ import annotations

import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, TinyVitConfig, replace
from merit.model.merit import Merit, normalise_patches, scale
from merit.model.vit import hidden_from, n_visible, random_patches, random_visible

TINY = TinyVitConfig(widths=(8, 16, 16, 16), depths=(1, 1, 1, 1), heads=(1, 2, 2, 2))
ENCODER = EncoderConfig(n_samples=200, patch=20, width=16, depth=2, heads=2, tiny_vit=TINY)
CONFIG = ModelConfig(encoder=ENCODER, decoder=DecoderConfig(width=16, depth=1, heads=2), text_width=8, shared_width=12)


@pytest.fixture(params=["vit", "tiny_vit"])
def model(request) -> Merit:
    torch.manual_seed(0)
    model = Merit(replace(CONFIG, encoder=replace(ENCODER, kind=request.param))).eval()
    if request.param == "tiny_vit":
        torch.nn.init.normal_(model.encoder.mask_value)
    return model


@pytest.fixture
def signal() -> torch.Tensor:
    return torch.randn(3, 12, 200, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def visible() -> torch.Tensor:
    return random_visible((3, 12, 10), 0.75, torch.Generator().manual_seed(2))


def test_embedding_equals_pretraining_with_nothing_masked(model, signal):
    every = torch.arange(10).expand(3, 12, 10)
    tokens = model.encoder(scale(signal, "zscore"), every)
    torch.testing.assert_close(model.embed(signal), model.encoder.pool(tokens))


def test_hidden_samples_reach_neither_tokens_nor_prediction(model, signal, visible):
    scaled = scale(signal, "zscore")
    shown = torch.zeros(3, 12, 10, dtype=torch.bool).scatter(-1, visible, True).repeat_interleave(20, -1)
    other = torch.where(shown, scaled, scaled + 100)
    tokens, same = model.encoder(scaled, visible), model.encoder(other, visible)
    assert torch.equal(tokens, same)
    assert torch.equal(model.decoder(tokens, visible), model.decoder(same, visible))
    assert not torch.allclose(model.encoder(scaled), model.encoder(other))


@pytest.mark.parametrize(
    ("attention", "depth", "share", "other_leads"),
    [
        ("joint", 1, 1.0, True),
        ("joint", 1, 0.5, True),
        ("lead", 1, 1.0, False),
        ("lead", 1, 0.5, False),
        ("axial", 2, 1.0, True),
        ("cross", 1, 1.0, True),
        ("cross", 1, 0.25, True),
    ],
)
def test_what_a_prediction_depends_on(signal, attention, depth, share, other_leads):
    """On its own lead's tokens always, on other leads' as the attention says; on other mask tokens never with cross."""
    torch.manual_seed(0)
    config = DecoderConfig(width=16, depth=depth, heads=2, attention=attention, decode_share=share)
    model = Merit(ModelConfig(encoder=ENCODER, decoder=config, text_width=8, shared_width=12)).eval()
    visible, decoded = random_patches((3, 12, 10), 0.75, share, torch.Generator().manual_seed(2))
    tokens = model.encoder(scale(signal, "zscore"), visible)
    torch.nn.init.normal_(model.decoder.mask_token)
    changed = tokens.clone()
    changed[:, 5] += torch.randn_like(changed[:, 5])
    first = model.decoder(tokens, visible, decoded)
    moved = (first - model.decoder(changed, visible, decoded)).abs().amax((0, 2, 3))
    assert moved[5] > 1e-3
    assert (moved[0] > 1e-6) == other_leads
    if attention != "cross":
        fewer = model.decoder(tokens, visible, decoded[..., :-1])
        assert (first - fewer).gather(2, decoded[..., :-1, None].expand(-1, -1, -1, 20)).abs().max() > 1e-6
    torch.nn.init.normal_(model.decoder.blocks[0].attention.offset_bias)
    assert (model.decoder(tokens, visible, decoded) - first).abs().max() > 1e-3, "the biases count in all"


@pytest.mark.parametrize("attention", ["joint", "cross"])
def test_all_hidden_patches_are_predicted_where_none_are_named(signal, attention):
    config = DecoderConfig(width=16, depth=2, heads=2, attention=attention)
    model = Merit(ModelConfig(encoder=ENCODER, decoder=config, text_width=8, shared_width=12)).eval()
    visible, decoded = random_patches((3, 12, 10), 0.75, 1.0, torch.Generator().manual_seed(2))
    assert torch.equal(torch.cat((visible, decoded), -1).sort(-1).values, torch.arange(10).expand(3, 12, 10))
    named, unnamed = (model(signal, torch.zeros(3, 8), visible, None, some) for some in (decoded, None))
    assert torch.equal(named.hidden, unnamed.hidden)
    assert torch.equal(named.prediction, unnamed.prediction)


def test_branches_follow_the_objective():
    for how, expected in (("aligns", {"encoder", "decoder"}), ("reconstructs", {"encoder", "ecg_head", "text_head"})):
        assert {name.split(".")[0] for name, _ in Merit(CONFIG, **{how: False}).named_parameters()} == expected


def test_gain_and_offset_of_a_recording_do_not_matter_and_its_shape_does(model, signal):
    torch.testing.assert_close(model.embed(signal), model.embed(3 * signal + 2), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"expected \[batch, 12 leads, 200 samples\]; got \[3, 8, 200\]"):
        model.encoder(torch.zeros(3, 8, 200))


def test_scalings():
    signal = torch.randn(2, 12, 50, generator=torch.Generator().manual_seed(0)) + 3
    z = scale(signal, "zscore")
    torch.testing.assert_close(z.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.square().mean((1, 2)), torch.ones(2))
    unit = scale(signal, "minmax")
    assert (unit.amin((1, 2)).tolist(), unit.amax((1, 2)).tolist()) == ([0, 0], [1, 1])
    assert torch.equal(scale(signal, "mv"), signal)
    assert torch.isfinite(scale(torch.ones(1, 12, 50), "zscore")).all()
    patch = normalise_patches(signal.view(2, 12, 5, 10))
    torch.testing.assert_close(patch.square().mean(-1), torch.ones(2, 12, 5), rtol=1e-3, atol=1e-3)


# -- masks ------------------------------------------------------------------------------------------------------------


def test_masks_have_one_count_in_each_lead_and_the_ratio_asked_for():
    def draw(seed: int) -> torch.Tensor:
        return random_visible((2000, 3, 8), 0.75, torch.Generator().manual_seed(seed))

    visible, hidden = draw(0), hidden_from(draw(0), 8)
    assert torch.equal(visible, draw(0)), "the generator alone decides"
    assert not torch.equal(visible, draw(1))
    assert visible.shape == (2000, 3, 2)
    assert (visible.diff(dim=-1) > 0).all()
    assert not hidden.gather(-1, visible).any()
    assert (hidden.sum(-1) == 6).all()
    assert (hidden.float().mean((0, 1)) - 0.75).abs().max() < 0.04
    assert (n_visible(3, 0.99), n_visible(40, 0.75)) == (1, 10), "at least one stays"
