"""Table 3 and what stands around it: scores of words and of findings, controls, differences, and sentences on them.

results: of the stage `generation`, one an encoder; commonest: of `most_common`, the answer that needs no ECG. Scores
are fractions and are printed in percent. Names and reasons come from outside: whatever enters HTML is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from merit.intervals import around, told_apart
from merit.report import paper, tables
from merit.report.ablation_tables import NO_BREAK
from merit.report.figures import PANEL_WIDTH, Drawing, nothing
from merit.report.numerals import fixed
from merit.report.prose import Html, listing
from merit.report.style import COHORT_LABELS, look
from merit.report.tables import interval

PUBLISHED, PROPER, FOUND = "as published", "proper", "findings"
COLUMNS = {
    "bleu_published": (PUBLISHED, "BLEU"), "meteor": (PUBLISHED, "METEOR"), "rouge_published": (PUBLISHED, "ROUGE"),
    "bertscore_published": (PUBLISHED, "BERTScore"), "bleu": (PROPER, "corpus BLEU"), "rouge_l": (PROPER, "ROUGE-L F1"),
    "bertscore": (PROPER, "BERTScore F1"), "f1": (FOUND, "F1"),
}  # fmt: skip
"""Metric -> head of its column in the table: the variant, and what it is called."""
FINDINGS = {
    "precision": "precision", "recall": "recall", "f1": "F1", "macro_f1": "macro F1", "exact": "exact",
    "denied": "denied", "contradictory": "contradictory", "repetition": "repetition",
}  # fmt: skip
"""Metric -> head of its column among the findings."""
CONDITIONS = {
    "model": ("own ECG", "o", True, "text from its own ECG"),
    "shuffled": ("other ECG", "o", False, "from another patient's ECG"),
    "nearest": ("copied", "D", False, "answer of the nearest training ECG"),
}
"""Condition -> where a text is from, as tables write it; its marker in the figure, whether that is filled, and its name
there."""
COMPARED = {"f1": "finding F1", "meteor": "METEOR", "rouge_published": "ROUGE", "bleu": "corpus BLEU"}
"""Metrics whose resamples a result holds -> head of the column in the table of differences."""
SOURCES = {
    "composed": "composed from the statements of {cohort}'s recordings",
    "MedTVT-QA": "those of MedTVT-QA, on recordings of {cohort}",
}
"""Source of the pairs -> what a sentence says of them."""

MOST_COMMON = "most common answer"
NO_TEXT = "No text was generated."
AS_TEXT = "mathjax_ignore tex2jax_ignore"
"""Classes of an element in which MathJax and its predecessor leave `$` alone."""
UNDEFINED = {"value": None, "low": None, "high": None}

Result = Mapping[str, Any]
Values = Mapping[str, Any]


def generated(results: Sequence[Result]) -> list[Values]:
    """The values of those results that hold texts."""
    return [one["values"] for one in results if "reason" not in one["values"]]


def foremost(results: Sequence[Result]) -> Values | None:
    """The values of MERIT, else of the first encoder that has texts; None without any."""
    values = generated(results)
    return next((one for one in values if one["encoder"] == "merit"), values[0] if values else None)


def row_label(one: Values) -> str:
    """The encoder of some values, as tables write it."""
    return look(one["encoder"]).label


def lost() -> str:
    """What the paper's Table 3 had, and how much of it survives."""
    kept, cells = paper.survival()[3]
    rows = listing(paper.ROW_LABELS[row].removeprefix("paper: ") for row in paper.ROWS[3])
    return (
        f"The paper's Table 3 has {len(paper.ROWS[3])} rows ({rows}) and {len(paper.TEXT_METRICS)} scores. Of its "
        f"{cells} numbers {kept or 'none'} survive in the text that we have: no row of it stands here."
    )


def about(results: Sequence[Result]) -> Html:
    """The pairs, what is missing, cut, shared or seen, and what was trained; or that there is no text."""
    one = foremost(results)
    if one is None:
        return paragraph(NO_TEXT)
    cohort = COHORT_LABELS.get(one["cohort"], one["cohort"])
    source = SOURCES.get(one["source"], f"{one['source']}, {{cohort}}").format(cohort=cohort)
    missing, model = one["missing"], one["language_model"]
    return paragraph(
        f"Questions and answers: {source}; {one['n_train']:,} pairs to train on, {one['n_test']:,} to test on, of "
        f"{one['n_test_patients']:,} patients. Left out because the store lacks their ECG: {missing['train']:,} "
        f"training pairs, {missing['test']:,} test pairs. Patients in both parts: {one['shared_patients']:,}. Training "
        f"answers cut at the longest sequence: {one['truncated']:,}. Test patients pretrained on: "
        f"{_seen(generated(results))}. Language model: {model['name']}, {model['parameters']:,} parameters; trained "
        f"for {row_label(one)} were {one['trained_parameters']:,}, in {one['updates']:,} updates."
    )


