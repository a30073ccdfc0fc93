"""MERL's backbone: its published size, each recording by itself once trained, whole recordings alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merit.config import EncoderConfig, ModelConfig
from merit.model.merit import Merit
from merit.model.resnet18 import BasicBlock, ResNet18
from merit.model.vit import hidden_from, random_visible

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


def test_hidden_samples_are_replaced_before_the_stem_and_predicted_from_tokens(signal):
    torch.manual_seed(0)
    model = Merit(ModelConfig(encoder=ENCODER, text_width=8, shared_width=12), masks=True)
    torch.nn.init.normal_(model.encoder.mask_value)
    visible = random_visible((3, 12, 10), 0.75, torch.Generator().manual_seed(2))
    hidden = hidden_from(visible, 10).repeat_interleave(100, -1)
    tokens = model.encoder(signal, visible)
    assert torch.equal(tokens, model.encoder(torch.where(hidden, signal + 100, signal), visible))
    replaced = torch.where(hidden, model.encoder.mask_value[:, None], signal)
    assert torch.equal(tokens, model.encoder(replaced))
    out = model(signal, torch.zeros(3, 8), visible)
    assert out.prediction.shape == out.target.shape == (3, 12, 10, 100)
    token = torch.randn(3, 63, 32)
    stretch = model.decoder.samples(token[:, 6]).view(
        3, 12, 16
    )  # samples 96 to 111: the end of a patch, another's start
    predicted = model.decoder(token, visible)
    torch.testing.assert_close(torch.cat((predicted[:, :, 0, 96:], predicted[:, :, 1, :12]), -1), stretch)


def test_nothing_can_be_hidden_of_a_network_made_for_whole_recordings(model, signal):
    with pytest.raises(ValueError, match="expected None, whole recordings, for a resnet18 without masks"):
        model(signal, torch.zeros(3, 12, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"expected \[batch, 12 leads, 1000 samples\]"):
        model(signal[:, :8])


def test_gain_and_offset_of_a_recording_do_not_matter(signal):
    torch.manual_seed(0)
    model = Merit(ModelConfig(encoder=ENCODER, text_width=8, shared_width=12), reconstructs=False).eval()
    torch.testing.assert_close(model.embed(signal), model.embed(3 * signal + 2), rtol=1e-4, atol=1e-5)
