"""Sentences that read the numbers: what the tables say, computed, so that prose never states what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from merit.report.differences import LEVEL, Row, p_text
from merit.report.prose import listing
from merit.report.style import look, task_label

Result = Mapping[str, Any]


def gap(
    results: Sequence[Result], rows: Sequence[Row], task: str, other: str, variant: str, metric: str = "auroc"
) -> str:
    """How far MERIT is above `other` on a task, in points, and whether Table 4's test tells the two apart.

    rows: differences as `pipeline.comparisons` gives them, corrected over all that they compare.
    """
    pair = [_find(results, task, encoder, variant) for encoder in ("merit", other)]
    if None in pair or None in (one["mean"][metric] for one in pair):
        return f"{task_label(task)}: not both of {look('merit').label} and {look(other).label} were scored."
    a, b = (np.array([fold[metric] for fold in one["folds"]], dtype=float) for one in pair)  # None: NaN
    means = [100 * one["mean"][metric] for one in pair]
    points = means[0] - means[1]
    side = "above" if points > 0 else "below"
    text = (
        f"{task_label(task)}: {look('merit').label} at {means[0]:.1f} is {abs(points):.1f} points {side} "
        f"{look(other).label} at {means[1]:.1f}"
    )
    keys = {"task": task, "other": other, "variant": variant, "metric": metric}
    tested = [row for row in rows if row["p_holm"] is not None and all(row[key] == keys[key] for key in keys)]
    if not tested:
        return f"{text}; a single split, or a single scored fold, has no test."
    same = int(np.sum((a - b) * np.sign(points) > 0))
    apart = "a difference" if tested[0]["p_holm"] < LEVEL else "no difference shown"
    return (
        f"{text}, in {same} of {len(a)} folds with the same sign; by the test of Table 4 {apart} (Holm's p "
        f"{p_text(tested[0]['p_holm'])} over {tested[0]['n_comparisons']} comparisons)."
    )


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
    """The tasks without scores, each with its reason, once; or that there is none."""
    reasons = {one["values"]["task"]: one["values"]["reason"] for one in results if "reason" in one["values"]}
    if not reasons:
        return "Every task was scored."
    return "\n".join(
        f"- {task_label(task)}: not scored, {reason.removeprefix(f'{task}: ')}" for task, reason in reasons.items()
    )


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
