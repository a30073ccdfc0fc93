"""How much of each known factor an embedding retains beyond what the report says, with intervals.

A continuous factor: R² out of fold, against the training folds' mean; partial R² is the share of what the report leaves
unexplained that report and embedding together explain, 1 − SSE(both) / SSE(report). A finding: AUROC, and AUROC among
the recordings whose report does not state it. Intervals resample patients of the out-of-fold predictions; decoders are
not fitted again.

Read from top to bottom: a report's words, what a decoder reads, ridge regression, decoding fold by fold, the numbers,
how reliable measured factors are, what all this takes. Legend: N recordings, D numbers of an embedding, F features,
K targets, R resamples.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from merit import intervals
from merit.data.preprocess import fix_length, repair_gaps, resample
from merit.data.recording import LEADS
from merit.data.wfdb_io import read_annotation, read_raw
from merit.evaluate.retention_factors import LEAST_MS, Marks, beat_intervals, delineate, voltages
from merit.evaluate.tasks import NotEnoughData
from merit.intervals import pool, weights_of
from merit.parallel import ordered_map

# --------------------------------------------------------------------------------------------------- words of reports

PATTERN = r"(?u)\b\w+\b"  # words, those of one letter or digit too: leads and grades are among them


def words(reports: Sequence[str], fewest: int) -> np.ndarray:
    """uint8 [N, F] of 0 and 1: lower-cased words and pairs of neighbours that at least `fewest` reports have, not all.

    Nothing is translated. Of several columns that the very same reports have, one stands for all; F may be 0.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(ngram_range=(1, 2), binary=True, min_df=fewest, token_pattern=PATTERN, dtype=np.uint8)
    try:
        counts = counter.fit_transform(reports).toarray()
    except ValueError:  # nothing is frequent enough
        return np.zeros((len(reports), 0), dtype=np.uint8)
    packed = np.packbits(counts, axis=0).T
    place = {column.tobytes(): k for k, column in enumerate(packed)}
    distinct = counts[:, [place[key] for key in sorted(place)]]
    return distinct[:, distinct.min(axis=0) < 1]


# ------------------------------------------------------------------------------------------------ what a decoder reads

LANDMARKS = 100
FEWEST_PER_LANDMARK = 4
LEAST_VARIANCE = 1e-12


