"""Table 2 and what stands around it: our rows above the paper's, the two scopes, the prompts, and sentences on them.

Every function takes results of the stage `zero_shot` (a mapping with "values"), scores as fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from merit.report import others, paper, tables
from merit.report.ablation_tables import task_order
from merit.report.differences import Row, in_words
from merit.report.numerals import fixed
from merit.report.others import Absent, dashes, footnotes, mark
from merit.report.prose import Html, listing
from merit.report.style import look, task_label

PUBLISHED_ROWS = {
    "merl": "paper: MERL",
    "esi": "paper: ESI",
    "d-beta": "paper: D-BETA",
    "ecg-chat": "paper: ECG-Chat",
    "merit": "paper: MERIT",
}
"""Rows of the paper's Table 2 -> how our table writes them."""

NOTES = {
    True: "The rows of the paper were measured on real recordings, those above them on synthetic ones: no difference "
    "between the two means anything.",
    False: "The rows of the paper: pretrained on MIMIC-IV-ECG, whole data sets scored, prompts of MERL. Compare counts "
    "and prompts on this page before the numbers.",
}
"""Whether our recordings are synthetic -> what stands under a table with rows of the paper."""

SETTINGS = {("names", False): "bare name", ("other", False): "first phrasing", ("other", True): "all phrasings"}
"""(Prompts, ensemble) -> how the sensitivity table heads the column; `other`: enriched, or a user's own."""

SAME_LANGUAGE = 0.75
"""Below this share of reports in the prompts' words, the text branch was hardly aligned with such language."""

Result = Mapping[str, Any]


def table(results: Sequence[Result], *, synthetic: bool, absent: Sequence[Absent] = ()) -> Html:
    """Table 2: a row an encoder, macro averages in percent, the paper's rows in italics below.

    absent: published encoders without weights, dashes in the first block.
    """
    scored = _scored(results)
    tasks = list(dict.fromkeys(one["task"] for one in scored))
    blocks = [[task for task in half if task in tasks] for half in tables.HALVES]
    blocks += [[task] for task in tasks if not any(task in half for half in tables.HALVES)]
    blocks = [block for block in blocks if block]
    shown = [_block(scored, block, synthetic, absent if not i else ()) for i, block in enumerate(blocks)]
    return Html("").join([*shown, footnotes(scored, absent if blocks else ())])


def _block(
    scored: Sequence[Mapping[str, Any]], tasks: Sequence[str], synthetic: bool, absent: Sequence[Absent]
) -> Html:  # fmt: skip
    columns = pd.MultiIndex.from_tuples([(task_label(t), head) for t in tasks for head in tables.METRICS.values()])
    encoders = list(dict.fromkeys(one["encoder"] for one in scored if one["task"] in tasks))
    numbers = pd.DataFrame(index=[look(name).label for name in encoders], columns=columns, dtype=float)
    texts = numbers.astype(object)
    for one in scored:
        if one["task"] in tasks:
            for metric, head in tables.METRICS.items():
                value = _percent(one["macro"][metric]["value"])
                cell = look(one["encoder"]).label, (task_label(one["task"]), head)
                numbers.loc[cell], texts.loc[cell] = value, _one_decimal(value) + mark(one)
    published = _published_rows(tasks, columns)
    texts = pd.concat([texts, dashes(columns, absent), published])
    marks = pd.concat([tables.ranked(numbers), tables.ranked(published.astype(float))]).reindex(texts.index)
    html = tables.render(
        texts, f"zero-shot-{'-'.join(tasks)}", marks=marks, apart=published.index, group=len(tables.METRICS),
    )  # fmt: skip
    return html + Html('<p class="merit-note">{}</p>').format(NOTES[synthetic]) if len(published) else html


def _published_rows(tasks: Sequence[str], columns: pd.MultiIndex) -> pd.DataFrame:
    """The paper's Table 2, two decimals as printed, under the columns of the oracle (`tables.PUBLISHED_METRIC`)."""
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for row, label in PUBLISHED_ROWS.items():
        for task in tasks:
            for ours, theirs in tables.PUBLISHED_METRIC.items():
                value = published(row, task, theirs)
                if value is not None:
                    rows.setdefault(label, {})[task_label(task), tables.METRICS[ours]] = f"{value:.2f}"
    frame = pd.DataFrame.from_dict(rows, orient="index") if rows else pd.DataFrame()
    return frame.reindex(columns=columns).astype(object)


def published(row: str, task: str, metric: str) -> float | None:
    """A cell of the paper's Table 2 in percent; None where it is lost, or the paper has none for such a task."""
    try:
        return paper.number(2, row, task, metric).value
    except KeyError:
        return None


