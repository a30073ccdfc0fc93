"""What the paper's own numbers say of each other: ranks within a column, misplaced shading, and oddities.

Needs no data: everything is computed from `paper.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from merit.report import paper
from merit.report.prose import listing
from merit.report.style import look, task_label

METRIC_LABELS = {
    "auroc": "AUROC", "f1": "F1", "accuracy": "accuracy", "bleu_published": "BLEU", "meteor": "METEOR",
    "rouge_published": "ROUGE", "bertscore_published": "BERTScore",
}  # fmt: skip


class Column(NamedTuple):
    """A complete column of a table: its numbers in percent, and which of its rows the paper shades."""

    table: int
    task: str
    metric: str
    numbers: dict[str, float]
    shaded: tuple[str, ...]

    @property
    def label(self) -> str:
        """Task and metric, as sentences write them."""
        return cell_label(self.task, self.metric)

    def ranking(self) -> list[str]:
        """Rows from best to worst."""
        return sorted(self.numbers, key=lambda row: -self.numbers[row])

    def rank(self, row: str) -> int:
        """1 for the best; equal numbers share the better rank."""
        return 1 + sum(value > self.numbers[row] for value in self.numbers.values())

    def gain(self, row: str) -> float:
        """How far a row is above the best of the others, in points; negative below it."""
        return round(self.numbers[row] - max(value for name, value in self.numbers.items() if name != row), 2)


def row_label(row: str) -> str:
    """An encoder or a method, as sentences write it."""
    return paper.ROW_LABELS.get(row, look(row).label).removeprefix("paper: ")


def cell_label(task: str, metric: str) -> str:
    """`PTB-XL form accuracy`; a transfer as `CSN to CPSC2018`."""
    name = " to ".join(map(task_label, task.split(">")))
    return name if ">" in task else f"{name} {METRIC_LABELS.get(metric, metric)}"


def columns(table: int) -> Iterator[Column]:
    """The columns of a table of which every cell survives, in the paper's order."""
    grid = paper.TABLES[table]
    for task in grid.tasks:
        for metric in grid.metrics:
            cells = {row: paper.number(table, row, task, metric) for row in grid.rows}
            if all(cell.value is not None for cell in cells.values()):
                shaded = tuple(row for row, cell in cells.items() if cell.shaded)
                yield Column(table, task, metric, {row: cell.value for row, cell in cells.items()}, shaded)


def column(table: int, task: str, metric: str) -> Column:
    """One complete column. Raises KeyError where a cell of it is lost or the table does not have it."""
    for one in columns(table):
        if (one.task, one.metric) == (task, metric):
            return one
    raise KeyError(f"Table {table} of the paper has no complete column {task} / {metric}")


def misplaced_shading() -> list[Column]:
    """Columns in which what the paper shades is not exactly its second best."""
    complete = [one for table in paper.TABLES for one in columns(table)]
    return [one for one in complete if {row for row in one.numbers if one.rank(row) == 2} != set(one.shaded)]


def lone_survivors(table: int) -> tuple[int, int]:
    """In how many columns of a table exactly one number survives, and how many columns have any survivor."""
    grid = paper.TABLES[table]
    counts = [
        sum(paper.number(table, row, task, metric).value is not None for row in grid.rows)
        for task in grid.tasks
        for metric in grid.metrics
    ]
    return counts.count(1), sum(map(bool, counts))


def oddities() -> dict[str, str]:
    """What is odd -> the evidence, computed; only those that the numbers bear out."""
    found = {what: evidence() for what, evidence in ODDITIES.items()}
    return {what: text for what, text in found.items() if text}


def _same_auroc() -> str:
    csn, cpsc = (paper.number(4, "merit", task, "auroc").value for task in ("csn", "cpsc2018"))
    return f"Table 4 prints {csn:.2f} for both, to the second decimal." if csn == cpsc else ""


def _shading() -> str:
    lines = []
    for one in misplaced_shading():
        second = listing(row_label(row) for row in one.numbers if one.rank(row) == 2)
        shaded = listing(row_label(row) for row in one.shaded) or "nothing"
        lines.append(f"{one.label}: {shaded} is shaded, {second} is second")
    return f"Table {misplaced_shading()[0].table}: {'; '.join(lines)}." if lines else ""


def _counts() -> str:
    counts = {one.what: one.number for one in paper.COUNTS["ptb-xl"]}
    printed, cited = counts["recordings"], counts["recordings of version 1.0.3"]
    more = printed - cited
    return f"It prints {printed:,} recordings; the version that it cites, 1.0.3, has {cited:,}, {more} fewer."


def _form_accuracy() -> str:
    peers, ablations = column(2, "form", "accuracy"), column(9, "form", "accuracy")
    best = peers.ranking()[0]
    return (
        f"MERIT's {peers.numbers['merit']:.2f} is number {peers.rank('merit')} of {len(peers.numbers)} in Table 2 "
        f"({row_label(best)}: {peers.numbers[best]:.2f}) and {ablations.rank('merit')} of {len(ablations.numbers)} in "
        "Table 9; the text speaks of strong performance on form."
    )