def features(
    train: np.ndarray, test: np.ndarray, *, standardise: bool, nonlinear: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """How rows [n, D] are read, by the training rows alone: float64 [n, D or more] of both, the numbers themselves, and
    where nonlinear kernel features behind them.

    standardise: every number to variance 1 (an embedding), else all by one scale (statements, so that a rare one does
    not count more). Each part, linear and kernel, has variance 1 in total. The kernel is Gaussian, on 100 landmarks
    (Nyström: Williams and Seeger 2001); two rows lie 2 apart in squared distance on average, where it is exp(−1).
    """
    rows = np.asarray(train, dtype=np.float64)
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    if standardise:
        spread = np.where(variance > LEAST_VARIANCE, np.sqrt(variance), np.inf)
        spread = spread * np.sqrt(max(int(np.isfinite(spread).sum()), 1))
    else:
        spread = np.full(len(mean), np.sqrt(max(float(variance.sum()), LEAST_VARIANCE)))
    of_train, of_test = (rows - mean) / spread, (np.asarray(test, dtype=np.float64) - mean) / spread
    if not nonlinear:
        return of_train, of_test
    from sklearn.kernel_approximation import Nystroem

    del rows  # of words, half a gigabyte
    distinct = len({row.tobytes() for row in np.ascontiguousarray(train)})
    landmarks = max(1, min(LANDMARKS, distinct, len(train) // FEWEST_PER_LANDMARK))
    chosen = np.random.RandomState(seed).permutation(len(train))[:landmarks]  # as Nystroem draws them from all rows
    kernel = Nystroem(kernel="rbf", gamma=0.5, n_components=landmarks, random_state=seed).fit(of_train[chosen])
    near_train, near_test = kernel.transform(of_train), kernel.transform(of_test)
    size = np.sqrt(max(float(near_train.var(axis=0).sum()), LEAST_VARIANCE))
    return np.hstack([of_train, near_train / size]), np.hstack([of_test, near_test / size])


# -------------------------------------------------------------------------------------------------------------- ridge

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e6)
"""Penalties that are tried, as shares of the features' total variance times N; the last leaves the mean alone."""


def ridge(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression of targets y [N, K] on features x [N, F]: predictions [n, K] for x_test [n, F], and the residual
    [N, K] of each training row under the fit without it.

    Each target has the penalty whose left-out squared error is lowest (Allen 1974).
    """
    from sklearn.linear_model import RidgeCV

    total = float(((x - x.mean(axis=0)) ** 2).sum()) or 1.0
    alphas = np.array(PENALTIES) * total
    model = RidgeCV(alphas, alpha_per_target=True, store_cv_results=True, gcv_mode="eigen").fit(x, y)
    chosen = np.searchsorted(alphas, np.atleast_1d(model.alpha_))
    squared = model.cv_results_[:, np.arange(y.shape[1]), chosen]
    residual = y - model.predict(x).reshape(y.shape)  # of the same sign, and smaller
    return model.predict(x_test).reshape(len(x_test), -1), np.copysign(np.sqrt(squared), residual)


# ------------------------------------------------------------------------------------------------ decoding, out of fold

DECODERS = ("linear", "nonlinear")
TRAINING_ONLY = -1  # fold of a recording that is trained on and never scored
FEWEST = 60  # scored recordings under which nothing is measured


@dataclass(frozen=True)
class Question:
    """What is asked of every embedding of N recordings, by name."""

    factors: Mapping[str, np.ndarray]
    """float64 [N, K], NaN rows where there is no such thing."""
    findings: Mapping[str, np.ndarray]
    silent: Mapping[str, np.ndarray]
    """bool [N] each: whether it is there, and whether the report does not state it."""
    stated: Mapping[str, np.ndarray]
    """bool [N]: whether the report makes this statement."""
    groups: np.ndarray
    """[N]: patients."""
    folds: np.ndarray
    """int [N]: see `Block`."""

    @property
    def scored(self) -> np.ndarray:
        """bool [N]."""
        return self.folds != TRAINING_ONLY


class Block:
    """Targets that the same recordings have, what reports alone say of them, and what embeddings add.

    A fold's report is read when it is needed and then forgotten: all folds of PTB-XL's words take tens of gigabytes.
    """

    def __init__(
        self,
        report: np.ndarray,
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        also: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        columns: Mapping[str, slice] | None = None,
        standardise: bool = False,
        seed: int = 0,
    ) -> None:
        """Decode targets [N, K] from reports.

        report: [N, S], or more of which `rows` [N] are meant: statements as 0 and 1, or a text's embedding (then
        standardise). folds int [N]: each from 0 is scored by what is trained on all others. also [N, A]: targets that
        are asked of the embedding alone. columns: factor or finding -> its targets.
        """
        self.report, self.targets, self.folds = report, targets, folds
        self.also = np.zeros((len(targets), 0)) if also is None else also
        self.rows = np.arange(len(targets)) if rows is None else rows
        self.columns = columns or {}
        self.of_report = {"standardise": standardise, "nonlinear": True, "seed": seed}
        self.of_embedding = {"standardise": True, "seed": seed}
        self.predicted, self.mean = np.full((2, *targets.shape), np.nan)
        """float64 [N, K] out of fold: from the report alone, and the training folds' means; NaN where never scored."""
        for train, test in self.splits():
            self.mean[test] = targets[train].mean(axis=0)
            of_train, of_test = features(report[self.rows[train]], report[self.rows[test]], **self.of_report)
            self.predicted[test], _ = ridge(of_train, targets[train], of_test)

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of those who train and of those who are scored, a fold at a time."""
        for fold in np.unique(self.folds[self.folds != TRAINING_ONLY]):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)

    def embedding(self, embedding: np.ndarray, decoder: str) -> np.ndarray:
        """float64 [N, K + A], targets and `also`, from the embedding [N, D] alone; decoder: one of `DECODERS`."""
        targets, how = np.hstack([self.targets, self.also]), self.of_embedding | {"nonlinear": decoder == "nonlinear"}
        predicted = np.full(targets.shape, np.nan)
        for train, test in self.splits():
            of_train, of_test = features(embedding[train], embedding[test], **how)
            predicted[test], _ = ridge(of_train, targets[train], of_test)
        return predicted

    def both(self, embedding: np.ndarray, decoders: Sequence[str] = DECODERS) -> dict[str, np.ndarray]:
        """Decoder -> float64 [N, K] from the report and the embedding [N, D]; ValueError for other recordings.

        The report's prediction plus what the embedding, less what the report says of it, adds to it (Frisch and Waugh
        1933; with left-out residuals on both sides as in Chernozhukov et al. 2018): an embedding that holds nothing new
        adds nothing. The report is read non-linearly, so that an embedding gets no credit for combining statements.
        """
        if len(embedding) != len(self.targets):
            raise ValueError(f"embedding: expected a row for each of {len(self.targets)} records; got {len(embedding)}")
        predicted = {decoder: np.full(self.targets.shape, np.nan) for decoder in decoders}
        k, how = self.targets.shape[1], self.of_embedding | {"nonlinear": "nonlinear" in decoders}
        for train, test in self.splits():
            said_of_train, said_of_test = features(
                self.report[self.rows[train]], self.report[self.rows[test]], **self.of_report
            )
            of_train, of_test = features(embedding[train], embedding[test], **how)
            by_report, residuals = ridge(said_of_train, np.hstack([self.targets[train], of_train]), said_of_test)
            beyond = of_test - by_report[:, k:]
            for decoder, values in predicted.items():
                width = embedding.shape[1] if decoder == "linear" else of_train.shape[1]  # linear features are first
                added, _ = ridge(residuals[:, k : k + width], residuals[:, :k], beyond[:, :width])
                values[test] = by_report[:, :k] + added
        return predicted


def blocks(
    question: Question, report: np.ndarray, *, standardise: bool = False, findings: bool = True, seed: int = 0
) -> list[Block]:
    """Factors grouped by the recordings that have them, with what `report` [N, S] says of each; the first is of all,
    with findings and statements. NotEnoughData where fewer than `FEWEST` recordings can be scored.
    """
    n = len(question.groups)
    if question.scored.sum() < FEWEST:
        raise NotEnoughData(f"expected at least {FEWEST} scored recordings; got {int(question.scored.sum())}")
    by_rows: dict[bytes, list[str]] = {np.ones(n, bool).tobytes(): []}
    for name, values in question.factors.items():
        by_rows.setdefault(np.isfinite(values).all(axis=1).tobytes(), []).append(name)
    made = []
    for k, (key, names) in enumerate(by_rows.items()):
        rows = np.flatnonzero(np.frombuffer(key, dtype=bool))
        if question.scored[rows].sum() < FEWEST:
            continue
        parts = {name: question.factors[name][rows] for name in names}
        also = None
        if k == 0 and findings:
            parts |= {name: there[:, None].astype(np.float64) for name, there in question.findings.items()}
            also = np.column_stack([np.zeros((n, 0)), *question.stated.values()]).astype(np.float64)
        if parts:
            ends = np.cumsum([part.shape[1] for part in parts.values()]).tolist()
            columns = dict(zip(parts, map(slice, [0, *ends], ends)))
            targets, folds = np.hstack(list(parts.values())), question.folds[rows]
            how: dict[str, Any] = {"rows": rows, "columns": columns, "standardise": standardise, "seed": seed}
            made.append(Block(report, targets, folds, also=also, **how))
    return made


# -------------------------------------------------------------------------------------------------- numbers, intervals

DIGITS = 6  # decimals that are stored: the last bits of linear algebra depend on the number of cores
NOT_AVERAGED = frozenset({"heart_rate"})
"""Factors that stand in the table and not in the mean: reports name much of them."""


@dataclass(frozen=True, kw_only=True)
class RetentionConfig:
    """How it is measured; the same for every encoder."""

    folds: int = 5
    """Folds of the cross-validation, by patients."""
    min_positives: int = 30
    """Reports that state something, under which it is not scored."""
    min_silent: int = 10
    """Recordings that have a finding of which the report says nothing, under which that is not scored."""
    n_resamples: int = 500
    """Resamples of the patients for the 95 % intervals."""
    seed: int = 0


def number(drawn: np.ndarray, draws: bool = False, share: bool = False) -> dict[str, Any]:
    """Value and 95 % interval of [1 + R] numbers, the first of them the value; None where there is none.

    share: it lies from 0 to 1, as AUROC does and R² does not. draws: the resampled numbers too, for paired differences.
    """
    ends = intervals.ends(drawn[0], drawn[1:][np.isfinite(drawn[1:])], share)
    value, low, high, *rest = (
        round(float(value), DIGITS) if np.isfinite(value) else None for value in (drawn[0], *ends, *drawn[1:])
    )
    return {"value": value, "low": low, "high": high} | ({"draws": rest} if draws else {})


def lost(block: Block, name: str, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[1 + R]: squared error of a target over the scored recordings under each column of `weights_of` all."""
    columns, scored = block.columns[name], np.isfinite(predicted[:, 0])
    error = ((block.targets[scored, columns] - predicted[scored, columns]) ** 2).sum(axis=1)
    return error @ weights[block.rows[scored]].astype(np.float64)


def measure(
    embedding: np.ndarray, question: Question, by_words: list[Block], by_text: list[Block], config: RetentionConfig
) -> list[dict[str, Any]]:
    """The numbers of one embedding [N, D], one row each: kind, target, decoder, metric, value, low, high, n.

    by_words, by_text: `blocks` of the same question for the report's statements, and for another description of it.
    decoder: "report" (the report alone) or one of `DECODERS`. By kind:
    factor: r2 of the report or the embedding alone, r2_both and r2_partial (with draws), over n recordings;
    finding: auroc over all, and auroc_silent where the report does not state it, of n that have it; the report's other
    statements may still hint at it;
    statement: auroc of the embedding, linear, for what enough reports state (n) and enough do not;
    summary: auroc_stated, the mean over statements, r2_partial, over factors, r2_partial_text beyond `by_text`; draws.
    """
    weights = weights_of(question.groups, config.n_resamples, config.seed)
    alone = [{decoder: block.embedding(embedding[block.rows], decoder) for decoder in DECODERS} for block in by_words]
    rows: list[dict[str, Any]] = []

    def add(kind: str, target: str, decoder: str, metric: str, numbers: Mapping[str, Any], n: int) -> None:
        rows.append({"kind": kind, "target": target, "decoder": decoder, "metric": metric, **numbers, "n": n})

    # Factors, a block at a time.
    by_decoder: dict[str, list[np.ndarray]] = {decoder: [] for decoder in DECODERS}
    for block, by_embedding in zip(by_words, alone):
        n, jointly = int(np.isfinite(block.predicted[:, 0]).sum()), block.both(embedding[block.rows])
        for name in (name for name in block.columns if name in question.factors):
            nothing, report = (lost(block, name, source, weights) for source in (block.mean, block.predicted))
            add("factor", name, "report", "r2", number(1 - report / nothing), n)
            for decoder in DECODERS:
                own, joint = (lost(block, name, source[decoder], weights) for source in (by_embedding, jointly))
                add("factor", name, decoder, "r2", number(1 - own / nothing), n)
                add("factor", name, decoder, "r2_both", number(1 - joint / nothing), n)
                add("factor", name, decoder, "r2_partial", number(1 - joint / report, draws=True), n)
                if name not in NOT_AVERAGED:
                    by_decoder[decoder].append(1 - joint / report)
    rows.sort(key=lambda row: list(question.factors).index(row["target"]))

    # Findings, where the report is silent too.
    drawn_alike = {"n_resamples": config.n_resamples, "seed": config.seed}
    everywhere, scored = by_words[0], question.scored
    for name, there in question.findings.items():
        column = everywhere.columns[name].start
        for decoder, scores in {"report": everywhere.predicted, **alone[0]}.items():
            for metric, where in (("auroc", scored), ("auroc_silent", question.silent[name] & scored)):
                n = int((there & where).sum())
                drawn = np.full(1 + config.n_resamples, np.nan)
                if config.min_silent <= n < where.sum():
                    shown = np.nan_to_num(scores[:, [column]])
                    pooled = pool(there[:, None], shown, where[:, None], question.groups, **drawn_alike)
                    drawn = np.concatenate([[pooled.macro["auroc"][0]], pooled.resamples["auroc"]])
                add("finding", name, decoder, metric, number(drawn, share=True), n)

    # Statements, and the means.
    counts = {name: int((made & scored).sum()) for name, made in question.stated.items()}
    n_scored = int(scored.sum())
    asked = [name for name, n in counts.items() if config.min_positives <= n <= n_scored - config.min_positives]
    at = everywhere.targets.shape[1] + np.array([list(question.stated).index(name) for name in asked], dtype=int)
    for decoder in DECODERS:
        drawn = np.full(1 + config.n_resamples, np.nan)
        if asked:
            labels = np.column_stack([question.stated[name] for name in asked])
            shown = np.nan_to_num(alone[0][decoder][:, at])
            pooled = pool(labels, shown, scored[:, None], question.groups, **drawn_alike)
            drawn = np.concatenate([[pooled.macro["auroc"][0]], pooled.resamples["auroc"]])
            if decoder == "linear":
                for name, value in zip(asked, pooled.per_class["auroc"]):
                    add("statement", name, decoder, "auroc", number(np.array([value])), counts[name])
        add("summary", "mean", decoder, "auroc_stated", number(drawn, draws=True, share=True), n_scored)
        averaged = number(np.mean(by_decoder[decoder], axis=0), draws=True)
        add("summary", "mean", decoder, "r2_partial", averaged, n_scored)

    beyond_text = []
    for block in by_text:
        both = block.both(embedding[block.rows], ["linear"])["linear"]
        for name in block.columns:
            if name in question.factors and name not in NOT_AVERAGED:
                beyond_text.append(1 - lost(block, name, both, weights) / lost(block, name, block.predicted, weights))
    if beyond_text:
        add("summary", "mean", "linear", "r2_partial_text", number(np.mean(beyond_text, axis=0), draws=True), n_scored)
    return rows


# ----------------------------------------------------------------------- how reliable measured factors are, on LUDB
#
# LUDB's recordings delineated, against the marks that cardiologists set by hand (Kalyakulina et al. 2020). What does
# not agree with the truth cannot be predicted from it either, so this is the ceiling for anybody who predicts measured
# factors. LUDB is read in raw units: the gains in its headers differ from lead to lead, while raw units satisfy
# I + III = II. So an axis can be compared and a voltage cannot. Times are seconds.

LUDB_HZ, LUDB_S = 500.0, 10.0
MARGIN_S = 0.2
"""Manual marks leave out the first and last beats: measured are those between the outermost marks, this much added."""
SAME_BEAT_S = 0.2  # QRS marks of two leads that lie closer are of one beat
WAVE_REACH_S = 0.5  # A P wave at most this long before a QRS, or a T wave after it, belongs to it


class Delineator(NamedTuple):
    """How marks are made: at which rate, by which of the library's methods, and whose QRS it is."""

    fs_hz: float
    method: str = "prominence"
    own_qrs: bool = True


DELINEATORS = (Delineator(100.0), Delineator(500.0), Delineator(100.0, own_qrs=False))
"""What is measured on real recordings; at LUDB's own rate; and with the library's own marks of QRS."""


def record_names(root: Path) -> list[str]:
    """Records of LUDB under `root`, in order of their numbers."""
    return sorted((path.stem for path in (root / "data").glob("[!.]*.hea")), key=int)


def manual_marks(root: Path, name: str) -> Marks:
    """What the cardiologists marked in all leads of a record; beats are those with a QRS in at least one lead.

    A wave (p, N for QRS, or t) is a peak with an opening bracket before it and a closing one after; an end without its
    bracket is NaN.
    """
    waves: list[tuple[int, str, float, float, float]] = []  # lead, kind, onset, peak and end in seconds
    for lead, lead_name in enumerate(LEADS):
        samples, symbols = read_annotation(str(root / "data"), name, lead_name.lower())
        for k, kind in enumerate(symbols):
            if kind in ("p", "N", "t"):
                on = samples[k - 1] if k and symbols[k - 1] == "(" else np.nan
                off = samples[k + 1] if k + 1 < len(symbols) and symbols[k + 1] == ")" else np.nan
                waves.append((lead, kind, on / LUDB_HZ, samples[k] / LUDB_HZ, off / LUDB_HZ))
    peaks = np.sort([peak_s for _, kind, _, peak_s, _ in waves if kind == "N"])
    if not len(peaks):
        return Marks.none()
    beats = np.split(peaks, np.flatnonzero(np.diff(peaks) > SAME_BEAT_S) + 1)
    r_s = np.array([np.median(beat) for beat in beats])
    p_on, qrs_on, qrs_off, t_off = times = np.full((4, len(LEADS), len(r_s)), np.nan)
    for lead, kind, on_s, peak_s, off_s in waves:
        after = int(np.searchsorted(r_s, peak_s))  # the first beat that is not before the wave
        if kind == "N":
            nearest = int(np.abs(r_s - peak_s).argmin())
            qrs_on[lead, nearest], qrs_off[lead, nearest] = on_s, off_s
        elif kind == "p" and after < len(r_s) and r_s[after] - peak_s <= WAVE_REACH_S:
            p_on[lead, after] = on_s
        elif kind == "t" and after and peak_s - r_s[after - 1] <= WAVE_REACH_S:
            t_off[lead, after - 1] = off_s
    return Marks(r_s, *times)


FEWEST_COMPARED = 10  # recordings with both values under which nothing is said
COLUMNS = {
    "heart_rate": "heart_rate_bpm",
    "pr": "pr_ms",
    "qrs": "qrs_ms",
    "qt": "qt_ms",
    "axis": "axis_deg",
    "variability": "rr_rmssd_ms",
}
"""Factor -> its column, of those that marks give without a voltage scale."""
UNITS = {"heart_rate": "bpm", "axis": "°", "variability": "log ms"}  # unit of bias and spread where it is not ms


def measure_agreement(
    root: Path, delineators: Sequence[Delineator] = DELINEATORS, *, n_resamples: int, seed: int, workers: int
) -> list[dict[str, Any]]:
    """`agreement` on LUDB's records under `root`, one row per delineator and factor, with the delineator's fields."""
    names = record_names(root)
    rows: list[dict[str, Any]] = []
    for how in delineators:
        pairs = ordered_map(partial(_measured_and_manual, root=root, how=how), names, workers)
        bar = tqdm(pairs, desc=f"LUDB at {how.fs_hz:g} Hz", unit="rec", total=len(names))
        measured, manual = (pd.DataFrame(side) for side in zip(*bar))
        rows += [how._asdict() | row for row in agreement(measured, manual, n_resamples, seed)]
    return rows


def _measured_and_manual(name: str, root: Path, how: Delineator) -> tuple[dict[str, float], dict[str, float]]:
    """Factors of one record over the same beats; the measured side is prepared as by `data.ingest`."""
    raw, manual = read_raw(str(root / "data"), name), manual_marks(root, name)
    stored = fix_length(resample(repair_gaps(raw)[0], LUDB_HZ, how.fs_hz), round(LUDB_S * how.fs_hz))
    marks = delineate(stored, how.fs_hz, how.method, how.own_qrs)
    if len(manual.r_s):
        marks = marks.within(manual.r_s[0] - MARGIN_S, manual.r_s[-1] + MARGIN_S)
    measured, by_hand = (
        beat_intervals(of) | {"axis_deg": voltages(signal, fs_hz, of)["axis_deg"]}
        for of, signal, fs_hz in ((marks, stored, how.fs_hz), (manual, raw, LUDB_HZ))
    )
    return measured, by_hand


def agreement(measured: pd.DataFrame, manual: pd.DataFrame, n_resamples: int, seed: int) -> list[dict[str, Any]]:
    """One row per factor: bias and sd of measured minus manual and R², each with a 95 % interval over recordings.

    Both frames have one row per recording, in one order. n: with both values; n_manual: with a manual value;
    n_without: without; n_invented: of these, with a measured one.
    """
    picks = [np.flatnonzero(column) for column in weights_of(np.arange(len(manual)), n_resamples, seed).T]
    rows = []
    for name, column in COLUMNS.items():
        a, b = (frame[column].to_numpy(np.float64) for frame in (measured, manual))
        if name == "variability":
            a, b = (np.log(np.maximum(values, LEAST_MS)) for values in (a, b))
        known, both = np.isfinite(b), np.isfinite(a) & np.isfinite(b)
        counts = {"n": both, "n_manual": known, "n_without": ~known, "n_invented": ~known & np.isfinite(a)}
        difference = a - b
        if name == "axis":  # differences go around the circle, R² is of cosine and sine
            difference = (difference + 180) % 360 - 180
            a, b = (np.column_stack([np.cos(angle), np.sin(angle)]) for angle in map(np.radians, (a, b)))
        drawn = [(np.nan,) * 3]
        if both.sum() >= FEWEST_COMPARED:
            of_both = [pick[both[pick]] for pick in picks]
            drawn = [(difference[k].mean(), difference[k].std(), explained(a[k], b[k])) for k in of_both]
        rows.append(
            {"factor": name, "unit": UNITS.get(name, "ms")}
            | {key: int(where.sum()) for key, where in counts.items()}
            | {key: number(values) for key, values in zip(("bias", "sd", "r2"), np.array(drawn).T)}
        )
    return rows


def explained(measured: np.ndarray, manual: np.ndarray) -> float:
    """R² of measured [N] or [N, K] regressed on manual (ordinary least squares); NaN where one of them does not vary.

    So neither an offset nor a scale counts against a measurement: a decoder would learn both.
    """
    y, x = (a.reshape(len(a), -1) - a.reshape(len(a), -1).mean(axis=0) for a in (measured, manual))
    if not (y**2).sum() > 0 or not (x**2).sum() > 0:
        return np.nan
    left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return float(1 - (left**2).sum() / (y**2).sum())


# --------------------------------------------------------------------------------------- what it takes at PTB-XL's size

SIZES = {"records": 21_799, "words": 2_923, "statements": 71, "width": 192}
"""PTB-XL's recordings; words and pairs that five of its reports have, its statements; the paper's embedding."""
BENCH_FOLDS = 10


def in_fresh_process(**sizes: int) -> dict[str, float]:
    """The sizes asked for (else `SIZES`), seconds of one fold of ten in one block (`report_s`: the report alone;
    `embedding_s`: one embedding, by both decoders, with its intervals) and `peak_mb` of the whole process, which is new
    so that its peak is that of this alone; folds come one after another. RuntimeError where that fails.
    """
    sizes = SIZES | sizes
    call = [sys.executable, "-m", __name__, *map(str, sizes.values())]
    done = subprocess.run(call, capture_output=True, text=True, env=dict(os.environ))
    if done.returncode:
        raise RuntimeError(f"measuring what_is_kept failed: {done.stderr.strip().splitlines()[-1:]}")
    return sizes | json.loads(done.stdout)


def main(records: int, words: int, statements: int, width: int) -> None:
    """Print the figures of this process as JSON; reports, factors and embedding are made up, their sizes are real."""
    from merit.parallel import peak_memory

    rng = np.random.default_rng(0)
    share = np.exp(rng.uniform(np.log(5 / records), np.log(0.5), words + statements))
    report = np.empty((records, words + statements), dtype=np.uint8)
    for k, frequency in enumerate(share):
        report[:, k] = rng.random(records) < frequency
    embedding = rng.normal(size=(records, width)).astype(np.float32)
    factors = {f"factor {k}": embedding[:, [k % width]] + rng.normal(size=(records, 1)) for k in range(9)}
    stated = {f"statement {k}": report[:, words + k].astype(bool) for k in range(statements)}
    folds = np.where(np.arange(records) % BENCH_FOLDS == 0, 0, TRAINING_ONLY)
    question = Question(factors, {}, {}, stated, np.arange(records), folds)
    began = time.perf_counter()
    by_words = blocks(question, report)
    between = time.perf_counter()
    measure(embedding, question, by_words, [], RetentionConfig())
    seconds = {"report_s": between - began, "embedding_s": time.perf_counter() - between}
    print(json.dumps(seconds | {"peak_mb": peak_memory() / 2**20}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
