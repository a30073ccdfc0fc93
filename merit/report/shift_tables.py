"""Distribution shift as a page shows it: Table 7 with the paper's rows, in domain beside transfer, and a reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from merit.intervals import ends
from merit.report import others, paper
from merit.report.alignment_tables import direction_label, in_order, singular
from merit.report.figures import PANEL_HEIGHT, PANEL_WIDTH, Drawing
from merit.report.numerals import fixed
from merit.report.others import Absent, dashes, footnotes, mark
from merit.report.prose import Html, listing
from merit.report.style import look, task_label
from merit.report.tables import VARIANTS, mapping, ranked, render

Result = Mapping[str, Any]
DIRECTIONS = tuple(">".join(pair) for pair in in_order(one.split(">") for one in paper.TRANSFERS))
"""source>target of the paper's Table 7, in the order that tasks have in every other table."""
NOTES = {
    True: "The rows of the paper were measured on real recordings, those above them on synthetic ones: no difference "
    "between the two means anything.",
    False: "The rows of the paper: pretrained on MIMIC-IV-ECG, heads chosen on MERL's splits, scored on the whole "
    "target. Compare what was scored, further down, before the numbers.",
}
"""Whether our recordings are synthetic -> what stands under the table."""


def transfers(
    results: Sequence[Result], variant: str, *, synthetic: bool, compare: bool = False, absent: Sequence[Absent] = ()
) -> Html:  # fmt: skip
    """Table 7: a row an encoder, a column a direction, macro AUROC in percent with its interval; the paper's below.

    compare: add the row of differences to the paper's MERIT, for runs that it makes sense for. absent: published
    encoders without weights.
    """
    scored = _scored(results, variant)
    columns = pd.MultiIndex.from_tuples([_column(one) for one in DIRECTIONS], names=["source", "target"])
    numbers = pd.DataFrame(index=_encoders(scored), columns=columns, dtype=float)
    texts = numbers.astype(object)
    for one in scored:
        cell = look(one["encoder"]).label, _column(f"{one['source']}>{one['target']}")
        numbers.loc[cell] = 100 * one["auroc"]["value"]
        texts.loc[cell] = interval(one["auroc"], signs=mark(one))
    theirs = _published(columns)
    published = theirs.map(lambda value: None if pd.isna(value) else f"{value:.2f}").astype(object)
    if compare and look("merit").label in numbers.index:
        published = pd.concat([_difference_row(numbers, columns), published])
    texts = pd.concat([texts, dashes(columns, absent), published])
    marks = pd.concat([ranked(numbers), ranked(theirs)]).reindex(texts.index)
    table = render(texts, f"shift-{variant}", marks=marks, apart=published.index)
    head = Html('<p class="merit-caption">{}</p>').format(VARIANTS.get(variant, variant))
    return head + table + Html('<p class="merit-note">{}</p>').format(NOTES[synthetic]) + footnotes(scored, absent)


def _column(direction: str) -> tuple[str, str]:
    source, target = direction.split(">")
    return f"from {task_label(source)}", f"to {task_label(target)}"


def _published(columns: pd.MultiIndex) -> pd.DataFrame:
    """The paper's rows, in percent."""
    rows = {
        paper.ROW_LABELS.get(row, f"paper: {row}"): {
            _column(one): paper.number(7, row, one, "auroc").value for one in DIRECTIONS
        }
        for row in paper.ROWS[7]
    }
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).astype(float)


def _difference_row(numbers: pd.DataFrame, columns: pd.MultiIndex) -> pd.DataFrame:
    """Our MERIT less the paper's, in points."""
    ours, cells = numbers.loc[look("merit").label], {}
    for one in DIRECTIONS:
        theirs = paper.number(7, "merit", one, "auroc").value
        if theirs is not None and not pd.isna(ours[_column(one)]):
            cells[_column(one)] = f"{fixed(ours[_column(one)] - theirs, 1, sign=True)}"
    return pd.DataFrame([cells], index=["MERIT − paper: MERIT"]).reindex(columns=columns)


def interval(triple: Mapping[str, float | None], *, sign: bool = False, signs: str = "") -> str:
    """`71.2` with its marks and on a line of its own `[69.0, 73.1]`, percent; a dash for None."""
    if triple["value"] is None:
        return "–"
    value = fixed(100 * triple["value"], 1, sign) + signs
    if triple["low"] is None or triple["high"] is None:
        return value
    return f"{value}\n[{fixed(100 * triple['low'], 1, sign)}, {fixed(100 * triple['high'], 1, sign)}]"


