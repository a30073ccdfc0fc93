"""Made-up results of linear probing, in the form that the workspace gives them."""

from __future__ import annotations

import pytest

METRICS = ("auroc", "average_precision", "f1", "f1_oracle", "accuracy", "accuracy_oracle")


def result(encoder: str, task: str, level: float, variant: str = "as_published", n_folds: int = 2) -> dict:
    """A result whose folds lie at level ± 0.01."""
    folds = [
        {"fold": k + 1, "n_test": 9, "n_scored_classes": 3 - k, "unscored": ["RARE"] * k}
        | dict.fromkeys(METRICS, level + (0.01 if k else -0.01))
        for k in range(n_folds)
    ]
    spread = 0.01 if n_folds > 1 else None
    values = {
        "task": task, "cohort": "ptb-xl", "encoder": encoder, "variant": variant, "classes": ["A", "B", "<i>"],
        "n_records": 1234, "n_patients": 99, "protocol": "ten folds", "folds": folds,
        "mean": dict.fromkeys(METRICS, level), "sd": dict.fromkeys(METRICS, spread),
        "pooled": {name: {"value": level, "low": level - 0.02, "high": level + 0.02} for name in METRICS},
    }  # fmt: skip
    return {"stage": "linear_probe", "id": "0" * 16, "values": values}


@pytest.fixture
def results() -> list[dict]:
    """Two encoders on superclass, and form without data."""
    without = {"task": "form", "encoder": "merit", "variant": "as_published", "reason": "no recordings under <b>"}
    return [result("merit", "superclass", 0.9), result("random", "superclass", 0.7), {"values": without}]


@pytest.fixture
def make_result():
    """The function that makes one result."""
    return result