def _seen(values: Sequence[Values]) -> str:
    """How many test patients which encoders were pretrained on; None where that is not known of an encoder."""
    seen = [f"{one['n_seen']:,} by {row_label(one)}" for one in values if one["n_seen"]] or ["none"]
    return listing(seen + [f"not known of {row_label(one)}" for one in values if one["n_seen"] is None])


def table(results: Sequence[Result], commonest: Result) -> Html:
    """Table 3: a row an encoder, best bold, second shaded; below it the answers that no language model wrote.

    A row that could not be made has dashes and a footnote.
    """
    every = [one["values"] for one in results]
    marks = _footnotes([*every, commonest["values"]])
    ours = _percents({row_label(one) + _mark(one, marks): (one, "model") for one in every})
    baselines = {MOST_COMMON + _mark(commonest["values"], marks): (commonest["values"], "most_common")}
    one = foremost(results)
    if one is not None:
        baselines[f"nearest training ECG ({row_label(one)})"] = one, "nearest"
    below = _percents(baselines)
    shown = pd.concat([ours, below]).map(_percent).astype(object)
    out = tables.render(shown, "generation", marks=tables.ranked(ours).reindex(shown.index), apart=below.index)
    notes = [f"{mark} Not generated: {reason}." for reason, mark in marks.items()] + _compared_with(generated(results))
    return out + Html("").join(paragraph(note, "merit-note") for note in notes)


def percents(rows: Mapping[str, tuple[Values, str]]) -> pd.DataFrame:
    """Row label -> (values, condition) as texts: a column a metric of the table, in percent, a dash for none."""
    return _percents(rows).map(_percent).astype(object)


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else fixed(value, 1)


def _percents(rows: Mapping[str, tuple[Values, str]]) -> pd.DataFrame:
    """Row label -> (values, condition) as a frame: a column a metric of the table, percent, NaN where there is none."""
    numbers = [[_score(one, condition, metric)["value"] for metric in COLUMNS] for one, condition in rows.values()]
    columns = pd.MultiIndex.from_tuples(COLUMNS.values())
    return 100 * pd.DataFrame(numbers, index=list(rows), columns=columns, dtype=float)


def _footnotes(values: Iterable[Values]) -> dict[str, str]:
    """Reason -> the raised number that stands for it, each reason once."""
    reasons = dict.fromkeys(_reason(one) for one in values if "reason" in one)
    raised = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return {reason: str(number).translate(raised) for number, reason in enumerate(reasons, 1)}


def _reason(one: Values) -> str:
    return one["reason"].removeprefix(f"{one.get('encoder')}: ").rstrip(".")


def _mark(one: Values, marks: Mapping[str, str]) -> str:
    return f" {marks[_reason(one)]}" if "reason" in one else ""


def _compared_with(values: Sequence[Values]) -> list[str]:
    """The model behind BERTScore, in a list of its own; nothing without texts."""
    models = dict.fromkeys(one["bert"] or "none is here" for one in values)
    return [f"Model behind BERTScore: {listing(models)}."] if models else []


def scores(results: Sequence[Result], commonest: Result) -> Html:
    """The scores of words with 95 % intervals: a row an encoder and condition, the most common answer below."""
    heads = {metric: head for metric, head in COLUMNS.items() if head[0] != FOUND}
    return _by_condition(results, commonest, pd.MultiIndex.from_tuples(heads.values()), list(heads), "words")


def findings(results: Sequence[Result], commonest: Result) -> Html:
    """What the texts say against what is there: a row an encoder and condition, the most common answer below."""
    return _by_condition(results, commonest, pd.Index(FINDINGS.values()), list(FINDINGS), "findings")


def _by_condition(
    results: Sequence[Result], commonest: Result, columns: pd.Index, metrics: Sequence[str], name: str
) -> Html:
    values = generated(results)
    if not values:
        return paragraph(NO_TEXT)
    rows = {
        f"{row_label(one)}, {text}": (one, condition) for one in values for condition, (text, *_) in CONDITIONS.items()
    }
    rows[MOST_COMMON] = commonest["values"], "most_common"
    texts = [[_two_lines(_score(one, condition, metric)) for metric in metrics] for one, condition in rows.values()]
    frame = pd.DataFrame(texts, index=list(rows), columns=columns, dtype=object)
    return tables.render(frame, f"generation-{name}", apart=[MOST_COMMON])


