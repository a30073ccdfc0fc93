"""Table 5 as a page shows it: what is taken for what, what has no counterpart, and what is odd about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from merit.report.prose import Html, listing
from merit.report.style import TASK_LABELS, task_label
from merit.report.tables import mapping

Result = Mapping[str, Any]


def direction_label(source: str, target: str) -> str:
    """`PTB-XL superclass → CPSC2018`."""
    return f"{task_label(source)} → {task_label(target)}"


def in_order(directions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(source, target) in the order that tasks have in every table."""
    return sorted(directions, key=lambda pair: (list(TASK_LABELS).index(pair[0]), list(TASK_LABELS).index(pair[1])))


def singular(text: str) -> str:
    """`1 positives` -> `1 positive`, in a reason that was written for any number."""
    return re.sub(r"(?<![\d,.])1 (positive|negative)s\b", r"1 \1", text)


def mappings(notes: Mapping[str, Any], results: Sequence[Result]) -> Html:
    """A table for each block: class, codes of the counterpart, and how many recordings here have the one and the other.

    notes: values of `pipeline.label_alignment.label_notes`. results: of `label_alignment`.
    """
    positives = {(one["values"]["source"], one["values"]["target"]): one["values"]["positives"] for one in results}
    out = Html("")
    for space, other in dict.fromkeys((row["space"], row["counterpart_space"]) for row in notes["table"]):
        counts = positives[space, other]
        own = {**_whole(notes, positives, space), **(counts["source"] or {})}
        rows = {
            row["name"]: {
                f"codes of {task_label(other)}": row["counterpart_codes"].replace(" ", ", ") or "none",
                f"recordings in {task_label(space)}": _count(own, row["name"]),
                f"recordings in {task_label(other)}": _count(counts["target"], row["name"]),
            }
            for row in notes["table"]
            if (row["space"], row["counterpart_space"]) == (space, other)
        }
        head = Html('<p class="merit-caption"><b>{}</b> and <b>{}</b></p>').format(task_label(space), task_label(other))
        out += head + mapping(rows, f"alignment-{space}-{other}")
    return out


def _whole(notes: Mapping[str, Any], positives: Mapping[tuple[str, str], Any], space: str) -> dict[str, int]:
    """Recordings with each class of a coarser side, from every block that it is the first data set of.

    A class that has no counterpart in one block is counted in another.
    """
    others = dict.fromkeys(row["counterpart_space"] for row in notes["table"] if row["space"] == space)
    found = [positives[space, other]["source"] or {} for other in others if (space, other) in positives]
    return {name: n for counts in found for name, n in counts.items()}


def _count(counts: Mapping[str, int] | None, name: str) -> str | None:
    """Recordings with a class; None where there is no data set, or the class has no counterpart."""
    return None if counts is None or name not in counts else f"{counts[name]:,}"


def directions(results: Sequence[Result]) -> Html:
    """A row a direction: the evaluation classes, how many, and what either side has beyond them."""
    rows = {}
    by_direction = {(one["values"]["source"], one["values"]["target"]): one["values"] for one in results}
    for one in map(by_direction.get, in_order(by_direction)):
        rows[direction_label(one["source"], one["target"])] = {
            "number": str(one["n_classes"]),
            "evaluation classes": ", ".join(one["classes"]),
            "source classes without counterpart": _dropped(one, "source"),
            "target classes without counterpart": _dropped(one, "target"),
        }
    return mapping(rows, "directions")


def _dropped(values: Mapping[str, Any], side: str) -> str:
    names = values[f"dropped_{side}"]
    return f"{len(names)} of {values[f'n_{side}_classes']}: {', '.join(names)}" if names else "none"


def by_snomed(notes: Mapping[str, Any]) -> Html:
    """CPSC2018's classes: the CSN codes of Table 5 beside the CSN label with the same SNOMED CT code."""
    rows = {
        row["class"]: {
            "meaning": row["description"],
            "Table 5": _described(row["table"], row),
            "same SNOMED CT code": _described(row["same_code"], row),
            "agree": "yes" if row["agree"] else "no",
        }
        for row in notes["snomed"]
    }
    return mapping(rows, "snomed")


def _described(labels: Sequence[str], row: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} ({row['descriptions'][label]})" for label in labels) or "none"


def oddities(notes: Mapping[str, Any]) -> str:
    """Lines on what the table does that a cardiologist would not expect, as far as the table itself shows it."""
    lines = [
        f"{task_label(one['counterpart_space'])}'s {one['code']} counts for {listing(one['classes'])} of "
        f"{task_label(one['space'])} at once, so the two merged classes share recordings."
        for one in notes["shared_codes"]
    ]
    blocks = {(row["name"], row["counterpart_space"]): row["counterpart_codes"].split() for row in notes["table"]}
    if "STDD" in blocks.get(("CD", "csn"), ()):
        lines.append(
            "STDD is depression of the ST segment, a change of repolarisation; between PTB-XL and CSN the table puts "
            "it under CD, disturbances of conduction. The other ST and T codes stand under STTC."
        )
    differing = [row for row in notes["snomed"] if not row["agree"]]
    lines += [
        f"CPSC2018's {row['class']} ({row['description']}) has the SNOMED CT code of CSN's "
        f"{listing(row['same_code']) or 'no label'}; the table takes {listing(row['table']) or 'nothing'}."
        for row in differing
    ]
    return "\n".join(f"- {line}" for line in lines) or "Nothing stands out."


def sinus_rhythm(company: Mapping[str, Mapping[str, int] | None]) -> str:
    """How often a recording in sinus rhythm is a normal one, as the labels here say; percent."""
    lines = []
    for space, text in (
        ("superclass", "{n:,} recordings are labelled SR; {wanted} of them are also labelled NORM"),
        ("csn", "{n:,} recordings are labelled SR; {alone} of them have no other label"),
        ("cpsc2018", "{n:,} recordings are labelled NORM; {alone} of them have no other class"),
    ):
        counts = company.get(space)
        if counts and counts["n"]:
            shares = {key: f"{100 * counts[key] / counts['n']:.0f} %" for key in ("wanted", "alone")}
            lines.append(f"- {task_label(space)}: {text.format(n=counts['n'], **shares)}.")
    return "\n".join(lines) or "None of the three data sets is here, so nothing can be counted."


def missing(results: Sequence[Result]) -> str:
    """The data sets that are not there, with the reason, once each; or that all are."""
    found = {space: why for one in results for space, why in one["values"].get("missing", {}).items()}
    lines = [f"- {task_label(space)}: no counts, {why}" for space, why in found.items()]
    return "\n".join(lines) or "All three data sets are here."
