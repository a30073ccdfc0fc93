"""Paired differences between one encoder and each other, from results that are there: nothing is computed again.

Rows are plain: the settings they belong to (task, variant, ...), metric, encoder, other, mean, low, high, p, p_holm, n,
n_dropped, and n_comparisons, over which p_holm is corrected. Scores are fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from merit.config import one_of
from merit.intervals import holm, paired_resamples, seed_t

METRICS = ("auroc", "f1", "accuracy")
ZERO_SHOT_SETTINGS = ("task", "prompts", "ensemble", "scope")

Result = Mapping[str, Any]
Row = dict[str, Any]
Compare = Callable[[Mapping[str, Any], Mapping[str, Any], str], dict[str, Any]]


def zero_shot_differences(
    results: Sequence[Result], *, first: str = "merit", metrics: Sequence[str] | None = None
) -> list[Row]:
    """`first` minus each other encoder, paired by resample of the patients; Holm over all rows.

    metrics: those whose resamples the results hold, by default. Raises ValueError where two results do not score the
    same records and classes, or hold different numbers of resamples.
    """
    if metrics is None:
        held = {metric for one in results for metric in one["values"].get("resamples", {})}
        metrics = [metric for metric in METRICS if metric in held]
    for metric in metrics:
        one_of("metric", metric, METRICS)
    return _differences(results, ZERO_SHOT_SETTINGS, first, metrics, _zero_shot_facts, _by_resample)


def over_seeds(scores: Sequence[Row], columns: Sequence[str], settings: Sequence[str]) -> list[Row]:
    """Mean and standard deviation over pretraining seeds, for each column (task), setting (variant), encoder, metric.

    scores: rows with encoder_seed, encoder, the columns and settings, and scores {metric: number or None}.
    """
    rows = []
    for key, own in _grouped(scores, (*columns, *settings, "encoder")):
        for metric in _metrics(own):
            found = [one["scores"][metric] for one in own if one["scores"].get(metric) is not None]
            if found:
                sd = float(np.std(found, ddof=1)) if len(found) > 1 else None
                rows.append({**key, "metric": metric, "mean": float(np.mean(found)), "sd": sd, "n": len(found)})
    return rows


def seed_differences(
    scores: Sequence[Row], columns: Sequence[str], settings: Sequence[str], first: str = "merit"
) -> list[Row]:
    """`first` minus each other encoder, paired by pretraining seed; Holm over the rows of a setting and metric."""
    rows = []
    for key, cell in _grouped(scores, (*columns, *settings)):
        of_seed = {(one["encoder"], one["encoder_seed"]): one["scores"] for one in cell}
        seeds = sorted({seed for _, seed in of_seed})
        others = [name for name in dict.fromkeys(name for name, _ in of_seed) if name != first]
        for other in others if first in {name for name, _ in of_seed} else []:
            for metric in _metrics(cell):
                pairs = [[of_seed.get((name, seed), {}).get(metric) for name in (first, other)] for seed in seeds]
                found = seed_t([None if None in pair else pair[0] - pair[1] for pair in pairs])
                rows.append({**key, "metric": metric, "encoder": first, "other": other, **_mean(found)})
    families = _grouped(rows, (*settings, "metric"))
    return [row for _, family in families for row in _corrected(family)]


def _differences(
    results: Sequence[Result], settings: Sequence[str], first: str, metrics: Sequence[str],
    facts: Callable[[Result], dict[str, Any]], compare: Compare,
) -> list[Row]:  # fmt: skip
    scored = [{**{name: one["values"].get(name) for name in (*settings, "encoder")}, "result": one} for one in results]
    scored = [one for one in scored if "reason" not in one["result"]["values"]]
    rows = []
    for key, cell in _grouped(scored, settings):
        by_name = {one["encoder"]: one["result"] for one in cell}
        if first not in by_name:
            continue
        for other in (name for name in by_name if name != first):
            pair = by_name[first], by_name[other]
            _need_alike(pair, facts, f"{first} and {other} on {key['task']}")
            for metric in metrics:
                found = compare(pair[0]["values"], pair[1]["values"], metric)
                rows.append({**key, "metric": metric, "encoder": first, "other": other, **_mean(found)})
    return _corrected(rows)


def _need_alike(pair: tuple[Result, Result], facts: Callable[[Result], dict[str, Any]], what: str) -> None:
    """Raise ValueError, naming what differs, unless both results may be compared record for record."""
    a, b = facts(pair[0]), facts(pair[1])
    for name in a:
        if a[name] != b[name]:
            raise ValueError(
                f"{what}: expected results with the same {name}; got {_short(a[name])} and {_short(b[name])}: "
                "compute both with the same settings on the same store"
            )


def _zero_shot_facts(result: Result) -> dict[str, Any]:
    values, parameters = result["values"], result.get("parameters") or {}
    return {
        "scored classes": (values["classes"], values["unscored"]),
        "records": (values["n_records"], values["n_patients"]),
        "resamples": {metric: len(drawn) for metric, drawn in values.get("resamples", {}).items()},
        "store": (result.get("inputs") or {}).get("store"),
        "pretraining seed": parameters.get("encoder_seed"),
    }


def _by_resample(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> dict[str, Any]:
    sides = [(one["macro"].get(metric, {}).get("value"), one.get("resamples", {}).get(metric, [])) for one in (a, b)]
    return paired_resamples(*sides[0], *sides[1])


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """The rows with p_holm over all of them, and how many p values that corrects for."""
    p = [row["p"] for row in rows]
    number = sum(value is not None for value in p)
    return [{**row, "p_holm": value, "n_comparisons": number} for row, value in zip(rows, holm(p))]


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> list[tuple[Row, list[Row]]]:
    """(values of `names`, the rows that have them), in the order in which they first come."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in names), []).append(row)
    return [(dict(zip(names, values)), own) for values, own in groups.items()]


def _metrics(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(metric for row in rows for metric in row["scores"]))


def _mean(found: Mapping[str, Any]) -> Row:
    return {"mean" if name == "value" else name: number for name, number in found.items()}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
