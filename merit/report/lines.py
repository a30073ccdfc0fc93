"""Scores of linear probing in lines, for the terminal."""

from __future__ import annotations

import pandas as pd


def probe_lines(scores: pd.DataFrame) -> list[str]:
    """A line per variant of one task and encoder: mean ± sd over folds of AUROC and F1 in percent; or the reason."""
    first = scores.iloc[0]
    if scores["reason"].notna().any():
        return [f"{first['task']:<18} {'':<13} {first['encoder']:<7} {first['reason']}"]
    lines = []
    for variant, own in scores[scores["scored"] == "by fold"].groupby("variant", sort=False):
        told = [f"{first['task']:<18} {variant:<13} {first['encoder']:<7}"]
        for metric, name in (("auroc", "AUROC"), ("f1", "F1")):
            row = own[own["metric"] == metric].iloc[0]
            spread = "" if pd.isna(row["sd"]) else f" ± {100 * row['sd']:.1f}"
            value = "none" if pd.isna(row["value"]) else f"{100 * row['value']:.1f}{spread}"
            told.append(f"{name} {value}  ")
        lines.append(f"{' '.join(told)} ({own['n'].iloc[0]:.0f} recordings)")
    return lines
