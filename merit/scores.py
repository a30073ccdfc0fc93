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

# -- a frame, its rows, its files -------------------------------------------------------------------------------------


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


def _plain(value: Any, digits: int | None = None) -> Any:
    """A value as JSON has it, whatever it is nested in; numbers to so many significant digits."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item, digits) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item, digits) for name, item in value.items()}
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return float(f"{value:.{digits}g}") if digits and isinstance(value, float) else value


def pack(scores: pd.DataFrame) -> dict[str, Any]:
    """A frame as JSON holds it: columns, and a list per row."""
    return {"columns": list(scores.columns), "rows": [list(row.values()) for row in records(scores)]}


def unpack(packed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a packed frame."""
    return [dict(zip(packed["columns"], row)) for row in packed["rows"]]


def _committed(scores: pd.DataFrame) -> pd.DataFrame:
    """What a committed file holds of a frame: no lists of draws, no empty columns."""
    return scores.drop(columns=[name for name in LISTS if name in scores]).dropna(axis="columns", how="all")


def write(path: Path, about: Mapping[str, Any], scores: pd.DataFrame) -> None:
    """A committed file: where the numbers come from, then a line per row, six digits per number, no lists of draws;
    columns that say the same in every row stand once.
    """
    held = _committed(scores)
    rows = records(held)
    same = {name: rows[0][name] for name in held if all(row[name] == rows[0][name] for row in rows)} if rows else {}
    packed = pack(held.drop(columns=list(same)))
    head, every = (json.dumps(_plain(part, DIGITS), allow_nan=False) for part in (runs.plain(about), same))
    lines = ",\n".join(json.dumps(_plain(row, DIGITS), allow_nan=False) for row in packed["rows"])
    columns = json.dumps(packed["columns"])
    text = f'{{"about": {head},\n"every_row": {every},\n"columns": {columns},\n"rows": [\n{lines}\n]}}\n'
    runs.write_text(path, text)


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
    mine = _committed(scores)
    there = read(path)[1].reindex(columns=mine.columns)[: len(mine)]
    return records(there) == [_plain(row, DIGITS) for row in mine.to_dict("records")]


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


