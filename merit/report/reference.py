"""The committed numbers of several pretraining seeds (`book/reference/`, made by `make reference`), as tables.

Each stands under a label: profile, synthetic or real, how many seeds, machine, date, commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from merit import runs
from merit.config import PretrainConfig
from merit.report.ablation_tables import ordered
from merit.report.differences import column_label, column_labels, differences, reading
from merit.report.numerals import fixed
from merit.report.prose import Html, badge
from merit.report.style import look
from merit.report.tables import METRICS, ranked, render

File = Mapping[str, Any]

STRENGTHS = {"cma": "0 (CMA)", "ib-0.1": "0.1", "ib": f"{PretrainConfig().bottleneck_strength:g}", "ib-1": "1"}
"""Encoders that differ in the strength of the bottleneck alone -> that strength, β of Eq. 9."""

MASKS = {"merit": "MERIT", "cma": "CMA, masked as MERIT is", "cma-whole": "CMA, whole recordings"}
"""What alignment alone is trained on, beside MERIT -> how its row is called."""

WORDS = {
    "linear_probe": "linear probing",
    "zero_shot": "zero-shot classification",
    "shift": "distribution shift",
    "generation": "text generation",
    "kept": "what is kept",
    "left_out": "what is kept as reports leave out more",
    "carried_over": "what carries over from synthetic hearts to real ones",
}
"""Stage -> what a sentence calls it."""

EQUAL_BUDGET = "equal-budget"
"""The group in which peers' methods are trained on the same recordings with the same updates."""
PUBLISHED = "published"
"""The group of published encoders, beside MERIT."""

NEEDED = (
    "stage",
    "profile",
    "synthetic",
    "seeds",
    "device",
    "cores",
    "finished",
    "commit",
    "over_seeds",
    "differences",
)


def load(stage: str, profile: str, synthetic: bool, folder: Path | None = None, group: str | None = None) -> list[File]:
    """The reference of this profile and kind of recordings; else those of other profiles on the same kind; else [].

    group: of the encoders; None: the paper's own. Raises ValueError, naming the file, for one that `make reference` did
    not write.
    """
    folder = folder or runs.home() / "book" / "reference"
    own = folder / f"{stage}-{profile}{'' if synthetic else '-real'}{f'-{group}' if group else ''}.json"
    paths = [own] if own.exists() else [path for path in files(folder, stage) if in_group(path) == group]
    return [file for file in map(_read, paths) if bool(file["synthetic"]) == synthetic]


def files(folder: Path, stage: str) -> list[Path]:
    """All committed files of a stage, of any profile and group."""
    return sorted(folder.glob(f"{stage}-*.json"))


def in_group(path: Path) -> str | None:
    """The group of encoders in a committed file, by its name; None: the paper's own."""
    return next((group for group in (EQUAL_BUDGET, PUBLISHED) if path.stem.endswith(f"-{group}")), None)


def _read(path: Path) -> File:
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in NEEDED if name not in file]
    except (json.JSONDecodeError, TypeError) as reason:
        raise ValueError(f"{path}: expected the JSON of a reference run; got {reason}; run make reference") from reason
    if missing:
        raise ValueError(f"{path}: expected {', '.join(missing)} in a reference run; run make reference again")
    return file


def section(
    stage: str, profile: str, synthetic: bool, metrics: Sequence[str] = ("auroc",), folder: Path | None = None,
    group: str | None = None, **settings: Any,
) -> Html:  # fmt: skip
    """How seeds are paired, means over seeds and differences, for each metric; one line where there is no reference.

    group: of the encoders; None: the paper's own. settings: what else the rows must have, such as variant.
    """
    found = load(stage, profile, synthetic, folder, group)
    parts = [label(file, **settings) + _method(file) + _tables(file, metrics, settings) for file in found]
    return Html("").join(parts) if parts else absent(stage, synthetic)


def _method(file: File) -> Html:
    """What is paired, and by which test."""
    text = (
        "Here the pair is the seed: MERIT minus the other encoder, both pretrained with the same seed and scored "
        "alike. Seeds are independent, so the ordinary paired t-test holds; "
        f"{_number(file['seeds'], 'seed')} give {_number(file['seeds'] - 1, 'degree')} of freedom, and the fewer, the "
        "wider the interval. Patients, and encoders that are not pretrained here, are held fixed: the interval says "
        "what another pretraining would change. Holm's correction runs over the comparisons of one table."
    )
    return Html("<p>{}</p>").format(text) if file["seeds"] > 1 else Html("")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _tables(file: File, metrics: Sequence[str], settings: Mapping[str, Any]) -> Html:
    parts = Html("")
    for metric in metrics:
        rows = _chosen(file["differences"], settings, metric)
        parts += over_seeds(file, metric, **settings) + differences(rows, _name(file, metric, "seeds", settings))
        parts += Html('<p class="merit-note">{}</p>').format(reading(rows)) if rows else Html("")
    return parts


def label(file: File, variant: str | None = None, **_: Any) -> Html:
    """Where a reference comes from: everything that a number of it must be read with."""
    seeds, cores = _number(file["seeds"], "pretraining seed"), _number(file["cores"], "core")
    where = f"{file['device']} with {cores}, {file['finished']}, commit {file['commit']}"
    what = "The same data, the same updates" if budgeted(file) else "Reference"
    text = f"{what}{_of(variant)}: profile {file['profile']}, {seeds}; {where}."
    return Html('<p class="merit-source">{} {}</p>').format(badge(bool(file["synthetic"])), text)


def budgeted(file: File) -> bool:
    """Whether a file compares peers' methods on the same recordings with the same updates."""
    return file.get("group") == EQUAL_BUDGET


