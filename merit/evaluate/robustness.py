"""A probe trained on clean recordings and scored on corrupted ones, over the same patients.

N recordings, D width of an embedding, C classes, R resamples of the patients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from merit import intervals
from merit.config import ProbeConfig, SignalConfig
from merit.data.preprocess import MARGIN_S, process, repair_gaps
from merit.data.recording import LEADS, Recording, RejectedRecording
from merit.evaluate import bootstrap, metrics
from merit.evaluate.corruptions import corrupt
from merit.evaluate.probing import STANDARDISED
from merit.evaluate.shift import Domain, Head, train_head
from merit.evaluate.tasks import OFFICIAL_SPLIT, Split, TaskData, make_splits, scored_classes

CLEAN = "clean"
"""The kind of a recording that nothing was done to."""


@dataclass(frozen=True)
class Rows:
    """Corrupted recordings as a store would hold them, for `embeddings.embed_store`."""

    signal_uv: np.ndarray
    """int16 [N, 12, T]."""
    fs_hz: float
    records: pd.DataFrame
    """With record_id, in the order of the signals."""
    n_refused: int = 0
    """Recordings that preprocessing refuses; flat lines stand in their place."""


def stored_row(
    recording: Recording, kind: str, level: float | str | None, seed: int, signal: SignalConfig, max_gap_fraction: float
) -> np.ndarray | None:
    """int16 [12, n_samples] in µV: the recording corrupted at its own rate, then preprocessed as ingest does.

    kind `CLEAN` gives the store's own row. None where preprocessing refuses what is left of it.
    """
    needed = math.ceil((signal.duration_s + MARGIN_S) * recording.fs_hz)
    signal_mv, _ = repair_gaps(recording.signal_mv[:, :needed], max_gap_fraction)
    fs_hz = recording.fs_hz
    if kind != CLEAN:
        signal_mv, fs_hz = corrupt(signal_mv, fs_hz, kind, level, recording.record_id, seed)
    try:
        return process(replace(recording, signal_mv=signal_mv, fs_hz=fs_hz), signal, max_gap_fraction)[0]
    except RejectedRecording:
        return None


def stored_rows(
    recordings: list[Recording], kind: str, level: float | str | None, seed: int, signal: SignalConfig,
    max_gap_fraction: float,
) -> Rows:  # fmt: skip
    """`stored_row` of each, in their order."""
    out = np.zeros((len(recordings), len(LEADS), signal.n_samples), dtype=np.int16)
    n_refused = 0
    for place, recording in zip(out, recordings):
        row = stored_row(recording, kind, level, seed, signal, max_gap_fraction)
        if row is None:
            n_refused += 1
        else:
            place[:] = row
    names = pd.DataFrame({"record_id": [recording.record_id for recording in recordings]})
    return Rows(out, float(signal.fs_hz), names, n_refused)


@dataclass(frozen=True)
class Probe:
    """One encoder's head with what its test part gives when nothing is wrong."""

    task: TaskData
    split: Split
    head: Head
    features: np.ndarray
    """float32 [N, D] of the clean test part."""
    pooled: bootstrap.Pooled
    config: ProbeConfig

    @classmethod
    def fit(cls, task: TaskData, features: np.ndarray, config: ProbeConfig, device: str = "cpu") -> Probe:
        """A head on folds 1 to 8, features standardised there, 9 to validate, 10 to test.

        features: float32 [records of the task, D]. Raises NotEnoughData.
        """
        (split,) = make_splits(task.folds, OFFICIAL_SPLIT)
        domain = Domain(task, features, split, np.ones(len(task.rows), dtype=bool))
        head = train_head(domain, config, STANDARDISED, device)
        test = np.ascontiguousarray(features[split.test], dtype=np.float32)
        return cls(task, split, head, test, _pool(task, split, head.logits(test), config), config)

    def clean(self) -> dict[str, Any]:
        """Values on the clean test part: counts, classes, macro AUROC with its interval and resamples."""
        scored = scored_classes(self.task.labels, self.split, self.config.min_positives)
        positives = self.task.labels[self.split.test].sum(axis=0)
        return {
            "n_records": len(self.split.test),
            "n_patients": len(np.unique(self.task.patients[self.split.test])),
            "n_train": len(self.split.train),
            "classes": {name: int(n) for name, n, yes in zip(self.task.classes, positives, scored) if yes},
            "unscored": [name for name, yes in zip(self.task.classes, scored) if not yes],
            "auroc": self.pooled.triple(),
            "resamples": _drawn(self.pooled),
        }

    def corrupted(self, features: np.ndarray) -> dict[str, Any]:
        """Values on embeddings [N, D] of the corrupted test part, in the order of the clean one.

        change: corrupted less clean AUROC, on the same resamples of patients. moved: mean distance between the clean
        and the corrupted embedding of a recording, in standardised features, as a share of the distance between two
        recordings (root mean square over pairs).
        """
        now = _pool(self.task, self.split, self.head.logits(features), self.config)
        return {
            "auroc": now.triple(),
            "change": bootstrap.paired(now, self.pooled),
            "moved": self._moved(features),
            "resamples": _drawn(now),
        }

    def _moved(self, features: np.ndarray) -> dict[str, float | None]:
        """value, low, high; None where all clean embeddings are one."""
        scale = self.head.heads.scale[0, 0].astype(np.float64)
        apart = np.sqrt(2 * ((self.features * scale).var(axis=0)).sum())
        if apart == 0:
            return dict.fromkeys(("value", "low", "high"))
        distance = np.sqrt((((features - self.features) * scale) ** 2).sum(axis=1)) / apart
        groups = self.task.groups[self.split.test]
        weights = bootstrap.weights_of(groups, self.config.n_resamples, self.config.seed).astype(np.float64)
        means = distance @ weights / weights.sum(axis=0)
        return intervals.around(means[0], means[1:])


def _pool(task: TaskData, split: Split, logits: np.ndarray, config: ProbeConfig) -> bootstrap.Pooled:
    """AUROC of the test part over the classes that every part of the split can score."""
    labels = task.labels[split.test]
    scored = scored_classes(task.labels, split, config.min_positives)
    return bootstrap.pool_ranks(labels, logits, scored, task.groups[split.test], config)


def _drawn(pooled: bootstrap.Pooled) -> list[float | None]:
    """The resampled AUROCs, to seven digits: they serve intervals of what is computed from them."""
    return [metrics.number(round(float(one), 7)) for one in pooled.resamples["auroc"]]
