"""Tables as HTML: the best of a column bold, the second best shaded; the same bytes for the same numbers.

Scores come in as fractions and are printed in percent. pandas writes the HTML and escapes the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report import paper
from merit.report.numerals import fixed
from merit.report.others import Absent, dashes, footnotes, mark
from merit.report.prose import Html
from merit.report.style import look, task_label

SHADE = "background-color: rgba(128,128,128,.28)"
METRICS = {
    "auroc": "AUROC",
    "f1": "F1",
    "f1_oracle": "F1 oracle",
    "accuracy": "Acc.",
    "accuracy_oracle": "Acc. oracle",
}
"""Metric -> column head. `oracle`: threshold chosen on the scored set itself; without: on the validation fold."""

PUBLISHED_METRIC = {"auroc": "auroc", "f1_oracle": "f1", "accuracy_oracle": "accuracy"}
"""Where the paper's columns go: it does not state a threshold rule; its predecessors' code uses the oracle."""

HALVES = (("superclass", "subclass", "form"), ("rhythm", "all"), ("csn", "cpsc2018"))
"""Tasks side by side, as the paper's Tables 6 and 8 have them."""

NOTES = {
    True: "The rows of the paper were measured on real recordings, those above them on synthetic ones: no difference "
    "between the two means anything.",
    False: "The rows of the paper: pretrained on MIMIC-IV-ECG, probed on the whole data sets in ten folds. Compare the "
    "counts and the protocol at the end of this page before the numbers.",
}
"""Whether our recordings are synthetic -> what stands under a table with rows of the paper."""

VARIANTS = {
    "as_published": Html(
        "<b>As published.</b> The probe reads the embedding as it is; its scale differs between encoders."
    ),
    "standardised": Html("<b>Standardised.</b> Each feature has mean 0 and variance 1 on the training folds."),
}

Result = Mapping[str, Any]


def render(
    frame: pd.DataFrame,
    name: str,
    *,
    marks: pd.DataFrame | None = None,
    apart: Iterable[Any] = (),
    words: bool = False,
    group: int = 0,
) -> Html:
    """A frame of texts as an HTML table that scrolls by itself when the page is narrow.

    name: unique on the page, makes the ids fixed. marks: CSS of each cell. apart: row labels set apart and muted.
    words: the cells hold words and not numbers. group: that many columns belong together (5, or 0 for none).
    """
    styler = frame.style.format(escape="html", na_rep="–").format_index(escape="html", axis=0)
    styler = styler.format_index(escape="html", axis=1)
    styler.set_uuid(re.sub(r"[^\w-]", "-", f"merit-{name}"))
    styler.cell_ids = False
    kind = " merit-words" if words else f" merit-group-{group}" if group else ""
    styler.set_table_attributes(f'class="merit-table{kind}"')
    if marks is not None:
        styler.apply(lambda _: marks.reindex_like(frame).fillna(""), axis=None)
    apart = list(apart)
    if apart:
        classes = pd.DataFrame("", index=frame.index, columns=frame.columns)
        classes.loc[apart] = "merit-apart"
        styler.set_td_classes(classes)
    return Html('<div class="merit-scroll">{}</div>').format(Html(styler.to_html()))


def ranked(numbers: pd.DataFrame) -> pd.DataFrame:
    """CSS for each cell: bold for the largest of its column, shade for the next; equal numbers share a rank."""
    ranks = numbers.rank(ascending=False, method="dense")
    css = pd.DataFrame("", index=numbers.index, columns=numbers.columns)
    return css.mask(ranks == 1, "font-weight: bold").mask(ranks == 2, SHADE)


def linear_probe(
    results: Sequence[Result], variant: str, *, synthetic: bool, absent: Sequence[Absent] = ()
) -> Html:  # fmt: skip
    """Table 1 for one variant: a row an encoder, mean ± sd over folds in percent, the paper's rows under a line.

    absent: published encoders without weights, dashes in the first block.
    """
    scored = _scored(results, variant)
    tasks = {one["task"] for one in scored}
    blocks = [[task for task in half if task in tasks] for half in HALVES]
    blocks += [[task] for task in sorted(tasks - {task for half in HALVES for task in half})]
    head = Html('<p class="merit-caption">{}</p>').format(VARIANTS.get(variant, variant))
    blocks = [block for block in blocks if block]
    tables = [_block(scored, block, variant, synthetic, absent if not i else ()) for i, block in enumerate(blocks)]
    return Html("").join([head, *tables, footnotes(scored, absent if blocks else ())])


