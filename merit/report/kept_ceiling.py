"""How far measured factors can be trusted at all: their agreement with manual marks (`pipeline.measured.ceiling`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report.kept_figures import FACTORS
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.tables import render

Row = Mapping[str, Any]
NO_CEILING = "No ceiling: LUDB, with whose manual marks measured factors are compared, is not beside the other data."
LEAST_USE = 0.25
"""Largest R² with manual marks under which a factor is called of little use."""
DIGITS = {"log ms": 2}
"""Decimals of bias and spread, by unit; 1 for others."""


def _name(row: Row) -> str:
    return FACTORS[row["factor"]].rstrip("*")


def _way(row: Row) -> str:
    """Column of a row: the rate, and the method and whose QRS it is where not those that are taken."""
    head = f"{row['fs_hz']:g} Hz"
    if row["method"] != "prominence":
        head += f",\nmethod {row['method']}"
    return head if row["own_qrs"] else f"{head},\nlibrary's QRS"


def table(rows: Sequence[Row]) -> Html:
    """A row a factor, a column a way of measuring: R² with its interval, under it bias ± spread, and on how many."""
    ways = list(dict.fromkeys(map(_way, rows)))
    names = list(dict.fromkeys(map(_name, rows)))
    texts = pd.DataFrame("–", index=names, columns=ways)
    for row in rows:
        texts.loc[_name(row), _way(row)] = _cell(row)
    return render(texts, "kept-ceiling") if rows else Html("")


def _cell(row: Row) -> str:
    r2, unit = row["r2"], row["unit"]
    if r2["value"] is None:
        return f"–\nn = {row['n']}"
    digits = DIGITS.get(unit, 1)
    spread = f"{fixed(row['bias']['value'], digits, sign=True)} ± {fixed(row['sd']['value'], digits)} {unit}"
    interval = f"{fixed(100 * r2['value'], 0)} [{fixed(100 * r2['low'], 0)}, {fixed(100 * r2['high'], 0)}]"
    return f"{interval}\n{spread}\nn = {row['n']}"


def reading(rows: Sequence[Row]) -> str:
    """What can be measured and what cannot, what the rate costs, and whose QRS is taken: one paragraph."""
    if not rows:
        return NO_CEILING
    least = min(row["fs_hz"] for row in rows)
    taken = {row["factor"]: row for row in rows if row["own_qrs"] and row["fs_hz"] == least and _scored(row)}
    order = sorted(taken, key=lambda name: -taken[name]["r2"]["value"])
    shown = listing(f"{_name(taken[name])} {fixed(100 * taken[name]['r2']['value'], 0)}" for name in order)
    text = (
        f"Share of what is measured at {least:g} Hz that manual marks explain (R², percent): {shown}. Nobody can be "
        "expected to predict more of a measured factor than this share of it that is real."
    )
    useless = [_name(taken[name]) for name in order if taken[name]["r2"]["value"] < LEAST_USE]
    if useless:
        text += f" Under {fixed(100 * LEAST_USE, 0)} percent, and so of little use: **{listing(useless)}**."
    return text + _rate(rows, taken) + _own(rows, taken) + _invented(taken)


def _scored(row: Row) -> bool:
    return row["r2"]["value"] is not None


def _rate(rows: Sequence[Row], taken: Mapping[str, Row]) -> str:
    """Points of R² that the lower rate costs, the most and the least."""
    most = max(row["fs_hz"] for row in rows)
    full = {row["factor"]: row for row in rows if row["own_qrs"] and row["fs_hz"] == most and _scored(row)}
    cost = {name: 100 * (full[name]["r2"]["value"] - row["r2"]["value"]) for name, row in taken.items() if name in full}
    if not cost or all(row["fs_hz"] == most for row in taken.values()):
        return ""
    worst = max(cost, key=cost.__getitem__)
    if cost[worst] < 0.5:
        return f" The rate costs nothing that shows: at {most:g} Hz no factor agrees better."
    return f" The rate costs at most {fixed(cost[worst], 0)} points, in {_name(taken[worst])}."


def _own(rows: Sequence[Row], taken: Mapping[str, Row]) -> str:
    """How the library's own marks of QRS fare beside ours."""
    theirs = [row["r2"]["value"] for row in rows if not row["own_qrs"] and row["factor"] == "qrs" and _scored(row)]
    if not theirs or "qrs" not in taken:
        return ""
    ours = taken["qrs"]["r2"]["value"]
    if ours <= max(theirs):
        return " The library's own marks of QRS agree no worse than ours."
    return (
        f" QRS duration by the library's own marks: {fixed(100 * max(theirs), 0)} percent, against "
        f"{fixed(100 * ours, 0)} by the speed of voltage, which is why QRS is marked by our code."
    )


def _invented(taken: Mapping[str, Row]) -> str:
    """How often PR is measured where the marks have no P wave."""
    row = taken.get("pr")
    if row is None or not row["n_without"]:
        return ""
    missed = row["n_manual"] - row["n"]
    return (
        f" Of {row['n_without']} recordings without a marked P wave before QRS, PR was measured in "
        f"{row['n_invented']}; of {row['n_manual']} with one, it was not in {missed}."
    )
