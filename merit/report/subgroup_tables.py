"""AUROC by sex and age group as a page shows it: values, counts, differences, what was left out, and a reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from merit.intervals import told_apart
from merit.report.alignment_tables import singular
from merit.report.figures import PANEL_HEIGHT, PANEL_WIDTH, Drawing
from merit.report.prose import Html, listing
from merit.report.style import look, task_label
from merit.report.tables import interval, mapping, render

Result = Mapping[str, Any]
ATTRIBUTES = ("sex", "age")
UNKNOWN = "unknown"

SYNTHETIC = (
    "What the synthetic hospitals encode: a woman's heart gives somewhat lower voltages, a narrower QRS complex and a "
    "longer QT interval; with age voltages and T waves fall and the PR interval grows; some findings come at a typical "
    "age (atrial fibrillation late, a normal ECG early). Findings do not depend on sex, nobody is recorded or labelled "
    "with less care, and no group is missing from pretraining on purpose. So a difference between groups here comes "
    "from these waveforms, from the mix of findings, or from chance; the ways in which real data are biased are absent."
)


def groups(results: Sequence[Result], variant: str) -> Html:
    """For each task and attribute a table: a row an encoder, a column a group, macro AUROC with its interval."""
    return _each(results, variant, _groups_table)


def _each(results: Sequence[Result], variant: str, table: Any) -> Html:
    """A caption and a table for each task and attribute."""
    out = Html("")
    for task, attribute, of in _blocks(results, variant):
        first = of[0]["attributes"][attribute]
        classes = f", over {listing(first['classes'])}" if first["classes"] else ""
        reason = f": {first['reason']}" if "reason" in first else ""
        head = Html('<p class="merit-caption"><b>{}, by {}</b>{}{}</p>')
        out += head.format(task_label(task), attribute, classes, reason)
        if "reason" not in first:
            out += table(of, attribute, f"{variant}-{task}-{attribute}")
    return out


def _groups_table(of: Sequence[Mapping[str, Any]], attribute: str, name: str) -> Html:
    first = of[0]["attributes"][attribute]
    texts = pd.DataFrame(index=[look(one["encoder"]).label for one in of], columns=first["compared"], dtype=object)
    for one in of:
        for group in first["compared"]:
            texts.loc[look(one["encoder"]).label, group] = interval(
                one["attributes"][attribute]["groups"][group]["auroc"]
            )
    return render(texts, f"groups-{name}")


def differences(results: Sequence[Result], variant: str) -> Html:
    """For each task and attribute: a group's macro AUROC less that of the largest group, points, bold as `told_apart`
    counts over all of them.
    """
    sides = _sides(results, variant)

    def table(of: Sequence[Mapping[str, Any]], attribute: str, name: str) -> Html:
        first = of[0]["attributes"][attribute]
        heads = {group: f"{group} − {first['reference']}" for group in first["differences"]}
        rows = [look(one["encoder"]).label for one in of]
        texts = pd.DataFrame(index=rows, columns=list(heads.values()), dtype=object)
        marks = pd.DataFrame("", index=texts.index, columns=texts.columns)
        for one in of:
            for group, head in heads.items():
                triple = one["attributes"][attribute]["differences"][group]
                texts.loc[look(one["encoder"]).label, head] = interval(triple, sign=True)
                if sides[one["task"], attribute, one["encoder"], group]:
                    marks.loc[look(one["encoder"]).label, head] = "font-weight: bold"
        return render(texts, f"differences-{name}", marks=marks)

    return _each(results, variant, table)


def _sides(results: Sequence[Result], variant: str) -> dict[tuple[str, str, str, str], int]:
    """(task, attribute, encoder, group) -> the side of 0 on which the difference lies, 0 where chance may be all."""
    every = {
        (task, attribute, one["encoder"], group): triple
        for task, attribute, of in _blocks(results, variant)
        for one in of
        for group, triple in one["attributes"][attribute]["differences"].items()
    }
    return dict(zip(every, told_apart(list(every.values()))))


def counts(results: Sequence[Result], variant: str) -> Html:
    """For each task and attribute: recordings, patients and positives of each group, unknown among them."""
    out = Html("")
    for task, attribute, of in _blocks(results, variant):
        values = of[0]["attributes"][attribute]
        rows = {}
        for group, one in values["groups"].items():
            shown = {name: n for name, n in one["positives"].items() if name in values["classes"]}
            rows[group] = {
                "recordings": f"{one['n_records']:,}",
                "patients": f"{one['n_patients']:,}",
                "compared": "yes" if group in values["compared"] else "no",
                **{f"with {name}": f"{n:,}" for name, n in shown.items()},
            }
        out += Html('<p class="merit-caption"><b>{}, by {}</b></p>').format(task_label(task), attribute)
        out += mapping(rows, f"counts-{task}-{attribute}")
    return out


def left_out(results: Sequence[Result], variant: str) -> str:
    """What is not compared and why: groups that are too small, classes that a group has too few of."""
    lines = []
    for task, attribute, of in _blocks(results, variant):
        values = of[0]["attributes"][attribute]
        small = [
            f"{group} ({one['n_records']:,})"
            for group, one in values["groups"].items()
            if group not in values["compared"] and one["n_records"] and group != UNKNOWN
        ]
        classes = [f"{name} ({singular(why)})" for name, why in values["left_out"].items()]
        if small:
            need = values["min_records"]
            lines.append(f"{task_label(task)}, by {attribute}: fewer than {need} recordings in {listing(small)}")
        if classes:
            n = f"{len(classes)} of {len(of[0]['classes'])}"
            lines.append(f"{task_label(task)}, by {attribute}: {n} classes left out, {'; '.join(classes)}")
    return "\n".join(f"- {line}." for line in lines) or "Every group and every class was compared."


def unscored(results: Sequence[Result]) -> str:
    """A line for each reason that stands in place of scores: with the task if no encoder was scored on it, else with
    the encoders that were not.
    """
    every: dict[str, set[str]] = {}
    without: dict[tuple[str, str], set[str]] = {}
    for one in (result["values"] for result in results):
        task = task_label(one["task"])
        every.setdefault(task, set()).add(one["encoder"])
        if "reason" in one:
            reason = one["reason"].removeprefix(f"{one['task']}: ")
            without.setdefault((task, reason), set()).add(one["encoder"])
    lines: dict[str, list[str]] = {}
    for (task, reason), encoders in without.items():
        names = [task] if encoders == every[task] else [look(name).label for name in sorted(encoders)]
        lines[reason] = list(dict.fromkeys([*lines.get(reason, []), *names]))
    found = "\n".join(f"- {listing(names)}: not scored, {reason}" for reason, names in lines.items())
    return found or "Every task was scored."


def dots(results: Sequence[Result], variant: str) -> Drawing:
    """A panel a task and attribute: a line a group, a marker an encoder, macro AUROC with its interval."""
    blocks = [block for block in _blocks(results, variant) if "reason" not in block[2][0]["attributes"][block[1]]]
    n_rows = max(1, -(-len(blocks) // 2))
    figure = Drawing(figsize=(2.4 * PANEL_WIDTH, PANEL_HEIGHT * 1.15 * n_rows), layout="constrained")
    if not blocks:
        figure.text(0.5, 0.5, "no two groups could be compared", ha="center", va="center")
        return figure
    figure.get_layout_engine().set(hspace=0.1, h_pad=0.08)
    axes = figure.subplots(n_rows, 2, squeeze=False, sharex=True).ravel()
    for axis, (task, attribute, of) in zip(axes, blocks):
        compared = of[0]["attributes"][attribute]["compared"]
        for place, one in enumerate(of):
            _markers(axis, one["encoder"], one["attributes"][attribute], 0.14 * (place - (len(of) - 1) / 2))
        axis.set_yticks(range(len(compared)), compared)
        axis.invert_yaxis()
        axis.set_title(f"{task_label(task)}, by {attribute}", fontsize=8.5)
        axis.set_xlabel("macro AUROC, percent")
        axis.axvline(50, color="#7A7A7A", linewidth=0.9, zorder=0)
        axis.tick_params(labelbottom=True)
    for axis in axes[len(blocks) :]:
        axis.set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    return figure


def _markers(axis: Any, encoder: str, values: Mapping[str, Any], offset: float) -> None:
    """One encoder's values in the groups of a panel."""
    style = look(encoder)
    triples = [values["groups"][group]["auroc"] for group in values["compared"]]
    value, low, high = (np.array([100 * one[k] for one in triples], dtype=float) for k in ("value", "low", "high"))
    axis.errorbar(
        value, np.arange(len(triples)) + offset, xerr=np.maximum([value - low, high - value], 0), color=style.colour,
        marker=style.marker, linestyle="none", markersize=4.5, elinewidth=0.9, label=style.label,
    )  # fmt: skip


