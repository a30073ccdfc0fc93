"""How much of each known factor an embedding retains beyond what the report says, with intervals.

A continuous factor: R² out of fold, against the training folds' mean; partial R² is the share of what the report leaves
unexplained that report and embedding together explain, 1 − SSE(both) / SSE(report). A finding: AUROC, and AUROC among
the recordings whose report does not state it. Intervals resample patients of the out-of-fold predictions; decoders are
not fitted again.

Read from top to bottom: a report's words, what a decoder reads, ridge regression, decoding fold by fold, the numbers.
Legend: N recordings, D numbers of an embedding, F features, K targets, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from merit import intervals
from merit.evaluate.tasks import NotEnoughData

if TYPE_CHECKING:
    from sklearn.linear_model import RidgeCV

# --------------------------------------------------------------------------------------------------- words of reports

PATTERN = r"(?u)\b\w+\b"
"""Words, those of one letter or digit too: leads and grades are among them."""


def words(reports: Sequence[str], fewest: int) -> np.ndarray:
    """uint8 [N, F] of 0 and 1: lower-cased words and pairs of neighbours that at least `fewest` reports have, not all.

    Reports of PTB-XL are free text in German, English and Swedish; nothing is translated. Of several columns that the
    very same reports have, one stands for all. No such words: F is 0.
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


