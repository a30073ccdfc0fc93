"""The hierarchical encoder: attention against a slow oracle, no leak from hidden samples, sizes. What all encoders
share is in `test_merit`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import EncoderConfig, ModelConfig, PretrainConfig, TinyVitConfig, replace
from merit.model.merit import Merit, scale
from merit.model.tiny_vit import Convolution, WindowAttention, stride_of
from merit.model.vit import random_visible
from merit.objectives import masked_mse
from merit.pretrain import checkpoint
from merit.pretrain.train import pretrain

SMALL = TinyVitConfig(widths=(16, 32, 32, 64), depths=(1, 1, 2, 1), heads=(1, 2, 2, 4), windows=(7, 7, 14, 7))
CONFIG = ModelConfig(encoder=EncoderConfig(kind="tiny_vit", patch=100, tiny_vit=SMALL), text_width=16, shared_width=12)
PUBLISHED = ModelConfig(encoder=EncoderConfig(kind="tiny_vit"))


@pytest.fixture
def model() -> Merit:
    torch.manual_seed(0)
    return Merit(CONFIG).eval()


@pytest.fixture
def signal() -> torch.Tensor:
    return torch.randn(3, 12, 1000, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def visible() -> torch.Tensor:
    return random_visible((3, 12, 10), 0.75, torch.Generator().manual_seed(2))


# -- attention in windows --------------------------------------------------------------------------------------------


def attention(window: int) -> WindowAttention:
    torch.manual_seed(0)
    layer = WindowAttention(8, 2, window).double()
    torch.nn.init.normal_(layer.offset_bias)
    return layer


def slow_attention(layer: WindowAttention, tokens: torch.Tensor) -> torch.Tensor:
    """Attention of all tokens to all, one score at a time, minus infinity between windows."""
    n, width = tokens.shape[1:]
    size = width // layer.heads
    out = torch.zeros_like(tokens)
    for b, qkv in enumerate(layer.qkv(tokens)):
        for h in range(layer.heads):
            q, k, v = (qkv[:, i * width + h * size : i * width + (h + 1) * size] for i in range(3))
            scores = torch.full((n, n), -torch.inf, dtype=tokens.dtype)
            for i in range(n):
                for j in range(n):
                    if i // layer.window == j // layer.window:
                        scores[i, j] = q[i] @ k[j] / size**0.5 + layer.offset_bias[h, abs(i - j)]
            out[b, :, h * size : (h + 1) * size] = scores.softmax(-1) @ v
    return layer.out(out)


@pytest.mark.parametrize("n", [1, 5, 7, 8, 13, 14, 20])
@torch.no_grad()
def test_windows_equal_full_attention_with_a_block_mask(n):
    layer, tokens = attention(7), torch.randn(2, n, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(tokens), slow_attention(layer, tokens), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_filling_up_the_last_window_changes_no_real_token():
    layer, tokens = attention(7), torch.randn(2, 10, 8, dtype=torch.float64)
    alone = attention(3)
    alone.load_state_dict({**layer.state_dict(), "offset_bias": layer.offset_bias[:, :3]})
    torch.testing.assert_close(layer(tokens)[:, 7:], alone(tokens[:, 7:]), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer(tokens)[:, :7], layer(tokens[:, :7]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("n", "expected"), [(1000, 500), (125, 63), (63, 32), (3, 2)])
@torch.no_grad()
def test_a_strided_convolution_keeps_the_end_of_an_odd_length(n, expected):
    layer, tokens = Convolution(4, 4, stride=2), torch.randn(1, n, 4)
    out = layer(tokens)
    assert out.shape == (1, expected, 4)
    tokens[:, -1] += torch.tensor([1.0, -1.0, 2.0, 0.0])
    assert not torch.equal(layer(tokens)[:, -1], out[:, -1])


# -- shapes and sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", [20, 100])
@pytest.mark.parametrize("n_samples", [100, 1000, 1100])
def test_shapes_at_lengths_that_windows_and_strides_do_not_divide(n_samples, patch):
    encoder = EncoderConfig(kind="tiny_vit", n_samples=n_samples, patch=patch, tiny_vit=SMALL)
    model = Merit(ModelConfig(encoder=encoder, text_width=16, shared_width=12)).eval()
    n, signal = n_samples // patch, torch.randn(2, 12, n_samples)
    out = model(signal, torch.zeros(2, 16), random_visible((2, 12, n), 0.75, torch.Generator().manual_seed(0)))
    assert model.encoder(signal).shape == (2, -(-n_samples // 32), 64)
    assert model.embed(signal).shape == (2, 64)
    assert out.ecg.shape == out.text.shape == (2, 12)
    assert out.prediction.shape == out.target.shape == (2, 12, n, patch)
    assert out.hidden.shape == (2, 12, n)


def counted_by_hand(sizes: TinyVitConfig, leads: int) -> int:
    """Weights and biases, layer by layer; every norm has two numbers a channel."""
    first = sizes.widths[0]
    total = leads  # the value that hides
    total += 3 * leads * first // 2 + 3 * first // 2 + 3 * first // 2 * first + 3 * first
    widen, channelwise, narrow = 4 * first * (first + 3), 4 * first * (3 + 3), first * (4 * first + 3)
    total += sizes.depths[0] * (widen + channelwise + narrow)
    for i in range(1, len(sizes.widths)):
        before, width = sizes.widths[i - 1 : i + 1]
        total += width * (before + 3) + width * (3 + 3) + width * (width + 3)
        norms, qkv, out, local = 4 * width, 3 * width * (width + 1), width * (width + 1), width * (3 + 3)
        mlp, biases = 4 * width * (width + 1) + width * (4 * width + 1), sizes.heads[i] * sizes.windows[i]
        total += sizes.depths[i] * (norms + qkv + out + local + mlp + biases)
    return total + 2 * sizes.widths[-1]


def test_the_published_size_has_five_million_parameters():
    """TinyViT-5M has 5.4 million, 0.32 of them the head for ImageNet's classes; kernels of 3 x 3 are 3 wide here."""
    with torch.device("meta"):
        encoder = Merit(PUBLISHED).encoder
    found = sum(p.numel() for p in encoder.parameters())
    assert found == counted_by_hand(TinyVitConfig(), 12) == 5_040_212
    assert found == pytest.approx(5.4e6 - 1000 * 321, rel=0.1)