def reading(results: Sequence[Result], variant: str) -> str:
    """How many differences there are and how many exceed chance; the largest of each task and attribute."""
    lines, n = [], 0
    sides = _sides(results, variant)
    for task, attribute, of in _blocks(results, variant):
        found = [
            (one["encoder"], group, triple)
            for one in of
            for group, triple in one["attributes"][attribute]["differences"].items()
            if triple["value"] is not None
        ]
        n += len(found)
        if found:
            first = of[0]["attributes"][attribute]
            lines.append(f"{task_label(task)}, by {attribute}: {_largest(found, first['reference'], first['classes'])}")
    if not n:
        return "No two groups could be compared."
    beyond = sum(side != 0 for side in sides.values())
    head = (
        f"{n} differences between groups; {beyond or 'none'} of them {'is' if beyond == 1 else 'are'} beyond sampling "
        "error, corrected for all of them (Holm). The encoders share the recordings, so that their differences go "
        "together."
    )
    return "\n".join(f"- {line}" for line in [head, *lines])


def _largest(found: Sequence[tuple[str, str, Mapping[str, float]]], reference: str, classes: Sequence[str]) -> str:
    """The largest difference, and that of the random encoder between the same groups."""
    encoder, group, triple = max(found, key=lambda one: abs(one[-1]["value"]))
    over = f"{classes[0]} alone" if len(classes) == 1 else f"{len(classes)} classes"
    text = f"over {over}, the largest is {look(encoder).label}'s, {group} against {reference}, {_points(triple)}"
    beside = [one[-1] for one in found if one[:2] == ("random", group) and encoder != "random"]
    return text + (f"; the random encoder's there is {_points(beside[0])}." if beside else ".")


def _points(triple: Mapping[str, float | None]) -> str:
    return interval(triple, sign=True).replace("\n", " ") + " points"


def _blocks(results: Sequence[Result], variant: str) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """(task, attribute, values of each encoder), for the tasks that have scores."""
    values = [one["values"] for one in results]
    scored = [one for one in values if "reason" not in one and one["variant"] == variant]
    tasks = dict.fromkeys(one["task"] for one in scored)
    return [(task, a, [one for one in scored if one["task"] == task]) for task in tasks for a in ATTRIBUTES]
