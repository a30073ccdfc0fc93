"""The page that says what the book was built from: tables of notebooks, of what they read, and of versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from merit import runs
from merit.report import tables
from merit.report.prose import Html

Record = Mapping[str, Any]


def notebooks(records: Sequence[Record], budget: Mapping[str, float]) -> Html:
    """A row a notebook: when and how it ran last, its seconds beside the budget, its parameters."""
    rows = {}
    for one in records:
        allowed = budget.get(one["notebook"])
        rows[one["notebook"]] = {
            "seconds": f"{one['seconds']:.0f}",
            "budget": "–" if allowed is None else f"{allowed:.0f}",
            "device": one.get("device", "–"),
            "commit": one["commit"],
            "finished": one["finished"],
            "parameters": ", ".join(f"{name}={value!r}" for name, value in one["parameters"].items()),
        }
    return tables.mapping(rows, "notebooks") if rows else Html("<p>No notebook has run.</p>")


def total(records: Sequence[Record], budget: Mapping[str, float]) -> str:
    """Seconds of the last runs together, against the sum of their budgets."""
    spent = sum(one["seconds"] for one in records)
    allowed = sum(budget.get(one["notebook"], 0) for one in records)
    over = [one["notebook"] for one in records if one["seconds"] > budget.get(one["notebook"], float("inf"))]
    text = f"Together {spent:.0f} s, against {allowed:.0f} s in the budget of a run from nothing"
    text = f"{text}; over their own: {', '.join(over)}." if over else f"{text}; none is over its own."
    return f"{text} A notebook whose results were there already only read them."


def inputs(records: Sequence[Record]) -> Html:
    """A row a store, checkpoint and result, with the notebooks that rest on it."""
    rows: dict[str, dict[str, str]] = {}
    for one in records:
        for item in one.get("inputs", []):
            row = rows.setdefault(item["what"].replace("_", " "), _described(item))
            row["used by"] = ", ".join(filter(None, [row.get("used by"), one["notebook"]]))
    return tables.mapping(dict(sorted(rows.items())), "inputs") if rows else Html("<p>Nothing was read.</p>")


def _described(item: Mapping[str, Any]) -> dict[str, str]:
    seconds = item.get("seconds")
    return {
        "identity": str(item.get("id") or "–"),
        "seconds": "–" if seconds is None else f"{float(seconds):.1f}",
        "device": str(item.get("device") or "–"),
        "commit": str(item.get("commit") or "–"),
    }


def versions() -> Html:
    """Python and the packages that numbers depend on."""
    return tables.mapping({name: {"version": version} for name, version in runs.versions().items()}, "versions")
