"""Committed numbers of what is kept: files, means over pretraining seeds, and their spreads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merit.report import reference
from merit.report.numerals import fixed

File = Mapping[str, Any]
Row = Mapping[str, Any]
AXES = {
    "in_report_linear": "in the report:\nAUROC of its statements, %",
    "beyond_linear": "beyond the report:\npartial R² of what it never names, %",
}
"""Metric of a committed file -> the label of its axis."""
HEADS = {
    "in_report_linear": "in the report,\nlinear",
    "in_report_nonlinear": "in the report,\nnon-linear",
    "beyond_linear": "beyond it,\nlinear",
    "beyond_nonlinear": "beyond it,\nnon-linear",
    "beyond_text": "beyond its text embedding,\nlinear",
}
"""Metric -> the head of its column."""
READERS = ("merit", "cma")
"""Encoders whose pretraining reads reports, in the dial of what these leave out."""


def files(stage: str, profile: str, synthetic: bool, folder: Path | None = None) -> list[File]:
    """The committed files of a stage (`reference.load`): the paper's encoders, then those of equal budget."""
    groups = (None, reference.EQUAL_BUDGET) if stage == "kept" else (None,)
    return [one for group in groups for one in reference.load(stage, profile, synthetic, folder, group)]


def row_of(file: File, encoder: str, metric: str, **where: Any) -> Row | None:
    """The mean over seeds of one encoder and metric."""
    wanted = {"encoder": encoder, "metric": metric, **where}
    return next((row for row in file["over_seeds"] if all(row.get(k) == v for k, v in wanted.items())), None)


def by_share(file: File, encoder: str, metric: str) -> list[Row]:
    """The same at each share of findings that reports leave out, in its order."""
    rows = [row for row in file["over_seeds"] if (row["encoder"], row["metric"]) == (encoder, metric)]
    return sorted(rows, key=lambda row: row["share"])


def bar(file: File, row: Row) -> list[list[float]]:
    """Lengths of an error bar in percent, [[down], [up]]: the sd over seeds; of a single seed its 95 % interval."""
    if row["sd"] is not None:
        return [[100 * row["sd"]], [100 * row["sd"]]]
    low, high = interval(file, row)
    return [[100 * max(row["mean"] - low, 0)], [100 * max(high - row["mean"], 0)]]


def interval(file: File, row: Row) -> tuple[float, float]:
    """Of the single seed that a row stands for: the 95 % interval from resampling patients."""
    where = {name: row[name] for name in ("encoder", "share", "hearts") if name in row}
    result = next(one for one in file["results"] if all(one.get(k) == v for k, v in where.items()))
    measure, _, decoder = row["metric"].rpartition("_")
    number = result["beyond_text"] if row["metric"] == "beyond_text" else result["summary"][decoder][measure]
    return number["low"], number["high"]


def mean_text(file: File, row: Row) -> str:
    """`23.3` and on a line of its own `±0.4` over seeds, or `[21.9, 24.7]` of a single one; percent."""
    if row["sd"] is not None:
        return f"{fixed(100 * row['mean'], 1)}\n±{fixed(100 * row['sd'], 1)}"
    low, high = (fixed(100 * end, 1) for end in interval(file, row))
    return f"{fixed(100 * row['mean'], 1)}\n[{low}, {high}]"


def seeds_text(file: File) -> str:
    """How many pretraining seeds a file has."""
    return f"{file['seeds']} pretraining seed{'s' * (file['seeds'] != 1)}"
