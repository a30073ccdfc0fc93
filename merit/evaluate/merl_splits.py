"""MERL's lists of training, validation and test recordings of CPSC2018 and CSN, which the paper's transfers use.

Published with its code (cheliu-computation/MERL-ICML2024, MIT licence, finetune/data_split). Each recording stands in
one list; the division is by recording. They are read from `merl-splits` in the folder of data sets, where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path("merl-splits", "finetune", "data_split")
FOLDS = {"train": 1, "val": 9, "test": 10}
"""Part -> the fold that stands for it under the official split; 0 stands for a recording that no list has."""
NAMES = {"cpsc2018": ("icbeb", "filename"), "csn": ("chapman", "ecg_path")}
"""Cohort -> MERL's name of it, and the column that names the recording."""


def files(data: Path | None, cohort: str) -> dict[str, Path]:
    """Part -> file of a cohort's lists; empty unless all three are there."""
    if data is None or cohort not in NAMES:
        return {}
    name = NAMES[cohort][0]
    found = {part: data / FOLDER / name / f"{name}_{part}.csv" for part in FOLDS}
    return found if all(path.is_file() for path in found.values()) else {}


def folds(lists: dict[str, Path], cohort: str, record_ids: Sequence[str]) -> np.ndarray:
    """int64 [N]: the fold of each recording by MERL's lists. ValueError for a list without the column of names."""
    column = NAMES[cohort][1]
    fold_of: dict[str, int] = {}
    for part, path in lists.items():
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if column not in table:
            raise ValueError(f"{path}: expected the column {column}; got {', '.join(map(str, table.columns))}")
        fold_of |= {Path(name).stem: FOLDS[part] for name in table[column]}
    return np.array([fold_of.get(str(one), 0) for one in record_ids], dtype=np.int64)
