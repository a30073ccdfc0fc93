"""The ECG encoder and the auxiliary decoder: isotropic ViTs on ST-MEM tokens, one forward for pretraining and for use.

Shapes: B batch, L leads, T samples, N patches of a lead, K visible ones, P = N + 2 positions of a lead (its patches and
a SEP token at both ends), D encoder width, E decoder width. Polarity of masks: hidden True = masked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from merit.config import DecoderConfig, EncoderConfig
from merit.model.attention import Block, sin_cos, token_codes

# -- which patches are hidden: per lead, the same number in each lead, at random (ST-MEM; Sec. 3.3) -------------------


def n_visible(n_patches: int, mask_ratio: float) -> int:
    """Patches of a lead that stay visible, at least one."""
    return max(1, round(n_patches * (1 - mask_ratio)))


def random_visible(shape: tuple[int, int, int], mask_ratio: float, generator: torch.Generator) -> Tensor:
    """Indices of the visible patches, int64 [B, L, K], rising, on the generator's device; shape: (B, L, N)."""
    return random_patches(shape, mask_ratio, 0.0, generator)[0]


def random_patches(
    shape: tuple[int, int, int], mask_ratio: float, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices of the visible patches, int64 [B, L, K], and of a random `share` of the hidden ones, [B, L, M], both
    rising; the visible ones are the same at every share. shape: (B, L, N).
    """
    order = torch.rand(shape, generator=generator, device=generator.device).argsort(-1)
    seen = n_visible(shape[-1], mask_ratio)
    some = max(1, round(share * (shape[-1] - seen))) if share else 0
    return order[..., :seen].sort(-1).values, order[..., seen : seen + some].sort(-1).values


def hidden_from(visible: Tensor, n_patches: int) -> Tensor:
    """Boolean [B, L, N], True where a patch is not in visible [B, L, K]."""
    hidden = torch.ones(*visible.shape[:-1], n_patches, dtype=torch.bool, device=visible.device)
    return hidden.scatter(-1, visible, False)


def cut(signal: Tensor, config: EncoderConfig) -> Tensor:
    """[B, L, T] as patches [B, L, N, patch]; a ValueError for any other shape."""
    leads, samples = config.n_leads, config.n_samples
    if signal.ndim != 3 or signal.shape[1:] != (leads, samples):
        raise ValueError(f"signal: expected [batch, {leads} leads, {samples} samples]; got {list(signal.shape)}")
    return signal.unflatten(-1, (config.n_patches, config.patch))


def with_separators(visible: Tensor, n_positions: int) -> Tensor:
    """Positions of all tokens of a lead, [B, L, K + 2]: SEP at 0 and at the end, patch j at j + 1."""
    edge = torch.zeros_like(visible[..., :1])
    return torch.cat((edge, visible + 1, edge + n_positions - 1), -1)


# -- encoder ----------------------------------------------------------------------------------------------------------


class EcgEncoder(nn.Module):
    """What encoders of all kinds share; tokens are [B, n, D], in the order of time, unless `forward` says otherwise."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    def patches(self, signal: Tensor) -> Tensor:
        """[B, L, T] cut into [B, L, N, patch]; a ValueError for any other shape."""
        return cut(signal, self.config)

    def filled(self, signal: Tensor, visible: Tensor | None) -> Tensor:
        """[B, L, T] with `mask_value`, a number per lead, in place of the hidden samples (SimMIM; Xie et al., 2022)."""
        patches = self.patches(signal)
        if visible is not None:
            hidden = hidden_from(visible, self.config.n_patches)[..., None]
            patches = torch.where(hidden, self.mask_value[:, None, None], patches)
        return patches.flatten(2)

    def over_time(self, tokens: Tensor) -> Tensor:
        """One token per stretch of time, [B, n, D]."""
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Mean over time, [B, D]."""
        return tokens.mean(1)


class Encoder(EcgEncoder):
    """Scaled signal and the indices of its visible patches in, a token per visible patch and two SEPs per lead out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
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

    def forward(self, signal: Tensor, visible: Tensor | None = None) -> Tensor:
        """Tokens [B, L, K + 2, D], SEP first and last in each lead; visible: int64 [B, L, K], or None: all patches."""
        patches = self.patches(signal)
        if visible is None:
            visible = torch.arange(self.config.n_patches, device=signal.device).expand(1, self.config.n_leads, -1)
        index = visible[..., None].expand(len(patches), -1, -1, self.config.patch)
        tokens = self.patch_embedding(patches.gather(2, index))
        sep = self.sep.expand(*tokens.shape[:2], 1, -1)
        position = with_separators(visible, self.n_positions)
        tokens = torch.cat((sep, tokens, sep), 2) + self.position[position] + self.lead_embedding
        codes = token_codes(position, self.n_positions, self.config.n_leads).to(tokens.dtype)
        flat = tokens.flatten(1, 2)
        for block in self.blocks:
            flat = block(flat, codes)
        return self.norm(flat).view(tokens.shape)

    def over_time(self, tokens: Tensor) -> Tensor:
        """The patch tokens of each time averaged over leads, [B, N, D]; tokens: [B, L, N + 2, D], nothing hidden."""
        return tokens[:, :, 1:-1].mean(1)

    def pool(self, tokens: Tensor) -> Tensor:
        """Mean of the patch tokens without SEPs, [B, D] (Sec. 3.3: average pooling of the visible representations)."""
        return tokens[:, :, 1:-1].mean((1, 2))


# -- decoder ----------------------------------------------------------------------------------------------------------


class Decoder(nn.Module):
    """Predicts patches from the tokens of the visible ones (Sec. 3.3; the Gaussian decoder's mean of Eq. 5): mask
    tokens where patches were hidden, a few blocks, one linear map back to samples. `DecoderConfig.attention` says what
    attends to what; with cross, it is the decoder of CrossMAE (Fu et al., 2024, arXiv 2401.14391).
    """

    def __init__(self, config: DecoderConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        self.n_patches, self.n_leads, self.attention = encoder.n_patches, encoder.n_leads, config.attention
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

    def forward(self, tokens: Tensor, visible: Tensor, decoded: Tensor | None = None) -> Tensor:
        """Predicted patches [B, L, N, patch]; tokens: [B, L, K + 2, D]; visible: int64 [B, L, K]; decoded: int64
        [B, L, M], the hidden patches that are predicted, None: all of them. What is not predicted is 0.
        """
        memory = self.narrow(tokens)
        batch, leads, _, width = memory.shape
        seen = with_separators(visible, self.n_positions).expand(batch, -1, -1)
        if decoded is None:
            hidden = hidden_from(visible, self.n_patches).expand(batch, -1, -1).int()
            first = hidden.argsort(
                stable=True, dim=-1, descending=True
            )  # no nonzero, whose shape a compiler does not know
            decoded = first[..., : self.n_patches - visible.shape[-1]]
        masks = self.mask_token.to(memory.dtype)
        if self.attention == "cross":
            memory = (memory + self.position[seen] + self.lead_embedding).flatten(1, 2)
            states = masks + self.position[decoded + 1].to(masks.dtype) + self.lead_embedding
            codes, of_memory = (
                token_codes(at, self.n_positions, self.n_leads).to(memory.dtype) for at in (decoded + 1, seen)
            )
            for block in self.blocks:
                states = block(states.flatten(1, 2), codes, memory, of_memory).view(states.shape)
            values, place = self.head(states), decoded
        else:
            # all tokens of a lead in the order of time: those of the encoder at their ranks, mask tokens between them
            position, order = torch.cat((seen, decoded + 1), -1).sort(-1)
            n, rank = position.shape[-1], order.argsort(-1)[..., : seen.shape[-1], None].expand_as(memory)
            states = masks.expand(batch, leads, n, width).scatter(2, rank, memory)
            states = states + self.position[position] + self.lead_embedding
            alike = position[:1] if n == self.n_positions else position  # whole leads: one code for all recordings
            codes = token_codes(alike, self.n_positions, self.n_leads).to(states.dtype)
            by_lead = codes.view(*alike.shape, -1).expand(batch, -1, -1, -1)
            for number, block in enumerate(self.blocks):
                if self.attention == "joint":
                    mixed = block(states.flatten(1, 2), codes)
                elif self.attention == "axial" and number % 2:  # over the leads of an instant
                    mixed = block(states.transpose(1, 2).flatten(0, 1), by_lead.transpose(1, 2).flatten(0, 1))
                    mixed = mixed.view(batch, n, leads, width).transpose(1, 2)
                else:
                    mixed = block(states.flatten(0, 1), by_lead.flatten(0, 1))
                states = mixed.reshape(states.shape)
            values, place = self.head(states[:, :, 1:-1]), position[..., 1:-1] - 1
        whole = values.new_zeros(batch, leads, self.n_patches, values.shape[-1])
        return whole.scatter(2, place[..., None].expand_as(values), values)
