"""What a signal is divided by before the encoder sees it. All of it runs on the device, on whole batches.

Shapes: B batch, L leads, T samples. Input in millivolts.
"""

from __future__ import annotations

from torch import Tensor

FLAT_MV = 1e-6
"""A recording that varies less than this is divided by it, so that it stays finite."""


def scale(signal_mv: Tensor, how: str) -> Tensor:
    """[B, L, T] scaled per recording over all leads: zscore, minmax to [0, 1] (MERL), or mv (left as it is)."""
    if how == "mv":
        return signal_mv
    if how == "minmax":
        low, high = signal_mv.amin((1, 2), keepdim=True), signal_mv.amax((1, 2), keepdim=True)
        return (signal_mv - low) / (high - low).clamp(min=FLAT_MV)
    centred = signal_mv - signal_mv.mean((1, 2), keepdim=True)
    return centred / centred.square().mean((1, 2), keepdim=True).sqrt().clamp(min=FLAT_MV)


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch by its own mean and variance, [..., patch] (the target of MAE and ST-MEM)."""
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
