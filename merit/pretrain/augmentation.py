"""What an objective shows the network of a recording: visible patches, two augmented copies, two halves, or all of it.

All that is random is drawn for the whole batch from one generator (`train.mask_generator`), so it follows from seed and
update and not from how many processes there are; then it is shared out and applied on the device.

Shapes: B recordings, L leads, T samples, N patches of a lead, d width of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from merit.config import EncoderConfig, ModelConfig, ViewsConfig
from merit.model.vit import random_patches

AugmentParams = Mapping[str, Tensor]
"""Name -> what was drawn, one row per recording."""


class ViewBatch(NamedTuple):
    """What the network is called with, besides texts."""

    signal_mv: Tensor
    """[B, L, T]; of two views [2B, L, T], all first ones, then all second ones."""
    visible: Tensor | None = None
    """int64 [B or 2B, L, K]; None: all patches."""
    dropout: Tensor | None = None
    """[B, 2, d], factors of dropout."""
    decoded: Tensor | None = None
    """int64 [B, L, M], the hidden patches that are predicted; None: all of them."""


class Augmentation(NamedTuple):
    """How recordings are shown to the network."""

    draw: Callable[[int, ModelConfig, ViewsConfig, Generator], AugmentParams]
    """Number of recordings, settings, generator -> all that is random."""
    apply: Callable[[Tensor, AugmentParams, EncoderConfig], ViewBatch]
    """Signals in mV [B, L, T] and what was drawn for them -> what the network sees."""


# -- the paper's: one view of each recording, most of it hidden (Sec. 3.3), or none of it at mask ratio 0 -------------


def draw_masks(n: int, model: ModelConfig, views: ViewsConfig, generator: Generator) -> dict[str, Tensor]:
    """Which patches stay visible, int64 [n, L, K], and which of the others are predicted, [n, L, M], where not all are;
    nothing is drawn where none is hidden.
    """
    if not model.hides:
        return {}
    shape, share = (n, model.encoder.n_leads, model.encoder.n_patches), model.decoder.decode_share
    visible, decoded = random_patches(shape, model.mask_ratio, share, generator)
    return {"visible": visible} | ({"decoded": decoded} if share < 1 else {})


MASKED = Augmentation(draw_masks, lambda signal_mv, params, encoder: ViewBatch(signal_mv, **params))

# -- MERL: dropout on two maps of one latent --------------------------------------------------------------------------


def draw_dropout(n: int, model: ModelConfig, views: ViewsConfig, generator: Generator) -> AugmentParams:
    """0 where a number is dropped, else what keeps the expectation; [n, 2, d] (MERL: independent for the two views)."""
    noise = torch.rand((n, 2, model.shared_width), generator=generator, device=generator.device)
    return {"dropout": (noise >= views.dropout) / (1 - views.dropout)}


# -- SimCLR: two augmented copies (Chen et al., 2020) -----------------------------------------------------------------


def draw_augmentations(n: int, model: ModelConfig, views: ViewsConfig, generator: Generator) -> AugmentParams:
    """How both views of n recordings are augmented, each [n, 2, ...]; see `augmented`."""
    leads, samples = model.encoder.n_leads, model.encoder.n_samples
    uniform = partial(torch.rand, generator=generator, device=generator.device)
    share = views.crop_least + (1 - views.crop_least) * uniform(n, 2)
    start, gain = uniform(n, 2) * (1 - share), 1 + views.gain * (2 * uniform(n, 2) - 1)
    noise = torch.randn((n, 2, leads, samples), generator=generator, device=generator.device)
    chance = uniform(n, 2, leads)
    dropped = (chance < views.lead_drop) & (chance < chance.amax(-1, keepdim=True))  # at least one lead stays
    return {"share": share, "start": start, "gain": gain, "noise_mv": views.noise_mv * noise, "dropped": dropped}


def two_augmented(signal_mv: Tensor, params: AugmentParams, encoder: EncoderConfig) -> ViewBatch:
    """Both views of each recording."""
    return ViewBatch(torch.cat([augmented(signal_mv, {k: v[:, i] for k, v in params.items()}) for i in range(2)]))


def augmented(signal_mv: Tensor, params: AugmentParams) -> Tensor:
    """One view, [B, L, T]: cropped, stretched, multiplied, with noise, some leads set to zero.

    params: share and start of the crop, as shares of the recording, and gain [B]; noise_mv [B, L, T]; dropped [B, L].
    """
    view = stretched(signal_mv, params["start"], params["share"]) * params["gain"][:, None, None] + params["noise_mv"]
    return torch.where(params["dropped"][..., None], 0.0, view)


def stretched(signal: Tensor, start: Tensor, share: Tensor) -> Tensor:
    """The part from `start` that is `share` long, [B] as shares of the recording, stretched to [B, L, T] (linearly)."""
    last = signal.shape[-1] - 1
    along = torch.arange(last + 1, device=signal.device)
    place = (start[:, None] * last + share[:, None] * along).clamp(max=last)
    left = place.long().clamp(max=last - 1)
    weight = (place - left)[:, None]
    before, after = (signal.gather(-1, at[:, None].expand_as(signal)) for at in (left, left + 1))
    return before * (1 - weight) + after * weight


# -- CLOCS: two halves in time (Kiyasseh et al., 2021) ----------------------------------------------------------------


def two_halves(signal_mv: Tensor, params: AugmentParams, encoder: EncoderConfig) -> ViewBatch:
    """Both halves in time, each at its own place: the other half's patches are not visible.

    The samples of a half stand in the place of the other half too, where no patch is visible: so the recording is
    scaled by what is shown of it alone. ValueError for an odd number of patches.
    """
    n, middle = encoder.n_patches, signal_mv.shape[-1] // 2
    if n % 2:
        raise ValueError(f"patch: expected an even number of patches, to halve a recording; got {n}")
    halves = torch.cat([half.repeat(1, 1, 2) for half in (signal_mv[..., :middle], signal_mv[..., middle:])])
    patches = torch.arange(n, device=signal_mv.device).view(2, n // 2)
    visible = patches.repeat_interleave(len(signal_mv), 0)[:, None].expand(-1, encoder.n_leads, -1)
    return ViewBatch(halves, visible)


AUGMENTATIONS = {
    "merl": Augmentation(
        draw_dropout, lambda signal_mv, params, encoder: ViewBatch(signal_mv, dropout=params["dropout"])
    ),
    "simclr": Augmentation(draw_augmentations, two_augmented),
    "clocs": Augmentation(lambda n, model, views, generator: {}, two_halves),
}
"""Objective -> how its recordings are shown; `MASKED` for those that are not here."""


def augmentation(objective: str, *, views: bool = False) -> Augmentation:
    """How an objective is shown recordings; views: with factors of dropout, where they are added to it."""
    if not views:
        return AUGMENTATIONS.get(objective, MASKED)
    return Augmentation(lambda *given: {**draw_masks(*given), **draw_dropout(*given)}, MASKED.apply)
