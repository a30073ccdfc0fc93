"""The network: one forward for pretraining and use, no leak from hidden patches, branches as the objective needs; masks
with the same number in each lead.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, TinyVitConfig, replace
from merit.model.merit import Merit, normalise_patches, scale
from merit.model.vit import hidden_from, n_visible, random_patches, random_visible
from merit.objectives import masked_mse

ENCODER = EncoderConfig(
    n_samples=200,
    patch=20,
    width=16,
    depth=2,
    heads=2,
    tiny_vit=TinyVitConfig(widths=(8, 16, 16, 16), depths=(1, 1, 1, 1), heads=(1, 2, 2, 2)),
)
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


def test_shapes_of_a_pretraining_forward(model, signal, visible):
    out = model(signal, torch.zeros(3, 8), visible)
    assert out.ecg.shape == out.text.shape == (3, 12)
    assert out.prediction.shape == out.target.shape == (3, 12, 10, 20)
    assert out.hidden.shape == (3, 12, 10)
    assert out.hidden.float().mean().item() == pytest.approx(1 - visible.shape[-1] / 10)


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


def test_a_share_of_the_hidden_patches_gives_the_same_loss_in_expectation(signal):
    """With cross attention a prediction does not depend on what else is predicted, so it is a mean over a sample."""
    config = DecoderConfig(width=16, depth=1, heads=2, attention="cross", decode_share=0.25)
    model = Merit(ModelConfig(encoder=ENCODER, decoder=config, text_width=8, shared_width=12)).eval()
    generator, losses = torch.Generator().manual_seed(0), []
    visible, _ = random_patches((3, 12, 10), 0.75, 1.0, generator)
    with torch.no_grad():
        whole = model(signal, torch.zeros(3, 8), visible)
        for _ in range(400):
            hidden = hidden_from(visible, 10) * torch.rand((3, 12, 10), generator=generator)
            some = model(signal, torch.zeros(3, 8), visible, None, hidden.argsort(-1, descending=True)[..., :2])
            assert some.hidden.sum() == 3 * 12 * 2
            losses.append(masked_mse(some.prediction, some.target, some.hidden).item())
    exact = masked_mse(whole.prediction, whole.target, whole.hidden).item()
    assert np.mean(losses) == pytest.approx(exact, abs=4 * np.std(losses) / 20)


def test_branches_follow_the_objective():
    names = {name.split(".")[0] for name, _ in Merit(CONFIG, aligns=False).named_parameters()}
    assert names == {"encoder", "decoder"}
    names = {name.split(".")[0] for name, _ in Merit(CONFIG, reconstructs=False).named_parameters()}
    assert names == {"encoder", "ecg_head", "text_head"}


def test_a_wrong_shape_is_rejected_in_one_line(model):
    with pytest.raises(ValueError, match=r"expected \[batch, 12 leads, 200 samples\]; got \[3, 8, 200\]"):
        model.encoder(torch.zeros(3, 8, 200))


def test_gain_and_offset_of_a_recording_do_not_matter(model, signal):
    torch.testing.assert_close(model.embed(signal), model.embed(3 * signal + 2), rtol=1e-4, atol=1e-5)


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


def test_settings_that_cannot_work_are_rejected():
    with pytest.raises(ValueError, match="expected a divisor of n_samples = 1000; got 30"):
        EncoderConfig(patch=30)
    with pytest.raises(ValueError, match="expected one of zscore, minmax, mv; got 'max'"):
        ModelConfig(scaling="max")


# -- masks ------------------------------------------------------------------------------------------------------------


def test_same_count_in_each_lead_and_rising():
    visible = random_visible((4, 12, 20), 0.75, torch.Generator().manual_seed(0))
    assert visible.shape == (4, 12, 5)
    assert (visible.diff(dim=-1) > 0).all()


def test_hidden_is_the_rest():
    visible = torch.tensor([[[0, 3], [1, 2]]])
    assert hidden_from(visible, 4).tolist() == [[[False, True, True, False], [True, False, False, True]]]


def test_each_patch_is_hidden_as_often_as_the_ratio_says():
    visible = random_visible((2000, 1, 8), 0.75, torch.Generator().manual_seed(0))
    share = hidden_from(visible, 8).float().mean((0, 1))
    assert (share - 0.75).abs().max() < 0.04


def test_at_least_one_patch_stays():
    assert n_visible(3, 0.99) == 1
    assert n_visible(40, 0.75) == 10


def test_the_generator_alone_decides():
    draws = [random_visible((2, 3, 8), 0.5, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
