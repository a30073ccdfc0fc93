"""TinyViT in one dimension: the hierarchical reading of the paper's "one-dimensional TinyViT", and its decoder.

Written from Wu et al. (2022, arXiv 2207.10666): a stem of two strided convolutions, a stage of inverted bottlenecks
(MBConv), then stages of attention in windows with a learned bias per head and offset, a depthwise convolution between
attention and MLP, and strided merging between stages. All leads are channels of the stem, so a token is a stretch of
time and there are no separators. What differs from the original, beside the one axis:

- Hidden samples are replaced by a learned value per lead before the stem: strided convolutions cannot leave tokens out.
- A convolution is followed by InstanceNorm (a recording's own mean and spread of each channel over time) in place of
  BatchNorm, whose statistics of masked batches would not be those of whole recordings, and would tie a recording to
  its batch. LayerNorm over channels is no way out: it leaves what is alike in all recordings, which grows from layer to
  layer where none passes its input on, until nothing else is left (seen: after 40 updates all embeddings are equal).
- Windows need not divide the length: the last one is filled up with tokens that nothing attends to, cut off then.
  A stride of 2 makes ceil(n / 2) tokens of n: 1000 samples give 250, 125, 63 and 32 tokens.

Shapes: B batch, L leads, T samples, N patches of a lead, K visible ones, n tokens, W of a window, H heads, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.config import EncoderConfig
from merit.model.vit import EcgEncoder, cut

GROWTH = 4
"""Hidden width of inverted bottlenecks and MLPs, in widths."""


class TinyVit(EcgEncoder):
    """Scaled signal and the indices of its visible patches in, one token per `stride_of` samples out.

    ValueError for recordings of a single token.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        if config.n_samples <= stride_of(config):
            raise ValueError(
                f"n_samples: expected more than the {stride_of(config)} of one token, which has no spread over time; "
                f"got {config.n_samples}"
            )
        sizes, widths = config.tiny_vit, config.tiny_vit.widths
        self.mask_value = nn.Parameter(torch.zeros(config.n_leads))
        self.stem = nn.Sequential(
            Convolution(config.n_leads, widths[0] // 2, stride=2),
            nn.GELU(),
            Convolution(widths[0] // 2, widths[0], stride=2),
        )
        blocks: list[nn.Module] = [BottleneckBlock(widths[0]) for _ in range(sizes.depths[0])]
        for stage in range(1, len(widths)):
            blocks.append(merging(widths[stage - 1], widths[stage]))
            shape = widths[stage], sizes.heads[stage], sizes.windows[stage]
            blocks += [WindowBlock(*shape) for _ in range(sizes.depths[stage])]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(widths[-1])

    def forward(self, signal: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens [B, n, D] in the order of time; visible: int64 [B, L, K], or None: all patches."""
        return self.norm(self.blocks(self.stem(self.filled(signal, visible).transpose(1, 2))))


class SampleHead(nn.Module):
    """The decoder of tiny_vit and resnet18: one linear map from a token to the samples of its stretch in all leads, as
    in SimMIM (Xie et al., 2022). Every token is there already, so there are no mask tokens to put in.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config, self.stride = config, stride_of(config)
        self.samples = nn.Linear(config.embedding_width, config.n_leads * self.stride)

    def forward(self, tokens: Tensor, visible: Tensor, decoded: Tensor | None = None) -> Tensor:
        """Predicted patches [B, L, N, patch]; tokens: [B, n, D]; visible: what other decoders need, not read here.

        The last token's stretch may go past the end of the recording; that part is cut off.
        """
        leads = self.samples(tokens).unflatten(-1, (self.config.n_leads, self.stride)).transpose(1, 2)
        return cut(leads.flatten(2)[..., : self.config.n_samples], self.config)


def stride_of(config: EncoderConfig) -> int:
    """Samples per token: a stem shortens time (TinyViT: by 4, ResNet18: by 2), every stage after the first by 2."""
    return 16 if config.kind == "resnet18" else 4 * 2 ** (len(config.tiny_vit.widths) - 1)


class Convolution(nn.Module):
    """A convolution over three neighbours in time, then InstanceNorm."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.map = nn.Conv1d(inputs, outputs, 3, stride, padding=1, groups=groups)
        self.norm = OverTime(outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, ceil(n / stride), outputs] from [B, n, inputs]; beyond both ends stand zeros."""
        return self.norm(self.map(tokens.transpose(1, 2)).transpose(1, 2))


class OverTime(nn.InstanceNorm1d):
    """InstanceNorm of tokens: each channel of a recording has mean 0 and spread 1 over time, then a learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, n, D] to [B, n, D]; n is at least 2."""
        return super().forward(tokens.transpose(1, 2)).transpose(1, 2)


def pointwise(inputs: int, outputs: int) -> nn.Sequential:
    """A convolution one wide, [B, n, inputs] to [B, n, outputs], then InstanceNorm."""
    return nn.Sequential(nn.Linear(inputs, outputs), OverTime(outputs))


def merging(inputs: int, outputs: int) -> nn.Sequential:
    """Between stages: [B, n, inputs] to [B, ceil(n / 2), outputs]; the middle convolution is strided."""
    return nn.Sequential(
        pointwise(inputs, outputs),
        nn.GELU(),
        Convolution(outputs, outputs, stride=2, groups=outputs),
        nn.GELU(),
        pointwise(outputs, outputs),
    )


class BottleneckBlock(nn.Module):
    """Inverted bottleneck (MBConv): widened, convolved channel by channel, narrowed, added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = GROWTH * width
        self.inner = nn.Sequential(
            pointwise(width, wide), nn.GELU(), Convolution(wide, wide, groups=wide), nn.GELU(), pointwise(wide, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, n, D] to [B, n, D]."""
        return F.gelu(tokens + self.inner(tokens))


class WindowBlock(nn.Module):
    """Pre-norm transformer block: attention in windows, a depthwise convolution that joins them, an MLP."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window)
        self.local = Convolution(width, width, groups=width)
        self.mlp = nn.Sequential(nn.Linear(width, GROWTH * width), nn.GELU(), nn.Linear(GROWTH * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, n, D] to [B, n, D]."""
        tokens = self.local(tokens + self.attention(self.norm1(tokens)))
        return tokens + self.mlp(self.norm2(tokens))


class WindowAttention(nn.Module):
    """Multi-head self-attention among the W tokens of a window, with a learned bias per head and distance.

    The scores are written out: they are W wide, not n.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.offset_bias = nn.Parameter(torch.zeros(heads, window))
        place = torch.arange(window)
        self.register_buffer("distance", (place[:, None] - place[None, :]).abs(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, n, D] to [B, n, D], for any n."""
        batch, n, width = tokens.shape
        n_windows = -(-n // self.window)
        filled = F.pad(self.qkv(tokens), (0, 0, 0, n_windows * self.window - n))
        split = filled.view(batch, n_windows, self.window, 3, self.heads, width // self.heads)
        q, k, v = split.permute(3, 0, 4, 1, 2, 5)  # each [B, H, windows, W, D / H]
        scores = q @ k.mT * q.shape[-1] ** -0.5 + self.offset_bias[:, self.distance][:, None]
        real = torch.arange(n_windows * self.window, device=tokens.device).view(n_windows, 1, self.window) < n
        mixed = scores.masked_fill(~real, -torch.inf).softmax(-1).to(v.dtype) @ v
        return self.out(mixed.permute(0, 2, 3, 1, 4).reshape(batch, -1, width)[:, :n])