def test_the_published_size_runs():
    model, signal = Merit(PUBLISHED).eval(), torch.randn(2, 12, 1000)
    out = model(signal, torch.zeros(2, 768), random_visible((2, 12, 40), 0.75, torch.Generator().manual_seed(0)))
    assert model.encoder(signal).shape == (2, 32, 320)
    assert model.embed(signal).shape == (2, 320)
    assert out.prediction.shape == (2, 12, 40, 25)
    masked_mse(out.prediction, out.target, out.hidden).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.encoder.parameters())


def test_settings_that_cannot_work_are_rejected():
    with pytest.raises(ValueError, match="kind: expected one of vit, tiny_vit, resnet18; got 'tinyvit'"):
        EncoderConfig(kind="tinyvit")
    with pytest.raises(ValueError, match="heads: expected 4 numbers above 0, one a stage"):
        TinyVitConfig(heads=(2, 4))
    with pytest.raises(ValueError, match="widths: expected a multiple of the stage's heads = 10; got 64"):
        TinyVitConfig(widths=(64, 128, 160, 64))


def test_a_recording_of_one_token_is_rejected():
    encoder = EncoderConfig(kind="tiny_vit", n_samples=32, patch=4, tiny_vit=SMALL)
    with pytest.raises(ValueError, match="n_samples: expected more than the 32 of one token"):
        Merit(ModelConfig(encoder=encoder, text_width=16, shared_width=12))


def test_the_embedding_is_as_wide_as_the_kind_says():
    assert PUBLISHED.encoder.embedding_width == 320
    assert ModelConfig().encoder.embedding_width == ModelConfig().encoder.width == 192
    assert stride_of(PUBLISHED.encoder) == 32


# -- what is hidden --------------------------------------------------------------------------------------------------


def test_no_gradient_comes_back_to_hidden_samples(model, signal, visible):
    scaled = scale(signal, "zscore").requires_grad_()
    model.decoder(model.encoder(scaled, visible), visible).square().sum().backward()
    shown = torch.zeros(3, 12, 10, dtype=torch.bool).scatter(-1, visible, True)
    reached = scaled.grad.unflatten(-1, (10, 100)) != 0
    assert not reached[~shown].any()
    assert reached[shown].all()


@torch.no_grad()
def test_the_embedding_depends_neither_on_company_nor_on_mode(model, signal):
    together = model.embed(signal)
    torch.testing.assert_close(torch.cat([model.embed(row[None]) for row in signal]), together)
    assert torch.equal(model.train().embed(signal), together)


# -- training; resume and gradients are in tests/pretrain -------------------------------------------------------------


@pytest.mark.parametrize("objective", ["cma", "mse"])
def test_recordings_stay_apart_where_it_is_as_deep_as_published(paired, tmp_path, objective):
    """With LayerNorm after convolutions, what they differ in is a millionth of an embedding by then."""
    deep = TinyVitConfig(widths=(16, 32, 40, 80))
    sizes = replace(CONFIG, encoder=EncoderConfig(kind="tiny_vit", patch=100, tiny_vit=deep))
    config = PretrainConfig(
        objective=objective,
        epochs=None,
        updates=30,
        batch=8,
        learning_rate=3e-3,
        validate_every=30,
        save_every=30,
        validation_share=0.2,
    )
    folder = pretrain(paired, sizes, config, tmp_path, cohort="here", progress=False)
    model, _ = checkpoint.load_model(folder)
    with torch.no_grad():
        embedding = model.embed(torch.from_numpy(paired.signal_uv[:16] / np.float32(1000)))
    assert embedding.std(0).mean() > 0.02 * embedding.abs().mean()
