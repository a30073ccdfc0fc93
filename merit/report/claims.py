"""Sentences that read the numbers: what the tables say, computed, so that prose never states what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from merit.report import others
from merit.report.differences import Row, in_words
from merit.report.numerals import fixed
from merit.report.prose import listing
from merit.report.style import look, task_label

Result = Mapping[str, Any]


def gap(
    results: Sequence[Result], rows: Sequence[Row], task: str, first: str, second: str, variant: str,
    metric: str = "auroc",
) -> str:  # fmt: skip
    """How far `first` is above `second` on a task, in points, paired by fold, and whether that is more than chance.

    rows: `pipeline.comparisons.linear_probe_differences` of `first` to all others on the page.
    """
    pair = [_find(results, task, encoder, variant) for encoder in (first, second)]
    if None in pair or None in (one["mean"][metric] for one in pair):
        return f"{task_label(task)}: not both of {look(first).label} and {look(second).label} were scored."
    a, b = (np.array([fold[metric] for fold in one["folds"]], dtype=float) for one in pair)  # None: NaN
    means = [100 * one["mean"][metric] for one in pair]
    points = means[0] - means[1]
    text = (
        f"{task_label(task)}: {look(first).label} {means[0]:.1f}, {look(second).label} {means[1]:.1f}, difference "
        f"{fixed(points, 1, sign=True)}"
    )
    text += in_words(rows, task=task, variant=variant, metric=metric, encoder=first, other=second)
    if len(a) == len(b) > 1:
        text += f"; in {int(np.sum((a - b) * np.sign(points) > 0))} of {len(a)} folds the sign is the same"
    return text + "."


def order(results: Sequence[Result], variant: str, metric: str = "auroc") -> str:
    """Which encoder is first on which tasks."""
    scored = [one["values"] for one in results if "mean" in one["values"] and one["values"]["variant"] == variant]
    scored = [one for one in scored if one["mean"][metric] is not None]
    firsts: dict[str, list[str]] = {}
    for task in dict.fromkeys(one["task"] for one in scored):
        of_task = [one for one in scored if one["task"] == task]
        winner = max(of_task, key=lambda one: one["mean"][metric])
        firsts.setdefault(winner["encoder"], []).append(task_label(task))
    parts = [f"{look(encoder).label} on {listing(tasks)}" for encoder, tasks in firsts.items()]
    return f"Highest mean: {'; '.join(parts)}." if parts else "No task could be scored."


def unscored(results: Sequence[Result]) -> str:
    """The tasks, and encoders, without scores and why (`others.unscored`)."""
    return others.unscored(results) or "Every task was scored."


def masked_error(history: pd.DataFrame, bounds: Mapping[str, Any]) -> str:
    """The held-out masked error of each objective that has a decoder, beside what a linear map and noise allow.

    history: as `Workspace.histories` gives it. bounds: as `Workspace.bounds`; noise_floor None: not known.
    """
    errors = _final(history, "masked_mse")
    if errors.empty:
        return "No objective with a reconstruction term was trained."
    lines = listing(f"{look(name).label} {value:.3f}" for name, value in errors.items())
    linear, floor = bounds["linear_bound"], bounds["noise_floor"]
    below = listing(look(name).label for name, value in errors.items() if value < linear)
    text = (
        f"Held-out masked error, as a share of the target's variance: {lines}. Predicting the mean gives 1. One linear "
        f"map from whatever is visible at the same instant gives {linear:.3f}: below it is {below or 'none'}. One from "
        f"three whole leads would give {bounds['three_lead_error']:.3f}."
    )
    known = f" The noise of the electrodes, which nothing predicts, is {floor:.3f}." if floor is not None else ""
    return text + known


def alignment(history: pd.DataFrame) -> str:
    """The held-out InfoNCE of each objective that aligns, in nats."""
    values = _final(history, "info_nce")
    if values.empty:
        return "No objective with an alignment term was trained."
    lines = listing(f"{look(str(name)).label} {value:.2f}" for name, value in values.items())
    return f"Held-out InfoNCE after the last update, in nats (less is better): {lines}."


def _final(history: pd.DataFrame, term: str) -> pd.Series:
    """Objective -> the term on held-out patients after the last update, averaged over seeds."""
    held_out = history[(history["term"] == term) & (history["split"] == "validation")]
    last = held_out[held_out["update"] == held_out.groupby("objective")["update"].transform("max")]
    return last.groupby("objective", sort=False)["value"].mean()


def _find(results: Sequence[Result], task: str, encoder: str, variant: str) -> Mapping[str, Any] | None:
    for one in results:
        values = one["values"]
        if (values["task"], values["encoder"], values["variant"]) == (task, encoder, variant) and "mean" in values:
            return values
    return None
