"""The ablation's tables (4, 8 and 9) and the extended one of linear probing (6).

Results come as the workspace gives them; scores are fractions and are printed in percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report import paper, tables
from merit.report.numerals import fixed
from merit.report.others import Absent, dashes, footnotes, mark
from merit.report.prose import Html, listing
from merit.report.style import look, task_label
from merit.report.tables import HALVES, METRICS, PUBLISHED_METRIC, VARIANTS, ranked, render

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

NO_BREAK = "\N{NO-BREAK SPACE}"

Result = Mapping[str, Any]
Cells = dict[tuple[str, str, str], tuple[float, str]]
"""(encoder, task, metric) -> number in percent, text."""


def means(results: Sequence[Result], variant: str, *, synthetic: bool, comparable: bool = False) -> Html:
    """Table 4 for one variant: means over folds; below them what survives of the paper's.

    comparable: our profile and recordings are the paper's, so that differences from its numbers are shown.
    """
    cells = {key: (100 * one["mean"], f"{100 * one['mean']:.1f}") for key, one in _probed(results, variant)}
    return caption(variant) + _tables(cells, f"means-{variant}", 4, synthetic, comparable)


def spreads(results: Sequence[Result], variant: str, *, synthetic: bool) -> Html:
    """Table 8 for one variant: mean ± standard deviation over folds. The paper's own is lost."""
    cells = {
        key: (100 * one["mean"], _lines(one["mean"], *_spread(one["sd"]))) for key, one in _probed(results, variant)
    }
    return caption(variant) + _tables(cells, f"spreads-{variant}", 8, synthetic)


def extended(results: Sequence[Result], variant: str, metric: str, absent: Sequence[Absent] = ()) -> Html:
    """Table 6 for one variant and metric: mean ± sd over folds, lowest to highest fold. The paper's own is lost.

    absent: published encoders without weights.
    """
    cells: Cells = {}
    for (encoder, task, name), one in _probed(results, variant):
        if name == metric:
            low, high = 100 * min(one["folds"]), 100 * max(one["folds"])
            spread = [*_spread(one["sd"]), f"{low:.1f} to {high:.1f}"] if len(one["folds"]) > 1 else []
            cells[encoder, task, name] = 100 * one["mean"], _lines(one["mean"], *spread, signs=one["signs"])
    numbers, texts = _frames(cells, flat=True)
    head = Html('<p class="merit-caption"><b>{}.</b> {}</p>').format(METRICS[metric].rstrip("."), VARIANTS[variant])
    texts = pd.concat([texts, dashes(texts.columns, absent)])
    marks = ranked(numbers).reindex(texts.index)
    scored = [one for one in _scored(results) if one["variant"] == variant]
    return head + render(texts, f"extended-{variant}-{metric}", marks=marks) + footnotes(scored, absent)


def per_fold(results: Sequence[Result], variant: str, task: str, metric: str) -> Html:
    """A row an encoder, a column a fold: the metric on each test fold of one task, the best of each fold bold."""
    found = {
        one["encoder"]: {f"fold {fold['fold']}": fold[metric] for fold in one["folds"]}
        for one in _scored(results)
        if (one["variant"], one["task"]) == (variant, task)
    }
    if not found:
        return Html("<p>{} was not scored.</p>").format(task_label(task))
    numbers = 100 * pd.DataFrame.from_dict({name: found[name] for name in ordered(found)}, orient="index", dtype=float)
    numbers.index = [look(name).label for name in numbers.index]
    texts = numbers.map(lambda value: None if pd.isna(value) else f"{value:.1f}").astype(object)
    head = Html('<p class="merit-caption"><b>{}</b>, {}</p>').format(METRICS[metric], task_label(task))
    return head + render(texts, f"folds-{variant}-{task}-{metric}", marks=ranked(numbers))


def firsts(results: Sequence[Result], variant: str, task: str, metric: str) -> str:
    """On how many test folds of a task each encoder is first."""
    scored = [one for one in _scored(results) if (one["variant"], one["task"]) == (variant, task)]
    if not scored:
        return f"{task_label(task)} was not scored."
    counts = dict.fromkeys((one["encoder"] for one in scored), 0)
    folds = [[fold[metric] for fold in one["folds"]] for one in scored]
    for values in zip(*folds):
        known = [value for value in values if value is not None]
        for one, value in zip(scored, values):
            counts[one["encoder"]] += value is not None and value == max(known)
    parts = [f"{look(name).label} on {count}" for name, count in counts.items() if count]
    return f"Of {len(folds[0])} test folds of {task_label(task)}, first by {METRICS[metric]}: {listing(parts)}."


def _probed(results: Sequence[Result], variant: str) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
    """(encoder, task, metric), {mean, sd, folds} of all that was scored."""
    for one in _scored(results):
        for metric in METRICS if one["variant"] == variant else ():
            if one["mean"].get(metric) is not None:
                folds = [fold[metric] for fold in one["folds"] if fold[metric] is not None]
                found = {"mean": one["mean"][metric], "sd": one["sd"][metric], "folds": folds}
                found["signs"] = mark(one)
                yield (one["encoder"], one["task"], metric), found


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


def caption(variant: str) -> Html:
    """Which variant a table is of."""
    return Html('<p class="merit-caption">{}</p>').format(VARIANTS[variant])


def _spread(sd: float | None) -> list[str]:
    """A single split has none."""
    return [] if sd is None else [f"±{100 * sd:.1f}"]


def _lines(value: float, *below: str, signs: str = "") -> str:
    """A score in percent with its marks, and what stands under it."""
    return "\n".join([f"{100 * value:.1f}{signs}", *below])
