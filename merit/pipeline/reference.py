"""What does not fit a newcomer's twenty minutes, as committed numbers: several pretraining seeds, all strengths, and
peers' methods trained on the same recordings with the same updates.

One file a stage, `book/reference/<stage>-<run>.json`: where the numbers come from, then `results` (a row an encoder,
task and seed), `over_seeds` (mean and sd over seeds) and `differences` (MERIT minus each other, paired by seed). A run
is named by profile and kind of recordings, never by where they lie, and by the group of encoders where it is not the
paper's own: `demo`, `demo-real`, `demo-equal-budget`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from merit import runs
from merit.data.taxonomy import TASKS
from merit.methods import PEERS, without_text
from merit.pipeline.clusters import rhythm_clusters
from merit.pipeline.comparisons import over_seeds, seed_differences
from merit.pipeline.costs import costs
from merit.pipeline.information import information
from merit.pipeline.recordings import NoCohort
from merit.pipeline.shift import shift
from merit.pipeline.zero_shot import zero_shot
from merit.threads import usable_cores

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

PAPER_TASKS = tuple(task for task in TASKS if task != "csn_as_released")
DRAWS = ("draws", "resamples")
"""Parts of a value that stay out of the file: what an interval was computed from."""
DIGITS = 6
"""Significant digits of a number in the file."""


class Stage(NamedTuple):
    """One of the stages that several seeds are run of."""

    run: Callable[[Workspace, Sequence[str], int], list[dict[str, Any]]]
    """Workspace, encoders, pretraining seed -> results."""
    columns: tuple[str, ...]
    """Fields of the values that say what was scored: a column of the book's table."""
    settings: tuple[str, ...]
    """Fields that say how: a table of its own."""
    scores: Callable[[Mapping[str, Any]], Mapping[str, float | None]]
    """Values -> metric -> the number of that seed."""
    keep: tuple[str, ...]
    """Other fields of the values that go into the file; folds, classes and resamples stay in the run's results."""


STAGES = {
    "linear_probe": Stage(
        run=lambda ws, encoders, seed: ws.linear_probe(encoders, PAPER_TASKS, encoder_seed=seed),
        columns=("task",),
        settings=("variant",),
        scores=lambda values: values["mean"],
        keep=("protocol", "n_records", "n_patients", "n_seen", "mean", "sd", "pooled"),
    ),
    "zero_shot": Stage(
        run=lambda ws, encoders, seed: zero_shot(ws, _with_text(encoders), PAPER_TASKS, encoder_seed=seed),
        columns=("task",),
        settings=("prompts", "ensemble", "scope"),
        scores=lambda values: {metric: one["value"] for metric, one in values["macro"].items()},
        keep=("n_records", "n_patients", "n_scored_classes", "n_seen", "macro"),
    ),
    "shift": Stage(
        run=lambda ws, encoders, seed: shift(ws, encoders, encoder_seed=seed),
        columns=("source", "target"),
        settings=("variant",),
        scores=lambda values: {"auroc": values["auroc"]["value"]},
        keep=("scope", "n_classes", "n_records", "n_patients", "n_seen", "auroc", "with_class_only", "in_domain"),
    ),
    "information": Stage(
        run=lambda ws, encoders, seed: information(ws, _with_text(encoders), encoder_seed=seed),
        columns=("scope",),
        settings=(),
        scores=lambda values: {
            name: one["value"] for part in ("estimates", "geometry") for name, one in values[part].items()
        },
        keep=(
            "cohort",
            "n",
            "n_pairs",
            "n_reports",
            "n_patients",
            "n_seen",
            "entropy",
            "log_n",
            "estimates",
            "geometry",
        ),
    ),
    "clusters": Stage(
        run=lambda ws, encoders, seed: rhythm_clusters(ws, encoders, encoder_seed=seed),
        columns=("task",),
        settings=(),
        scores=lambda values: {
            f"{space}_{name}": one["macro"]["value"]
            for space, numbers in values["spaces"].items()
            for name, one in numbers.items()
        },
        keep=("n_records", "n_patients", "n_seen", "classes", "spaces"),
    ),
}
"""Stage -> how it is run and what of it is kept; what is not here is not in the reference."""


class Group(NamedTuple):
    """Encoders that are compared with each other, and at which stages."""

    encoders: tuple[str, ...]
    stages: tuple[str, ...]


OBJECTIVES, EQUAL_BUDGET = "objectives", "equal-budget"
GROUPS = {
    OBJECTIVES: Group(("merit", "cma", "ib", "mse", "ib-0.1", "ib-1", "random"), tuple(STAGES)),
    EQUAL_BUDGET: Group(("merit", "cma", "mse", *PEERS, "random"), ("linear_probe", "zero_shot", "shift")),
}
"""The paper's objectives; and these beside peers' methods: the same recordings, updates and evaluation."""


