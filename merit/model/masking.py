"""Which patches are hidden: per lead, the same count in each lead, at random (ST-MEM; Sec. 3.3).

Shapes: B batch, L leads, N patches of a lead, K visible ones. Polarity: hidden True = masked.
"""

from __future__ import annotations

import torch
from torch import Tensor


def n_visible(n_patches: int, mask_ratio: float) -> int:
    """Patches of a lead that stay visible, at least one."""
    return max(1, round(n_patches * (1 - mask_ratio)))


def random_visible(shape: tuple[int, int, int], mask_ratio: float, generator: torch.Generator) -> Tensor:
    """Indices of the visible patches, int64 [B, L, K], rising, on the generator's device; shape: (B, L, N)."""
    noise = torch.rand(shape, generator=generator, device=generator.device)
    return noise.argsort(-1)[..., : n_visible(shape[-1], mask_ratio)].sort(-1).values


def hidden_from(visible: Tensor, n_patches: int) -> Tensor:
    """Boolean [B, L, N], True where a patch is not in visible [B, L, K]."""
    hidden = torch.ones(*visible.shape[:-1], n_patches, dtype=torch.bool, device=visible.device)
    return hidden.scatter(-1, visible, False)
