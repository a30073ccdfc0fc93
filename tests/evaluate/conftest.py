from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from merit.evaluate.tasks import TaskData, select

CODES = ("NORM", "IMI", "LVH", "CLBBB", "NDT")
"""One statement of each PTB-XL superclass."""


def drawn_records(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """A PTB-XL-like table: 2 records a patient, folds by patient, every fifth record without a diagnosis."""
    generator = np.random.default_rng(seed)
    patient = np.arange(n) // 2
    labels = [
        ["SR"] if i % 5 == 0 else ["SR", *generator.choice(CODES, size=generator.integers(1, 3), replace=False)]
        for i in range(n)
    ]
    return pd.DataFrame(
        {
            "record_id": [f"r{i:04d}" for i in range(n)],
            "patient_id": [f"p{p}" for p in patient],
            "fold": pd.array(patient % 10 + 1, dtype="Int64"),
            "labels": labels,
        }
    )


def drawn_features(task: TaskData, width: int = 12, seed: int = 0) -> np.ndarray:
    """Features that tell the classes apart in part, on unequal scales."""
    generator = np.random.default_rng(seed)
    signal = task.labels @ generator.normal(size=(len(task.classes), width))
    scale = np.geomspace(0.1, 5, width)
    return ((signal + 2 * generator.normal(size=signal.shape)) * scale + 1).astype(np.float32)


@pytest.fixture(scope="session")
def records() -> pd.DataFrame:
    return drawn_records()


@pytest.fixture(scope="session")
def task(records: pd.DataFrame) -> TaskData:
    return select("superclass", records)


@pytest.fixture(scope="session")
def features(task: TaskData) -> np.ndarray:
    return drawn_features(task)
