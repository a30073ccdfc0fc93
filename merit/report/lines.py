"""A result in one line, for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def result_line(values: Mapping[str, Any]) -> str:
    """Task, variant, encoder, and mean ± sd over folds of AUROC and F1 in percent; or the reason why there is none."""
    where = f"{values['task']:<18} {values['variant']:<13} {values['encoder']:<7}"
    if "reason" in values:
        return f"{where} {values['reason']}"
    mean, sd = values["mean"], values["sd"]
    return f"{where} AUROC {_both(mean, sd, 'auroc')}   F1 {_both(mean, sd, 'f1')}   ({values['n_records']} recordings)"


def _both(mean: Mapping[str, float | None], sd: Mapping[str, float | None], name: str) -> str:
    """Mean and, where there is more than one fold, sd, times 100."""
    if mean[name] is None:
        return "none"
    spread = "" if sd[name] is None else f" ± {100 * sd[name]:.1f}"
    return f"{100 * mean[name]:.1f}{spread}"
