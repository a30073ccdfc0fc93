"""Paired differences between encoders, as `pipeline.comparisons` gives them: a table, and what it says in words.

Rows hold fractions; they are printed in points (hundredths).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from merit.intervals import LEVEL, told_apart
from merit.report.ablation_tables import ordered, task_order
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import look, task_label
from merit.report.tables import METRICS, render

Row = Mapping[str, Any]


def differences(rows: Sequence[Row], name: str) -> Html:
    """A row a task, a column each other encoder: first minus other in points, interval, p, and p corrected (Holm).

    rows: of one setting and one metric. name: unique on the page.
    """
    if not rows:
        return Html("<p>No two encoders were scored on the same task: there is nothing to compare.</p>")
    tasks = column_labels(rows)
    others = [look(other).label for other in ordered({row["other"] for row in rows})]
    texts = pd.DataFrame(index=tasks, columns=others, dtype=object)
    marks = pd.DataFrame("", index=tasks, columns=others)
    for row, side in zip(rows, told_apart(rows)):
        cell = column_label(row), look(row["other"]).label
        texts.loc[cell] = _difference(row)
        if side:
            marks.loc[cell] = "font-weight: bold"
    first, metric = look(rows[0]["encoder"]).label, METRICS.get(rows[0]["metric"], rows[0]["metric"])
    head = Html('<p class="merit-caption"><b>{}</b>, in points</p>').format(f"{metric}: {first} minus …")
    return head + render(texts, f"differences-{name}", marks=marks)


def column_labels(rows: Iterable[Row]) -> list[str]:
    """Tasks or transfers of the rows, each once, in the order of the tables."""
    return list(dict.fromkeys(column_label(row) for row in sorted(rows, key=_place)))


def _place(row: Row) -> tuple[int, ...]:
    return tuple(task_order(row[name]) for name in ("task", "source", "target") if name in row)


def column_label(row: Row) -> str:
    """The task, or source and target of a transfer."""
    return task_label(row["task"]) if "task" in row else f"{task_label(row['source'])} → {task_label(row['target'])}"


def reading(rows: Sequence[Row]) -> str:
    """How many differences stay after Holm's correction, in whose favour; objectives and the random encoder apart."""
    if not rows:
        return "No two encoders were scored on the same task: there is nothing to compare."
    tested = [row for row in rows if row["p"] is not None]
    if not tested:
        return f"{len(rows)} differences, none with a p value: a single split, or a single seed, has no spread."
    sides = [[row for row in tested if (row["other"] == "random") == chance] for chance in (False, True)]
    with_variant = len({row.get("variant") for row in rows}) > 1
    parts = [_side(side, with_variant) for side in sides if side]
    return (
        f"Counted are differences whose corrected p is below {LEVEL} and whose interval leaves out 0. {' '.join(parts)}"
    )


def _side(rows: Sequence[Row], with_variant: bool) -> str:
    """`Against MSE and IB: 3 of 12 (MSE 1, IB 2) in favour of MERIT, none against.`"""
    found = [row for row, side in zip(rows, told_apart(rows)) if side]
    against = [row for row in found if row["mean"] < 0]
    others = ordered({row["other"] for row in rows})
    counts = {name: sum(row["other"] == name and row["mean"] > 0 for row in found) for name in others}
    split = ", ".join(f"{look(name).label} {count}" for name, count in counts.items())
    split = f" ({split})" if len(others) > 1 and any(counts.values()) else ""
    rivals = "the random encoder" if others == ["random"] else listing(look(name).label for name in others)
    return (
        f"Against {rivals}: {sum(counts.values()) or 'none'} of {len(rows)}{split} in favour of "
        f"{look(rows[0]['encoder']).label}, {len(against) or 'none'} against{_named(against, with_variant)}."
    )


def _named(rows: Sequence[Row], with_variant: bool) -> str:
    parts = []
    for row in rows:
        how = [METRICS.get(row["metric"], row["metric"])]
        how += [str(row["variant"]).replace("_", " ")] if with_variant else []
        parts.append(f"{look(row['other']).label} on {column_label(row)} ({', '.join(how)})")
    return f": {listing(parts)}" if parts else ""


def in_words(rows: Sequence[Row], **where: Any) -> str:
    """` [−0.2, +3.4], p 0.012, Holm 0.61 over 84 differences: within sampling error`: what follows the difference of
    the row with these fields, in points; "" where it has no p value or there is no such row.
    """
    for row, side in zip(rows, told_apart(rows)):
        if all(row[name] == value for name, value in where.items()) and row["p"] is not None:
            text = _difference(row).replace("\n", ", ").split(" ", 1)[1]
            return f" {text} over {row['n_comparisons']} differences: {'beyond' if side else 'within'} sampling error"
    return ""


def _difference(row: Row) -> str | None:
    if row["mean"] is None:
        return None
    text = fixed(100 * row["mean"], 1, sign=True)
    if row["low"] is not None:
        text += f" [{fixed(100 * row['low'], 1, sign=True)}, {fixed(100 * row['high'], 1, sign=True)}]"
    return text if row["p"] is None else f"{text}\np {p_text(row['p'])}, Holm {p_text(row['p_holm'])}"


def p_text(value: float) -> str:
    """`< 0.001`, `0.012` or `0.35`."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