def in_domain(results: Sequence[Result], variant: str) -> Html:
    """A table a direction, a row an encoder: the head at home, transferred, the target's own, and the cost."""
    out = Html("")
    for direction in DIRECTIONS:
        of_direction = [one for one in _scored(results, variant) if f"{one['source']}>{one['target']}" == direction]
        if not of_direction:
            continue
        rows, source, target = {}, *direction.split(">")
        for one in of_direction:
            home = one["in_domain"]
            keys = ("source", "transfer_on_target_test", "target")
            cells = [None] * 4 if "reason" in home else [interval(home[key]) for key in keys]
            drop = [] if "reason" in home else [interval(home["drop"], sign=True)]
            columns = (
                f"{task_label(source)} head, at home", f"the same head, on {task_label(target)}",
                f"{task_label(target)}'s own head, there", "cost of transfer",
            )  # fmt: skip
            rows[look(one["encoder"]).label] = dict(zip(columns, (cells[:3] + drop if drop else cells)))
        out += Html('<p class="merit-caption"><b>{}</b>{}</p>').format(
            direction_label(source, target), _on(of_direction[0])
        )
        out += mapping(rows, f"in-domain-{variant}-{source}-{target}")
    return out


def _on(one: Mapping[str, Any]) -> str:
    """What the numbers of a direction are over."""
    home = one["in_domain"]
    if "reason" in home:
        return f": {home['reason']}"
    return (
        f", over {listing(home['classes'])}; {home['n_source_test']:,} recordings at home, {home['n_target_test']:,} "
        "in the target's test part"
    )


def coverage(results: Sequence[Result]) -> Html:
    """A row a direction: recordings, patients, classes scored, those not, and how many are negatives only."""
    rows = {}
    for one in sorted(_scored(results), key=lambda one: DIRECTIONS.index(f"{one['source']}>{one['target']}")):
        unscored = "; ".join(f"{name} ({singular(why)})" for name, why in one["unscored"].items())
        rows.setdefault(
            direction_label(one["source"], one["target"]),
            {
                "scored on": one["scope"],
                "recordings": f"{one['n_records']:,}",
                "patients": f"{one['n_patients']:,}",
                "of these without a shared class": f"{one['n_without_class']:,}",
                "classes scored": f"{one['n_classes']} of {len(one['classes'])}",
                "not scored": unscored or "none",
                "source classes too rare to learn": ", ".join(one["not_learnt"]) or "none",
                "source split by": one["parts"]["source"],
            },
        )
    return mapping(rows, "shift-coverage")


def negatives(results: Sequence[Result], variant: str) -> Html:
    """What the recordings without a shared class are worth: AUROC with them, without them, and the difference."""
    columns = [direction_label(*one.split(">")) for one in DIRECTIONS]
    scored = [one for one in _scored(results, variant) if "reason" not in one["with_class_only"]]
    texts = pd.DataFrame(index=_encoders(scored), columns=columns, dtype=object)
    for one in scored:
        both = one["auroc"]["value"], one["with_class_only"]["value"]
        text = f"{100 * both[1]:.1f}\n({fixed(100 * (both[1] - both[0]), 1, sign=True)})"
        texts.loc[look(one["encoder"]).label, direction_label(one["source"], one["target"])] = text
    return render(texts, f"shift-negatives-{variant}")


def drops(results: Sequence[Result], variant: str) -> Drawing:
    """A panel a direction: from the target's own head to the transferred one, a line an encoder, with intervals."""
    scored = [one for one in _scored(results, variant) if "reason" not in one["in_domain"]]
    figure = Drawing(figsize=(3 * PANEL_WIDTH * 0.8, 2.2 * PANEL_HEIGHT), layout="constrained")
    if not scored:
        figure.text(0.5, 0.5, "no direction has numbers in domain", ha="center", va="center")
        return figure
    figure.get_layout_engine().set(hspace=0.08, h_pad=0.08)
    axes = figure.subplots(2, 3, sharey=True).ravel()
    for axis, direction in zip(axes, DIRECTIONS):
        of_direction = [one for one in scored if f"{one['source']}>{one['target']}" == direction]
        for place, one in enumerate(of_direction):
            _line(axis, one, 0.07 * (place - (len(of_direction) - 1) / 2))
        if not of_direction:
            axis.text(0.5, 0.5, "no numbers in domain", ha="center", va="center", transform=axis.transAxes, fontsize=8)
        source, target = direction.split(">")
        axis.set_title(f"{task_label(source)}\n→ {task_label(target)}", fontsize=8.5)
        axis.set_xticks([0, 1], ["own head", "transferred"])
        axis.set_xlim(-0.35, 1.35)
    for axis in axes[::3]:
        axis.set_ylabel("macro AUROC, percent")
    shown = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(shown))
    return figure


def _line(axis: Any, one: Mapping[str, Any], offset: float) -> None:
    style, home = look(one["encoder"]), one["in_domain"]
    ends = [home["target"], home["transfer_on_target_test"]]
    value, low, high = (np.array([100 * end[key] for end in ends], dtype=float) for key in ("value", "low", "high"))
    axis.errorbar(
        np.arange(2) + offset, value, yerr=[value - low, high - value], color=style.colour, marker=style.marker,
        linestyle=style.line, markersize=4.5, elinewidth=0.8, linewidth=1.2, label=style.label,
    )  # fmt: skip


