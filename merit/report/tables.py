"""Tables as HTML: the best of a column bold, the second best shaded; the same bytes for the same numbers.

Scores come in as fractions and are printed in percent. pandas writes the HTML and escapes the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from merit.report.numerals import fixed
from merit.report.prose import Html

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


def interval(triple: Mapping[str, float | None], *, sign: bool = False, signs: str = "") -> str:
    """`71.2` with its marks and on a line of its own `[69.0, 73.1]`, percent; a dash for None."""
    if triple["value"] is None:
        return "–"
    value = fixed(100 * triple["value"], 1, sign) + signs
    if triple["low"] is None or triple["high"] is None:
        return value
    return f"{value}\n[{fixed(100 * triple['low'], 1, sign)}, {fixed(100 * triple['high'], 1, sign)}]"


def mapping(rows: Mapping[str, Mapping[str, Any]], name: str) -> Html:
    """Row label -> column -> value, as text; a missing value is a dash."""
    frame = pd.DataFrame.from_dict(rows, orient="index").map(lambda value: "–" if pd.isna(value) else str(value))
    return render(frame, name, words=True)
