"""Settings of what stands beside the paper's recipe: other encoders, and objectives of peers trained in its place.

A part of `merit.config`, where they are imported from. Imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass

PEER_OBJECTIVES = ("merl", "simclr", "clocs")
"""Objectives of peers; a fourth peer, ST-MEM, is the objective mse with other settings (`merit.methods`)."""


@dataclass(frozen=True, kw_only=True)
class TinyVitConfig:
    """The hierarchical encoder, a value a stage; the defaults are TinyViT-5M's (Wu et al., 2022)."""

    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    """Blocks: convolutional ones in the first stage, transformer blocks in the others."""
    heads: tuple[int, ...] = (2, 4, 5, 10)
    """The first stage, which does not attend, has no use for its own; nor for its window."""
    windows: tuple[int, ...] = (7, 7, 14, 7)
    """Tokens that attend to each other."""

    def __post_init__(self) -> None:
        for name in ("widths", "depths", "heads", "windows"):
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)  # JSON has lists
            if len(values) != len(self.widths) or min(values, default=0) < 1:
                raise ValueError(f"{name}: expected {len(self.widths)} numbers above 0, one a stage; got {values}")
        for width, heads in zip(self.widths[1:], self.heads[1:]):
            if width % heads:
                raise ValueError(f"widths: expected a multiple of the stage's heads = {heads}; got {width}")


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """How the objectives that contrast two views of one recording make and compare them."""

    temperature: float = 0.1
    """Of simclr and clocs (Chen et al., 2020, on ImageNet; Kiyasseh et al., 2021). merl has the model's."""
    crop_least: float = 0.5
    """simclr: a view is a crop of this share of the recording, up to all of it, stretched to full length."""
    gain: float = 0.2
    """simclr: a view is multiplied by 1 plus or minus up to this, before the noise, whose share it so changes."""
    noise_mv: float = 0.05
    """simclr: standard deviation of the white noise that a view gets, millivolts."""
    lead_drop: float = 0.1
    """simclr: probability that a view lacks a lead (zeros); at least one lead stays."""
    dropout: float = 0.1
    """merl: probability that a number of a pooled and mapped latent is dropped (MERL's code)."""

    def __post_init__(self) -> None:
        if self.temperature <= 0 or not 0 < self.crop_least <= 1:
            raise ValueError(
                f"views: expected temperature above 0 and crop_least above 0, at most 1; got {self.temperature} and "
                f"{self.crop_least}"
            )
        if min(self.gain, self.noise_mv) < 0 or not (0 <= self.lead_drop < 1 and 0 <= self.dropout < 1):
            raise ValueError(
                "views: expected gain and noise_mv from 0, lead_drop and dropout from 0 and below 1; got "
                f"{self.gain}, {self.noise_mv}, {self.lead_drop} and {self.dropout}"
            )


@dataclass(frozen=True, kw_only=True)
class TextTowerConfig:
    """The last layers of the text encoder, where they are trained with the network; all is read from that encoder."""

    layers: int
    """How many of its layers, from the last one; those below stay frozen."""
    width: int
    heads: int
    hidden: int
    """Width inside a layer's MLP."""
    eps: float = 1e-12
    """Of its layer norms."""
    pooling: str = "mean"
    """As `TextConfig.pooling`."""
