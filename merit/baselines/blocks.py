"""What the transformers of ST-MEM and ECG-JEPA share, without weights: attention, and sine-cosine positions.

Shapes: B batch, n tokens, A width of all heads together.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def attend(qkv: Tensor, heads: int, allowed: Tensor | None = None) -> Tensor:
    """[B, n, A] of multi-head attention from queries, keys and values side by side, [B, n, 3 A].

    allowed: bool [n, n], True where a token (row) reads another (column); None: everywhere.
    """
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2).flatten(2)


def sin_cos(n: int, width: int) -> Tensor:
    """float32 [n, width]: the sines of a position at falling frequencies, then its cosines (Vaswani et al. 2017).

    width: even; the frequencies are 10000^(-2 i / width) for i from 0 to width / 2 - 1.
    """
    half = width // 2
    angle = np.arange(n)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    return torch.tensor(np.concatenate((np.sin(angle), np.cos(angle)), 1).astype(np.float32))
