"""The losses, one pure function per equation, and the table of the objectives that are composed of them: the paper's
four, and those of peers that are trained here on the same recordings.

Shapes: B batch, L leads, N patches, D width. Booleans: hidden True = masked, valid True = takes part in alignment.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECTIVES: Mapping[str, Mapping[str, float | str]] = {
    "merit": {"info_nce": "info_nce_scale", "masked_mse": "masked_mse_scale"},
    "cma": {"info_nce": "info_nce_scale"},
    "mse": {"masked_mse": 1.0},
    "ib": {"info_nce": "info_nce_scale", "bottleneck": "bottleneck_strength"},
    "merl": {"info_nce": "info_nce_scale", "dropout_views": "info_nce_scale"},
    "simclr": {"nt_xent": 1.0},
    "clocs": {"segments": 1.0},
}
"""Objective -> its terms and their weights (Eq. 7, 3, 5, 9; then the peers'); a name in place of a number is a setting
of the run. The term dropout_views is `info_nce` between two dropout views of one latent (MERL's uni-modal alignment).
"""


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


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding a view's partner among all other views, in nats (NT-Xent; Chen et al., 2020, Eq. 1).

    one, other: [B, D], two views of each recording, L2-normalised here. Mean over the 2B views; each has 2B - 1
    candidates, so that views without a relation give log(2B - 1).
    """
    views = F.normalize(torch.cat((one, other)), dim=-1)
    logits = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    partner = logits.diagonal(len(one))
    return logits.masked_fill(itself, torch.finfo(logits.dtype).min).logsumexp(1).mean() - partner.mean()


def segments(first: Tensor, second: Tensor, patient: Tensor, temperature: float) -> Tensor:
    """Contrastive multi-segment coding, in nats (CLOCS; Kiyasseh et al., 2021, Eq. 1 to 3).

    first, second: [B, D], adjacent segments of each recording, L2-normalised here. patient: [B], equal where patients
    are. Positive pairs are the two segments of one recording and, apart, segments of two recordings of one patient; a
    segment's candidates are all B of the other kind. Each is averaged over its pairs and both directions, then the two
    over each other, as in the authors' code (Eq. 1 adds them up); without the second kind this is `info_nce`.
    """
    logits = F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T / temperature
    surprise = -(logits.log_softmax(1) + logits.log_softmax(0)) / 2
    own = surprise.diagonal().mean()
    itself = torch.eye(len(first), dtype=torch.bool, device=first.device)
    same = (patient[:, None] == patient[None, :]) & ~itself
    others = torch.where(same, surprise, 0.0).sum() / same.sum().clamp(min=1)
    return torch.where(same.any(), (own + others) / 2, own)


def weights(objective: str, settings: Mapping[str, float]) -> dict[str, float]:
    """Term -> weight of an objective, with the names in `OBJECTIVES` looked up in `settings`, and the dropout views
    that `view_scale` adds.
    """
    terms = {term: settings[w] if isinstance(w, str) else w for term, w in OBJECTIVES[objective].items()}
    return terms | ({"dropout_views": scale} if (scale := settings.get("view_scale")) else {})
