"""Result files and results at hand, in one form: a number for each encoder, task, metric and pretraining seed.

Scores become percent, so that differences are points; information stays in its own units. Result files of several
pretraining seeds lie in `book/reference/<stage>-<run>.json` (`make reference`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from merit import runs
from merit import scores as scores_of
from merit.report.style import EQUAL_BUDGET

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
        return self.group == EQUAL_BUDGET

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
    paths = [path for study in JUDGED for path in sorted(folder.glob(f"{study}-*.json"))]
    found = [_from_file(path, rule) for path in paths]
    split = {one.run for one in found if PTB_XL_TOO in one.caveats}
    found = [
        replace(one, caveats=(PTB_XL_TOO,) * (one.run in split) + (NOT_PUBLISHED,) * one.budgeted) for one in found
    ]
    return sorted(found, key=lambda one: one.synthetic)


def own(stage: str, found: pd.DataFrame, *, profile: str, synthetic: bool, rule: str = "oracle") -> Evidence:
    """The scores of the reader's own run of a study."""
    return _evidence(stage, found, rule, profile=profile, synthetic=synthetic)


def inputs(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """A row for each reference file, for the line that says what a page was computed from."""
    return [{"what": f"reference {one.stage} {one.run}", **one.made} for one in evidence if one.run]


def _from_file(path: Path, rule: str) -> Evidence:
    about, found = scores_of.read(path)
    made = {name: about.get(name) for name in ("commit", "device", "finished")}
    told = {"profile": str(about["profile"]), "synthetic": bool(about["synthetic"]), "group": about.get("suffix")}
    run = path.stem.removeprefix(f"{about['study']}-")
    return _evidence(about["study"], found, rule, run=run, made=made, **told)


def _evidence(stage: str, found: pd.DataFrame, rule: str, **about: Any) -> Evidence:
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
    empty = found[found["value"].isna()]
    empty = empty[empty["class"].fillna("macro") == "macro"] if "class" in empty else empty
    reasons = tuple(dict.fromkeys(empty["reason"].dropna()))
    return Evidence(stage=stage, scores=cells, caveats=(PTB_XL_TOO,) * bool(split), reasons=reasons, **about)


CLASSIFIED = ("auroc", "f1", "f1_oracle", "accuracy", "accuracy_oracle")
"""Metrics of classification that claims speak of."""

JUDGED: dict[str, tuple[str, float, dict[str, Any]]] = {
    "linear_probe": (
        "task",
        100,
        {
            "variant": "as_published",
            "scored": "by fold",
            "metric": CLASSIFIED,
        },
    ),
    "kept": ("decoder", 100, {"kind": "summary", "metric": "r2_partial"}),
    "shift": ("transfer", 100, {"variant": "as_published", "scored": "target", "class": "macro"}),
    "zero_shot": (
        "task",
        100,
        {"prompts": "enriched", "scope": "unseen", "ensemble": True, "class": "macro", "metric": CLASSIFIED},
    ),
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
