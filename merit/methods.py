"""Names of encoders that are pretrained here, and what each stands for: an objective, and changes of the network.

The paper's four objectives are names themselves (ib-0.1: with another strength); cma-whole is one of them without a
mask. The peers' are trained on the same recordings, with the same updates, optimiser and evaluation: our
implementation of their objectives, not their systems.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from merit.config import OBJECTIVE_NAMES, ModelConfig, replace


def unchanged(model: ModelConfig) -> ModelConfig:
    """The profile's network."""
    return model


def whole(model: ModelConfig) -> ModelConfig:
    """Nothing hidden: the encoder is trained on whole recordings, as it is used."""
    return replace(model, mask_ratio=0.0)


def st_mem(model: ModelConfig) -> ModelConfig:
    """ST-MEM (Na et al., 2024): no attention biases, a decoder lead by lead, each patch normalised by itself."""
    encoder = replace(model.encoder, kind="vit", bias_start=None)
    return replace(model, encoder=encoder, decoder=replace(model.decoder, attention="lead"), patch_target=True)


def merl(model: ModelConfig) -> ModelConfig:
    """MERL's backbone (Liu et al., 2024), as wide as the profile says."""
    return replace(model, encoder=replace(model.encoder, kind="resnet18"))


class Method(NamedTuple):
    """What a name of an encoder stands for."""

    objective: str
    """One of `objectives.OBJECTIVES`."""
    model: Callable[[ModelConfig], ModelConfig] = unchanged
    """The profile's network -> its own."""
    strength: float | None = None
    """Of the bottleneck; None: the profile's."""


ABLATIONS = {"cma-whole": Method("cma", whole)}
"""Encoder -> an objective of the paper with one more part taken away: alignment alone, without the mask that only
reconstruction needs.
"""
PEERS = {
    "st-mem-ours": Method("mse", st_mem),
    "merl-ours": Method("merl", merl),
    "simclr": Method("simclr"),
    "clocs": Method("clocs"),
}
"""Encoder -> a peer's method, trained here."""
TRAINED_NAMES = (*OBJECTIVE_NAMES, *ABLATIONS, *PEERS)
"""Encoders that `merit pretrain --objective` trains, without the bottleneck's other strengths."""
WITHOUT_TEXT = ("mse", "simclr", "clocs")
"""Objectives that read no reports."""


def method(encoder: str) -> Method:
    """What an encoder's name stands for; a ValueError lists the names that are pretrained here."""
    if named := {**ABLATIONS, **PEERS}.get(encoder):
        return named
    name, _, strength = encoder.partition("-")
    if name == "ib" and strength:
        try:
            return Method(name, strength=float(strength))
        except ValueError:
            pass
    elif encoder in OBJECTIVE_NAMES:
        return Method(encoder)
    known = ", ".join((*TRAINED_NAMES, "random"))
    raise ValueError(f"encoder: expected one of {known}, or ib-STRENGTH such as ib-0.1; got {encoder!r}")


def without_text(encoder: str) -> bool:
    """Whether an encoder was pretrained here without reports, so that it shares no space with texts."""
    return encoder in TRAINED_NAMES and method(encoder).objective in WITHOUT_TEXT