def _ablation_leads() -> str:
    one = column(9, "subclass", "auroc")
    if one.gain("merit") >= 0:
        return ""
    return (
        f"Table 9: IB {one.numbers['ib']:.2f}, MERIT {one.numbers['merit']:.2f}. The abstract's zero-shot gain is "
        "on this column; the text names only coarse-grained labels as those where IB is ahead."
    )


def _third_in_zero_shot() -> str:
    worse = [one.label for one in columns(9) if one.rank("merit") > 2]
    return f"Of three rows MERIT's is the last in {len(worse)} columns of Table 9: {listing(worse)}." if worse else ""


def _up_to() -> str:
    lines = []
    for metric in ("auroc", "f1"):
        gains = {one.task: one.gain("merit") for one in columns(2) if one.metric == metric}
        task = max(gains, key=lambda name: gains[name])
        name, own, most = METRIC_LABELS[metric], gains["subclass"], gains[task]
        lines.append(f"{name} +{own:.2f} on subclass, but +{most:.2f} on {task_label(task)}")
    return f"Table 2, over the best peer: {'; '.join(lines)}."


def _form_probing() -> str:
    gaps = {
        metric: paper.number(1, "st-mem", "form", metric).value - paper.number(4, "merit", "form", metric).value
        for metric in paper.METRICS
    }
    if min(gaps.values()) <= 0:
        return ""
    text = listing(f"{gap:+.2f} {METRIC_LABELS[metric]}" for metric, gap in gaps.items())
    return (
        f"ST-MEM, pretrained on signals alone, minus MERIT (Tables 1 and 4, ST-MEM's columns inferred): {text}. "
        "Section 1 counts form among the finer labels, and Section 4.2.1 credits alignment with reconstruction for "
        "those."
    )


def _below_unimodal() -> str:
    one = column(7, "cpsc2018>superclass", "auroc")
    own, unimodal = one.numbers["merit"], {row: one.numbers[row] for row in ("ecg-fm", "st-mem")}
    if own >= min(unimodal.values()):
        return ""
    others = listing(f"{row_label(row)} {value:.2f}" for row, value in unimodal.items())
    return f"{one.label}: MERIT {own:.2f}, {others}; the text calls it more transferable than unimodal baselines."


def _mean_of_transfers() -> str:
    means = {
        row: math.fsum(one.numbers[row] for one in columns(7)) / len(paper.TRANSFERS) for row in ("merit", "d-beta")
    }
    if means["d-beta"] <= means["merit"]:
        return ""
    return f"Table 7, mean of the six: D-BETA {means['d-beta']:.2f}, MERIT {means['merit']:.2f}."


def _questions_seen() -> str:
    pretrained = {one.what: one.number for one in paper.COUNTS["mimic-iv-ecg"]}
    tested = {one.what: one.number for one in paper.COUNTS["medtvt-qa"]}["questions for testing"]
    share = pretrained["of these for training"] / pretrained["recordings after cleaning"]
    return (
        f"It “follows the same split as the ECG dataset” (A.2.1), whose recordings are MIMIC-IV-ECG's. The paper "
        f"pretrains on {100 * share:.0f} % of these and names no part that it leaves out: were the {tested} tested "
        f"recordings drawn like the rest, about {share * tested:.0f} of them would be among those pretrained on, and "
        "more of their patients."
    )


def _other_paper() -> str:
    return (
        "Reference [16] is Med-R1 (arXiv 2503.13939, reinforcement learning for vision-language models); it is cited "
        "for the text generation, the data set and the encoder of MedTVT-R1."
    )


def _split_by_recording() -> str:
    counts = {one.what: one.number for one in paper.COUNTS["mimic-iv-ecg"]}
    total, held_out = counts["recordings after cleaning"], counts["of these for validation"]
    if math.ceil(0.02 * total) != held_out:
        return ""
    return (
        f"{held_out:,} is 2 % of {total:,} recordings, rounded up, as a split by recording gives: then patients with "
        "several recordings are on both sides."
    )


ODDITIES: dict[str, Callable[[], str]] = {
    "CSN and CPSC2018 have the same linear-probing AUROC": _same_auroc,
    "shading that is not on the second best": _shading,
    "recordings of PTB-XL: of another version than the one cited": _counts,
    "zero-shot accuracy on form": _form_accuracy,
    "zero-shot, subclass AUROC: an ablation is above MERIT": _ablation_leads,
    "“best or second-best” in zero-shot (Section 4.3)": _third_in_zero_shot,
    "“up to” in the abstract's zero-shot gains": _up_to,
    "validation set of pretraining": _split_by_recording,
    "linear probing on form: a signal-only method leads": _form_probing,
    "transfer below both unimodal methods": _below_unimodal,
    "mean over the transfers: D-BETA leads": _mean_of_transfers,
    "ECG-QA: test recordings likely pretrained on": _questions_seen,
    "MedTVT-R1 is cited as Med-R1": _other_paper,
}
"""What is odd in the paper's numbers -> a function that gives the evidence, or "" where there is none."""
