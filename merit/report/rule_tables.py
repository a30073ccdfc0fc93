"""The page `protocol`: what each rule of the published protocols is worth, as tables, a figure and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from merit.intervals import told_apart
from merit.report.figures import PANEL_WIDTH, Drawing
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import look, task_label
from merit.report.tables import render

Result = Mapping[str, Any]


class Rule(NamedTuple):
    """How a rule is written: its name, the published way, the way it should be."""

    name: str
    published: str
    proper: str


RULES = {
    "threshold": Rule("Threshold", "the one with the best F1 on the scored fold", "from the validation fold"),
    "sign_oracle": Rule(
        "Sign at that threshold", "positive at score > t, t from the scored fold", "positive at score ≥ t, the same t"
    ),
    "sign": Rule(
        "Sign at an honest threshold", "positive at score > t, t from the validation fold", "score ≥ t, the same t"
    ),
    "epoch": Rule("Epoch", "the best of each metric on the test fold", "the last"),
    "epoch_validation": Rule(
        "Epoch against a chosen one", "the best on the test fold", "the best AUROC on the validation fold"
    ),
    "by_recording": Rule(
        "Folds by recording",
        "a test patient's other recordings may be trained and validated on",
        "they are taken out; as many others are taken out of the first",
    ),
    "labels": Rule("CSN's labels", "as released", "corrected; each trained and scored on its own"),
    "all": Rule("All together", "all of the above", "none of them"),
}
"""In the order of the page. `seen` has a table of its own: other patients and other measures."""

DRAWN = ("threshold", "sign_oracle", "epoch", "by_recording", "labels", "all")
SIGNS = ("sign_oracle", "sign")
"""Rules on the side of the threshold: the published F1 is that at ≥, so they have none."""

METRICS = {"auroc": "AUROC", "f1": "F1", "accuracy": "accuracy"}
SEEN_METRICS = {
    "recall@10": "own report among the 10 nearest",
    "retrieval_auroc": "own report above another's",
    "auroc": "superclass, AUROC of a linear head",
}
TOO_SMALL = (
    "; it has seen nobody, yet moves by more than twice ±: for this measure ± is too small, and no difference of this "
    "row can be put down to pretraining"
)
CLAIMED = {"subclass": 5.0, "all": 3.0}
"""Task -> points of F1 by which MERIT is said to exceed its best peer in linear probing ("more than": abstract)."""


def rule_table(results: Sequence[Result], rule: str) -> Html:
    """One rule: a row a task and metric, for each encoder as published, as it should be, and the difference."""
    found = [one for one in _published(results) if one["rule"] == rule]
    about = RULES[rule]
    more = " F1 is published at ≥ and has no row." if rule in SIGNS else ""
    head = Html('<p class="merit-caption"><b>{}.</b> As published: {}. As it should be: {}.{}</p>').format(
        about.name, about.published, about.proper, more
    )
    if not found:
        return head + Html('<p class="merit-note">Not measured here; the reasons are named at the top.</p>')
    if rule == "sign" and {_signed(one) for one in found} <= {"0.0", "0.0 ± 0.0"}:
        shown = f"Every difference, with its ±, rounds to 0.0 points ({len(found)} pairs of task and encoder)."
        return head + Html('<p class="merit-note">{}</p>').format(shown)
    rows = {(one["task"], one["metric"]): f"{task_label(one['task'])}, {METRICS[one['metric']]}" for one in found}
    return head + _table(found, rows, f"rule-{rule}")


def seen_table(results: Sequence[Result]) -> Html:
    """Patients that were pretrained on against patients that were held out: a row a measure."""
    found = [one for one in _scored(results) if one["rule"] == "seen"]
    if not found:
        return Html('<p class="merit-note">Not measured here; the reasons are named at the top.</p>')
    rows = {(one["task"], one["metric"]): SEEN_METRICS.get(one["metric"], one["metric"]) for one in found}
    return _table(found, rows, "rule-seen", ("seen", "held out", "difference"))


def _table(
    found: Sequence[Mapping[str, Any]],
    rows: Mapping[tuple[str, str], str],
    name: str,
    heads: tuple[str, str, str] = ("as published", "as it should be", "worth"),
) -> Html:
    encoders = list(dict.fromkeys(one["encoder"] for one in found))
    columns = pd.MultiIndex.from_tuples([(look(e).label, head) for e in encoders for head in heads])
    texts = pd.DataFrame("–", index=list(rows.values()), columns=columns, dtype=object)
    for one in found:
        row, encoder = rows[one["task"], one["metric"]], look(one["encoder"]).label
        texts.loc[row, (encoder, heads[0])] = f"{100 * one['published']:.1f}"
        texts.loc[row, (encoder, heads[1])] = f"{100 * one['proper']:.1f}"
        texts.loc[row, (encoder, heads[2])] = _signed(one, "\n±")
    return render(texts, name)


def _signed(one: Mapping[str, Any], before_spread: str = " ± ") -> str:
    """Points with sign, and the spread where there is one."""
    points = _rounded(100 * one["worth"])
    return points if one.get("spread") is None else f"{points}{before_spread}{100 * one['spread']:.1f}"


def _rounded(points: float) -> str:
    """One decimal with sign; a zero has none."""
    return fixed(points, 1, sign=True)


def worth_figure(results: Sequence[Result]) -> Drawing:
    """Worth of each rule in points, a panel for AUROC and one for F1; a line a rule and task, a marker an encoder."""
    found = [one for one in _published(results) if one["rule"] in DRAWN and one["metric"] in ("auroc", "f1")]
    lines = [(r, t) for r in DRAWN for t in _tasks(found) if any((o["rule"], o["task"]) == (r, t) for o in found)]
    if not lines:
        figure = Drawing(figsize=(PANEL_WIDTH, 0.6))
        figure.text(0.5, 0.5, "no rule could be measured", ha="center", va="center")
        return figure
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 0.3 * len(lines) + 1.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, metric in zip(axes, ("auroc", "f1")):
        _draw(axis, [one for one in found if one["metric"] == metric], lines)
        axis.set_xlabel(f"worth, points of {METRICS[metric]}")
    axes[0].set_yticks(range(len(lines)), [f"{RULES[rule].name}: {task_label(task)}" for rule, task in lines], size=8)
    axes[0].invert_yaxis()
    handles, labels = axes[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _draw(axis: Any, found: Sequence[Mapping[str, Any]], lines: Sequence[tuple[str, str]]) -> None:
    encoders = list(dict.fromkeys(one["encoder"] for one in found))
    axis.axvline(0, color="#444444", linewidth=0.8)
    for place, encoder in enumerate(encoders):
        style, own = look(encoder), [one for one in found if one["encoder"] == encoder]
        axis.errorbar(
            [100 * one["worth"] for one in own],
            [lines.index((one["rule"], one["task"])) + 0.2 * (place - (len(encoders) - 1) / 2) for one in own],
            xerr=[100 * (one["spread"] or 0) for one in own],
            color=style.colour, marker=style.marker, linestyle="none", markersize=4, elinewidth=1, label=style.label,
        )  # fmt: skip


def against_the_claim(results: Sequence[Result], synthetic: bool) -> str:
    """The rules' effect on F1, all together, beside the gains that the paper claims over its best peer."""
    lines = []
    for task, points in CLAIMED.items():
        found = _of(results, task=task, rule="all", metric="f1")
        if not found:
            continue
        values = listing(f"{look(one['encoder']).label} {_signed(one)}" for one in found)
        more = [look(one["encoder"]).label for one in found if 100 * one["worth"] > points]
        who = "every encoder" if len(more) == len(found) else listing(more) or "no encoder"
        lines.append(
            f"{task_label(task)}: scored as published in everything, F1 changes by {values} points. The paper claims "
            f"more than {points:.0f} points over its best peer; the rules are worth more than that for {who}"
        )
    if not lines:
        return "No task of which the paper claims a gain was scored."
    lines.append(
        "An effect that is the same for every encoder leaves their order alone: it makes numbers of two papers with "
        "different rules incomparable, not those within one table"
    )
    if synthetic:
        lines.append(
            "These recordings are synthetic: they can show that rules move F1 by as much as claimed gains, and not by "
            "how much they moved the paper's"
        )
    return "\n".join(f"- {line}." for line in lines)


