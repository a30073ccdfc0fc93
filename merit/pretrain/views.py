"""What an objective shows the network of a recording: visible patches, two altered copies, two halves, or all of it.

All that is random is drawn for the whole batch from one generator (`step.mask_generator`), so it follows from seed and
update and not from how many processes there are; then it is shared out and applied on the device.

B recordings, L leads, T samples, N patches of a lead, d width of the shared space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from merit.config import EncoderConfig, ModelConfig, ViewsConfig
from merit.model.masking import random_visible

Drawn = Mapping[str, Tensor]
"""Name -> what was drawn, a row a recording."""


class Shown(NamedTuple):
    """What the network is called with, besides texts."""

    signal_mv: Tensor
    """[B, L, T]; of two views [2B, L, T], first ones first."""
    visible: Tensor | None = None
    """int64 [B or 2B, L, K]; None: all patches."""
    kept: Tensor | None = None
    """[B, 2, d], what dropout multiplies with."""


class Way(NamedTuple):
    """One of the ways of showing recordings."""

    draw: Callable[[int, ModelConfig, ViewsConfig, Generator], Drawn]
    """Number of recordings, settings, generator -> all that is random."""
    show: Callable[[Tensor, Drawn, EncoderConfig], Shown]
    """Signals in mV [B, L, T] and what was drawn for them -> what the network sees."""


def visible_patches(n: int, model: ModelConfig, views: ViewsConfig, generator: Generator) -> Drawn:
    """Which patches stay visible, int64 [n, L, K]; nothing is drawn where none is hidden."""
    if not model.hides:
        return {}
    shape = (n, model.encoder.n_leads, model.encoder.n_patches)
    return {"visible": random_visible(shape, model.mask_ratio, generator)}


def dropout(n: int, model: ModelConfig, views: ViewsConfig, generator: Generator) -> Drawn:
    """0 where a number is dropped, else what keeps the expectation; [n, 2, d] (MERL: both views by themselves)."""
    noise = torch.rand((n, 2, model.shared_width), generator=generator, device=generator.device)
    return {"kept": (noise >= views.dropout) / (1 - views.dropout)}


def alterations(n: int, model: ModelConfig, views: ViewsConfig, generator: Generator) -> Drawn:
    """How both views of n recordings are altered, each [n, 2, ...]; see `altered`."""
    leads, samples = model.encoder.n_leads, model.encoder.n_samples
    uniform = partial(torch.rand, generator=generator, device=generator.device)
    share = views.crop_least + (1 - views.crop_least) * uniform(n, 2)
    start, gain = uniform(n, 2) * (1 - share), 1 + views.gain * (2 * uniform(n, 2) - 1)
    noise = torch.randn((n, 2, leads, samples), generator=generator, device=generator.device)
    chance = uniform(n, 2, leads)
    dropped = (chance < views.lead_drop) & (chance < chance.amax(-1, keepdim=True))  # at least one lead stays
    return {"share": share, "start": start, "gain": gain, "noise_mv": views.noise_mv * noise, "dropped": dropped}


def two_altered(signal_mv: Tensor, drawn: Drawn, encoder: EncoderConfig) -> Shown:
    """Both views of each recording, all first ones, then all second ones (Chen et al., 2020)."""
    return Shown(torch.cat([altered(signal_mv, {k: v[:, view] for k, v in drawn.items()}) for view in range(2)]))


def altered(signal_mv: Tensor, drawn: Drawn) -> Tensor:
    """One view, [B, L, T]: cropped, stretched, multiplied, with noise, some leads gone.

    drawn: share and start of the crop, as shares of the recording, and gain [B]; noise_mv [B, L, T]; dropped [B, L].
    """
    view = stretched(signal_mv, drawn["start"], drawn["share"]) * drawn["gain"][:, None, None] + drawn["noise_mv"]
    return torch.where(drawn["dropped"][..., None], 0.0, view)


def stretched(signal: Tensor, start: Tensor, share: Tensor) -> Tensor:
    """The part from `start` that is `share` long, [B] as shares of the recording, stretched to [B, L, T] (linearly)."""
    last = signal.shape[-1] - 1
    along = torch.arange(last + 1, device=signal.device)
    place = (start[:, None] * last + share[:, None] * along).clamp(max=last)
    left = place.long().clamp(max=last - 1)
    weight = (place - left)[:, None]
    before, after = (signal.gather(-1, at[:, None].expand_as(signal)) for at in (left, left + 1))
    return before * (1 - weight) + after * weight


def two_halves(signal_mv: Tensor, drawn: Drawn, encoder: EncoderConfig) -> Shown:
    """Both halves in time, each at its own place: the other half's patches are not visible (Kiyasseh et al., 2021).

    The samples of a half stand in the place of the other half too, where no patch is visible: so the recording is
    scaled by what is shown of it alone. ValueError for an odd number of patches.
    """
    n, middle = encoder.n_patches, signal_mv.shape[-1] // 2
    if n % 2:
        raise ValueError(f"patch: expected an even number of patches, to halve a recording; got {n}")
    halves = torch.cat([half.repeat(1, 1, 2) for half in (signal_mv[..., :middle], signal_mv[..., middle:])])
    patches = torch.arange(n, device=signal_mv.device).view(2, n // 2)
    visible = patches.repeat_interleave(len(signal_mv), 0)[:, None].expand(-1, encoder.n_leads, -1)
    return Shown(halves, visible)


MASKED = Way(visible_patches, lambda signal_mv, drawn, encoder: Shown(signal_mv, drawn.get("visible")))
"""The paper's: one view of each recording, most of it hidden (Sec. 3.3), or none of it at mask ratio 0."""
WAYS = {
    "merl": Way(dropout, lambda signal_mv, drawn, encoder: Shown(signal_mv, kept=drawn["kept"])),
    "simclr": Way(alterations, two_altered),
    "clocs": Way(lambda n, model, views, generator: {}, two_halves),
}
"""Objective -> its way; `MASKED` for those that are not here."""


def way(objective: str) -> Way:
    """How an objective is shown recordings."""
    return WAYS.get(objective, MASKED)
