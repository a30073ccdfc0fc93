"""The losses, one pure function per equation, and the table of the four objectives that are composed of them.

Shapes: B batch, L leads, N patches, D width. Booleans: hidden True = masked, valid True = takes part in alignment.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECTIVES: Mapping[str, Mapping[str, float | str]] = {
    "merit": {"info_nce": "info_nce_scale", "masked_mse": 1.0},
    "cma": {"info_nce": "info_nce_scale"},
    "mse": {"masked_mse": 1.0},
    "ib": {"info_nce": "info_nce_scale", "bottleneck": "bottleneck_strength"},
}
"""Objective -> its terms and their weights (Eq. 7, 3, 5, 9); a name in place of a number is a setting of the run."""


def info_nce(ecg: Tensor, text: Tensor, temperature: Tensor | float, valid: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE between paired rows, in nats: the mean of both directions (Eq. 3; van den Oord et al., 2018).

    ecg, text: [B, D], L2-normalised here. valid: [B]; rows that are not take part neither as anchors nor as negatives.
    The bound on the mutual information is log(number of valid rows) minus this. No valid row: 0, without gradient.
    """
    logits = F.normalize(ecg, dim=-1) @ F.normalize(text, dim=-1).T / temperature
    if valid is None:
        valid = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    blocked = logits.masked_fill(~(valid[:, None] & valid[None, :]), torch.finfo(logits.dtype).min)
    pair = logits.diagonal()
    per_row = (blocked.logsumexp(1) + blocked.logsumexp(0)) / 2 - pair
    return torch.where(valid, per_row, 0.0).sum() / valid.sum().clamp(min=1)


def masked_mse(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error over the hidden patches alone (Eq. 5 and 6, up to the constants of the Gaussian).

    prediction, target: [..., N, patch]; hidden: [..., N]. Nothing hidden gives nan.
    """
    if prediction.shape != target.shape or hidden.shape != target.shape[:-1]:
        raise ValueError(
            f"masked_mse: expected prediction and target of one shape and hidden without the last axis; got "
            f"{tuple(prediction.shape)}, {tuple(target.shape)}, {tuple(hidden.shape)}"
        )
    error = (prediction - target).square().mean(-1)
    return (error * hidden).sum() / hidden.sum()


def bottleneck(ecg: Tensor, text: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean of 1 - cosine over pairs: the penalty of Eq. 9. ecg, text: [B, D]; valid: [B] or None."""
    distance = 1 - F.cosine_similarity(ecg, text, dim=-1)
    if valid is None:
        return distance.mean()
    return (distance * valid).sum() / valid.sum().clamp(min=1)


def weights(objective: str, settings: Mapping[str, float]) -> dict[str, float]:
    """Term -> weight of an objective, with the names in `OBJECTIVES` looked up in `settings`."""
    return {term: settings[w] if isinstance(w, str) else w for term, w in OBJECTIVES[objective].items()}