def _block(
    scored: Sequence[Mapping[str, Any]], tasks: Sequence[str], variant: str, synthetic: bool, absent: Sequence[Absent]
) -> Html:  # fmt: skip
    encoders = list(dict.fromkeys(one["encoder"] for one in scored))
    columns = pd.MultiIndex.from_tuples([(task_label(t), METRICS[m]) for t in tasks for m in METRICS])
    means = pd.DataFrame(index=[look(name).label for name in encoders], columns=columns, dtype=float)
    texts = means.astype(object)
    for one in scored:
        for metric, head in METRICS.items():
            if one["task"] in tasks and one["mean"].get(metric) is not None:
                cell = look(one["encoder"]).label, (task_label(one["task"]), head)
                means.loc[cell] = 100 * one["mean"][metric]
                texts.loc[cell] = _with_spread(one["mean"][metric], one["sd"][metric], mark(one))
    marks, published = ranked(means), _published_rows(tasks, columns)
    texts = pd.concat([texts, dashes(columns, absent), published])
    table = render(texts, f"{variant}-{'-'.join(tasks)}", marks=marks, apart=published.index, group=len(METRICS))
    return table + Html('<p class="merit-note">{}</p>').format(NOTES[synthetic]) if len(published) else table


def _with_spread(mean: float, sd: float | None, signs: str) -> str:
    """Mean with its marks and, on a line of its own, spread, in percent; a single split has no spread."""
    return f"{100 * mean:.1f}{signs}" if sd is None else f"{100 * mean:.1f}{signs}\n±{100 * sd:.1f}"


def _published_rows(tasks: Sequence[str], columns: pd.MultiIndex) -> pd.DataFrame:
    """The paper's rows, two decimals as printed; a star where the column was inferred, a dash where lost."""
    rows = {}
    for row, label in paper.ROW_LABELS.items():
        cells = {}
        for task in tasks:
            for metric, theirs in PUBLISHED_METRIC.items():
                cell = paper.best_known(row, task, theirs) if task in paper.TASKS else None
                if cell and cell.value is not None:
                    star = "*" if cell.status == "column inferred" else ""
                    cells[task_label(task), METRICS[metric]] = f"{cell.value:.2f}{star}"
        if cells:
            rows[label] = cells
    frame = pd.DataFrame.from_dict(rows, orient="index") if rows else pd.DataFrame()
    return frame.reindex(columns=columns).astype(object)


def interval(triple: Mapping[str, float | None], *, sign: bool = False, signs: str = "") -> str:
    """`71.2` with its marks and on a line of its own `[69.0, 73.1]`, percent; a dash for None."""
    if triple["value"] is None:
        return "–"
    value = fixed(100 * triple["value"], 1, sign) + signs
    if triple["low"] is None or triple["high"] is None:
        return value
    return f"{value}\n[{fixed(100 * triple['low'], 1, sign)}, {fixed(100 * triple['high'], 1, sign)}]"


def pooled(results: Sequence[Result], variant: str, metric: str = "auroc") -> Html:
    """Out-of-fold predictions pooled over all folds: the metric in percent with its bootstrap interval."""
    scored = _scored(results, variant)
    tasks = list(dict.fromkeys(one["task"] for one in scored))
    encoders = list(dict.fromkeys(one["encoder"] for one in scored))
    numbers = pd.DataFrame(index=map(task_label, tasks), columns=[look(e).label for e in encoders], dtype=float)
    texts = numbers.astype(object)
    for one in scored:
        interval = one["pooled"].get(metric)
        if interval and interval["value"] is not None:
            cell = task_label(one["task"]), look(one["encoder"]).label
            numbers.loc[cell] = interval["value"]
            low, high = (f"{100 * interval[end]:.1f}" for end in ("low", "high"))
            texts.loc[cell] = f"{100 * interval['value']:.1f} [{low}, {high}]"
    return render(texts, f"pooled-{variant}-{metric}", marks=ranked(numbers.T).T)


def scored_classes(results: Sequence[Result]) -> Html:
    """A row a task: recordings, patients, protocol, and which classes the folds could and could not score."""
    rows = {}
    for one in _scored(results):
        counts = [fold["n_scored_classes"] for fold in one["folds"]]
        unscored = sorted({name for fold in one["folds"] for name in fold["unscored"]})
        rows.setdefault(
            task_label(one["task"]),
            {
                "recordings": f"{one['n_records']:,}",
                "patients": f"{one['n_patients']:,}",
                "protocol": one["protocol"],
                "classes": str(len(one["classes"])),
                "scored per fold": f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(min(counts)),
                "not scored in some fold": ", ".join(unscored) or "none",
            },
        )
    return mapping(rows, "scored-classes")


def mapping(rows: Mapping[str, Mapping[str, Any]], name: str) -> Html:
    """Row label -> column -> value, as text; a missing value is a dash."""
    frame = pd.DataFrame.from_dict(rows, orient="index").map(lambda value: "–" if pd.isna(value) else str(value))
    return render(frame, name, words=True)


def _scored(results: Sequence[Result], variant: str | None = None) -> list[Mapping[str, Any]]:
    """The values of those results that have scores."""
    values = [one["values"] for one in results]
    return [one for one in values if "reason" not in one and variant in (None, one["variant"])]
