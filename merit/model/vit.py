"""The ECG encoder: an isotropic ViT on ST-MEM tokens, one forward for pretraining and for use.

Shapes: B batch, L leads, T samples, N patches of a lead, K visible ones, D width. Each lead has a
SEP token at both ends.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from merit.config import EncoderConfig
from merit.model.attention import Block, sin_cos, token_codes


class Encoder(nn.Module):
    """Scaled signal and the indices of its visible patches in, one token per visible patch and two SEPs a lead out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.n_positions = config.n_patches + 2
        self.patch_embedding = nn.Linear(config.patch, config.width)
        self.lead_embedding = nn.Parameter(torch.randn(config.n_leads, 1, config.width) * 0.1)
        self.sep = nn.Parameter(torch.randn(config.width) * 0.1)
        self.register_buffer("position", sin_cos(self.n_positions, config.width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, self.n_positions, config.n_leads, config.bias_start)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width)

    def patches(self, signal: Tensor) -> Tensor:
        """[B, L, T] cut into [B, L, N, patch]; a ValueError for any other shape."""
        return cut(signal, self.config)

    def forward(self, signal: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens [B, L, K + 2, D], SEP first and last in each lead; visible: int64 [B, L, K], or None: all patches."""
        patches = self.patches(signal)
        if visible is None:
            visible = torch.arange(self.config.n_patches, device=signal.device).expand(1, self.config.n_leads, -1)
        index = visible[..., None].expand(len(patches), -1, -1, self.config.patch)
        tokens = self.patch_embedding(patches.gather(2, index))
        sep = self.sep.expand(*tokens.shape[:2], 1, -1)
        place = with_separators(visible, self.n_positions)
        tokens = torch.cat((sep, tokens, sep), 2) + self.position[place] + self.lead_embedding
        codes = token_codes(place, self.n_positions, self.config.n_leads).to(tokens.dtype)
        flat = tokens.flatten(1, 2)
        for block in self.blocks:
            flat = block(flat, codes)
        return self.norm(flat).view(tokens.shape)

    def over_time(self, tokens: Tensor) -> Tensor:
        """The patch tokens of one time averaged over leads, [B, N, D]; tokens: [B, L, N + 2, D], nothing hidden."""
        return tokens[:, :, 1:-1].mean(1)

    def pool(self, tokens: Tensor) -> Tensor:
        """Mean of the patch tokens, SEP left out, [B, D] (Sec. 3.3: average pooling of the visible representations)."""
        return tokens[:, :, 1:-1].mean((1, 2))


def cut(signal: Tensor, config: EncoderConfig) -> Tensor:
    """[B, L, T] as patches [B, L, N, patch]; a ValueError for any other shape."""
    leads, samples = config.n_leads, config.n_samples
    if signal.ndim != 3 or signal.shape[1:] != (leads, samples):
        raise ValueError(f"signal: expected [batch, {leads} leads, {samples} samples]; got {list(signal.shape)}")
    return signal.unflatten(-1, (config.n_patches, config.patch))


def with_separators(visible: Tensor, n_positions: int) -> Tensor:
    """Places of all tokens of a lead, [B, L, K + 2]: SEP at 0 and at the end, patch j at j + 1."""
    edge = torch.zeros_like(visible[..., :1])
    return torch.cat((edge, visible + 1, edge + n_positions - 1), -1)
