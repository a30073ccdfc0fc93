"""Whether the leads of a recording are on one scale, so that they can be compared with each other.

Legend: N recordings, T samples.
"""

from __future__ import annotations

import numpy as np

MOST = 0.05
"""Largest root mean square of II − I − III, as a share of the limb leads' own, under which Einthoven's law holds."""
CHUNK = 256


def on_one_scale(signal_uv: np.ndarray) -> np.ndarray:
    """bool [N]: whether II = I + III in signal_uv [N, 12, T], apart from offsets.

    A recording whose leads were each scaled by themselves (as some copies of PTB-XL are) breaks the law; its intervals
    are sound, its axis and the proportions of its leads are not.
    """
    found = [_holds(np.asarray(signal_uv[k : k + CHUNK, :3])) for k in range(0, len(signal_uv), CHUNK)]
    return np.concatenate([np.zeros(0, bool), *found])


def _holds(limb_uv: np.ndarray) -> np.ndarray:
    """bool [n] for the first three of `LEADS`, which are I, II and III: [n, 3, T]."""
    centred = limb_uv - limb_uv.mean(axis=2, dtype=np.float64, keepdims=True)
    left = centred[:, 1] - centred[:, 0] - centred[:, 2]
    return (left**2).mean(axis=1) <= MOST**2 * (centred**2).mean(axis=(1, 2))