def largest(results: Sequence[Result]) -> str:
    """The rule that moves each metric most, by itself."""
    lines = []
    for metric, name in METRICS.items():
        found = [o for o in _published(results) if o["metric"] == metric and o["rule"] in RULES and o["rule"] != "all"]
        if found:
            top = max(found, key=lambda one: abs(one["worth"]))
            where = f"{task_label(top['task'])}, {look(top['encoder']).label}"
            lines.append(f"{name}: {_in_text(top['rule'])}, {_signed(top)} points ({where})")
    return f"The rule that moves each metric most by itself: {'; '.join(lines)}." if lines else "No rule was measured."


def _in_text(rule: str) -> str:
    """The name of a rule in the middle of a sentence."""
    name = RULES[rule].name
    return name if name.startswith("CSN") else name[0].lower() + name[1:]


def sum_of_rules(results: Sequence[Result], task: str, metric: str = "f1") -> str:
    """Whether the rules add up: their worths one by one against all of them at once."""
    parts = []
    for one in _of(results, task=task, rule="all", metric=metric):
        single = [
            other["worth"] for rule in one["combined"] if _enters(rule, metric)
            for other in _of(results, task=task, rule=rule, metric=metric) if other["encoder"] == one["encoder"]
        ]  # fmt: skip
        parts.append(f"{look(one['encoder']).label} {_rounded(100 * sum(single))} and {_rounded(100 * one['worth'])}")
    if not parts:
        return f"{task_label(task)}: not scored."
    without = " without the sign (F1 is published at ≥)" if metric == "f1" else ""
    about = f"{task_label(task)}, {METRICS[metric]}: worths one by one, summed{without}, and all at once"
    return f"{about}: {'; '.join(parts)}."


