"""Result files and results at hand, in one form: a number for each encoder, task, metric and pretraining seed.

Scores become percent, so that differences are points; information stays in its own units. Result files of several
pretraining seeds lie in `book/reference/<stage>-<run>.json` (`make reference`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from merit import runs
from merit import scores as scores_of
from merit.report import reference, retention

Key = tuple[str, str, str]
"""Encoder, task, metric."""

THRESHOLD_RULES = {"oracle": "_oracle", "honest": ""}
"""How F1 and accuracy got their threshold -> what the metric's name ends with in a result."""

PTB_XL_TOO = "pretrained on PTB-XL, not on MIMIC-IV-ECG"
"""Seen from the probes: PTB-XL then has one split in place of ten folds."""

NOT_PUBLISHED = "peers' methods in our implementation, not the published encoders"
"""Of a run at equal budget."""

PAIRS = "pairs"
"""The task's place for what is measured on pairs of ECG and report."""

Cell = tuple[str, str, float | None]
"""Task, metric, value."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What one run says at one stage."""

    stage: str
    profile: str
    synthetic: bool
    run: str = ""
    """Name of the run that committed reference results come from; "" for the reader's own."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """Of reference results: commit, device and day."""
    scores: Mapping[Key, Mapping[int, float]]
    """Encoder, task, metric -> pretraining seed -> value."""
    caveats: tuple[str, ...] = ()
    """What else keeps it from the paper's protocol."""
    reasons: tuple[str, ...] = ()
    """Why rows have no numbers, each once."""
    group: str | None = None
    """The group of encoders that committed reference results are of; None: the paper's own."""

    @property
    def budgeted(self) -> bool:
        """Whether peers' methods are trained here, on the same recordings with the same updates."""
        return self.group == reference.EQUAL_BUDGET

    def has(self, encoder: str) -> bool:
        """Whether an encoder has any number."""
        return any(key[0] == encoder for key in self.scores)

    def label(self) -> str:
        """`this run: demo, synthetic`."""
        kind = "synthetic" if self.synthetic else "real recordings"
        where = f"reference{', equal budget' * self.budgeted}" if self.run else "this run"
        return f"{where}: {self.profile}, {kind}"


def references(root: Path | None = None, rule: str = "oracle") -> list[Evidence]:
    """All committed results that a claim of the paper can be read from, real recordings first; [] where there are none.

    rule: which threshold F1 and accuracy have, `oracle` or `honest`. Raises ValueError for a file of another form.
    """
    folder = (root or runs.home()) / "book" / "reference"
    paths = [path for stage in (*READERS, *JUDGED) for path in reference.files(folder, stage)]
    found = [_from_file(path, rule) for path in paths]
    split = {one.run for one in found if PTB_XL_TOO in one.caveats}
    found = [
        replace(one, caveats=(PTB_XL_TOO,) * (one.run in split) + (NOT_PUBLISHED,) * one.budgeted) for one in found
    ]
    return sorted(found, key=lambda one: one.synthetic)


def own(
    stage: str, results: Sequence[Mapping[str, Any]], *, profile: str, synthetic: bool, rule: str = "oracle"
) -> Evidence:
    """The results of the reader's own run at a stage, as the workspace gives them."""
    if isinstance(results, pd.DataFrame):
        return _from_scores(stage, results, rule, profile=profile, synthetic=synthetic)
    known = ({"encoder_seed": 0, **one["parameters"]} for one in results)
    rows = [
        {"encoder_seed": told["encoder_seed"], "protocol": told.get("protocol"), **one["values"]}
        for one, told in zip(results, known)
    ]
    return _evidence(stage, rows, rule, profile=profile, synthetic=synthetic)


