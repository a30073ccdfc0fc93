"""Settings of what stands beside the paper's recipe: other encoders, and objectives of peers trained in its place.

A part of `merit.config`, where they are imported from. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PEER_OBJECTIVES = ("merl", "simclr", "clocs")
"""Objectives of peers; a fourth peer, ST-MEM, is the objective mse with other settings (`merit.methods`)."""


def require(config: Any, words: str, holds: Callable[[Any], bool], *names: str) -> None:
    """Refuse a field for whose value `holds` is false, in one line that begins with its name; None passes, a number
    that is none (nan) does not.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not holds(value):
            raise ValueError(f"{name}: expected {words}; got {value!r}")


def require_least(config: Any, least: int, *names: str) -> None:
    """Fields that are whole numbers from `least`."""
    require(config, f"a whole number from {least}", lambda value: value >= least, *names)


def require_above_0(config: Any, *names: str) -> None:
    """Fields that are numbers above 0."""
    require(config, "a number above 0", lambda value: 0 < value < float("inf"), *names)


def require_from_0(config: Any, *names: str) -> None:
    """Fields that are numbers from 0."""
    require(config, "a number from 0", lambda value: 0 <= value < float("inf"), *names)


def require_share(config: Any, *names: str) -> None:
    """Fields that are shares, 0 to 1."""
    require(config, "a number from 0 to 1", lambda value: 0 <= value <= 1, *names)


def require_below_1(config: Any, *names: str) -> None:
    """Fields that are shares, from 0 and below 1."""
    require(config, "a number from 0 and below 1", lambda value: 0 <= value < 1, *names)


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
        require_above_0(self, "temperature")
        require(self, "a number above 0, at most 1", lambda value: 0 < value <= 1, "crop_least")
        require_from_0(self, "gain", "noise_mv")
        require_below_1(self, "lead_drop", "dropout")


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