def over_rotations(scores: pd.DataFrame, by: Sequence[str], *, first: str = "merit") -> pd.DataFrame:
    """Scores of cross-fitted pretraining as one: per `by`, encoder and metric the mean over rotations of the means over
    seeds (value, low, high, p, sd, n; `intervals.over_rotations`), `each` rotation's, and `n_seeds`; then, with `other`
    filled in, the same of the differences between `first` and each other encoder, paired in the rotation by the same
    random halves of its patients. Column `rotation` says which. Without draws the rotations' own spread is the error.
    """
    rows: list[dict[str, Any]] = []
    keys = [*by, "metric"]
    if "other" in scores:  # differences within a rotation are taken anew
        scores = scores[scores["other"].isna()]
    for values, cell in scored(scores).groupby(keys, sort=False, dropna=False):
        front = dict(zip(keys, values))
        sides: dict[str, dict[int, tuple[float, np.ndarray]]] = {}
        for (encoder, rotation), turn in cell.groupby(["encoder", "rotation"], sort=False):
            draws = (
                [drawn for drawn in turn["draws"] if not np.isscalar(drawn) and drawn is not None]
                if "draws" in turn
                else []
            )
            whole = len(draws) == len(turn) and len(set(map(len, draws))) == 1
            drawn = np.mean(np.array(draws, dtype=float), axis=0) if whole else np.empty(0)
            sides.setdefault(encoder, {})[rotation] = (float(turn["value"].mean()), drawn)
        for encoder, other in [*((name, None) for name in sides), *((first, name) for name in sides if name != first)]:
            mine, theirs = sides.get(encoder, {}), sides.get(other, {}) if other else None
            turns = sorted(mine if theirs is None else mine.keys() & theirs.keys())
            found, errors = [], []
            for turn in turns:
                value, drawn = mine[turn]
                if theirs is not None:
                    value, drawn = value - theirs[turn][0], drawn - theirs[turn][1]
                found.append(value)
                errors.append(intervals.standard_error(value, drawn) if len(drawn) else 0.0)
            if found:
                n_seeds = cell[cell["encoder"] == encoder]["encoder_seed"].nunique()
                about = {**front, "encoder": encoder, "other": other, "each": found, "n_seeds": n_seeds}
                rows.append(about | intervals.over_rotations(found, errors))
    return frame(rows)


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
        for other in [name for name in sides if name != first] if first in sides else ():
            both = sides[first], sides[other]
            if over == "encoder_seed":  # seeds are independent: no training recordings in common to correct for
                a, b = (side.set_index("encoder_seed")["value"] for side in both)
                found = intervals.corrected_t(a.sub(b).sort_index(), 0.0)
            else:
                if (n := max(map(len, both))) > 1:
                    raise ValueError(f"paired: expected one score per encoder and {', '.join(keys)}; got {n}")
                a, b = (side.iloc[0] for side in both)
                for fact in ALIKE:
                    if fact in a and _plain(a[fact]) != _plain(b[fact]):
                        raise ValueError(
                            f"{first} and {other} on {', '.join(map(str, values))}: expected scores with the same "
                            f"{fact}; got {a[fact]} and {b[fact]}: compute both with the same settings on the same "
                            "recordings"
                        )
                if over == "folds":
                    difference = np.array(a["folds"], dtype=float) - np.array(b["folds"], dtype=float)
                    found = intervals.corrected_t(difference, a["test_share"])
                else:
                    found = intervals.paired_resamples(a["value"], a["draws"], b["value"], b["draws"])
            rows.append({**dict(zip(keys, values)), "encoder": first, "other": other, **found})
    columns = [*keys, "encoder", "other", "value", "low", "high", "p", "n", "n_dropped"]
    differences = pd.DataFrame(rows, columns=columns)
    differences[["value", "low", "high", "p"]] = differences[["value", "low", "high", "p"]].astype(float)
    p = differences.groupby(list(family) or (lambda _: "all"), sort=False)["p"]
    return differences.assign(p_holm=p.transform(holm), n_comparisons=p.transform("count"))


def holm(p: pd.Series) -> pd.Series:
    """p values corrected for their number (Holm 1979), in the same order; NaN stays and does not count."""
    rising = p.dropna().sort_values()
    return (rising * np.arange(len(rising), 0, -1)).cummax().clip(upper=1.0).reindex(p.index)


def beyond_zero(differences: pd.DataFrame, digits: int = 1, unit: float = 100) -> pd.Series:
    """The one rule for "this difference is more than chance": for each of a page's differences 1 or -1, the side of 0
    on which it lies, or 0 where chance may be all.

    A difference counts whose p, corrected for all of them (Holm), is below 0.05 as it is printed, with three decimals,
    and whose interval leaves out 0 as it is printed, in so many units with so many decimals. Columns: low and high, NaN
    where there is no interval, and `p_holm` where a family was corrected before, or `p`; where there is neither, p
    follows from the interval, which is normal (`intervals.ends`).
    """
    low, high = (differences[end].astype(float) for end in ("low", "high"))
    if "p_holm" in differences and differences["p_holm"].notna().any():
        corrected = differences["p_holm"]
    elif "p" in differences:
        corrected = holm(differences["p"].astype(float))
    else:
        errors = (high - low) / (2 * intervals.Z)
        corrected = holm(pd.Series(map(intervals.normal_p, (low + high) / 2, errors), differences.index, dtype=float))
    sides = []
    for p, *interval in zip(corrected, low, high):
        below, above = (float(f"{unit * end:.{digits}f}") for end in interval)
        side = 1 if below > 0 else -1 if above < 0 else 0
        sides.append(side if p is not None and round(p, 3) < intervals.LEVEL else 0)
    return pd.Series(sides, differences.index, dtype=int)


def leader(scores: pd.DataFrame) -> pd.Series:
    """The row with the highest value."""
    return scores.loc[scores["value"].idxmax()]