def scopes(unseen: Sequence[Result], test_fold: Sequence[Result]) -> Html:
    """AUROC with its interval on all unseen recordings, and on the test fold beside it; a row a task and encoder."""
    heads = ("all unseen", "test fold")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for head, results in zip(heads, (unseen, test_fold)):
        for one in _in_order(results):
            row = rows.setdefault((task_label(one["task"]), look(one["encoder"]).label), {})
            row[f"{head}: AUROC"] = _with_interval(one["macro"]["auroc"])
            row[f"{head}: recordings"] = f"{one['n_records']:,}"
    if not rows:
        return Html("")
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(list(rows))
    frame = frame.reindex(columns=[f"{head}: {what}" for head in heads for what in ("AUROC", "recordings")])
    return tables.render(frame.astype(object), "zero-shot-scopes")


def scored_classes(results: Sequence[Result]) -> Html:
    """A row a task: recordings, patients, of them seen in pretraining, and the classes that could not be scored."""
    rows: dict[str, dict[str, str]] = {}
    for one in _in_order(results):
        row = {
            "recordings": f"{one['n_records']:,}",
            "patients": f"{one['n_patients']:,}",
            "classes": str(len(one["classes"])),
            "scored": str(one["n_scored_classes"]),
            "not scored": ", ".join(one["unscored"]) or "none",
            "patients seen in pretraining": "not known" if one["n_seen"] is None else str(one["n_seen"]),
        }
        rows.setdefault(task_label(one["task"]), row)
    return tables.mapping(rows, "zero-shot-classes")


def sensitivity(results: Sequence[Result]) -> Html:
    """AUROC of each encoder (columns) by task and prompts (rows): bare name, first phrasing, all phrasings."""
    scored = _in_order(results)
    order = list(SETTINGS.values())
    rows = sorted(
        {(one["task"], _setting(one)) for one in scored},
        key=lambda row: ([one["task"] for one in scored].index(row[0]), order.index(row[1])),
    )
    encoders = list(dict.fromkeys(one["encoder"] for one in scored))
    index = pd.MultiIndex.from_tuples([(task_label(task), setting) for task, setting in rows] or [("", "")])
    numbers = pd.DataFrame(index=index, columns=[look(name).label for name in encoders], dtype=float)
    for one in scored:
        cell = (task_label(one["task"]), _setting(one)), look(one["encoder"]).label
        numbers.loc[cell] = _percent(one["macro"]["auroc"]["value"])
    marks = pd.concat([tables.ranked(part) for _, part in numbers.groupby(level=0, sort=False)])
    return tables.render(numbers.map(_one_decimal), "zero-shot-sensitivity", marks=marks) if scored else Html("")


def _setting(one: Mapping[str, Any]) -> str:
    return SETTINGS["names" if one["prompts"] == "names" else "other", one["ensemble"] and one["prompts"] != "names"]


def facts(found: Mapping[str, Mapping[str, Any]]) -> Html:
    """A row a task: how well the tokenizer and the pretraining reports know its prompts (`pipeline.prompt_facts`)."""
    rows = {
        task_label(task): {
            "classes": str(one["n_classes"]),
            "prompts": str(one["n_prompts"]),
            "unknown tokens": _share(one["unknown_tokens"]),
            "words that are split": _share(one["split_words"]),
            "most split": f"{one['worst_class']} ({_share(one['worst_split'])})",
            "words seen in reports": _share(one["words_in_reports"]),
        }
        for task, one in sorted(found.items(), key=lambda pair: task_order(pair[0]))
        if "reason" not in one
    }
    return tables.mapping(rows, "prompt-facts") if rows else Html("")


def examples(
    names: Mapping[str, Sequence[str]], texts: Mapping[str, Sequence[str]], classes: Sequence[str], name: str
) -> Html:
    """Class, bare name and phrasings of the classes that are there; text of a user's file is escaped."""
    rows = {
        code: {"name": names[code][0], **{f"phrasing {i + 1}": text for i, text in enumerate(texts[code][:3])}}
        for code in classes
        if code in texts
    }
    return tables.mapping(rows, f"prompts-{name}")


