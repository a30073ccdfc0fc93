"""Settings of the linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """A linear head on a frozen encoder (App. A.2.2): what the paper states, and what it leaves open."""

    learning_rate: float = 1e-3
    """AdamW's step size, fixed (App. A.2.2)."""
    weight_decay: float = 0.01
    """Decoupled decay of weights and bias; the paper gives none, so torch's default."""
    batch_size: int = 64
    """Recordings a step (App. A.2.2)."""
    epochs: int = 100
    """Passes over the training folds (App. A.2.2)."""
    folds: int = 10
    """Folds of the cross-validation; each is the test fold once (App. A.2.2)."""
    min_positives: int = 2
    """A class is scored only with this many positives, and negatives, in train, validation and test."""
    n_resamples: int = 500
    """Resamples of the patients for the 95 % intervals of the pooled values."""
    seed: int = 0
    """Seed of initial weights, shuffles and resamples."""
    select: Literal["last", "best_validation"] = "last"
    """Epoch that is scored: the last, or the one with the best macro AUROC on the validation fold."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "min_positives", "n_resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"ProbeConfig.{name} must be at least 1, got {getattr(self, name)}")
        if self.folds < 3:
            raise ValueError(f"ProbeConfig.folds must be at least 3 (train, validation, test), got {self.folds}")
        if self.learning_rate <= 0 or self.weight_decay < 0:
            raise ValueError(
                f"ProbeConfig needs learning_rate > 0 and weight_decay >= 0, got {self.learning_rate} and "
                f"{self.weight_decay}"
            )
        if self.select not in ("last", "best_validation"):
            raise ValueError(f"ProbeConfig.select must be 'last' or 'best_validation', got {self.select!r}")
