"""Transformer blocks whose attention carries learned biases over (query lead, key lead) and over the offset in time.

The biases are what TinyViT calls attention biases, on two axes. Two kernels give the same numbers but for rounding:
`sdpa`, the reference, carries the biases in columns of queries and keys; `flex` (FlexAttention) adds them to the scores
as it computes them, which wants torch.compile and, for gradients, a GPU. Shapes: B batch, H heads, n tokens, D width,
L leads, P positions of a lead (its patches and the two SEP tokens).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNELS = ("sdpa", "flex")


def token_codes(position: Tensor, n_positions: int, n_leads: int) -> Tensor:
    """One-hot codes of each token's position, [B, n, P + L]; position: [B, L, K], integers below n_positions.

    A bias that depends on two tokens' positions alone is the product of their codes through one small table, which is
    how `BiasedAttention` adds it without ever writing an n x n mask.
    """
    batch, leads, kept = position.shape
    lead = torch.arange(n_leads, device=position.device)[None, :, None].expand(batch, leads, kept)
    codes = (F.one_hot(position, n_positions), F.one_hot(lead, n_leads))
    return torch.cat(codes, -1).flatten(1, 2)


class BiasedAttention(nn.Module):
    """Multi-head attention to a sequence's own tokens or to another's; `bias_start` None leaves the biases out."""

    def __init__(self, width: int, heads: int, n_positions: int, n_leads: int, bias_start: float | None) -> None:
        super().__init__()
        self.heads, self.n_positions, self.kernel = heads, n_positions, "sdpa"
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.has_bias = bias_start is not None
        if self.has_bias:
            self.offset_bias = nn.Parameter(torch.zeros(heads, 2 * n_positions - 1))
            self.lead_bias = nn.Parameter(torch.randn(heads, n_leads, n_leads) * 0.02)
            nn.init.constant_(self.offset_bias[:, n_positions - 1 : n_positions], bias_start)
            place = torch.arange(n_positions)
            self.register_buffer("offset", place[:, None] - place[None, :] + n_positions - 1, persistent=False)

    def forward(
        self, tokens: Tensor, codes: Tensor, memory: Tensor | None = None, memory_codes: Tensor | None = None
    ) -> Tensor:
        """[B, n, D]; tokens: [B, n, D]; codes: [B or 1, n, P + L] of `token_codes`, in the tokens' dtype; memory:
        [B, m, D] with codes of its own, the tokens that are attended to in place of the sequence's own.
        """
        batch, n, width = tokens.shape
        if memory is None:
            q, k, v = self.qkv(tokens).view(batch, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
            memory_codes = codes
        else:
            (of_q, of_kv), (bias_q, bias_kv) = (x.split((width, 2 * width)) for x in (self.qkv.weight, self.qkv.bias))
            q = F.linear(tokens, of_q, bias_q).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            k, v = F.linear(memory, of_kv, bias_kv).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scale = q.shape[-1] ** -0.5
        if self.kernel == "flex" and self.training:
            mixed = self._flex(q, k, v, codes, memory_codes, scale)
        else:
            if self.has_bias:
                # q.k + code_i.table.code_j as one product: queries and keys grow by P + L columns, no mask is
                # materialised; the table is block-diagonal, biases over time offsets, then over pairs of leads.
                time = self.offset_bias[:, self.offset]
                positions, leads = time.shape[-1], self.lead_bias.shape[-1]
                table = F.pad(time, (0, leads, 0, leads)) + F.pad(self.lead_bias, (positions, 0, positions, 0))
                rows = codes[:, None] @ table.to(codes.dtype)
                q = torch.cat((q * scale, rows.expand(batch, -1, -1, -1)), -1)
                k = torch.cat((k, memory_codes[:, None].expand(batch, self.heads, -1, -1)), -1)
                v, scale = F.pad(v, (0, codes.shape[-1])), 1.0
            mixed = F.scaled_dot_product_attention(q, k, v, scale=scale)[..., : width // self.heads]
        return self.out(mixed.transpose(1, 2).reshape(batch, n, width))

    def _flex(self, q: Tensor, k: Tensor, v: Tensor, codes: Tensor, memory_codes: Tensor, scale: float) -> Tensor:
        """[B, H, n, D / H]: the same by FlexAttention, the biases looked up by the tokens' places."""
        # imported here: it takes seconds and starts threads
        from torch.nn.attention.flex_attention import flex_attention

        if not self.has_bias:
            return flex_attention(q, k, v, scale=scale)
        time, of_time = (x[..., : self.n_positions].argmax(-1).expand(len(q), -1) for x in (codes, memory_codes))
        lead, of_lead = (x[..., self.n_positions :].argmax(-1).expand(len(q), -1) for x in (codes, memory_codes))

        def biased(score: Tensor, b: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
            """A score of query i and key j, with both biases."""
            offset = time[b, i] - of_time[b, j] + self.n_positions - 1
            return score + self.offset_bias[head, offset] + self.lead_bias[head, lead[b, i], of_lead[b, j]]

        return flex_attention(q, k, v, score_mod=biased, scale=scale)


def use_kernel(network: nn.Module, kernel: str) -> int:
    """Let every biased attention of a network train by a kernel of `KERNELS`; how many there are. In evaluation mode,
    which is not compiled, it is the reference.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, BiasedAttention)]
    for layer in layers:
        layer.kernel = kernel
    return len(layers)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then an MLP of four times the width."""

    def __init__(self, width: int, heads: int, n_positions: int, n_leads: int, bias_start: float | None) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = BiasedAttention(width, heads, n_positions, n_leads, bias_start)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, tokens: Tensor, codes: Tensor, memory: Tensor | None = None, memory_codes: Tensor | None = None
    ) -> Tensor:
        """[B, n, D]; arguments as for `BiasedAttention`, before the norm."""
        attended = None if memory is None else self.norm1(memory)
        tokens = tokens + self.attention(self.norm1(tokens), codes, attended, memory_codes)
        return tokens + self.mlp(self.norm2(tokens))


def sin_cos(n_positions: int, width: int) -> Tensor:
    """Fixed sine-cosine position codes, [P, D] (Vaswani et al., 2017, with base 100: a lead has tens of positions)."""
    frequency = 100 ** -(torch.arange(width // 2) / (width // 2))
    angle = torch.arange(n_positions)[:, None] * frequency
    return torch.cat((angle.sin(), angle.cos()), 1)
