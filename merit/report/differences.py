"""Paired differences between encoders, as `pipeline.comparisons` gives them: a table, and what it says in words.

Rows hold fractions; they are printed in points (hundredths).
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report.ablation_tables import ordered
from merit.report.prose import Html, listing
from merit.report.style import look, task_label
from merit.report.tables import METRICS, render

LEVEL = 0.05
"""A corrected p value below this is bold, and counted as a difference."""

Row = Mapping[str, Any]


def differences(rows: Sequence[Row], name: str) -> Html:
    """A row a task, a column each other encoder: first minus other in points, interval, p, and p corrected (Holm).

    rows: of one setting and one metric. name: unique on the page.
    """
    if not rows:
        return Html("<p>No two encoders were scored on the same task: there is nothing to compare.</p>")
    tasks = list(dict.fromkeys(column_label(row) for row in rows))
    others = [look(other).label for other in ordered({row["other"] for row in rows})]
    texts = pd.DataFrame(index=tasks, columns=others, dtype=object)
    marks = pd.DataFrame("", index=tasks, columns=others)
    for row in rows:
        cell = column_label(row), look(row["other"]).label
        texts.loc[cell] = _difference(row)
        if row["p_holm"] is not None and row["p_holm"] < LEVEL:
            marks.loc[cell] = "font-weight: bold"
    first, metric = look(rows[0]["encoder"]).label, METRICS.get(rows[0]["metric"], rows[0]["metric"])
    head = Html(f'<p class="merit-caption"><b>{html.escape(f"{metric}: {first} minus …")}</b>, in points</p>')
    return head + render(texts, f"differences-{name}", marks=marks)


def column_label(row: Row) -> str:
    """The task, or source and target of a transfer."""
    return task_label(row["task"]) if "task" in row else f"{task_label(row['source'])} → {task_label(row['target'])}"


def reading(rows: Sequence[Row]) -> str:
    """How many of all compared differences stay after Holm's correction, in whose favour, and what speaks against."""
    if not rows:
        return "No two encoders were scored on the same task: there is nothing to compare."
    first, number = look(rows[0]["encoder"]).label, sum(row["p"] is not None for row in rows)
    if not number:
        return f"{len(rows)} differences, none with a p value: a single split, or a single seed, has no spread."
    found = [row for row in rows if row["p_holm"] is not None and row["p_holm"] < LEVEL]
    against = [row for row in found if row["mean"] < 0]
    text = (
        f"Of {number} differences with a p value, {len(found)} have one below {LEVEL} after correction: "
        f"{len(found) - len(against)} in favour of {first}, {len(against)} against it"
    )
    return f"{text}{_named(against, len({row.get('variant') for row in rows}) > 1)}."


def _named(rows: Sequence[Row], with_variant: bool) -> str:
    parts = []
    for row in rows:
        how = [METRICS.get(row["metric"], row["metric"])]
        how += [str(row["variant"]).replace("_", " ")] if with_variant else []
        parts.append(f"{look(row['other']).label} on {column_label(row)} ({', '.join(how)})")
    return f": {listing(parts)}" if parts else ""


def _difference(row: Row) -> str | None:
    if row["mean"] is None:
        return None
    text = f"{100 * row['mean']:+.1f}"
    if row["low"] is not None:
        text += f" [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    return text if row["p"] is None else f"{text}\np {_p(row['p'])}, Holm {_p(row['p_holm'])}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
