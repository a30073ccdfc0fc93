"""The hierarchical encoder: attention against a slow oracle, no leak from hidden samples, sizes. What all encoders
share is in `test_merit`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import EncoderConfig, ModelConfig, PretrainConfig, TinyVitConfig, replace
from merit.model.merit import Merit
from merit.model.tiny_vit import WindowAttention, stride_of
from merit.model.vit import random_visible
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


# -- attention in windows --------------------------------------------------------------------------------------------


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
    torch.manual_seed(0)
    layer, tokens = WindowAttention(8, 2, 7).double(), torch.randn(2, n, 8, dtype=torch.float64)
    torch.nn.init.normal_(layer.offset_bias)
    torch.testing.assert_close(layer(tokens), slow_attention(layer, tokens), rtol=1e-10, atol=1e-10)


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


def test_the_published_size_has_five_million_parameters():
    """TinyViT-5M has 5.4 million, 0.32 of them the head for ImageNet's classes; kernels of 3 x 3 are 3 wide here."""
    with torch.device("meta"):
        encoder = Merit(PUBLISHED).encoder
    assert sum(p.numel() for p in encoder.parameters()) == 5_040_212
    assert (stride_of(PUBLISHED.encoder), PUBLISHED.encoder.embedding_width) == (32, 320)


def test_a_recording_of_one_token_is_rejected():
    encoder = EncoderConfig(kind="tiny_vit", n_samples=32, patch=4, tiny_vit=SMALL)
    with pytest.raises(ValueError, match="n_samples: expected more than the 32 of one token"):
        Merit(ModelConfig(encoder=encoder, text_width=16, shared_width=12))


# -- what is hidden --------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_embedding_depends_neither_on_company_nor_on_mode(model, signal):
    together = model.embed(signal)
    torch.testing.assert_close(torch.cat([model.embed(row[None]) for row in signal]), together)
    assert torch.equal(model.train().embed(signal), together)


# -- training; resume and gradients are in tests/pretrain -------------------------------------------------------------


@pytest.mark.parametrize("objective", ["cma", "mse"])
def test_recordings_stay_apart_where_it_is_as_deep_as_published(paired, tmp_path, objective):
    """With LayerNorm after convolutions, what they differ in is a millionth of an embedding by then."""
    deep = EncoderConfig(kind="tiny_vit", patch=100, tiny_vit=TinyVitConfig(widths=(16, 32, 40, 80)))
    often = {"updates": 30, "validate_every": 30, "save_every": 30, "learning_rate": 3e-3, "validation_share": 0.2}
    config = PretrainConfig(objective=objective, epochs=None, batch=8, **often)
    folder = pretrain(paired, replace(CONFIG, encoder=deep), config, tmp_path, cohort="here", progress=False)
    model, _ = checkpoint.load_model(folder)
    with torch.no_grad():
        embedding = model.embed(torch.from_numpy(paired.signal_uv[:16] / np.float32(1000)))
    assert embedding.std(0).mean() > 0.02 * embedding.abs().mean()