def language(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the reports that the text branch was aligned with are in the prompts' language, and what follows."""
    known = [one for one in found.values() if "reason" not in one]
    if not known:
        return "Nothing was pretrained: no reports to compare the prompts with."
    alike, n_reports = known[0]["alike"], known[0]["n_reports"]
    if alike is None:
        return "No recording that was pretrained on has a report."
    words = np.mean([one["words_in_reports"] for one in known])
    text = (
        f"{n_reports:,} recordings were aligned with their reports. In {_share(alike)} of these reports at least half "
        f"of the words are words of our prompts; {_share(words)} of the prompts' words occur in some report."
    )
    if alike >= SAME_LANGUAGE:
        return text + " The reports are written in the prompts' language."
    return text + (
        " **Most of the reports, or many of them, are in another language than the prompts. The text branch was hardly "
        "aligned with such sentences: the zero-shot numbers on this page mean little.**"
    )


def order(results: Sequence[Result], metric: str = "auroc") -> str:
    """Which encoder is first on which tasks."""
    firsts: dict[str, list[str]] = {}
    scored = [one for one in _in_order(results) if one["macro"][metric]["value"] is not None]
    for task in dict.fromkeys(one["task"] for one in scored):
        of_task = [one for one in scored if one["task"] == task]
        winner = max(of_task, key=lambda one: one["macro"][metric]["value"])
        firsts.setdefault(winner["encoder"], []).append(task_label(task))
    parts = [f"{look(encoder).label} on {listing(tasks)}" for encoder, tasks in firsts.items()]
    return f"Highest {tables.METRICS[metric]}: {'; '.join(parts)}." if parts else "No task could be scored."


def gap(
    results: Sequence[Result], rows: Sequence[Row], task: str, first: str, second: str, metric: str = "auroc"
) -> str:
    """Both scores and their difference in points, on the same patients, and whether that is more than chance.

    rows: `pipeline.comparisons.zero_shot_differences` of `first` to all others on the page.
    """
    pair = [_find(results, task, encoder) for encoder in (first, second)]
    labels = [look(encoder).label for encoder in (first, second)]
    if None in pair or any(one["macro"][metric]["value"] is None for one in pair):
        return f"{task_label(task)}: not both of {labels[0]} and {labels[1]} were scored."
    values = [100 * one["macro"][metric]["value"] for one in pair]
    return (
        f"{task_label(task)}, {tables.METRICS[metric].rstrip('.')}: {labels[0]} {values[0]:.1f}, {labels[1]} "
        f"{values[1]:.1f}, difference {fixed(values[0] - values[1], 1, sign=True)}"
        f"{in_words(rows, task=task, metric=metric, encoder=first, other=second)}."
    )


def prompts_matter(results: Sequence[Result], encoder: str) -> str:
    """How far apart an encoder's AUROC is between bare names and all phrasings, task by task."""
    scored = [one for one in _in_order(results) if one["encoder"] == encoder]
    of = {(one["task"], _setting(one)): 100 * one["macro"]["auroc"]["value"] for one in scored}
    tasks = list(dict.fromkeys(one["task"] for one in scored))
    both = [t for t in tasks if {(t, "all phrasings"), (t, "bare name")} <= set(of)]
    moves = {t: of[t, "all phrasings"] - of[t, "bare name"] for t in both}
    if not moves:
        return f"{look(encoder).label} was not scored under several prompts."
    parts = [f"{task_label(task)} {fixed(points, 1, sign=True)}" for task, points in moves.items()]
    return f"{look(encoder).label}, all phrasings against the bare name, points of AUROC: {', '.join(parts)}."


def difference(results: Sequence[Result], *, synthetic: bool, profile: str) -> str:
    """The paper's MERIT minus ours in points, for real recordings at the paper's scale; else why there is none."""
    if synthetic or profile != "paper":
        why = "these recordings are synthetic" if synthetic else f"the profile is {profile}, not paper"
        return f"No difference from the paper's numbers is taken: {why}."
    parts = []
    for one in _scored(results):
        theirs, ours = published("merit", one["task"], "auroc"), one["macro"]["auroc"]["value"]
        if one["encoder"] == "merit" and theirs is not None and ours is not None:
            parts.append(f"{task_label(one['task'])} {fixed(theirs - 100 * ours, 2, sign=True)}")
    return f"The paper's MERIT minus ours, points of AUROC: {', '.join(parts)}." if parts else "MERIT was not scored."


def unscored(results: Sequence[Result]) -> str:
    """The tasks, and encoders, without scores and why (`others.unscored`)."""
    return others.unscored(results) or "Every task was scored."


def seen(results: Sequence[Result]) -> str:
    """Whether patients of pretraining are among those scored."""
    most = max((one["n_seen"] or 0 for one in _scored(results)), default=0)
    if not most:
        return "No patient whose recordings were pretrained on is scored."
    return f"**Marked: up to {most:,} patients of a task were seen in pretraining; these numbers are not zero-shot.**"


def _scored(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    return [one["values"] for one in results if "reason" not in one["values"]]


def _in_order(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """The scored values, tasks in the order of the tables."""
    return sorted(_scored(results), key=lambda one: task_order(one["task"]))


def _find(results: Sequence[Result], task: str, encoder: str) -> Mapping[str, Any] | None:
    return next((one for one in _scored(results) if (one["task"], one["encoder"]) == (task, encoder)), None)


def _percent(value: float | None) -> float:
    return float("nan") if value is None else 100 * value


def _one_decimal(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.1f}"


def _with_interval(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "–"
    bounds = "" if one["low"] is None else f" [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
    return f"{100 * one['value']:.1f}{bounds}"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"