def reading(results: Sequence[Result]) -> str:
    """A line an encoder: does its text depend on the ECG, and does it beat the two answers that need no writing?"""
    every = [(one, other) for one in generated(results) for other in ("shuffled", "nearest", "most_common")]
    sides = told_apart([_gap(*pair) for pair in every])
    lines = [
        f"- {row_label(one)}: {_depends(one, sides[3 * k])} {_beats(one, sides[3 * k + 1 : 3 * k + 3])}".rstrip()
        for k, one in enumerate(generated(results))
    ]
    return "\n".join(lines) or NO_TEXT


def _depends(one: Values, side: int) -> str:
    """How far finding F1 falls when ECGs are shuffled between patients."""
    own, gap = _score(one, "model", "f1")["value"], _gap(one, "shuffled")
    if "not_shuffled" in one:
        return f"ECGs could not be shuffled between patients ({one['not_shuffled']})."
    if own is None or gap["value"] is None:
        return "finding F1 is not defined, with its own ECGs or with others'."
    fall = f"it falls by {_in_line(gap)} points when ECGs are shuffled between patients"
    text = f"finding F1 {fixed(100 * own, 1)}; {fall}"
    if gap["low"] is None:
        return f"{text}."
    if not side:
        return f"{text}, within sampling error: nothing shows that it looks at the ECG."
    verdict = "it looks at the ECG" if side > 0 else "it does better with the wrong ECG"
    return f"{text}, beyond sampling error: {verdict}."


def _beats(one: Values, sides: Sequence[int]) -> str:
    """Finding F1 minus that of the two answers, and what the interval allows to say."""
    parts = []
    answers = {"nearest": "the nearest training ECG's answer", "most_common": "the most common answer"}
    for (key, text), side in zip(answers.items(), sides):
        gap = _gap(one, key)
        if gap["value"] is not None:
            verdict = {1: "higher", -1: "lower", 0: "not told apart"}[side]
            verdict = "" if gap["low"] is None else f", {verdict}"
            parts.append(f"minus that of {text} {_in_line(gap, sign=True)}{verdict}")
    return f"Its F1 {'; '.join(parts)}." if parts else ""


def _in_line(gap: Mapping[str, float | None], sign: bool = False) -> str:
    return interval(gap, sign=sign).replace("\n", " ")


def _two_lines(score: Mapping[str, float | None], sign: bool = False) -> str:
    return interval(score, sign=sign).replace(" ", NO_BREAK)


def dots(results: Sequence[Result], commonest: Result) -> Drawing:
    """Finding F1 with its interval: a line an encoder, a marker a condition; dashed: the most common answer."""
    values = generated(results)
    if not values:
        return nothing("no text was generated")
    figure = Drawing(figsize=(2 * PANEL_WIDTH, 0.5 * len(values) + 1.4), layout="constrained")
    axis = figure.subplots()
    baseline = _score(commonest["values"], "most_common", "f1")["value"]
    if baseline is not None:
        axis.axvline(100 * baseline, color="#444444", linewidth=1, linestyle="--", label=MOST_COMMON)
    for shift, (condition, (_, marker, filled, text)) in zip((-0.22, 0, 0.22), CONDITIONS.items()):
        axis.errorbar([], [], xerr=[], color="#444444", marker=marker, linestyle="none", markersize=5.5,
                      markerfacecolor="#444444" if filled else "white", label=text)  # fmt: skip
        for place, one in enumerate(values):
            _dot(axis, _score(one, condition, "f1"), place + shift, look(one["encoder"]).colour, marker, filled, text)
    axis.set_yticks(range(len(values)), [row_label(one) for one in values])
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_xlabel("finding F1, percent")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _dot(
    axis: Any, score: Mapping[str, float | None], place: float, colour: str, marker: str, filled: bool, name: str
) -> None:  # fmt: skip
    if score["value"] is None:
        return
    value = 100 * score["value"]
    low, high = (value if score[end] is None else 100 * score[end] for end in ("low", "high"))
    axis.errorbar(
        [value], [place], xerr=[[max(value - low, 0)], [max(high - value, 0)]], color=colour, marker=marker,
        markerfacecolor=colour if filled else "white", markersize=5.5, elinewidth=1, linestyle="none", gid=name,
    )  # fmt: skip