def _enters(rule: str, metric: str) -> bool:
    """MERL's F1 is that at >= t: the sign enters its accuracy alone."""
    return rule not in SIGNS or metric != "f1"


def ranking(results: Sequence[Result]) -> str:
    """Whether scoring as published in everything changes the order of the encoders, by task and metric."""
    lines = []
    for task in _tasks(_scored(results)):
        for metric, name in METRICS.items():
            found = _of(results, task=task, rule="all", metric=metric)
            if len(found) < 2:
                continue
            orders = [[o["encoder"] for o in sorted(found, key=lambda o: -o[way])] for way in ("published", "proper")]
            if orders[0] != orders[1]:
                there, here = (" > ".join(look(e).label for e in order) for order in orders)
                lines.append(f"{task_label(task)}, {name}: as published {there}, as it should be {here}")
    n = sum(len(_of(results, task=t, rule="all", metric=m)) > 1 for t in _tasks(_scored(results)) for m in METRICS)
    if not n:
        return "There are not two encoders to rank."
    if not lines:
        return f"Scored as published, the encoders keep their order in all {n} pairs of task and metric."
    text = f"Scored as published, the order of the encoders changes in {len(lines)} of {n} pairs of task and metric:"
    return text + "".join(f"\n- {line}" for line in lines)


def differing(results: Sequence[Result], first: str) -> str:
    """Where a rule is worth more, or less, to `first` than to another encoder, beyond chance over folds.

    Paired by fold; the error is Nadeau and Bengio's (2003), since folds share training data: sd sqrt(1/k + 1/(k - 2)).
    """
    found = [one for one in _published(results) if one["rule"] in RULES and len(one.get("by_fold", [])) > 2]
    gaps, names = [], []
    for one in found:
        for other in found:
            comparable = _key(other) == _key(one) and len(other["by_fold"]) == len(one["by_fold"])
            if not comparable or one["encoder"] != first or other["encoder"] == first:
                continue
            gap = np.array(one["by_fold"]) - np.array(other["by_fold"])
            if not gap.any():
                continue
            k, mean = len(gap), gap.mean()
            error = max(gap.std(ddof=1) * np.sqrt(1 / k + 1 / (k - 2)), np.finfo(float).tiny)
            reach = stdtrit(k - 1, 0.975) * error
            gaps.append({"low": mean - reach, "high": mean + reach, "p": 2 * stdtr(k - 1, -abs(mean) / error)})
            what = f"{RULES[one['rule']].name}, {task_label(one['task'])}, {METRICS[one['metric']]}"
            names.append(f"{what}: {_rounded(100 * mean)} points against {look(other['encoder']).label}")
    if not gaps:
        return "There are no folds over which worths could be compared between encoders."
    lines = [name for name, side in zip(names, told_apart(gaps)) if side]
    text = (
        f"The worth of a rule to {look(first).label} differs from that to another encoder beyond chance over folds, "
        f"corrected for all comparisons (Holm), in {len(lines)} of {len(gaps)} comparisons"
    )
    return f"{text}{':' if lines else '.'}" + "".join(f"\n- {one}" for one in lines)


