"""What objectives show of a recording: augmentations against slow versions, halves at their places, nothing leaked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import EncoderConfig, ModelConfig, ViewsConfig, replace
from merit.model.merit import Merit, scale
from merit.model.vit import n_visible
from merit.objectives import OBJECTIVES
from merit.pretrain.augmentation import MASKED, augmentation, augmented, stretched, two_augmented, two_halves
from merit.pretrain.checkpoint import network
from merit.pretrain.distributed import World
from merit.pretrain.train import mask_generator

ENCODER = EncoderConfig(n_samples=200, patch=20, width=16, depth=1, heads=2)
MODEL = ModelConfig(encoder=ENCODER, text_width=8, shared_width=12)
CPU = torch.device("cpu")


@pytest.fixture
def signal() -> torch.Tensor:
    return torch.randn(3, 12, 200, generator=torch.Generator().manual_seed(1))


def drawn(objective: str, n: int = 3, update: int = 0, **changes) -> dict[str, torch.Tensor]:
    return dict(augmentation(objective).draw(n, MODEL, ViewsConfig(**changes), mask_generator(0, update, CPU)))


def test_at_mask_ratio_0_alignment_trains_on_what_embed_gives(signal):
    whole = replace(MODEL, mask_ratio=0.0)
    shown = MASKED.apply(signal, MASKED.draw(3, whole, ViewsConfig(), mask_generator(0, 0, CPU)), ENCODER)
    model = network(whole, "cma").eval()
    out = model(shown.signal_mv, torch.zeros(3, 8), shown.visible)
    torch.testing.assert_close(out.ecg, model.ecg_head(model.embed(signal)), rtol=0, atol=0)
    every = torch.arange(ENCODER.n_patches).expand(3, 12, -1)
    torch.testing.assert_close(out.ecg, model(signal, torch.zeros(3, 8), every).ecg)


def test_an_objective_that_reconstructs_is_rejected_where_nothing_is_hidden():
    assert {name for name in OBJECTIVES if augmentation(name) is MASKED} == {"merit", "cma", "mse", "ib"}
    for ratio in (0.0, 0.01, 0.04, 0.06, 0.5, 0.99):
        config = replace(MODEL, mask_ratio=ratio)
        assert config.hides == (n_visible(ENCODER.n_patches, ratio) < ENCODER.n_patches)
        for objective, terms in OBJECTIVES.items():
            if "masked_mse" in terms and not config.hides:
                with pytest.raises(ValueError, match=f"^model.mask_ratio: {objective} reconstructs hidden patches.*0"):
                    network(config, objective)
            else:
                network(config, objective)


@pytest.mark.parametrize("objective", ["merit", "merl", "simclr"])
def test_draws_follow_from_seed_and_update_and_are_shared_out_whole(objective):
    first, again, later = (drawn(objective, 8, update) for update in (4, 4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], later[name]) for name in first)
    for name, whole in first.items():
        assert torch.equal(torch.cat([World(rank, 4).share(whole) for rank in range(4)]), whole), name


def test_stretching_equals_interpolation_lead_by_lead(signal):
    start, share = torch.tensor([0.0, 0.25, 0.5]), torch.tensor([1.0, 0.6, 0.5])
    found, n = stretched(signal, start, share), signal.shape[-1]
    for b in range(3):
        place = (start[b].item() + share[b].item() * np.linspace(0, 1, n)) * (n - 1)
        for lead in range(12):
            expected = np.interp(place, np.arange(n), signal[b, lead].numpy())
            np.testing.assert_allclose(found[b, lead].numpy(), expected, atol=1e-4)
    assert torch.equal(found[0], signal[0])


def test_one_view_in_loops(signal):
    given = {name: values[:, 1] for name, values in drawn("simclr", lead_drop=0.5).items()}
    found = augmented(signal, given)
    cropped = stretched(signal, given["start"], given["share"])
    for b in range(3):
        for lead in range(12):
            expected = cropped[b, lead] * given["gain"][b] + given["noise_mv"][b, lead]
            torch.testing.assert_close(found[b, lead], torch.zeros(200) if given["dropped"][b, lead] else expected)


def test_augmentations_stay_in_their_bounds_and_both_views_differ(signal):
    found = drawn("simclr", 500, crop_least=0.4, gain=0.3, noise_mv=0.02, lead_drop=0.95)
    assert 0.4 <= found["share"].min() < 0.41 < 0.99 < found["share"].max() <= 1
    assert (found["start"] >= 0).all()
    assert (found["start"] + found["share"] <= 1 + 1e-6).all()
    assert 0.7 <= found["gain"].min() < 0.71 < 1.29 < found["gain"].max() <= 1.3
    assert found["noise_mv"].std().item() == pytest.approx(0.02, rel=0.01)
    assert (~found["dropped"]).any(-1).all()  # some lead is always left
    assert found["dropped"].float().mean().item() == pytest.approx(0.95 - 0.95**12 / 12, abs=0.02)
    assert abs(torch.corrcoef(found["share"].T)[0, 1]) < 0.1
    shown = two_augmented(signal, drawn("simclr", crop_least=1.0, gain=0.0, noise_mv=0.0, lead_drop=0.0), ENCODER)
    assert torch.equal(shown.signal_mv, torch.cat((signal, signal)))
    assert shown.visible is None
    factors = drawn("merl", 2000, dropout=0.1)["dropout"]
    assert sorted(factors.unique().tolist()) == pytest.approx([0, 1 / 0.9])
    assert factors.mean().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(factors[:, 0], factors[:, 1])
    assert drawn("merl", 4, dropout=0.0)["dropout"].unique().tolist() == [1]


def test_a_half_is_seen_at_its_own_place_and_nothing_of_the_other(signal):
    torch.manual_seed(0)
    model = Merit(MODEL, reconstructs=False, aligns=False, contrasts=True).eval()
    shown = two_halves(signal, {}, ENCODER)
    other = two_halves(torch.cat((signal[..., :100], 7 * signal[..., 100:].flip(-1) + 2), -1), {}, ENCODER)
    first, second = (model(half.signal_mv, None, half.visible).views for half in (shown, other))
    torch.testing.assert_close(first[0], second[0])
    assert not torch.allclose(first[1], second[1], atol=1e-3)
    assert shown.visible[0, 0].tolist() == [0, 1, 2, 3, 4]
    assert shown.visible[3, 0].tolist() == [5, 6, 7, 8, 9]
    patches = model.encoder.patches(shown.signal_mv).gather(2, shown.visible[..., None].expand(-1, -1, -1, 20))
    assert torch.equal(patches.flatten(2), torch.cat((signal[..., :100], signal[..., 100:])))
    half = scale(shown.signal_mv, "zscore")[3, :, 100:]
    torch.testing.assert_close(half, scale(signal[:1, :, 100:], "zscore")[0])
    with pytest.raises(ValueError, match="expected an even number of patches, to halve a recording; got 5"):
        two_halves(signal, {}, replace(ENCODER, patch=40))
