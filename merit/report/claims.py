"""Sentences that read the numbers: what the tables say, computed, so that prose never states what they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from merit.report import others
from merit.report.prose import listing
from merit.report.style import look

Result = Mapping[str, Any]


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
