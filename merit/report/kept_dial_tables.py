"""What is kept over pretraining seeds, and by whose hearts were recorded: tables of committed files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from merit.report import reference, tables
from merit.report.ablation_tables import ordered
from merit.report.kept_committed import HEADS, File, files, mean_text, row_of
from merit.report.prose import Html
from merit.report.style import look

HEARTS = {"real hearts": "real", "synthetic hearts": "synthetic"}
"""Whose recordings an encoder was pretrained on, as committed files say it -> in a row's label."""


def table(profile: str, synthetic: bool, folder: Path | None = None) -> Html:
    """A row an encoder of each committed file, a column a measure: mean ± sd over seeds, percent."""
    parts = Html("")
    for file in files("kept", profile, synthetic, folder):
        names = ordered({row["encoder"] for row in file["over_seeds"]})
        rows = {look(name).label: _cells(file, name) for name in names}
        name = f"kept-seeds-{'equal-budget' if reference.budgeted(file) else 'objectives'}"
        parts += reference.label(file) + tables.mapping(rows, name)
    return parts or reference.absent("kept", synthetic)


def carried_over(profile: str, folder: Path | None = None) -> Html:
    """Real recordings: a row an encoder and kind of hearts that it was pretrained on, a column a measure."""
    parts = Html("")
    for file in files("carried_over", profile, False, folder):
        rows = {}
        for name in ordered({row["encoder"] for row in file["over_seeds"]}):
            for hearts, short in HEARTS.items():
                if row_of(file, name, "beyond_linear", hearts=hearts):
                    label = look(name).label + ("" if name == "random" else f",\npretrained on {short} hearts")
                    rows[label] = _cells(file, name, hearts=hearts)
        parts += reference.label(file) + tables.mapping(rows, "kept-carried-over")
    return parts or reference.absent("carried_over", False)


def _cells(file: File, encoder: str, **where: Any) -> dict[str, str]:
    rows = {head: row_of(file, encoder, metric, **where) for metric, head in HEADS.items()}
    return {head: "–" if row is None else mean_text(file, row) for head, row in rows.items()}
