"""Scores: one tidy frame, a row per number, which every study returns, every page draws and every claim is judged on.

Columns: the study and what it runs over (study, encoder, encoder_seed, task, variant, ...), then `metric`, `value`,
`low`, `high`, `sd`, facts on the same row (n, n_patients, n_seen, ...) and `reason`. Fractions stay fractions. What
could not be scored is a row with a reason and no value. Two columns hold lists, one number per random half of the
patients (`draws`) or per fold (`folds`): paired differences need them, committed files leave them out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from merit import intervals, runs

LISTS = ("draws", "folds")
"""Columns of lists that an interval was computed from."""
DIGITS = 6
"""Significant digits of a committed number."""
ALIKE = ("n", "n_patients", "n_classes", "protocol", "unscored")
"""Facts in which two scores must agree to be compared, where a frame has them."""


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a frame that has at least the columns encoder, metric, value, low, high and reason."""
    found = pd.DataFrame(list(rows))
    for name in ("encoder", "metric", "value", "low", "high", "reason"):
        if name not in found:
            found[name] = None
    return found.astype({"value": float, "low": float, "high": float})


def records(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON has them: None for what is missing, Python's own numbers."""
    return [{name: _plain(value) for name, value in row.items()} for row in scores.to_dict("records")]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value


def pack(scores: pd.DataFrame) -> dict[str, Any]:
    """A frame as JSON holds it: columns, and a list per row."""
    return {"columns": list(scores.columns), "rows": [list(row.values()) for row in records(scores)]}


def unpack(packed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a packed frame."""
    return [dict(zip(packed["columns"], row)) for row in packed["rows"]]


def write(path: Path, about: Mapping[str, Any], scores: pd.DataFrame) -> None:
    """A committed file: where the numbers come from, then a line per row, six digits per number, no lists of draws;
    columns that say the same in every row stand once.
    """
    kept = scores.drop(columns=[name for name in LISTS if name in scores]).dropna(axis="columns", how="all")
    rows = records(kept)
    same = {name: rows[0][name] for name in kept if all(row[name] == rows[0][name] for row in rows)} if rows else {}
    packed = pack(kept.drop(columns=list(same)))
    lines = ",\n".join(json.dumps(_rounded(row), allow_nan=False) for row in packed["rows"])
    head = json.dumps(_rounded(runs.plain(about)), allow_nan=False)
    columns = json.dumps(packed["columns"])
    every = json.dumps(_rounded(same), allow_nan=False)
    runs.write_text(
        path, f'{{"about": {head},\n"every_row": {every},\n"columns": {columns},\n"rows": [\n{lines}\n]}}\n'
    )


def _rounded(value: Any) -> Any:
    """Numbers to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def read(path: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Where the numbers of a committed file come from, and its frame. ValueError for a file of another form."""
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        return dict(file["about"]), frame({**file.get("every_row", {}), **row} for row in unpack(file))
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as reason:
        raise ValueError(
            f"{path}: expected scores with about, columns and rows; got {reason!r}; make it again with make reference"
        ) from reason


def held(path: Path, scores: pd.DataFrame) -> bool:
    """Whether a committed file begins with these rows, as it writes them."""
    _, there = read(path)
    mine = scores.drop(columns=[name for name in LISTS if name in scores]).dropna(axis="columns", how="all")
    wanted, found = records(mine), records(there.reindex(columns=mine.columns)[: len(mine)])
    return found == [{name: _rounded(value) for name, value in row.items()} for row in wanted]


# -- verbs that pages, references and claims share --------------------------------------------------------------------


def scored(scores: pd.DataFrame, **where: Any) -> pd.DataFrame:
    """The rows with a value, of these fields; a list stands for any of its values. ValueError for a field that no row
    has, unless nothing has a value.
    """
    found = scores[scores["value"].notna()]
    if unknown := [name for name in where if name not in found] if len(found) else []:
        raise ValueError(f"scored: expected columns of the scores, {', '.join(scores)}; got {', '.join(unknown)}")
    for name, wanted in where.items() if len(found) else ():
        found = found[found[name].isin(wanted if isinstance(wanted, list | tuple) else [wanted])]
    return found


def over_seeds(scores: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Mean (`value`) and standard deviation (`sd`) over pretraining seeds, and their number (`n`).

    by: the columns besides encoder and metric that name a score, such as task and variant.
    """
    groups = scored(scores).groupby([*by, "encoder", "metric"], sort=False, dropna=False)["value"]
    return groups.agg(value="mean", sd="std", n="size").reset_index()


def paired(
    scores: pd.DataFrame, by: Sequence[str], *, first: str = "merit", over: str = "draws", family: Sequence[str] = ()
) -> pd.DataFrame:
    """`first` minus each other encoder, paired; a row per `by`, metric and other: value, low, high, p, p_holm, n.

    over: what pairs them. `draws`: the same random halves of the patients; `folds`: the same folds, by the corrected
    resampled t-test (column `test_share` holds n_test / n_train); `encoder_seed`: pretraining seeds. p_holm is
    corrected for all rows, or for those of one `family` (columns). ValueError where two scores are not of the same
    recordings and classes.
    """
    rows: list[dict[str, Any]] = []
    keys = [*by, "metric"]
    for values, cell in scored(scores).groupby(keys, sort=False, dropna=False):
        sides = dict(iter(cell.groupby("encoder", sort=False)))
        for other in sides if first in sides else ():
            if other == first:
                continue
            if over == "encoder_seed":
                a, b = (side.set_index("encoder_seed")["value"] for side in (sides[first], sides[other]))
                found = intervals.seed_t(a.sub(b).sort_index())
            else:
                a, b = (_only(side, keys) for side in (sides[first], sides[other]))
                _need_alike(a, b, f"{first} and {other} on {', '.join(map(str, values))}")
                if over == "folds":
                    found = intervals.corrected_t(_difference(a["folds"], b["folds"]), a["test_share"])
                else:
                    found = intervals.paired_resamples(a["value"], a["draws"], b["value"], b["draws"])
            rows.append({**dict(zip(keys, values)), "encoder": first, "other": other, **found})
    columns = [*keys, "encoder", "other", "value", "low", "high", "p", "n", "n_dropped"]
    differences = pd.DataFrame(rows, columns=columns)
    differences[["value", "low", "high", "p"]] = differences[["value", "low", "high", "p"]].astype(float)
    groups = [differences] if not family else [group for _, group in differences.groupby(list(family), sort=False)]
    corrected = [pd.Series(intervals.holm(_none(group["p"])), group.index, dtype=float) for group in groups]
    tested = [pd.Series(int(group["p"].notna().sum()), group.index) for group in groups]
    return differences.assign(
        p_holm=pd.concat([*corrected, pd.Series(dtype=float)]), n_comparisons=pd.concat([*tested, pd.Series(dtype=int)])
    )


def _only(side: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    if len(side) > 1:
        raise ValueError(f"paired: expected one score per encoder and {', '.join(keys)}; got {len(side)}")
    return side.iloc[0]


def _difference(a: Sequence[float | None], b: Sequence[float | None]) -> np.ndarray:
    return np.array(a, dtype=float) - np.array(b, dtype=float)


def _need_alike(a: pd.Series, b: pd.Series, what: str) -> None:
    for name in ALIKE:
        if name in a and _plain(a[name]) != _plain(b[name]):
            raise ValueError(
                f"{what}: expected scores with the same {name}; got {a[name]} and {b[name]}: compute both with the "
                "same settings on the same recordings"
            )


def beyond_zero(differences: pd.DataFrame, digits: int = 1, unit: float = 100) -> pd.Series:
    """1 or -1, the side of zero on which a difference lies beyond sampling error, or 0 (`intervals.told_apart`).

    digits, unit: how the page prints it; the rule never contradicts the printed interval.
    """
    sides = intervals.told_apart(records(differences), digits, unit)
    return pd.Series(sides, differences.index, dtype=int)


def leader(scores: pd.DataFrame) -> pd.Series:
    """The row with the highest value."""
    return scores.loc[scores["value"].idxmax()]


def _none(column: pd.Series) -> list[float | None]:
    return [None if np.isnan(value) else value for value in column]
