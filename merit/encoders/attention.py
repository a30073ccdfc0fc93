"""What the transformers of several published encoders share: attention, and sine-cosine positions.

`JointAttention` has the names that `torch.nn.MultiheadAttention` gives its parts. PyTorch's own takes a path at
inference whose operations the counter of FLOPs does not see. Shapes: B batch, n queries, m keys, W width.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor | None = None) -> Tensor:
    """[B, n, W] from queries [B, n, W], keys and values [B, m, W], whose columns are divided among the heads.

    allowed: bool [n, m], True where a query (row) reads a key (column); None: everywhere.
    """
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2).flatten(2)


class JointAttention(nn.Module):
    """Queries, keys and values from one matrix, `in_proj_weight`, in this order; then `out_proj`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) / math.sqrt(width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """[B, n, W] from [B, n, W], which attend to `context`, [B, m, W], or to themselves."""
        context = x if context is None else context
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(of, w, b) for of, w, b in zip((x, context, context), weights, biases))
        return self.out_proj(attend(q, k, v, self.heads))


def sin_cos(n: int, width: int) -> Tensor:
    """float32 [n, width]: the sines of a position at falling frequencies, then its cosines (Vaswani et al. 2017).

    width: even; the frequencies are 10000^(-2 i / width) for i from 0 to width / 2 - 1.
    """
    half = width // 2
    angle = np.arange(n)[:, None] * 10_000.0 ** (-np.arange(half) / half)
    return torch.tensor(np.concatenate((np.sin(angle), np.cos(angle)), 1).astype(np.float32))