def make_reference(
    workspace: Workspace, seeds: int, folder: Path, say: Callable[[str], None] = lambda text: None,
    groups: Sequence[str] = tuple(GROUPS),
) -> list[Path]:  # fmt: skip
    """Pretrain every encoder of the groups at `seeds` seeds, run their stages, and write a file a stage and group into
    `folder`.

    The files are rewritten after each seed; a run that was stopped goes on where it was, since every checkpoint and
    every result is kept as it is made, and a file that holds these results and more is left alone. Where nothing can be
    pretrained on, the random encoder is there alone and the other rows hold the reason. say: is told of each step.
    """
    if runs.limits():
        raise ValueError(f"reference: expected a whole run; got {runs.limits()}; leave LIMIT and EPOCHS away")
    return [path for group in groups for path in _make(workspace, group, seeds, folder, say)]


def _make(workspace: Workspace, group: str, seeds: int, folder: Path, say: Callable[[str], None]) -> list[Path]:
    """The files of one group."""
    encoders, stages = GROUPS[group]
    with contextlib.suppress(NoCohort):
        workspace.checkpoints([name for name in encoders if name != "random"], range(seeds))
    paths = {name: folder / f"{name}-{run_name(workspace, group)}.json" for name in stages}
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {name: [] for name in stages}
    for seed in range(seeds):
        for name in stages:
            found[name] += [(seed, result) for result in STAGES[name].run(workspace, encoders, seed)]
            _write(paths[name], _file(workspace, name, group, seed + 1, found[name]))
            say(f"{name}, seed {seed + 1} of {seeds}: {paths[name].name}")
    return list(paths.values())


def run_name(workspace: Workspace, group: str = OBJECTIVES) -> str:
    """The profile, whether the recordings are real, and the group; `report.reference.load` looks for the same."""
    name = workspace.profile.name if workspace.synthetic else f"{workspace.profile.name}-real"
    return name if group == OBJECTIVES else f"{name}-{group}"


def _with_text(encoders: Sequence[str]) -> list[str]:
    """Those that share a space with texts."""
    return [name for name in encoders if not without_text(name)]


def _file(
    workspace: Workspace, name: str, group: str, seeds: int, found: Sequence[tuple[int, dict[str, Any]]]
) -> dict[str, Any]:
    stage = STAGES[name]
    rows = [_row(workspace, stage, seed, result) for seed, result in found]
    scores = [{**row, "scores": stage.scores(row)} for row in rows if "reason" not in row]
    return {
        "stage": name,
        "group": group,
        "profile": workspace.profile.name,
        "synthetic": workspace.synthetic,
        "seeds": seeds,
        "device": ", ".join(_distinct(found, "device")) or workspace.torch_device(),
        "cores": usable_cores(),
        "finished": max(_distinct(found, "finished"), default=time.strftime("%Y-%m-%d", time.gmtime()))[:10],
        "commit": ", ".join(_distinct(found, "commit")) or runs.commit(),
        "versions": runs.versions(),
        "costs": _rounded(costs(workspace, GROUPS[group].encoders, range(seeds))) if group == EQUAL_BUDGET else [],
        "over_seeds": _rounded(over_seeds(scores, stage.columns, stage.settings)),
        "differences": _rounded(seed_differences(scores, stage.columns, stage.settings)),
        "results": rows,
    }


def _row(workspace: Workspace, stage: Stage, seed: int, result: Mapping[str, Any]) -> dict[str, Any]:
    """One result as the file has it: what was scored and how, the numbers or the reason why there are none."""
    wanted = (*stage.columns, *stage.settings, "encoder", *stage.keep, "reason")
    values = {name: result["values"][name] for name in wanted if name in result["values"]}
    values = _without_paths(_rounded(values), workspace)
    return {"encoder_seed": seed, "id": result["id"], "seconds": result.get("seconds", 0.0), **values}


def _without_paths(value: Any, workspace: Workspace) -> Any:
    """Every text in a value without the folders of this machine: these files are committed."""
    if isinstance(value, Mapping):
        return {key: _without_paths(one, workspace) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_paths(one, workspace) for one in value]
    for path, name in ((workspace.data, "DATA"), (workspace.folder, "artifacts"), (runs.home(), "HOME")):
        value = value.replace(str(path), name) if isinstance(value, str) and path is not None else value
    return value


def _distinct(found: Sequence[tuple[int, Mapping[str, Any]]], field: str) -> list[str]:
    return list(dict.fromkeys(str(result[field]) for _, result in found if result.get(field)))


def _rounded(value: Any) -> Any:
    """Numbers to `DIGITS` significant digits, and no `DRAWS`, so that a file stays small and its changes readable."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items() if key not in DRAWS}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _write(path: Path, file: dict[str, Any]) -> None:
    """JSON with a line a row, unless the file already has all of it."""
    if path.exists() and _holds(json.loads(path.read_text(encoding="utf-8")), file):
        return
    lines = []
    for key, value in file.items():
        if isinstance(value, list):
            rows = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in value)
            lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    runs.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _holds(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a file has the results of another, and more, or the same and the same statistics."""
    n, there = len(new["results"]), old.get("results", [])
    same = all(old.get(key) == new[key] for key in ("over_seeds", "differences"))
    return there[:n] == new["results"] and (len(there) > n or same)
