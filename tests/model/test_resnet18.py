"""MERL's backbone: its published size, each recording by itself once trained, whole recordings alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import EncoderConfig, ModelConfig
from merit.model.merit import Merit
from merit.model.resnet18 import BasicBlock, ResNet18

ENCODER = EncoderConfig(kind="resnet18", patch=100, resnet_width=4)


@pytest.fixture
def model() -> ResNet18:
    torch.manual_seed(0)
    return ResNet18(ENCODER).eval()


@pytest.fixture
def signal() -> torch.Tensor:
    return torch.randn(3, 12, 1000, generator=torch.Generator().manual_seed(1))


def test_parameters_are_merls():
    """Counted from the layout: 12 to 64 channels 7 wide, then four stages of two blocks; scale and shift for each."""
    expected = 12 * 64 * 7 + 2 * 64
    for inputs, width in zip((64, 64, 128, 256), (64, 128, 256, 512)):
        expected += 3 * inputs * width + 3 * 3 * width * width + 4 * 2 * width
        expected += (inputs * width + 2 * width) if inputs != width else 0
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet18(EncoderConfig(kind="resnet18")).parameters()) == expected == 3_848_832


def test_tokens_are_sixteen_samples_apart_and_pooled_over_time(model, signal):
    tokens = model(signal)
    assert tokens.shape == (3, 63, 32)
    torch.testing.assert_close(model.pool(tokens), tokens.mean(1))
    assert model.over_time(tokens) is tokens


def test_a_block_in_numpy():
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


def test_a_recording_does_not_depend_on_its_batch_in_use(model, signal):
    model.train()(signal)
    model.eval()
    torch.testing.assert_close(model(signal)[1:2], model(signal[1:2]))


def test_nothing_can_be_hidden_and_nothing_is_reconstructed(model, signal):
    with pytest.raises(ValueError, match="expected None, whole recordings, for kind resnet18"):
        model(signal, torch.zeros(3, 12, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="expected vit or tiny_vit for an objective that reconstructs; got resnet18"):
        Merit(ModelConfig(encoder=ENCODER))
    with pytest.raises(ValueError, match=r"expected \[batch, 12 leads, 1000 samples\]"):
        model(signal[:, :8])


def test_gain_and_offset_of_a_recording_do_not_matter(signal):
    torch.manual_seed(0)
    model = Merit(ModelConfig(encoder=ENCODER, text_width=8, shared_width=12), reconstructs=False).eval()
    torch.testing.assert_close(model.embed(signal), model.embed(3 * signal + 2), rtol=1e-4, atol=1e-5)