def differences(results: Sequence[Result]) -> Html:
    """`foremost` minus each other encoder in points, on the same resampled patients; bold where `told_apart`."""
    rows = _differences(results)
    if not rows:
        return paragraph("Fewer than two encoders have texts: there is nothing to compare.")
    gaps = pd.DataFrame(rows).T
    texts = gaps.map(lambda gap: _two_lines(gap, sign=True))
    sides = told_apart([gap for row in rows.values() for gap in row.values()])
    marks = pd.DataFrame(np.reshape(sides, gaps.shape), gaps.index, gaps.columns)
    marks = marks.map(lambda side: "font-weight: bold" if side else "")
    first = row_label(foremost(results))
    head = Html('<p class="merit-caption"><b>{} minus …</b>, in points</p>').format(first)
    return head + tables.render(texts, "generation-differences", marks=marks)


def differences_reading(results: Sequence[Result]) -> str:
    """How many of the differences are more than chance, and how many of these for `foremost`."""
    gaps = [gap for row in _differences(results).values() for gap in row.values() if gap["low"] is not None]
    if not gaps:
        return "No difference has an interval."
    beyond = [side for side in told_apart(gaps) if side]
    favour = f", of which {beyond.count(1)} in favour of {row_label(foremost(results))}"
    return (
        f"Differences beyond sampling error, corrected for all of them (Holm): {len(beyond)} of {len(gaps)}"
        f"{favour if beyond else ''}."
    )


def _differences(results: Sequence[Result]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Label of the other encoder -> head of the metric -> value, low, high of the difference."""
    one, rows = foremost(results), {}
    for other in generated(results):
        if other["encoder"] != one["encoder"]:
            rows[row_label(other)] = {head: _paired(one, other, metric) for metric, head in COMPARED.items()}
    return rows


def _paired(one: Values, other: Values, metric: str) -> dict[str, float | None]:
    values = [_score(side, "model", metric)["value"] for side in (one, other)]
    if None in values:
        return dict(UNDEFINED)
    drawn = [np.array(side["resamples"].get(metric, []), dtype=float) for side in (one, other)]
    gaps = drawn[0] - drawn[1] if len(drawn[0]) == len(drawn[1]) else np.array([])
    return around(values[0] - values[1], gaps)


def overlap(results: Sequence[Result], commonest: Result) -> str:
    """Do METEOR and finding F1 put the encoders in one order, and how far does the most common answer get by each?"""
    both = ("meteor", "f1")
    of = {row_label(one): [_score(one, "model", metric)["value"] for metric in both] for one in generated(results)}
    of = {label: pair for label, pair in of.items() if None not in pair}
    lines = [_orders(of)] if len(of) > 1 else []
    baseline = [_score(commonest["values"], "most_common", metric)["value"] for metric in both]
    if of and None not in baseline:
        meteor, f1 = (fixed(100 * value, 1) for value in baseline)
        below = [sum(pair[k] <= value for pair in of.values()) for k, value in enumerate(baseline)]
        lines.append(
            f"The most common answer, which no ECG enters, has METEOR {meteor} and finding F1 {f1}: by METEOR "
            f"{below[0]} of {len(of)} encoders are no better, by finding F1 {below[1]} of {len(of)}."
        )
    return "\n".join(f"- {line}" for line in lines) or "Nothing could be set side by side."


def _orders(of: Mapping[str, Sequence[float]]) -> str:
    orders = [sorted(of, key=lambda label: -of[label][k]) for k in (0, 1)]
    shown = [listing(f"{label} {fixed(100 * of[label][k], 1)}" for label in order) for k, order in enumerate(orders)]
    pairs = list(combinations(of.values(), 2))
    turned = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in pairs)
    return (
        f"By METEOR, highest first: {shown[0]}. By finding F1: {shown[1]}. Pairs of encoders that the two put in "
        f"opposite order: {turned} of {len(pairs)}."
    )


def _score(one: Values, condition: str, metric: str) -> Mapping[str, float | None]:
    """A score with its interval; undefined where the row, the condition or the metric is missing."""
    return one.get("conditions", {}).get(condition, {}).get("scores", {}).get(metric, UNDEFINED)


def _gap(one: Values, other: str) -> Mapping[str, float | None]:
    """Finding F1 minus that of another condition, or of the most common answer."""
    return one["differences"].get(other, {}).get("f1", UNDEFINED)


def paragraph(text: str, kind: str = "") -> Html:
    """Any text as a paragraph: escaped, and TeX left as it stands."""
    return Html('<p class="{}">{}</p>').format(f"{kind} {AS_TEXT}".strip(), text)
