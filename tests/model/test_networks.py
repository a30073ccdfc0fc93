"""The networks of all kinds: attention against loops, published sizes, one forward for pretraining and use, no leak
from hidden patches, recordings that do not depend on their batch, masks with the same number in each lead.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, TinyVitConfig, replace
from merit.model import attention
from merit.model.merit import Merit, normalise_patches, scale
from merit.model.resnet18 import BasicBlock, ResNet18
from merit.model.tiny_vit import WindowAttention, stride_of
from merit.model.vit import hidden_from, n_visible, random_patches, random_visible
from merit.objectives import masked_mse
from merit.pretrain import checkpoint
from merit.pretrain.train import pretrain

TINY = TinyVitConfig(widths=(8, 16, 16, 16), depths=(1, 1, 1, 1), heads=(1, 2, 2, 2))
ENCODER = EncoderConfig(n_samples=200, patch=20, width=16, depth=2, heads=2, tiny_vit=TINY, resnet_width=4)
CONFIG = ModelConfig(encoder=ENCODER, decoder=DecoderConfig(width=16, depth=1, heads=2), text_width=8, shared_width=12)
PUBLISHED = ModelConfig(encoder=EncoderConfig(kind="tiny_vit"))


@pytest.fixture(params=["vit", "tiny_vit", "resnet18"])
def model(request) -> Merit:
    torch.manual_seed(0)
    model = Merit(replace(CONFIG, encoder=replace(ENCODER, kind=request.param)), masks=True).eval()
    if request.param != "vit":
        torch.nn.init.normal_(model.encoder.mask_value)
    return model


@pytest.fixture
def signal() -> torch.Tensor:
    return torch.randn(3, 12, 200, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def visible() -> torch.Tensor:
    return random_visible((3, 12, 10), 0.75, torch.Generator().manual_seed(2))


# -- attention with biases over leads and offsets ---------------------------------------------------------------------

POSITIONS, LEADS, WIDTH, HEADS = 6, 3, 8, 2


@pytest.fixture
def place() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, LEADS, POSITIONS, generator=generator).argsort(-1)[..., :4].sort(-1).values


def biased(bias_start: float | None = 4.0) -> attention.BiasedAttention:
    torch.manual_seed(0)
    return attention.BiasedAttention(WIDTH, HEADS, POSITIONS, LEADS, bias_start).double()


def slow_attention(layer: torch.nn.Module, tokens: torch.Tensor, bias) -> torch.Tensor:
    """One recording, head, query and key at a time; bias: a function of these, minus infinity where nothing is seen."""
    n, width = tokens.shape[1:]
    size, out = width // layer.heads, torch.zeros_like(tokens)
    for b, qkv in enumerate(layer.qkv(tokens)):
        for h in range(layer.heads):
            q, k, v = (qkv[:, i * width + h * size : i * width + (h + 1) * size] for i in range(3))
            for i in range(n):
                scores = torch.stack([q[i] @ k[j] / size**0.5 + bias(b, h, i, j) for j in range(n)])
                out[b, i, h * size : (h + 1) * size] = scores.softmax(0) @ v
    return layer.out(out)


def test_biases_equal_the_explicit_matrix_and_all_of_them_learn(place):
    layer, tokens = biased(), torch.randn(2, LEADS * 4, WIDTH, dtype=torch.float64)
    assert layer.offset_bias[:, POSITIONS - 1].tolist() == [4.0] * HEADS, "offset zero starts high"
    assert layer.offset_bias.sum().item() == 4.0 * HEADS
    torch.nn.init.normal_(layer.offset_bias)
    time, lead = place.flatten(1), torch.arange(LEADS).repeat_interleave(4)

    def bias(b: int, h: int, i: int, j: int) -> torch.Tensor:
        return layer.offset_bias[h, time[b, i] - time[b, j] + POSITIONS - 1] + layer.lead_bias[h, lead[i], lead[j]]

    out = layer(tokens, attention.token_codes(place, POSITIONS, LEADS).double())
    torch.testing.assert_close(out, slow_attention(layer, tokens, bias), rtol=1e-10, atol=1e-10)
    out.square().sum().backward()
    assert (layer.offset_bias.grad != 0).any()
    assert (layer.lead_bias.grad != 0).all()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch itself, as it traces
@pytest.mark.parametrize("bias_start", [4.0, None])
@pytest.mark.parametrize("shared_places", [False, True])
def test_flex_attention_gives_the_reference_and_its_gradients(place, monkeypatch, bias_start, shared_places):
    """On a CPU torch refuses the gradients of queries and keys, though its unfused form has them: the refusal is taken
    away here, so this holds the formula. The fused kernel of a GPU is not run.
    """
    from torch.nn.attention import flex_attention as flex

    monkeypatch.setattr(flex, "_validate_device", lambda *tensors: None)
    layer, tokens = biased(bias_start), torch.randn(2, LEADS * 4, WIDTH, dtype=torch.float64)
    codes = attention.token_codes(place[:1] if shared_places else place, POSITIONS, LEADS).double()
    found = []
    for kernel in ("sdpa", "flex"):
        assert attention.use_kernel(layer, kernel) == 1
        own = tokens.clone().requires_grad_()
        out = layer(own, codes)
        layer.zero_grad()
        (out * torch.arange(WIDTH)).square().sum().backward()
        found.append([out.detach(), own.grad, *(p.grad.clone() for p in layer.parameters())])
    for flexed, reference in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(flexed, reference, rtol=1e-9, atol=1e-8)
    assert found[0][1].abs().max() > 1e-3


def test_sin_cos_rows_are_distinct_unit_pairs():
    codes = attention.sin_cos(22, 16)
    torch.testing.assert_close(codes[:, :8].square() + codes[:, 8:].square(), torch.ones(22, 8))
    assert torch.cdist(codes, codes).add(torch.eye(22)).min() > 0.1


@pytest.mark.parametrize("n", [1, 5, 7, 8, 13, 14, 20])
@torch.no_grad()
def test_windows_equal_full_attention_with_a_block_mask(n):
    torch.manual_seed(0)
    layer, tokens = WindowAttention(8, 2, 7).double(), torch.randn(2, n, 8, dtype=torch.float64)
    torch.nn.init.normal_(layer.offset_bias)

    def bias(b: int, h: int, i: int, j: int) -> torch.Tensor:
        return layer.offset_bias[h, abs(i - j)] if i // 7 == j // 7 else torch.tensor(-torch.inf)

    torch.testing.assert_close(layer(tokens), slow_attention(layer, tokens, bias), rtol=1e-10, atol=1e-10)


# -- one forward for pretraining and for use --------------------------------------------------------------------------


def test_hidden_samples_reach_neither_tokens_nor_prediction(model, signal, visible):
    scaled = scale(signal, "zscore")
    shown = ~hidden_from(visible, 10).repeat_interleave(20, -1)
    other = torch.where(shown, scaled, scaled + 100)
    tokens, same = model.encoder(scaled, visible), model.encoder(other, visible)
    assert torch.equal(tokens, same)
    assert torch.equal(model.decoder(tokens, visible), model.decoder(same, visible))
    assert not torch.allclose(model.encoder(scaled), model.encoder(other))
    every = torch.arange(10).expand(3, 12, 10)
    torch.testing.assert_close(model.embed(signal), model.encoder.pool(model.encoder(scaled, every)))
    if model.config.encoder.kind != "vit":  # they are replaced before the stem
        replaced = torch.where(shown, scaled, model.encoder.mask_value[:, None])
        assert torch.equal(tokens, model.encoder(replaced))


@torch.no_grad()
def test_an_embedding_depends_neither_on_gain_offset_nor_company_but_on_the_shape(model, signal):
    together = model.embed(signal)
    torch.testing.assert_close(torch.cat([model.embed(row[None]) for row in signal]), together)
    torch.testing.assert_close(together, model.embed(3 * signal + 2), rtol=1e-4, atol=1e-5)
    if model.config.encoder.kind != "resnet18":  # whose BatchNorm learns
        assert torch.equal(model.train().embed(signal), together)
    with pytest.raises(ValueError, match=r"expected \[batch, 12 leads, 200 samples\]; got \[3, 8, 200\]"):
        model.encoder(torch.zeros(3, 8, 200))


@pytest.mark.parametrize(
    ("kind", "depth", "share", "other_leads"),
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
def test_what_a_prediction_depends_on(signal, kind, depth, share, other_leads):
    """On its own lead's tokens always, on other leads' as the attention says; on other mask tokens never with cross."""
    torch.manual_seed(0)
    decoder = DecoderConfig(width=16, depth=depth, heads=2, attention=kind, decode_share=share)
    model = Merit(replace(CONFIG, decoder=decoder)).eval()
    visible, decoded = random_patches((3, 12, 10), 0.75, share, torch.Generator().manual_seed(2))
    tokens = model.encoder(scale(signal, "zscore"), visible)
    torch.nn.init.normal_(model.decoder.mask_token)
    changed = tokens.clone()
    changed[:, 5] += torch.randn_like(changed[:, 5])
    first = model.decoder(tokens, visible, decoded)
    moved = (first - model.decoder(changed, visible, decoded)).abs().amax((0, 2, 3))
    assert moved[5] > 1e-3
    assert (moved[0] > 1e-6) == other_leads
    fewer = model.decoder(tokens, visible, decoded[..., :-1])
    apart = (first - fewer).gather(2, decoded[..., :-1, None].expand(-1, -1, -1, 20)).abs().max()
    assert (apart > 1e-6) == (kind != "cross")
    if share == 1:  # all hidden patches are predicted where none are named
        assert torch.equal(torch.cat((visible, decoded), -1).sort(-1).values, torch.arange(10).expand(3, 12, 10))
        named, unnamed = (model(signal, torch.zeros(3, 8), visible, None, some) for some in (decoded, None))
        assert torch.equal(named.hidden, unnamed.hidden)
        assert torch.equal(named.prediction, unnamed.prediction)
    torch.nn.init.normal_(model.decoder.blocks[0].attention.offset_bias)
    assert (model.decoder(tokens, visible, decoded) - first).abs().max() > 1e-3, "the biases count in all"


def test_a_share_of_the_hidden_patches_gives_the_same_loss_in_expectation(signal):
    """With cross attention a prediction does not depend on what else is predicted, so it is a mean over a sample."""
    config = DecoderConfig(width=16, depth=1, heads=2, attention="cross", decode_share=0.25)
    model = Merit(replace(CONFIG, decoder=config)).eval()
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
    for how, expected in (("aligns", {"encoder", "decoder"}), ("reconstructs", {"encoder", "ecg_head", "text_head"})):
        assert {name.split(".")[0] for name, _ in Merit(CONFIG, **{how: False}).named_parameters()} == expected


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


# -- sizes and layers of the kinds ------------------------------------------------------------------------------------


def test_parameters_are_the_published_ones():
    """MERL's counted from the layout: 12 to 64 channels 7 wide, then four stages of two blocks; scale and shift for
    each. TinyViT-5M has 5.4 million, 0.32 of them the head for ImageNet's classes; kernels of 3 x 3 are 3 wide here.
    """
    expected = 12 * 64 * 7 + 2 * 64
    for inputs, width in zip((64, 64, 128, 256), (64, 128, 256, 512)):
        expected += 3 * inputs * width + 3 * 3 * width * width + 4 * 2 * width
        expected += (inputs * width + 2 * width) if inputs != width else 0
    with torch.device("meta"):
        resnet, tiny = ResNet18(EncoderConfig(kind="resnet18")), Merit(PUBLISHED).encoder
    assert sum(p.numel() for p in resnet.parameters()) == expected == 3_848_832
    assert sum(p.numel() for p in tiny.parameters()) == 5_040_212
    assert (stride_of(PUBLISHED.encoder), PUBLISHED.encoder.embedding_width) == (32, 320)


def test_a_block_of_resnet18_in_numpy():
    torch.manual_seed(0)
    block = BasicBlock(2, 3, stride=2).double()
    for part in (block.first, block.second, block.shortcut):
        part[1].weight.data.uniform_(0.5, 2)
        part[1].bias.data.normal_()
    x = torch.randn(4, 2, 9, dtype=torch.float64)

    def convolved(x: np.ndarray, part, stride: int) -> np.ndarray:
        weight, size = part[0].weight.detach().numpy(), part[0].kernel_size[0]
        padded = np.pad(x, ((0, 0), (0, 0), (size // 2, size // 2)))
        starts = range(0, x.shape[-1], stride)
        out = np.stack([np.einsum("bis,ois->bo", padded[..., s : s + size], weight) for s in starts], -1)
        mean, var = out.mean((0, 2), keepdims=True), out.var((0, 2), keepdims=True)
        scale, shift = (p.detach().numpy()[:, None] for p in (part[1].weight, part[1].bias))
        return (out - mean) / np.sqrt(var + part[1].eps) * scale + shift

    inner = convolved(np.maximum(convolved(x.numpy(), block.first, 2), 0), block.second, 1)
    expected = np.maximum(inner + convolved(x.numpy(), block.shortcut, 2), 0)
    np.testing.assert_allclose(block.train()(x).detach().numpy(), expected, atol=1e-10)


def test_a_resnet18_predicts_from_tokens_and_hides_nothing_where_it_was_made_for_whole_recordings(signal):
    encoder = replace(ENCODER, kind="resnet18", patch=100)
    model, token = Merit(replace(CONFIG, encoder=encoder), masks=True), torch.randn(3, 13, 32)
    assert model.encoder(signal).shape == (3, 13, 32), "tokens are sixteen samples apart"
    # samples 96 to 111: the end of a patch and the next one's start
    stretch, predicted = model.decoder.samples(token[:, 6]).view(3, 12, 16), model.decoder(token, None)
    torch.testing.assert_close(torch.cat((predicted[:, :, 0, 96:], predicted[:, :, 1, :12]), -1), stretch)
    with pytest.raises(ValueError, match="expected None, whole recordings, for a resnet18 without masks"):
        ResNet18(encoder)(signal, torch.zeros(3, 12, 2, dtype=torch.int64))


@pytest.mark.parametrize("patch", [20, 100])
@pytest.mark.parametrize("n_samples", [100, 1000, 1100])
def test_shapes_of_tiny_vit_at_lengths_that_windows_and_strides_do_not_divide(n_samples, patch):
    encoder = replace(ENCODER, kind="tiny_vit", n_samples=n_samples, patch=patch)
    model, n, signal = Merit(replace(CONFIG, encoder=encoder)).eval(), n_samples // patch, torch.randn(2, 12, n_samples)
    out = model(signal, torch.zeros(2, 8), random_visible((2, 12, n), 0.75, torch.Generator().manual_seed(0)))
    assert model.encoder(signal).shape == (2, -(-n_samples // 32), 16)
    assert model.embed(signal).shape == (2, 16)
    assert out.ecg.shape == out.text.shape == (2, 12)
    assert out.prediction.shape == out.target.shape == (2, 12, n, patch)
    assert out.hidden.shape == (2, 12, n)
    with pytest.raises(ValueError, match="n_samples: expected more than the 32 of one token"):
        Merit(replace(CONFIG, encoder=replace(encoder, n_samples=32, patch=4)))


@pytest.mark.parametrize("objective", ["cma", "mse"])
def test_recordings_stay_apart_where_tiny_vit_is_as_deep_as_published(paired, tmp_path, objective):
    """With LayerNorm after convolutions, what they differ in is a millionth of an embedding by then."""
    sizes = TinyVitConfig(widths=(16, 32, 40, 80))
    config = replace(CONFIG, encoder=EncoderConfig(kind="tiny_vit", patch=100, tiny_vit=sizes), text_width=16)
    often = {"updates": 30, "validate_every": 30, "save_every": 30, "learning_rate": 3e-3, "validation_share": 0.2}
    run = PretrainConfig(objective=objective, epochs=None, batch=8, **often)
    folder = pretrain(paired, config, run, tmp_path, cohort="here", progress=False)
    model, _ = checkpoint.load_model(folder)
    with torch.no_grad():
        embedding = model.embed(torch.from_numpy(paired.signal_uv[:16] / np.float32(1000)))
    assert embedding.std(0).mean() > 0.02 * embedding.abs().mean()