def counts(results: Sequence[Result]) -> str:
    """How many patients have several recordings, and what the correction of CSN's labels changes."""
    lines = []
    for task in _tasks(_scored(results)):
        for rule, say in (("by_recording", _several), ("labels", _changed)):
            found = _of(results, task=task, rule=rule, metric="auroc")
            if found:
                lines.append(f"{task_label(task)}: {say(found[0])}")
    return "\n".join(f"- {line}." for line in lines) or "No patient with several recordings and no corrected label."


def _several(one: Mapping[str, Any]) -> str:
    return (
        f"{one['n_several']:,} of {one['n_patients']:,} patients have several of the {one['n_records']:,} recordings "
        f"(together {one['n_several_records']:,}); with folds by recording {one['n_leaking']:,} are tested by a head "
        "that was trained on another recording of the patient"
    )


def _changed(one: Mapping[str, Any]) -> str:
    classes = "; ".join(f"{name} {a:,} to {b:,}" for name, (a, b) in one["changed_classes"].items())
    return f"the correction changes {one['n_changed']:,} of {one['n_records']:,} recordings (positives: {classes})"


def seen_sentence(results: Sequence[Result]) -> str:
    """How much better patients do that were pretrained on, per encoder, with the random one as the control."""
    lines = []
    for one in _scored(results):
        if one["rule"] != "seen":
            continue
        what = SEEN_METRICS.get(one["metric"], one["metric"])
        chance = f"; chance gives {100 * one['chance']:.1f} %" if one["metric"].startswith("recall") else ""
        text = f"{look(one['encoder']).label}, {what}: {_signed(one)} points"
        text += f" ({one['n_held_out_patients']:,} patients held out{chance})"
        far = one["spread"] is not None and abs(one["worth"]) > 2 * one["spread"]
        if one["encoder"] == "random":
            text += TOO_SMALL if far else "; it has seen nobody, so this comes from who is held out"
        lines.append(text)
    return "\n".join(f"- {line}." for line in lines) or "No patients that were seen could be set against others."


def unmeasured(results: Sequence[Result]) -> str:
    """What could not be measured and why, each reason once; or that nothing is missing."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for one in (result["values"] for result in results):
        if "reason" in one:
            task = "pretraining cohort" if one["task"] == "pretraining" else task_label(one["task"])
            rule = "patients seen" if one["rule"] == "seen" else _in_text(one["rule"])
            text = one["reason"].removeprefix(f"{one['task']}: ")
            encoders = reasons.setdefault((task, "nothing" if one["rule"] == "all" else rule, text), [])
            if look(one["encoder"]).label not in encoders:
                encoders.append(look(one["encoder"]).label)
    lines = []
    for (task, rule, why), who in reasons.items():
        what = "not scored" if rule == "nothing" else f"{rule} not measured"
        lines.append(f"{task}: {what} for {listing(who)}, {why}")
    return "\n".join(f"- {line}." for line in lines) or "Every rule was measured."


def _scored(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    return [one["values"] for one in results if "reason" not in one["values"]]


def _published(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """Those whose first number is one that is published: the rules of the sign have no F1."""
    return [one for one in _scored(results) if _enters(one["rule"], one["metric"])]


def _of(results: Sequence[Result], **wanted: str) -> list[Mapping[str, Any]]:
    return [one for one in _scored(results) if all(one[name] == value for name, value in wanted.items())]


def _tasks(found: Sequence[Mapping[str, Any]]) -> list[str]:
    return [task for task in dict.fromkeys(one["task"] for one in found) if task != "pretraining"]


def _key(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["rule"], one["task"], one["metric"]