def reader(train: np.ndarray, *, standardise: bool, nonlinear: bool, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """How rows are read, by the training rows [N, D] alone: the numbers themselves, [n, D], and where nonlinear kernel
    features beside them.

    standardise: every number to mean 0 and variance 1 (an embedding), else all by one scale (statements, 0 and 1, so
    that a rare one does not count more). Each part, linear and kernel, has variance 1 in total. A Gaussian kernel on
    100 landmarks (Nyström: Williams and Seeger 2001) makes ridge regression non-linear at a cost that is linear in the
    rows; two rows lie 2 apart in squared distance on average, where the kernel has fallen to exp(−1).
    """
    rows = np.asarray(train, dtype=np.float64)
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    if standardise:
        spread = np.where(variance > LEAST_VARIANCE, np.sqrt(variance), np.inf)
        spread = spread * np.sqrt(max(int(np.isfinite(spread).sum()), 1))
    else:
        spread = np.full(len(mean), np.sqrt(max(float(variance.sum()), LEAST_VARIANCE)))

    def linear(rows: np.ndarray) -> np.ndarray:
        return (np.asarray(rows, dtype=np.float64) - mean) / spread

    if not nonlinear:
        return linear
    from sklearn.kernel_approximation import Nystroem

    distinct = len({row.tobytes() for row in np.ascontiguousarray(train)})
    landmarks = max(1, min(LANDMARKS, distinct, len(train) // FEWEST_PER_LANDMARK))
    chosen = np.random.RandomState(seed).permutation(len(train))[:landmarks]  # as Nystroem draws them from all rows
    kernel = Nystroem(kernel="rbf", gamma=0.5, n_components=landmarks, random_state=seed).fit(linear(train[chosen]))
    size = np.sqrt(max(float(kernel.transform(linear(train)).var(axis=0).sum()), LEAST_VARIANCE))

    def linear_and_kernel(rows: np.ndarray) -> np.ndarray:
        x = linear(rows)
        return np.hstack([x, kernel.transform(x) / size])

    return linear_and_kernel


# -------------------------------------------------------------------------------------------------------------- ridge

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 1e6)
"""Penalties that are tried, as shares of the features' total variance times N; the last leaves the mean alone."""


@dataclass(frozen=True)
class Ridge:
    """Ridge regression for K targets, each with the penalty whose left-out squared error is lowest (Allen 1974)."""

    model: RidgeCV
    left_out: np.ndarray
    """[N, K]: each training row's residual under the fit without it."""

    @classmethod
    def fitted(cls, x: np.ndarray, y: np.ndarray) -> Self:
        """On features x [N, F] and targets y [N, K]."""
        from sklearn.linear_model import RidgeCV

        total = float(((x - x.mean(axis=0)) ** 2).sum()) or 1.0
        alphas = np.array(PENALTIES) * total
        model = RidgeCV(alphas, alpha_per_target=True, store_cv_results=True, gcv_mode="eigen").fit(x, y)
        chosen = np.searchsorted(alphas, np.atleast_1d(model.alpha_))
        squared = model.cv_results_[:, np.arange(y.shape[1]), chosen]
        residual = y - model.predict(x).reshape(y.shape)  # of the same sign, and smaller
        return cls(model, np.copysign(np.sqrt(squared), residual))

    def predict(self, x: np.ndarray) -> np.ndarray:
        """[n, K] for features [n, F]."""
        return self.model.predict(x).reshape(len(x), -1)


# ------------------------------------------------------------------------------------------------ decoding, out of fold

DECODERS = ("linear", "nonlinear")
TRAINING_ONLY = -1
"""Fold of a recording that is trained on and never scored."""
FEWEST = 60
"""Scored recordings under which nothing is measured."""


@dataclass(frozen=True)
class Question:
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
    """int [N]: see `Block`."""

    @property
    def scored(self) -> np.ndarray:
        """bool [N]."""
        return self.folds != TRAINING_ONLY


class Block:
    """Targets that the same recordings have, what reports alone say of them, and what embeddings add.

    A fold's report is decomposed when it is needed and forgotten after it: for PTB-XL's words, all folds together would
    take tens of gigabytes.
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
        standardise). folds int [N]: each from 0 is scored by what is trained on all others; `TRAINING_ONLY`: trained
        on alone. also [N, A]: targets that are asked of the embedding alone. columns: factor or finding -> its targets.
        """
        self.report, self.targets, self.folds = report, targets, folds
        self.also = np.zeros((len(targets), 0)) if also is None else also
        self.rows = np.arange(len(targets)) if rows is None else rows
        self.columns = columns or {}
        self.standardise, self.seed = standardise, seed
        self.predicted = np.full(targets.shape, np.nan)
        """float64 [N, K] out of fold, from the report alone; NaN where a recording is never scored."""
        for train, test in self.splits():
            of_train, of_test = self._read_report(train, test)
            self.predicted[test] = Ridge.fitted(of_train, targets[train]).predict(of_test)

    def splits(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Places of those who train and of those who are scored, a fold at a time."""
        for fold in np.unique(self.folds[self.folds != TRAINING_ONLY]):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)

    def mean(self) -> np.ndarray:
        """`predicted` from the training folds' means: what nothing at all yields."""
        means = np.full(self.targets.shape, np.nan)
        for train, test in self.splits():
            means[test] = self.targets[train].mean(axis=0)
        return means

    def embedding(self, embedding: np.ndarray, decoder: str) -> np.ndarray:
        """float64 [N, K + A], targets and `also`, from the embedding [N, D] alone; decoder: one of `DECODERS`."""
        targets = np.hstack([self.targets, self.also])
        predicted = np.full(targets.shape, np.nan)
        for train, test in self.splits():
            of_train, of_test = self._read_embedding(embedding, train, test, decoder)
            predicted[test] = Ridge.fitted(of_train, targets[train]).predict(of_test)
        return predicted

    def both(self, embedding: np.ndarray, decoders: Sequence[str] = DECODERS) -> dict[str, np.ndarray]:
        """Decoder -> float64 [N, K] from the report and the embedding [N, D].

        The report's prediction plus what the embedding, less what the report says of it, adds to it (Frisch and Waugh
        1933; with left-out residuals on both sides as in Chernozhukov et al. 2018): with a penalty for each side, an
        embedding that holds nothing new adds nothing. The report is always read non-linearly, so that an embedding gets
        no credit for combining statements.
        """
        predicted = {decoder: np.full(self.targets.shape, np.nan) for decoder in decoders}
        k = self.targets.shape[1]
        widest = "nonlinear" if "nonlinear" in decoders else "linear"
        for train, test in self.splits():
            report_of_train, report_of_test = self._read_report(train, test)
            of_train, of_test = self._read_embedding(embedding, train, test, widest)
            fit = Ridge.fitted(report_of_train, np.hstack([self.targets[train], of_train]))
            by_report = fit.predict(report_of_test)
            for decoder, values in predicted.items():
                end = k + (
                    embedding.shape[1] if decoder == "linear" else of_train.shape[1]
                )  # linear features are first
                added = Ridge.fitted(fit.left_out[:, k:end], fit.left_out[:, :k])
                values[test] = by_report[:, :k] + added.predict((of_test - by_report[:, k:])[:, : end - k])
        return predicted

    def _read_report(self, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The report's features for those who train and those who are scored."""
        values = self.report[self.rows[train]]
        read = reader(values, standardise=self.standardise, nonlinear=True, seed=self.seed)
        return read(values), read(self.report[self.rows[test]])

    def _read_embedding(
        self, embedding: np.ndarray, train: np.ndarray, test: np.ndarray, decoder: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same of the embedding; ValueError for other recordings."""
        if len(embedding) != len(self.targets):
            raise ValueError(f"embedding: expected a row for each of {len(self.targets)} records; got {len(embedding)}")
        read = reader(embedding[train], standardise=True, nonlinear=decoder == "nonlinear", seed=self.seed)
        return read(embedding[train]), read(embedding[test])


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

DIGITS = 6
"""Decimals that are kept: the last bits of linear algebra depend on the number of cores."""
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


def number(drawn: np.ndarray, keep: bool = False, share: bool = False) -> dict[str, Any]:
    """Value and 95 % interval of [1 + R] numbers, the first of them the value; None where there is none.

    share: it lies from 0 to 1, as AUROC does and R², which may be negative, does not. keep: the draws too, by which two
    encoders are compared resample by resample.
    """
    rest = drawn[1:][np.isfinite(drawn[1:])]
    low, high = intervals.ends(drawn[0], rest, share)
    row = {name: _rounded(value) for name, value in (("value", drawn[0]), ("low", low), ("high", high))}
    return row | {"draws": [_rounded(value) for value in drawn[1:]]} if keep else row


def _rounded(value: float) -> float | None:
    return round(float(value), DIGITS) if np.isfinite(value) else None


def measure(
    embedding: np.ndarray, question: Question, by_report: list[Block], config: RetentionConfig
) -> list[dict[str, Any]]:
    """The numbers of one embedding [N, D], one row each: kind, target, decoder, metric, value, low, high, n.

    by_report: `blocks` of the same question. decoder: "report" (the report alone) or one of `DECODERS`. By kind:
    factor: r2 of the report or the embedding alone, r2_both and r2_partial (with draws), over n recordings;
    finding: auroc over all, and auroc_silent where the report does not state it, of n that have it. The report's other
    statements may still hint at it there, which is what the embedding has to beat;
    statement: auroc of the embedding, linear, for what enough reports state (n) and enough do not;
    summary: auroc_stated, the mean over statements, and r2_partial, the mean over factors; both with draws.
    """
    weights = intervals.weights_of(question.groups, config.n_resamples, config.seed)
    alone = [{decoder: block.embedding(embedding[block.rows], decoder) for decoder in DECODERS} for block in by_report]
    both = [block.both(embedding[block.rows]) for block in by_report]
    rows: list[dict[str, Any]] = []

    def add(kind: str, target: str, decoder: str, metric: str, numbers: Mapping[str, Any], n: int) -> None:
        rows.append({"kind": kind, "target": target, "decoder": decoder, "metric": metric, **numbers, "n": n})

    partial: dict[str, list[np.ndarray]] = {decoder: [] for decoder in DECODERS}
    for block, by_embedding, jointly in zip(by_report, alone, both):
        n, mean = int(np.isfinite(block.predicted[:, 0]).sum()), block.mean()
        for name in (name for name in block.columns if name in question.factors):
            nothing, report = (_lost(block, name, source, weights) for source in (mean, block.predicted))
            add("factor", name, "report", "r2", number(1 - report / nothing), n)
            for decoder in DECODERS:
                own, joint = (_lost(block, name, source[decoder], weights) for source in (by_embedding, jointly))
                add("factor", name, decoder, "r2", number(1 - own / nothing), n)
                add("factor", name, decoder, "r2_both", number(1 - joint / nothing), n)
                add("factor", name, decoder, "r2_partial", number(1 - joint / report, keep=True), n)
                if name not in NOT_AVERAGED:
                    partial[decoder].append(1 - joint / report)
    rows.sort(key=lambda row: list(question.factors).index(row["target"]))

    everywhere, scored = by_report[0], question.scored
    for name, there in question.findings.items():
        column = everywhere.columns[name].start
        for decoder, scores in {"report": everywhere.predicted, **alone[0]}.items():
            for metric, where in (("auroc", scored), ("auroc_silent", question.silent[name] & scored)):
                n = int((there & where).sum())
                nothing = np.full(1 + config.n_resamples, np.nan)
                if config.min_silent <= n < where.sum():
                    pooled = _pool(there[:, None], scores[:, [column]], where, question, config)
                    nothing = np.concatenate([[pooled.macro["auroc"][0]], pooled.resamples["auroc"]])
                add("finding", name, decoder, metric, number(nothing, share=True), n)

    counts = {name: int((made & scored).sum()) for name, made in question.stated.items()}
    most = int(scored.sum()) - config.min_positives
    asked = [name for name, count in counts.items() if config.min_positives <= count <= most]
    at = everywhere.targets.shape[1] + np.array([list(question.stated).index(name) for name in asked], dtype=int)
    for decoder in DECODERS:
        drawn = np.full(1 + config.n_resamples, np.nan)
        if asked:
            labels = np.column_stack([question.stated[name] for name in asked])
            pooled = _pool(labels, alone[0][decoder][:, at], scored, question, config)
            drawn = np.concatenate([[pooled.macro["auroc"][0]], pooled.resamples["auroc"]])
            if decoder == "linear":
                for name, value in zip(asked, pooled.per_class["auroc"]):
                    add("statement", name, decoder, "auroc", {"value": _rounded(value)}, counts[name])
        add("summary", "mean", decoder, "auroc_stated", number(drawn, keep=True, share=True), int(scored.sum()))
        averaged = number(np.mean(partial[decoder], axis=0), keep=True)
        add("summary", "mean", decoder, "r2_partial", averaged, int(scored.sum()))
    return rows


def partial_r2_beyond(
    embedding: np.ndarray, question: Question, by_report: list[Block], config: RetentionConfig
) -> dict[str, Any]:
    """The mean partial R² alone, linear, beyond another description of the report, with draws."""
    weights = intervals.weights_of(question.groups, config.n_resamples, config.seed)
    drawn = []
    for block in by_report:
        both = block.both(embedding[block.rows], ["linear"])["linear"]
        for name in block.columns:
            if name in question.factors and name not in NOT_AVERAGED:
                drawn.append(1 - _lost(block, name, both, weights) / _lost(block, name, block.predicted, weights))
    return number(np.mean(drawn, axis=0), keep=True)


def _lost(block: Block, name: str, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[1 + R]: squared error of a target over the scored recordings under each resample."""
    columns, scored = block.columns[name], np.isfinite(predicted[:, 0])
    error = ((block.targets[scored, columns] - predicted[scored, columns]) ** 2).sum(axis=1)
    return error @ weights[block.rows[scored]].astype(np.float64)


def _pool(
    labels: np.ndarray, scores: np.ndarray, scored: np.ndarray, question: Question, config: RetentionConfig
) -> intervals.Pooled:
    """Scores [N, C] of the recordings that are scored, bool [N]."""
    return intervals.pool(
        labels,
        np.nan_to_num(scores),
        np.broadcast_to(scored[:, None], labels.shape),
        question.groups,
        n_resamples=config.n_resamples,
        seed=config.seed,
    )
