"""What a linear head is and what decides it: its scaling, its first values, the order of its batches.

C classes, D width, F folds, V variants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from merit.evaluate.splits import Split

AS_PUBLISHED = "as_published"
"""Features as the encoder gives them."""
STANDARDISED = "standardised"
"""Each feature less its mean, divided by its standard deviation, both of the training folds."""
VARIANTS = (AS_PUBLISHED, STANDARDISED)

CONSTANT = 1e-6
"""A feature whose sd is below this share of its mean is float32 noise around a constant: it is set to 0."""


@dataclass(frozen=True)
class Heads:
    """Trained heads, in the order of the splits they were trained on."""

    weight: np.ndarray
    """float32 [F, V, C, D + 1]; the last column is the bias."""
    offset: np.ndarray
    """float32 [F, V, D]: what is taken from each feature before it meets its weight."""
    scale: np.ndarray
    """float32 [F, V, D]: what it is then multiplied by."""
    epoch: np.ndarray
    """int [F, V]: the epoch the weights are of, from 1."""

    def logits(self, features: np.ndarray, fold: int, variant: int) -> np.ndarray:
        """float32 [n, C] for features [n, D], by the head at these two positions."""
        weight = self.weight[fold, variant]
        scaled = (features - self.offset[fold, variant]) * self.scale[fold, variant]
        return scaled @ weight[:, :-1].T + weight[:, -1]


def epoch_order(seed: int, fold: int, epoch: int, n_records: int) -> np.ndarray:
    """The order in which a fold's training records are met in an epoch (from 0); int [n_records]."""
    return np.random.default_rng([seed, fold, epoch]).permutation(n_records)


def initial_head(seed: int, fold: int, width: int, n_classes: int) -> torch.Tensor:
    """float32 [C, D + 1]: weight and bias of a fresh `torch.nn.Linear(width, n_classes)`, the bias last.

    Drawn as torch draws them, but from a generator of its own, so that no global random state is read or changed.
    """
    generator = torch.Generator().manual_seed(int(np.random.default_rng([seed, fold]).integers(2**31)))
    weight, bias = torch.empty(n_classes, width), torch.empty(n_classes, 1)
    torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    bias.uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
    return torch.cat([weight, bias], dim=1)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, 1 / sd) of each feature over the rows, float32 [D], summed in float64; 0 for 1 / sd of a constant."""
    mean, sd = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    varies = sd > CONSTANT * np.abs(mean)
    inverse = np.divide(1.0, sd, out=np.zeros_like(sd), where=varies)
    return mean.astype(np.float32), inverse.astype(np.float32)


def scaling(features: np.ndarray, split: Split, variants: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(offset, scale) [V, D] that turn raw features into those of each variant."""
    width = features.shape[1]
    raw = np.zeros(width, dtype=np.float32), np.ones(width, dtype=np.float32)
    pairs = [standardisation(features[split.train]) if v == STANDARDISED else raw for v in variants]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])