def inputs(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """A row for each reference file, for the line that says what a page was computed from."""
    return [{"what": f"reference {one.stage} {one.run}", **one.made} for one in evidence if one.run]


def _from_file(path: Path, rule: str) -> Evidence:
    try:
        file = json.loads(path.read_text(encoding="utf-8"))
        read = retention.read if path.name.startswith("kept-") else scores_of.read
        if "about" in file or read is retention.read:
            about, found = read(path)
            made = {name: about.get(name) for name in ("commit", "device", "finished")}
            told = {
                "profile": str(about["profile"]),
                "synthetic": bool(about["synthetic"]),
                "group": about.get("suffix"),
            }
            run = path.stem.removeprefix(f"{about['study']}-")
            return _from_scores(about["study"], found, rule, run=run, made=made, **told)
        stage = file.get("stage") or path.name.split("-")[0]
        about = {"profile": str(file["profile"]), "synthetic": bool(file["synthetic"])}
        made = {name: file.get(name) for name in ("commit", "device", "finished")}
        run = path.stem.removeprefix(f"{stage}-")
        return _evidence(stage, file["results"], rule, run=run, made=made, group=reference.in_group(path), **about)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as reason:
        raise ValueError(
            f"{path}: expected reference results with profile, synthetic and results; got {reason!r}; "
            "make it again with make reference"
        ) from reason


def _from_scores(stage: str, found: pd.DataFrame, rule: str, **about: Any) -> Evidence:
    """Evidence from a frame of scores: those that claims are judged on."""
    if rule not in THRESHOLD_RULES:
        raise ValueError(f"rule: expected one of {', '.join(THRESHOLD_RULES)}; got {rule!r}")
    task, unit, where = JUDGED[stage]
    found = NAMED[stage](found) if stage in NAMED else found
    cells: dict[Key, dict[int, float]] = {}
    for row in scores_of.scored(found, **where).to_dict("records"):
        metric = str(row["metric"])
        if metric.removesuffix("_oracle") in ("f1", "accuracy"):
            if metric.endswith("_oracle") != bool(THRESHOLD_RULES[rule]):
                continue
            metric = metric.removesuffix("_oracle")
        cells.setdefault((row["encoder"], row[task], metric), {})[row["encoder_seed"]] = unit * row["value"]
    split = "protocol" in found and found["protocol"].astype(str).str.startswith("official split").any()
    macro = found["class"].fillna("macro") == "macro" if "class" in found else True
    empty = found[found["value"].isna() & macro]
    reasons = tuple(dict.fromkeys(empty["reason"].dropna()))
    return Evidence(stage=stage, scores=cells, caveats=(PTB_XL_TOO,) * bool(split), reasons=reasons, **about)


JUDGED: dict[str, tuple[str, float, dict[str, Any]]] = {
    "linear_probe": (
        "task",
        100,
        {
            "variant": "as_published",
            "scored": "by fold",
            "metric": ["auroc", "f1", "f1_oracle", "accuracy", "accuracy_oracle"],
        },
    ),
    "kept": ("decoder", 100, {"kind": "summary", "metric": "r2_partial"}),
    "shift": ("transfer", 100, {"variant": "as_published", "scored": "target", "class": "macro"}),
    "information": ("task", 1, {"scope": "validation"}),
    "clusters": ("task", 100, {"class": ["macro", "PACE"]}),
    "generation": ("study", 100, {"condition": "model"}),
}
"""Study -> column that a claim calls a task, unit, and the scores that claims are judged on."""


def _pairs(found: pd.DataFrame) -> pd.DataFrame:
    """The pairs that the paper draws are one task; an estimator without a vote is left out."""
    return found[found["no_vote"].isna()].assign(task=PAIRS) if "no_vote" in found else found.assign(task=PAIRS)


def _rhythms(found: pd.DataFrame) -> pd.DataFrame:
    """Metrics such as `umap purity`, of all rhythms, and `umap purity PACE`, of pacing alone."""
    if "space" not in found:
        return found.assign(task="rhythm")
    pace = found["class"].map({"PACE": " PACE"}).fillna("")
    return found.assign(task="rhythm", metric=found["space"] + " " + found["metric"] + pace)


NAMED = {"information": _pairs, "clusters": _rhythms}
"""Study -> its scores with the task and the metric that a claim names."""


def _evidence(stage: str, rows: Sequence[Mapping[str, Any]], rule: str, **about: Any) -> Evidence:
    if rule not in THRESHOLD_RULES:
        raise ValueError(f"rule: expected one of {', '.join(THRESHOLD_RULES)}; got {rule!r}")
    scores: dict[Key, dict[int, float]] = {}
    for row in rows:
        for task, metric, value in READERS[stage](row, THRESHOLD_RULES[rule]) if "reason" not in row else ():
            if value is not None:
                scores.setdefault((row["encoder"], task, metric), {})[row["encoder_seed"]] = value
    split = any(str(row.get("protocol")).startswith("official split") for row in rows)
    reasons = tuple(dict.fromkeys(str(row["reason"]) for row in rows if "reason" in row))
    return Evidence(stage=stage, scores=scores, caveats=(PTB_XL_TOO,) * split, reasons=reasons, **about)


def _zero_shot(row: Mapping[str, Any], ending: str) -> Iterator[Cell]:
    """All recordings that pretraining did not see, with enriched prompts, several phrasings averaged."""
    if (row["prompts"], row["scope"], row["ensemble"]) == ("enriched", "unseen", True):
        yield from _scores(row["task"], {name: one["value"] for name, one in row["macro"].items()}, ending)


def _scores(task: str, macro: Mapping[str, float | None], ending: str) -> Iterator[Cell]:
    for metric, name in (("auroc", "auroc"), ("f1", f"f1{ending}"), ("accuracy", f"accuracy{ending}")):
        value = macro.get(name)
        yield task, metric, None if value is None else 100 * value


READERS: dict[str, Callable[[Mapping[str, Any], str], Iterator[Cell]]] = {
    "zero_shot": _zero_shot,
}
"""Stage -> what reads a row of its results."""