def _of(variant: str | None) -> str:
    """`, standardised`, or nothing where results have no variant."""
    return f", {variant.replace('_', ' ')}" if variant else ""


def over_seeds(file: File, metric: str, **settings: Any) -> Html:
    """A row an encoder, a column a task or transfer: mean ± standard deviation over pretraining seeds, in percent."""
    rows = _chosen(file["over_seeds"], settings, metric)
    names = ordered({row["encoder"] for row in rows})
    table = _mean_and_sd(rows, {name: look(name).label for name in names}, _name(file, metric, "over-seeds", settings))
    head = Html('<p class="merit-caption"><b>{}</b>, mean ± standard deviation over pretraining seeds{}</p>')
    return head.format(METRICS.get(metric, metric), _of(settings.get("variant"))) + table


def strengths(
    stage: str, profile: str, synthetic: bool, metric: str = "auroc", folder: Path | None = None, **settings: Any
) -> Html:
    """The bottleneck at each strength that was run (β of Eq. 9; 0 is CMA): mean ± sd over pretraining seeds."""
    parts = Html("")
    labels = {name: f"β = {strength}" for name, strength in STRENGTHS.items()}
    for file in load(stage, profile, synthetic, folder):
        rows = [row for row in _chosen(file["over_seeds"], settings, metric) if row["encoder"] in labels]
        parts += label(file, **settings) + _mean_and_sd(rows, labels, _name(file, metric, "strengths", settings))
    return parts or absent(stage, synthetic)


def masks(
    stage: str, profile: str, synthetic: bool, metric: str = "auroc", folder: Path | None = None, **settings: Any
) -> Html:
    """Alignment alone with and without the mask, beside MERIT: mean ± sd over pretraining seeds, and in words by how
    much the mask changes it, the median over columns.
    """
    parts = Html("")
    for file in load(stage, profile, synthetic, folder):
        rows = [row for row in _chosen(file["over_seeds"], settings, metric) if row["encoder"] in MASKS]
        parts += label(file, **settings) + _mean_and_sd(rows, MASKS, _name(file, metric, "masks", settings))
        found = pd.DataFrame([(row["encoder"], column_label(row), row["mean"]) for row in rows])
        found = found.pivot(index=1, columns=0, values=2) if len(found) else found
        if {"cma", "cma-whole"} <= set(found.columns):
            gain, left = found["cma-whole"] - found["cma"], found["merit"] - found["cma-whole"]
            middle, least, most, rest = (
                fixed(100 * value, 1, sign=True) for value in (gain.median(), gain.min(), gain.max(), left.median())
            )
            text = (
                f"Without the mask CMA gains {middle} points, the median of {len(gain)} columns ({least} to {most}); "
                f"MERIT minus CMA without it: {rest} points."
            )
        else:
            text = "This run has no row without the mask: merit reference --group objectives adds it."
        parts += Html('<p class="merit-note">{}</p>').format(text)
    return parts if parts.text else absent(stage, synthetic)


def measures(
    stage: str, profile: str, synthetic: bool, metrics: Mapping[str, str], column: Mapping[str, str],
    folder: Path | None = None,
) -> Html:  # fmt: skip
    """A row an encoder, a column a measure in its own unit: mean ± standard deviation over pretraining seeds.

    metrics: name -> head of its column. column: what was measured, such as {"scope": "validation"}.
    """
    parts = Html("")
    for file in load(stage, profile, synthetic, folder):
        rows = [row for row in file["over_seeds"] if all(row.get(name) == value for name, value in column.items())]
        rows = [row for row in rows if row["metric"] in metrics]
        names = ordered({row["encoder"] for row in rows})
        texts = pd.DataFrame(index=[look(name).label for name in names], columns=list(metrics.values()), dtype=object)
        for row in rows:
            spread = "" if row["sd"] is None else f" ± {row['sd']:.2f}"
            texts.loc[look(row["encoder"]).label, metrics[row["metric"]]] = f"{row['mean']:.2f}{spread}"
        parts += label(file) + render(texts, _name(file, "measures", "seeds", column))
    return parts or absent(stage, synthetic)


def _mean_and_sd(rows: Sequence[Mapping[str, Any]], labels: Mapping[str, str], name: str) -> Html:
    if not rows:
        return Html("<p>This reference run scored nothing of it.</p>")
    there = {row["encoder"] for row in rows}
    columns = column_labels(rows)
    index = [text for encoder, text in labels.items() if encoder in there]
    numbers = pd.DataFrame(index=index, columns=columns, dtype=float)
    texts = numbers.astype(object)
    for row in rows:
        cell = labels[row["encoder"]], column_label(row)
        numbers.loc[cell] = row["mean"]
        texts.loc[cell] = f"{100 * row['mean']:.1f}" + ("" if row["sd"] is None else f"\n±{100 * row['sd']:.1f}")
    return render(texts, name, marks=ranked(numbers))


def _chosen(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], metric: str) -> list[Mapping[str, Any]]:
    wanted = {**settings, "metric": metric}
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _name(file: File, metric: str, kind: str, settings: Mapping[str, Any]) -> str:
    words = [file["stage"], file["profile"], *([EQUAL_BUDGET] * budgeted(file)), kind, metric, *settings.values()]
    return "-".join("".join(c if c.isalnum() else "-" for c in str(word)) for word in words)


def absent(stage: str, synthetic: bool) -> Html:
    """That there is no committed run of a stage, in one line."""
    kind = "synthetic" if synthetic else "real"
    text = Html(
        "<p>No reference run of {} over several pretraining seeds on {} recordings is committed; "
        "<code>make reference</code> makes one.</p>"
    )
    return text.format(WORDS.get(stage, stage.replace("_", " ")), kind)
