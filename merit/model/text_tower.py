"""The last layers of the text encoder as a part of the network, for when they are trained with it.

BERT's layers under BERT's names, so that their weights go from a Hugging Face model into the network and back. Without
dropout: nothing random has a state. Shapes: B recordings, g texts of a group, n tokens of its longest, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from merit.config import TextTowerConfig


class Layer(nn.Module):
    """A layer of BERT: attention, then an MLP, each added to what it read and normalised (Devlin et al., 2019)."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads

        def out(inner: int) -> nn.ModuleDict:
            """Back to the width, and the norm of the sum."""
            return nn.ModuleDict({"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=config.eps)})

        read = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": read, "output": out(width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.hidden)})
        self.output = out(config.hidden)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """states: [g, n, W]; real: bool [g, n], False = padding, which nothing attends to."""
        read, out = self.attention["self"], self.attention["output"]
        q, k, v = (read[name](states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in read)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None])
        states = out["LayerNorm"](states + out["dense"](mixed.transpose(1, 2).flatten(2)))
        inner = F.gelu(self.intermediate["dense"](states))
        return self.output["LayerNorm"](states + self.output["dense"](inner))


class TextTower(nn.Module):
    """From the states below the trained layers to one embedding a recording."""

    def __init__(self, config: TextTowerConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, words: tuple) -> Tensor:
        """[B, W]; words: a `merit.data.batches.Words`."""
        groups, place = words
        return torch.cat([self.embed(states, real) for states, real in groups])[place]

    def embed(self, states: Tensor, real: Tensor) -> Tensor:
        """[g, W] of one group, pooled as the frozen encoder pools."""
        for layer in self.layer:
            states = layer(states, real)
        if self.pooling == "cls":
            return states[:, 0]
        weight = real[..., None].to(states.dtype)
        return (states * weight).sum(1) / weight.sum(1)
