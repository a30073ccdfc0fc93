"""What does not fit a newcomer's twenty minutes, as committed numbers: several pretraining seeds, all strengths, and
peers' methods trained on the same recordings with the same updates.

One file a stage, `book/reference/<stage>-<run>.json`: where the numbers come from, then `results` (a row an encoder,
task and seed), `over_seeds` (mean and sd over seeds), `differences` (MERIT minus each other, paired by seed); of a
study, its scores. A run is named by profile and kind of recordings, never by where they lie, and by the group of
encoders where a stage is in several: `demo`, `demo-real`, `demo-equal-budget`, `paper-real-published`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from merit import runs, scores
from merit.encoders import registry
from merit.pipeline.comparisons import over_seeds, seed_differences
from merit.pipeline.costs import costs
from merit.pipeline.recordings import NoCohort
from merit.pipeline.reference_stages import EQUAL_BUDGET, GROUPS, OBJECTIVES, PUBLISHED, STAGES, STUDIES, Group, Stage
from merit.threads import usable_cores

if TYPE_CHECKING:
    from merit.pipeline.workspace import Workspace

DRAWS = ("draws", "resamples")
"""Parts of a value that stay out of the file: what an interval was computed from."""
DIGITS = 6
"""Significant digits of a number in the file."""


def make_reference(
    workspace: Workspace, seeds: int, folder: Path, say: Callable[[str], None] = lambda text: None,
    groups: Sequence[str] = tuple(GROUPS), stages: Sequence[str] = (*STAGES, *STUDIES),
    encoders: Sequence[str] | None = None,
) -> list[Path]:  # fmt: skip
    """Pretrain every encoder of the groups (those in `encoders`, if given) at `seeds` seeds, run those of their stages
    that are in `stages`, and write a file a stage and group into `folder`; none where a stage has nothing to say of
    these recordings.

    The files are rewritten after each seed; a run that was stopped goes on where it was, since every checkpoint and
    every result is kept as it is made, and a file that holds these results and more is left alone. Where nothing can be
    pretrained on, the random encoder is there alone and the other rows hold the reason. say: is told of each step.
    """
    if workspace.profile.limit or workspace.profile.epochs:
        raise ValueError("reference: expected a whole run; leave LIMIT and EPOCHS (--limit, --epochs) away")
    chosen = [
        (group, Group([name for name in one.encoders if not encoders or name in encoders],
                      [name for name in one.stages if name in stages], one.suffix))
        for group, one in GROUPS.items() if group in groups
    ]  # fmt: skip
    return [path for group, one in chosen for path in _make(workspace, group, one, seeds, folder, say)]


def _make(
    workspace: Workspace, group: str, chosen: Group, seeds: int, folder: Path, say: Callable[[str], None]
) -> list[Path]:
    """The files of one group, of the encoders and stages that are wanted of it."""
    published = registry.choose(",".join(name for name in chosen.encoders if registry.known(name)) or "none")[0]
    if group == PUBLISHED and not set(published) & set(chosen.encoders):
        return []
    ours = [name for name in chosen.encoders if not registry.known(name)]
    encoders, stages = [*ours, *(name for name in chosen.encoders if name in published)], chosen.stages
    with contextlib.suppress(NoCohort):
        workspace.checkpoints([name for name in ours if name != "random"], range(seeds))
    paths = {name: folder / f"{name}-{run_name(workspace, group)}.json" for name in stages}
    found: dict[str, list[tuple[int, dict[str, Any]]]] = {name: [] for name in stages}
    frames: dict[str, list[pd.DataFrame]] = {}
    for seed in range(seeds):
        for name in stages:
            wanted = ours if seed else encoders  # published weights have no other seed
            if name in STUDIES:
                of_seed = STUDIES[name](workspace, wanted, seed)
                if of_seed.empty:
                    continue
                frames.setdefault(name, []).append(of_seed)
                all_seeds = pd.concat(frames[name], ignore_index=True)
                _write_scores(paths[name], name, workspace, group, encoders, all_seeds)
                say(f"{name}, seed {seed + 1} of {seeds}: {paths[name].name}")
                continue
            found[name] += [(seed, result) for result in STAGES[name].run(workspace, wanted, seed)]
            if not found[name]:
                continue
            _write(paths[name], _file(workspace, name, group, encoders, seed + 1, found[name]))
            say(f"{name}, seed {seed + 1} of {seeds}: {paths[name].name}")
    return [paths[name] for name in stages if found[name] or name in frames]


def _write_scores(
    path: Path, name: str, workspace: Workspace, group: str, encoders: Sequence[str], found: pd.DataFrame
) -> None:
    """A committed file of scores, unless the file has these rows already, and more."""
    seeds = found["encoder_seed"].nunique()
    about = {
        "study": name,
        "group": group,
        "suffix": GROUPS[group].suffix or None,
        "profile": workspace.profile.name,
        "synthetic": workspace.synthetic,
        "seeds": seeds,
        "device": workspace.torch_device(),
        "cores": usable_cores(),
        "finished": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": runs.commit(),
        "versions": runs.versions(),
        "costs": _rounded(costs(workspace, encoders, range(seeds))) if group == EQUAL_BUDGET else [],
    }
    found = found.assign(reason=[_without_paths(reason, workspace) for reason in found["reason"]])
    if not path.exists() or not scores.held(path, found):
        scores.write(path, about, found)


def run_name(workspace: Workspace, group: str = OBJECTIVES) -> str:
    """The profile, whether the recordings are real, and the group; `report.reference.load` looks for the same."""
    name = workspace.profile.name if workspace.synthetic else f"{workspace.profile.name}-real"
    suffix = GROUPS[group].suffix
    return f"{name}-{suffix}" if suffix else name


def _file(
    workspace: Workspace, name: str, group: str, encoders: Sequence[str], seeds: int,
    found: Sequence[tuple[int, dict[str, Any]]],
) -> dict[str, Any]:  # fmt: skip
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
        "costs": _rounded(costs(workspace, encoders, range(seeds))) if group == EQUAL_BUDGET else [],
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
