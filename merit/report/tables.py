"""Tables as HTML: the same bytes for the same texts; pandas writes the HTML and escapes the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from merit.report.prose import Html, fixed

SHADE = "background-color: rgba(128,128,128,.28)"


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
