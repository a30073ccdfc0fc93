"""The ablation's tables (4, 8 and 9) and the extended one of linear probing (6).

Results come as the workspace gives them; scores are fractions and are printed in percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report import paper, tables
from merit.report.numerals import fixed
from merit.report.prose import Html
from merit.report.style import look, task_label
from merit.report.tables import HALVES, METRICS, PUBLISHED_METRIC, ranked, render

ORDER = (
    "mse", "ib-0.1", "ib", "ib-1", "cma", "cma-whole", "merit", "st-mem-ours", "merl-ours", "simclr", "clocs", "random",
)  # fmt: skip
"""The paper's order of rows, other strengths beside IB and CMA without a mask beside CMA; then peers' methods trained
here, and the random encoder.
"""

NOTES = {
    True: tables.NOTES[True],
    False: "The rows of the paper: pretrained on MIMIC-IV-ECG, scored on the whole data sets. Compare the counts and "
    "the protocol, on the page of Table {counts}, before the numbers.",
}
"""Whether our recordings are synthetic -> what stands under a table with rows of the paper."""

COUNTED_IN = {4: 1, 9: 2}
"""Table of the ablation -> the one whose page has counts and protocol of the same results."""

LOST = "All numbers of the paper's Table {table} are lost in the text that we have: no row of it stands here."

PAIRS = (("superclass", "subclass"), ("form", "rhythm"), ("all",), ("csn", "cpsc2018"))
"""Tasks side by side where cells hold intervals: three of them are wider than a page."""

THRESHOLDS = "Thresholds are not chosen again in a resample: intervals of F1 and accuracy are too narrow."

NO_BREAK = "\N{NO-BREAK SPACE}"

Result = Mapping[str, Any]
Cells = dict[tuple[str, str, str], tuple[float, str]]
"""(encoder, task, metric) -> number in percent, text."""


def zero_shot(results: Sequence[Result], *, synthetic: bool, comparable: bool = False) -> Html:
    """Table 9: zero-shot scores with the interval from resampling patients; below them the paper's rows."""
    cells: Cells = {}
    for one in _scored(results):
        for metric in METRICS:
            score = one["macro"].get(metric) or {}
            if score.get("value") is not None:
                there = score.get("low") is not None
                ends = [f"[{100 * score['low']:.1f},{NO_BREAK}{100 * score['high']:.1f}]"] if there else []
                key = one["encoder"], one["task"], metric
                cells[key] = 100 * score["value"], _lines(score["value"], *ends)
    html = _tables(cells, "zero-shot", 9, synthetic, comparable, PAIRS)
    return html + Html('<p class="merit-note">{}</p>').format(THRESHOLDS) if cells else html


def _scored(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    values = [one["values"] for one in results]
    return [one for one in values if "reason" not in one]


def _tables(
    cells: Cells, name: str, table: int, synthetic: bool, comparable: bool = False,
    halves: Sequence[Sequence[str]] = HALVES,
) -> Html:  # fmt: skip
    """The tasks of each of `halves` side by side, all metrics, the paper's rows under a line."""
    tasks = list(dict.fromkeys(task for _, task, _ in cells))
    blocks = [[task for task in half if task in tasks] for half in halves]
    blocks += [[task] for task in tasks if not any(task in half for half in halves)]
    html, any_published = Html(""), False
    for block in filter(None, blocks):
        numbers, texts = _frames({key: cell for key, cell in cells.items() if key[1] in block}, tasks=block)
        theirs = _published(table, block, numbers.columns)
        any_published |= not theirs.empty
        shown = theirs.map(lambda value: None if pd.isna(value) else f"{value:.2f}").astype(object)
        below = _against(numbers, theirs) if comparable else shown.iloc[:0]
        marks = pd.concat([ranked(numbers), ranked(theirs)]) if len(theirs) > 1 else ranked(numbers)
        html += render(
            pd.concat([texts, shown, below]), f"{name}-{'-'.join(block)}", marks=marks,
            apart=[*shown.index, *below.index], group=len(METRICS),
        )  # fmt: skip
    note = (NOTES[synthetic] if any_published else LOST).format(table=table, counts=COUNTED_IN.get(table))
    return html + Html('<p class="merit-note">{}</p>').format(note) if cells else Html("<p>No task was scored.</p>")


def _frames(
    cells: Cells, *, tasks: Sequence[str] | None = None, flat: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Numbers and texts, a row an encoder; columns (task, metric), or tasks where `flat`."""
    tasks = tasks or sorted(dict.fromkeys(task for _, task, _ in cells), key=task_order)
    pairs = [(task_label(task), METRICS[metric]) for task in tasks for metric in METRICS]
    columns = pd.Index([task_label(task) for task in tasks]) if flat else pd.MultiIndex.from_tuples(pairs)
    labels = [look(name).label for name in ordered({encoder for encoder, _, _ in cells})]
    numbers = pd.DataFrame(index=labels, columns=columns, dtype=float)
    texts = numbers.astype(object)
    for (encoder, task, metric), (number, text) in cells.items():
        place = look(encoder).label, task_label(task) if flat else (task_label(task), METRICS[metric])
        numbers.loc[place], texts.loc[place] = number, text
    return numbers, texts


def _published(table: int, tasks: Sequence[str], columns: pd.MultiIndex) -> pd.DataFrame:
    """The paper's rows of this table that hold a number, in percent; columns without a published metric are empty."""
    rows = {}
    for row in ordered(paper.ROWS[table]):
        numbers = {
            (task_label(task), METRICS[ours]): paper.number(table, row, task, theirs).value
            for task in tasks if task in paper.TASKS for ours, theirs in PUBLISHED_METRIC.items()
        }  # fmt: skip
        if any(value is not None for value in numbers.values()):
            rows[paper.ROW_LABELS[row]] = numbers
    frame = pd.DataFrame.from_dict(rows, orient="index") if rows else pd.DataFrame()
    return frame.reindex(columns=columns).astype(float)


def _against(numbers: pd.DataFrame, theirs: pd.DataFrame) -> pd.DataFrame:
    """Ours minus the paper's, for the rows that both have."""
    ours = numbers.rename(index=lambda label: f"paper: {label}").reindex(theirs.index)
    points = (ours - theirs).map(lambda value: None if pd.isna(value) else fixed(value, 2, sign=True)).astype(object)
    return points.rename(index=lambda label: f"ours − {label}")


def ordered(encoders: Sequence[str] | set[str] | Mapping[str, Any]) -> list[str]:
    """Our names in the paper's order, registered ones after them by name."""
    return [name for name in ORDER if name in encoders] + sorted(set(encoders) - set(ORDER))


def task_order(task: str) -> int:
    """Place of a task in every table, that of `tables.HALVES`; a task that it lacks comes last."""
    order = [task for half in HALVES for task in half]
    return order.index(task) if task in order else len(order)


def _lines(value: float, *below: str, signs: str = "") -> str:
    """A score in percent with its marks, and what stands under it."""
    return "\n".join([f"{100 * value:.1f}{signs}", *below])
