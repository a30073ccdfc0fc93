"""From an encoder's tokens to tokens of the language model, after MedTVT-R1's adapter.

B batch, n encoder tokens, D encoder width, P width inside, E ECG tokens, H language model's width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

N_BLOCKS = 3
"""Residual blocks after the projection to H (MedTVT-R1's code)."""


class GatedBlock(nn.Module):
    """x + down(silu(gate(r)) * up(r)) with r = RMSNorm(x), without biases and as wide inside as outside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.gate, self.up, self.down = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] -> [..., H]."""
        r = self.norm(x)
        return x + self.down(nn.functional.silu(self.gate(r)) * self.up(r))


class Projector(nn.Module):
    """Unit-length encoder tokens -> recurrent layer -> attention pooling to E tokens -> Linear -> gated blocks.

    The recurrent layer is MedTVT-R1's plain one (tanh). Each of the E tokens has a query of its own, a softmax over the
    n tokens; E = 1 is the original. A pooled embedding [B, D] is a sequence of one token.
    """

    def __init__(self, encoder_width: int, width: int, lm_width: int, ecg_tokens: int = 1) -> None:
        super().__init__()
        self.encoder_width = encoder_width
        self.recurrent = nn.RNN(encoder_width, width, batch_first=True)
        self.queries = nn.Linear(width, ecg_tokens, bias=False)  # a softmax would not see a bias
        self.to_lm = nn.Linear(width, lm_width)
        self.blocks = nn.Sequential(*(GatedBlock(lm_width) for _ in range(N_BLOCKS)))

    def forward(self, ecg: Tensor) -> Tensor:
        """[B, E, H] from [B, n, D] or [B, D]; a ValueError for another width."""
        if ecg.ndim not in (2, 3) or ecg.shape[-1] != self.encoder_width:
            raise ValueError(
                f"ecg: expected [B, n, {self.encoder_width}] or [B, {self.encoder_width}]; got {[*ecg.shape]}"
            )
        tokens = ecg[:, None] if ecg.ndim == 2 else ecg
        states, _ = self.recurrent(nn.functional.normalize(tokens, dim=-1))
        return self.blocks(self.to_lm(attention_pool(states, self.queries(states))))


def attention_pool(states: Tensor, scores: Tensor) -> Tensor:
    """[B, E, P]: for each of E queries, the mean of `states` [B, n, P] weighted by softmax of `scores` [B, n, E]."""
    return torch.einsum("bne,bnp->bep", scores.softmax(1), states)
