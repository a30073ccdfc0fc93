"""The wav2vec-2.0 encoder of ECGs that fairseq-signals builds, and ECG-FM, MELP and D-BETA use: a shared block.

Four strided convolutions, a projection, a convolution that tells positions, and a transformer (Baevski et al. 2020,
arXiv 2006.11477; for ECGs: Oh et al. 2022, arXiv 2203.06889). Written from the architecture's description in
Jwoo5/fairseq-signals (MIT) at 6b9e137; names of parts are those of its state, so that published files load strictly.
Shapes: B batch, L leads, T samples, n positions (a sixteenth of T), C channels, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from merit.encoders.attention import attend


@dataclass(frozen=True, kw_only=True)
class Wav2Vec2Size:
    """Sizes of the encoder; the defaults are what fairseq-signals calls base, 12 layers (ECG-FM)."""

    leads: int = 12
    convolutions: tuple[tuple[int, int, int], ...] = ((256, 2, 2),) * 4
    """(channels, kernel, stride) of each; the first is followed by a group norm of a channel a group."""
    width: int = 768
    depth: int = 12
    """12 in ECG-FM, 8 in MELP and D-BETA."""
    heads: int = 12
    hidden: int = 3072
    positions: int = 128
    """Kernel of the convolution that tells positions."""
    position_groups: int = 16


PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
"""What a state holds besides, for the masked prediction of quantised patches: no evaluation runs it."""


class Wav2Vec2(nn.Module):
    """[B, L, T] to the transformer's output at every position, [B, n, W], nothing masked.

    Pretraining's parts, `PRETRAINING`, are not among its own.
    """

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        channels = size.convolutions[-1][0]
        self.feature_extractor = FeatureExtractor(size)
        self.layer_norm = nn.LayerNorm(channels)
        self.post_extract_proj = nn.Linear(channels, size.width) if channels != size.width else None
        self.conv_pos = PositionalConvolution(size)
        self.encoder = Transformer(size)

    def forward(self, x: Tensor) -> Tensor:
        """float [B, n, W] from [B, L, T]."""
        return self.transform(self.patches(x))

    def patches(self, x: Tensor) -> Tensor:
        """[B, n, W] of convolved and projected samples, their positions added: the transformer's input."""
        x = self.layer_norm(self.feature_extractor(x).transpose(1, 2))
        if self.post_extract_proj is not None:
            x = self.post_extract_proj(x)
        return x + self.conv_pos(x)

    def transform(self, patches: Tensor) -> Tensor:
        """[B, n, W] from `patches`, of any number of positions."""
        return self.encoder(patches)


class FeatureExtractor(nn.Module):
    """[B, L, T] to [B, C, n]: convolutions without bias and GELUs, a group norm after the first convolution."""

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        n_in = size.leads
        for i, (n_out, kernel, stride) in enumerate(size.convolutions):
            convolution = nn.Conv1d(n_in, n_out, kernel, stride, bias=False)
            norm = [nn.GroupNorm(n_out, n_out)] if i == 0 else []
            # The Identity is the original's dropout of zero: parts are named by their place.
            self.conv_layers.append(nn.Sequential(convolution, nn.Identity(), *norm, nn.GELU()))
            n_in = n_out

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        for layer in self.conv_layers:
            x = layer(x)
        return x


class PositionalConvolution(nn.Module):
    """[B, n, W] to [B, n, W]: one wide grouped convolution over positions, its weight normalised tap by tap.

    Loads either name of the two parts of that weight: `parametrizations.weight.original0`, `original1` of today's
    PyTorch, and `weight_g`, `weight_v` of before.
    """

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        convolution = nn.Conv1d(
            size.width, size.width, size.positions, padding=size.positions // 2, groups=size.position_groups
        )
        self.pos_conv = nn.Sequential(nn.utils.parametrizations.weight_norm(convolution, dim=2))

    def forward(self, x: Tensor) -> Tensor:
        """See the class; an even kernel gives one position too many, the last, which is cut."""
        return F.gelu(self.pos_conv(x.transpose(1, 2))[:, :, : x.shape[1]]).transpose(1, 2)


class Transformer(nn.Module):
    """[B, n, W] to [B, n, W]: a layer norm, then layers that normalise after each sum."""

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.depth))
        self.layer_norm = nn.LayerNorm(size.width)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.layer_norm(x)
        for layer in self.layers:
            x = layer(x)
        return x


class Layer(nn.Module):
    """Self-attention and a perceptron of one hidden layer, each added to its input and normalised."""

    def __init__(self, size: Wav2Vec2Size) -> None:
        super().__init__()
        self.self_attn = Attention(size.width, size.heads)
        self.self_attn_layer_norm = nn.LayerNorm(size.width)
        self.fc1 = nn.Linear(size.width, size.hidden)
        self.fc2 = nn.Linear(size.hidden, size.width)
        self.final_layer_norm = nn.LayerNorm(size.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, W] to [B, n, W]."""
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        return self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))


class Attention(nn.Module):
    """Self-attention over positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, W] to [B, n, W]."""
        return self.out_proj(attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads))