def reading(results: Sequence[Result], variant: str) -> str:
    """Who transfers best in each direction, how far from the next and from random, and what transfer costs."""
    lines = [
        line
        for direction in DIRECTIONS
        if (of := [one for one in _scored(results, variant) if f"{one['source']}>{one['target']}" == direction])
        for line in [_direction_line(of)]
    ]
    if not lines:
        return "No direction could be scored."
    scored = _scored(results, variant)
    return "\n".join(f"- {line}" for line in [*lines, _cost(scored), *_below_chance(scored)])


def _direction_line(of_direction: Sequence[Mapping[str, Any]]) -> str:
    """The highest of a direction, and its paired differences to the second and to the random encoder."""
    falling = sorted(of_direction, key=lambda one: -one["auroc"]["value"])
    best, label = falling[0], direction_label(of_direction[0]["source"], of_direction[0]["target"])
    text = f"{label}: {look(best['encoder']).label} has the highest AUROC, {100 * best['auroc']['value']:.1f}"
    rivals = {one["encoder"]: one for one in falling[1:2]}
    rivals |= {one["encoder"]: one for one in falling[1:] if one["encoder"] == "random"}
    parts = [f"{_paired(best, one)} above {look(name).label}" for name, one in rivals.items()]
    return f"{text}, {listing(parts)}." if parts else f"{text}."


def _paired(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """`1.2 points [0.3, 2.0]`: the difference on the same patients, resampled alike."""
    points = 100 * (first["auroc"]["value"] - second["auroc"]["value"])
    low, high = ends(points, 100 * (_drawn(first) - _drawn(second)))
    if np.isnan(low):
        return f"{fixed(points, 1)} points"
    return f"{fixed(points, 1)} points [{fixed(low, 1)}, {fixed(high, 1)}]"


def _drawn(one: Mapping[str, Any]) -> np.ndarray:
    return np.array(one["resamples"]["auroc"], dtype=float)


def _cost(scored: Sequence[Mapping[str, Any]]) -> str:
    """Mean over directions of what transfer costs, by encoder, and whether the best own head loses most."""
    costs: dict[str, list[float]] = {}
    heads: dict[str, list[float]] = {}
    for one in scored:
        if "reason" not in one["in_domain"]:
            costs.setdefault(one["encoder"], []).append(100 * one["in_domain"]["drop"]["value"])
            heads.setdefault(one["encoder"], []).append(100 * one["in_domain"]["target"]["value"])
    if not costs:
        return "No direction has a test part on both sides, so the cost of transfer cannot be told."
    parts = listing(
        f"{look(name).label} {fixed(np.mean(values), 1)} ({fixed(min(values), 1)} to {fixed(max(values), 1)})"
        for name, values in costs.items()
    )
    n = max(map(len, costs.values()))
    return (
        f"Cost of transfer on the target's test part, points of AUROC, mean over {n} direction{'s' * (n > 1)} (lowest "
        f"to highest; no interval: directions share heads and recordings): {parts}.{_most_to_lose(costs, heads)}"
    )


def _most_to_lose(costs: Mapping[str, Sequence[float]], heads: Mapping[str, Sequence[float]]) -> str:
    """A remark where one encoder has both the highest own head and the highest cost above 0, on average."""
    means = [{name: float(np.mean(of)) for name, of in table.items()} for table in (costs, heads)]
    dearest, best = ({name for name in table if table[name] == max(table.values())} for table in means)
    if len(costs) < 2 or len(dearest) > 1 or dearest != best or max(means[0].values()) <= 0:
        return ""
    (name,) = best
    return (
        f" {look(name).label} has the highest own heads too, {fixed(means[1][name], 1)} on average: a higher own head "
        "leaves more to lose."
    )


def _below_chance(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line where a random encoder's own head lies below 50 with its whole interval."""
    found = [
        one for one in scored
        if one["encoder"] == "random" and "reason" not in one["in_domain"]
        and (one["in_domain"]["target"]["high"] or 1) < 0.5
    ]  # fmt: skip
    parts = [_rare(one) for one in found]
    return [f"An own head of the random encoder lies below 50 with its interval: {'; '.join(parts)}."] if found else []


def _rare(one: Mapping[str, Any]) -> str:
    """How few recordings such a number rests on."""
    home, counts = one["in_domain"], [one["per_class"][name]["n_positive"] for name in one["in_domain"]["classes"]]
    return (
        f"in {direction_label(one['source'], one['target'])}, {interval(home['target'])}, the target's test part is "
        f"small ({home['n_target_test']:,} recordings) and its classes are rare (the rarest has {min(counts):,} of "
        f"{one['n_records']:,} recordings of the whole target)"
    ).replace("\n", " ")


def unscored(results: Sequence[Result]) -> str:
    """The directions, and encoders, without scores and why (`others.unscored`)."""
    found = others.unscored(results, lambda values: direction_label(values["source"], values["target"]))
    return found or "Every direction was scored."


def _encoders(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    return [look(name).label for name in dict.fromkeys(one["encoder"] for one in scored)]


def _scored(results: Sequence[Result], variant: str | None = None) -> list[Mapping[str, Any]]:
    """The values of those results that have scores."""
    values = [one["values"] for one in results]
    return [one for one in values if "reason" not in one and variant in (None, one["variant"])]
