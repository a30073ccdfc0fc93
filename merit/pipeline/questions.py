"""Questions and answers about ECGs (Table 3): MedTVT-QA where it lies beside MIMIC-IV-ECG, else composed for PTB-XL.

Either way they are files of one form, and what is asked about is a row of a store.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from merit import runs
from merit.evaluate.generation.pairs import (
    Joined,
    NotTheForm,
    Pair,
    composed_pairs,
    join,
    read_pairs,
    write_pairs,
)
from merit.evaluate.tasks import NotEnoughData
from merit.pipeline.recordings import NoCohort

if TYPE_CHECKING:
    from merit.pipeline.recordings import Recordings

PUBLISHED, COMPOSED = "MedTVT-QA", "composed"
FILES = {"train": "train*ecg*qa*.json", "test": "test*ecg*qa*.json"}
"""Part -> pattern of MedTVT-QA's file names (published: train_ecg_qa_dataset_gpt_add_spec_token.json)."""
FOLDS = {"train": range(1, 9), "test": range(10, 11)}
"""PTB-XL's folds for composed pairs: nobody is asked about whom the model or an encoder was trained on."""


@dataclass(frozen=True)
class Questions:
    """Pairs to train on and to test on, each with the row of its recording in the cohort's store."""

    source: str
    """MedTVT-QA or composed."""
    cohort: str
    train: Joined
    test: Joined
    identity: str
    """Of the files and the store."""


def questions(ws: Recordings, seed: int = 0) -> Questions:
    """The pairs of a workspace. seed: of the composed wording.

    NoCohort without a data set to ask about, NotEnoughData where a part has no pair, NotTheForm for a wrong file.
    """
    files = published_files(ws.data)
    if files:
        return _joined(ws, PUBLISHED, "mimic-iv-ecg", files)
    records = ws.store("ptb-xl").records
    folder = (
        ws.folder
        / "questions"
        / runs.identity(
            "questions", {"seed": seed}, {"store": ws.store("ptb-xl").identity}, ["merit.evaluate.generation.pairs"]
        )
    )
    files = {part: folder / f"{part}.json" for part in FOLDS}
    for part, folds in FOLDS.items():
        pairs = composed_pairs(records[records["fold"].isin(folds)], seed)
        if not pairs:
            raise NotEnoughData(f"{part} pairs: no recording of ptb-xl's folds {list(folds)} has a known statement")
        runs.once(files[part], lambda path=files[part], pairs=pairs: write_pairs(path, pairs))
    return _joined(ws, COMPOSED, "ptb-xl", files)


def published_files(data: Path | None) -> dict[str, Path]:
    """Part -> file of MedTVT-QA in a data folder or a folder in it; empty without one. NotTheForm where a part is
    missing or there twice.
    """
    if data is None:
        return {}
    found = {part: sorted([*data.glob(name), *data.glob(f"*/{name}")]) for part, name in FILES.items()}
    if not any(found.values()):
        return {}
    for part, paths in found.items():
        if len(paths) != 1:
            names = ", ".join(map(str, paths)) or "none"
            raise NotTheForm(f"MedTVT-QA under {data}: expected one file {FILES[part]}; got {names}")
    return {part: paths[0] for part, paths in found.items()}


def asked_patients(ws: Recordings) -> set[str]:
    """Patients of MIMIC-IV-ECG that MedTVT-QA tests on, who stay out of pretraining; empty without it."""
    files = published_files(ws.data)
    if not files:
        return set()
    records = ws.store("mimic-iv-ecg").records
    rows = join(read_pairs(files["test"]), records).rows
    return set(records["patient_id"].iloc[rows].astype(str))


def _joined(ws: Recordings, source: str, cohort: str, files: dict[str, Path]) -> Questions:
    try:
        store = ws.store(cohort)
    except NoCohort as reason:
        raise NoCohort(f"{source} asks about {cohort}: {reason}") from reason
    parts = {part: join(read_pairs(path), store.records) for part, path in files.items()}
    for part, joined in parts.items():
        if not joined.pairs:
            raise NotEnoughData(
                f"{source}, {part}: none of its {len(joined.missing)} recordings is in the store of {cohort}"
            )
    digests = {part: runs.file_digest(path) for part, path in files.items()}
    return Questions(
        source, cohort, _without_test(parts["train"], parts["test"]), parts["test"],
        runs.digest([digests, store.identity]),
    )  # fmt: skip


def _without_test(train: Joined, test: Joined) -> Joined:
    """Training pairs whose recording is not asked about in the test: split by ECG, whatever the files say."""
    kept = np.flatnonzero(~np.isin(train.rows, test.rows))
    pairs: list[Pair] = [train.pairs[i] for i in kept]
    return Joined(pairs, train.rows[kept], train.missing)
