"""How much of each known factor an embedding keeps, beyond what the report says, with intervals.

A continuous factor: R² out of fold, against the training folds' mean; partial R² is the share of what the report leaves
unexplained that report and embedding together explain, 1 − SSE(both) / SSE(report). A finding: AUROC, and AUROC among
the recordings whose report does not state it. Intervals resample patients of the out-of-fold predictions; decoders are
not fitted again. Legend: N recordings, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from merit import intervals
from merit.evaluate.bootstrap import pool, weights_of
from merit.evaluate.kept.decode import DECODERS, NEVER, Report
from merit.evaluate.tasks import NotEnoughData

DIGITS = 6
"""Decimals that are kept: the last bits of linear algebra depend on the number of cores."""
FEWEST = 60
"""Scored recordings under which nothing is measured."""
NOT_AVERAGED = frozenset({"heart_rate"})
"""Factors that stand in the table and not in the mean: reports name much of them."""


@dataclass(frozen=True, kw_only=True)
class KeptConfig:
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


@dataclass(frozen=True)
class Asked:
    """What is asked of every embedding of N recordings."""

    factors: Mapping[str, np.ndarray]
    """Name -> float64 [N, K], NaN rows where there is no such thing."""
    findings: Mapping[str, np.ndarray]
    """Name -> bool [N]: whether it is there."""
    silent: Mapping[str, np.ndarray]
    """Name -> bool [N]: whether the report does not state it."""
    stated: Mapping[str, np.ndarray]
    """Statement -> bool [N]: whether the report makes it."""
    groups: np.ndarray
    """[N]: patients."""
    folds: np.ndarray
    """int [N]: see `Report.fitted`."""

    @property
    def scored(self) -> np.ndarray:
        """bool [N]."""
        return self.folds != NEVER


@dataclass(frozen=True)
class Block:
    """Factors that the same recordings have, with findings and statements where all have them."""

    names: tuple[str, ...]
    columns: tuple[slice, ...]
    rows: np.ndarray
    """int [n]: their places among all N."""
    report: Report
    """Of these rows alone."""


def blocks(
    asked: Asked, report: np.ndarray, *, standardise: bool = False, findings: bool = True, seed: int = 0
) -> list[Block]:
    """Factors grouped by the recordings that have them, with what `report` [N, S] says of each; the first is of all.

    NotEnoughData where fewer than `FEWEST` recordings can be scored.
    """
    n = len(asked.groups)
    if asked.scored.sum() < FEWEST:
        raise NotEnoughData(f"expected at least {FEWEST} scored recordings; got {int(asked.scored.sum())}")
    by_rows: dict[bytes, list[str]] = {np.ones(n, bool).tobytes(): []}
    for name, values in asked.factors.items():
        by_rows.setdefault(np.isfinite(values).all(axis=1).tobytes(), []).append(name)
    found = []
    for k, (key, names) in enumerate(by_rows.items()):
        rows = np.flatnonzero(np.frombuffer(key, dtype=bool))
        if asked.scored[rows].sum() < FEWEST:
            continue
        parts = [asked.factors[name][rows] for name in names]
        also = None
        if k == 0 and findings:
            parts += [values[:, None].astype(np.float64) for values in asked.findings.values()]
            names = [*names, *asked.findings]
            also = np.column_stack([np.zeros((n, 0)), *asked.stated.values()]).astype(np.float64)
        ends = np.cumsum([part.shape[1] for part in parts])
        columns = tuple(slice(int(end) - part.shape[1], int(end)) for end, part in zip(ends, parts))
        if parts:
            fitted = Report.fitted(
                report, np.hstack(parts), asked.folds[rows], also=also, rows=rows, standardise=standardise, seed=seed
            )
            found.append(Block(tuple(names), columns, rows, fitted))
    return found


def measure(embedding: np.ndarray, asked: Asked, said: list[Block], config: KeptConfig) -> dict[str, Any]:
    """All numbers of one embedding [N, D]: factors, findings and summary, each value with its interval.

    said: `blocks` of the same question. `summary` holds, for each decoder, in_report (mean AUROC of the report's own
    statements, from the embedding) and beyond (mean partial R² of the factors), with their draws.
    """
    weights = weights_of(asked.groups, config.n_resamples, config.seed)
    predicted: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {decoder: [] for decoder in DECODERS}
    for block in said:
        own = embedding[block.rows]
        for decoder, both in block.report.both(own).items():
            predicted[decoder].append((block.report.embedding(own, decoder), both))
    factors, draws = _factors(asked, said, predicted, weights)
    summary = {}
    for decoder in DECODERS:
        partial = [drawn for (name, d), drawn in draws.items() if d == decoder and name not in NOT_AVERAGED]
        stated = _statements(asked, said[0], predicted[decoder][0][0], config)
        summary[decoder] = {"in_report": stated, "beyond": number(np.mean(partial, axis=0), keep=True)}
    return {
        "n_records": int(asked.scored.sum()), "n_patients": len(np.unique(asked.groups[asked.scored])),
        "factors": factors, "findings": _findings(asked, said[0], predicted, config), "summary": summary,
        "statements": _each_statement(asked, said[0], predicted["linear"][0][0], config),
    }  # fmt: skip


def beyond_another(embedding: np.ndarray, asked: Asked, said: list[Block], config: KeptConfig) -> dict[str, Any]:
    """The mean partial R² alone, linear, given another description of the report (`said`)."""
    weights = weights_of(asked.groups, config.n_resamples, config.seed)
    found = []
    for block in said:
        alone, both = block.report.predicted, block.report.both(embedding[block.rows], ["linear"])["linear"]
        for name, columns in zip(block.names, block.columns):
            if name in asked.factors and name not in NOT_AVERAGED:
                found.append(1 - _lost(block, both, columns, weights) / _lost(block, alone, columns, weights))
    return number(np.mean(found, axis=0), keep=True)


def number(drawn: np.ndarray, keep: bool = False, share: bool = False) -> dict[str, Any]:
    """Value and 95 % interval of [1 + R] numbers, the first of them the value; None where there is none.

    share: it lies from 0 to 1, as AUROC does and R², which may be negative, does not. keep: the draws too, by which two
    encoders are compared resample by resample.
    """
    rest = drawn[1:][np.isfinite(drawn[1:])]
    low, high = intervals.ends(drawn[0], rest, share)
    found = {name: _plain(value) for name, value in (("value", drawn[0]), ("low", low), ("high", high))}
    return found | {"draws": [_plain(value) for value in drawn[1:]]} if keep else found


def _plain(value: float) -> float | None:
    return round(float(value), DIGITS) if np.isfinite(value) else None


def _lost(block: Block, predicted: np.ndarray, columns: slice, weights: np.ndarray) -> np.ndarray:
    """[1 + R]: squared error over the scored recordings under each resample."""
    there = np.isfinite(predicted[:, 0])
    error = ((block.report.targets[there, columns] - predicted[there, columns]) ** 2).sum(axis=1)
    return error @ weights[block.rows[there]].astype(np.float64)


def _factors(
    asked: Asked, said: list[Block], predicted: Mapping[str, list[tuple[np.ndarray, np.ndarray]]], weights: np.ndarray
) -> tuple[dict[str, Any], dict[tuple[str, str], np.ndarray]]:
    """Factor -> its numbers (of partial R² the draws too), and (factor, decoder) -> partial R² [1 + R]."""
    found: dict[str, Any] = {}
    draws = {}
    for k, block in enumerate(said):
        alone, mean = block.report.predicted, block.report.mean()
        for name, columns in zip(block.names, block.columns):
            if name not in asked.factors:
                continue
            nothing, report = _lost(block, mean, columns, weights), _lost(block, alone, columns, weights)
            found[name] = {"report": number(1 - report / nothing), "n": int(np.isfinite(alone[:, 0]).sum())}
            for decoder, both in predicted.items():
                raw, joint = (_lost(block, one, columns, weights) for one in both[k])
                draws[name, decoder] = 1 - joint / report
                found[name][decoder] = {
                    "raw": number(1 - raw / nothing), "both": number(1 - joint / nothing),
                    "partial": number(draws[name, decoder], keep=True),
                }  # fmt: skip
    return {name: found[name] for name in asked.factors if name in found}, draws


def _findings(
    asked: Asked, block: Block, predicted: Mapping[str, list[tuple[np.ndarray, np.ndarray]]], config: KeptConfig
) -> dict[str, Any]:
    """Finding -> AUROC of the report alone and of the embedding alone, over all and where the report does not state it.

    There the other statements of the report may still hint at it, which is what the embedding has to beat.
    """
    found: dict[str, Any] = {}
    place = dict(zip(block.names, block.columns))
    for name, truth in asked.findings.items():
        silent = asked.silent[name] & asked.scored
        found[name] = {"n": int((truth & asked.scored).sum()), "n_silent": int((truth & silent).sum())}
        scores = {"report": block.report.predicted, **{d: predicted[d][0][0] for d in DECODERS}}
        for key, score in scores.items():
            column = score[:, place[name].start]
            found[name][key] = {
                part: _auroc(truth, column, of, asked, config)
                for part, of in (("all", asked.scored), ("silent", silent))
                if config.min_silent <= (truth & of).sum() < of.sum()
            }
    return found


def _auroc(
    truth: np.ndarray, score: np.ndarray, scored: np.ndarray, asked: Asked, config: KeptConfig
) -> dict[str, Any]:
    pooled = _pool(truth[:, None], score[:, None], scored[:, None], asked, config)
    return number(np.concatenate([[pooled.macro["auroc"][0]], pooled.resamples["auroc"]]), share=True)


def _pool(labels: np.ndarray, scores: np.ndarray, scored: np.ndarray, asked: Asked, config: KeptConfig) -> Any:
    nothing = np.zeros_like(labels)
    scores = np.nan_to_num(scores)
    return pool(
        labels, scores, nothing, scored, asked.groups, n_resamples=config.n_resamples, seed=config.seed
    )  # fmt: skip


def _scored_statements(asked: Asked, config: KeptConfig) -> list[int]:
    """Places of the statements that enough scored reports make, and enough do not."""
    counts = [int((made & asked.scored).sum()) for made in asked.stated.values()]
    most = int(asked.scored.sum()) - config.min_positives
    return [k for k, count in enumerate(counts) if config.min_positives <= count <= most]


def _statements(asked: Asked, block: Block, raw: np.ndarray, config: KeptConfig) -> dict[str, Any]:
    """Mean AUROC of the report's statements, from the embedding alone, with draws."""
    chosen = _scored_statements(asked, config)
    if not chosen:
        return number(np.full(1 + config.n_resamples, np.nan), keep=True)
    labels = np.column_stack(list(asked.stated.values()))[:, chosen]
    scores = raw[:, block.report.targets.shape[1] :][:, chosen]
    pooled = _pool(labels, scores, np.broadcast_to(asked.scored[:, None], labels.shape), asked, config)
    return number(np.concatenate([[pooled.macro["auroc"][0]], pooled.resamples["auroc"]]), keep=True, share=True)


def _each_statement(asked: Asked, block: Block, raw: np.ndarray, config: KeptConfig) -> dict[str, float | None]:
    """Statement -> AUROC, for those that are scored."""
    chosen = _scored_statements(asked, config)
    names = list(asked.stated)
    found = {}
    for k in chosen:
        score = raw[:, block.report.targets.shape[1] + k]
        one = KeptConfig(n_resamples=1, seed=config.seed)
        pooled = _pool(asked.stated[names[k]][:, None], score[:, None], asked.scored[:, None], asked, one)
        found[names[k]] = _plain(pooled.macro["auroc"][0])
    return found
