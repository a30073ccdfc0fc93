"""The auxiliary decoder: mask tokens put where patches were hidden, a few blocks, one linear map back to samples.

Shapes: B batch, L leads, N patches, K visible, D encoder width, E decoder width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from merit.config import DecoderConfig, EncoderConfig
from merit.model.attention import Block, sin_cos, token_codes
from merit.model.vit import with_separators


class Decoder(nn.Module):
    """Predicts every patch from the tokens of the visible ones (Sec. 3.3; the Gaussian decoder's mean of Eq. 5)."""

    def __init__(self, config: DecoderConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        self.n_patches, self.n_leads, self.lead_wise = encoder.n_patches, encoder.n_leads, config.lead_wise
        self.n_positions = self.n_patches + 2
        self.narrow = nn.Linear(encoder.width, config.width)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.lead_embedding = nn.Parameter(torch.randn(encoder.n_leads, 1, config.width) * 0.1)
        self.register_buffer("position", sin_cos(self.n_positions, config.width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, self.n_positions, encoder.n_leads, encoder.bias_start)
            for _ in range(config.depth)
        )
        self.head = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, encoder.patch))

    def forward(self, tokens: Tensor, visible: Tensor) -> Tensor:
        """Predicted patches [B, L, N, patch]; tokens: [B, L, K + 2, D]; visible: int64 [B, L, K]."""
        narrow = self.narrow(tokens)
        batch, leads, _, width = narrow.shape
        place = with_separators(visible, self.n_positions)[..., None].expand(batch, -1, -1, width)
        full = self.mask_token.to(narrow.dtype).expand(batch, leads, self.n_positions, width).scatter(2, place, narrow)
        full = full + self.position + self.lead_embedding
        every = torch.arange(self.n_positions, device=tokens.device).expand(1, leads, -1)
        codes = token_codes(every, self.n_positions, self.n_leads).to(full.dtype)
        return self.head(self.attend(full, codes)[:, :, 1:-1])

    def attend(self, full: Tensor, codes: Tensor) -> Tensor:
        """The blocks over all leads together, or lead by lead; full: [B, L, P, E], codes: [1, L * P, P + L]."""
        if self.lead_wise:
            flat = full.flatten(0, 1)
            codes = codes.view(self.n_leads, self.n_positions, -1).repeat(len(full), 1, 1)
        else:
            flat = full.flatten(1, 2)
        for block in self.blocks:
            flat = block(flat, codes)
        return flat.view(full.shape)
