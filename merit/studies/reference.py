"""What does not fit a newcomer's twenty minutes, as committed scores: several pretraining seeds, all strengths, and
peers' methods trained on the same recordings with the same updates.

One file per study and group, `book/reference/<study>-<run>.json` (`scores.write`). A run is named by profile, kind of
recordings, never by where they lie, and by the group of encoders where a study is in several: `demo`, `demo-real`,
`demo-equal-budget`, `paper-real-published`.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from merit import runs, scores
from merit.config import ABLATIONS, PEERS, without_text
from merit.data.taxonomy import TASKS
from merit.encoders import registry
from merit.parallel import usable_cores
from merit.studies.framework import costs
from merit.studies.generation import generation
from merit.studies.information import clusters, information
from merit.studies.probing import linear_probe
from merit.studies.retention import reliability, report_omission, retention, synthetic_to_real, to_commit
from merit.studies.shift import shift
from merit.studies.workspace import ROTATIONS, NoCohort
from merit.studies.zero_shot import zero_shot

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

PAPER_TASKS = tuple(task for task in TASKS if task != "csn_as_released")
WRITERS = ("merit", "merl-ours", "random", "medtvt-r1", "qoq", "ecg-chat")
"""Encoders that text is generated from here: adapting a language model costs as much as a pretraining."""
NOT_COMMITTED = ("test_folds", "n_test", "classes", "unscored", "epochs", "n_positive", "n_folds")
"""Columns of linear probing that stand fold by fold or class by class."""


def _macro(found: pd.DataFrame) -> pd.DataFrame:
    """Macro averages alone: a row per class and metric would be ten times as many."""
    return found[found["class"].fillna("macro") == "macro"] if "class" in found else found


def _with_text(encoders: Sequence[str]) -> list[str]:
    """Those that share a space with texts."""
    return [name for name in encoders if not without_text(name)]


STUDIES: dict[str, Callable[[Workspace, Sequence[str], int], pd.DataFrame]] = {
    "linear_probe": lambda ws, encoders, seed: _macro(linear_probe(ws, encoders, PAPER_TASKS, encoder_seed=seed)).drop(
        columns=list(NOT_COMMITTED), errors="ignore"
    ),
    "zero_shot": lambda ws, encoders, seed: _macro(zero_shot(ws, _with_text(encoders), PAPER_TASKS, encoder_seed=seed)),
    "shift": lambda ws, encoders, seed: shift(ws, encoders, encoder_seed=seed),
    "information": lambda ws, encoders, seed: information(ws, _with_text(encoders), encoder_seed=seed).drop(
        columns="draws",
        errors="ignore",  # deviations of halves from their mean, not values as in other studies
    ),
    "clusters": lambda ws, encoders, seed: clusters(ws, encoders, encoder_seed=seed),
    "generation": lambda ws, encoders, seed: generation(
        ws, [name for name in encoders if name in WRITERS], encoder_seed=seed
    ),
    "kept": lambda ws, encoders, seed: to_commit(
        retention(ws, encoders, encoder_seed=seed), "cohort", *([] if ws.synthetic or seed else [reliability(ws)])
    ),
    "left_out": lambda ws, encoders, seed: to_commit(report_omission(ws, encoders, encoder_seed=seed), "share"),
    "carried_over": lambda ws, encoders, seed: to_commit(synthetic_to_real(ws, encoders, encoder_seed=seed), "hearts"),
}
"""Study -> its scores of these encoders at one pretraining seed, as they are committed."""


ROTATED: dict[str, tuple[str, ...]] = {
    "linear_probe": ("task", "variant", "scored"),
    "zero_shot": ("task",),
    "shift": ("transfer", "variant", "scored"),
    "information": ("scope",),
    "clusters": ("space", "class"),
    "kept": ("kind", "target", "decoder"),
}
"""Study that is cross-fitted -> the columns that name a score in it, besides encoder and metric."""


class Group(NamedTuple):
    """Encoders that are compared with each other, and in which studies."""

    encoders: Sequence[str]
    studies: Sequence[str]
    suffix: str = ""
    """What its files' names end in, where a study is in several groups."""
    rotates: bool = False
    """Whether PTB-XL is pretrained on in five rotations, of which the files hold means and paired differences."""


OBJECTIVES, EQUAL_BUDGET, DIALS, PUBLISHED = "objectives", "equal-budget", "dials", "published"
REAL, FRONTIER, NETWORKS = "real", "frontier", "networks"
WEIGHTS = ("cma", "merit-0.1", "merit-0.3", "merit", "merit-3", "merit-10", "merit-100", "merit-1000", "mse")
"""The weight of the masked error from none (alignment alone) to infinite (reconstruction alone)."""
STRENGTHS, RATIOS = ("ib-0.1", "ib", "ib-1"), ("cma@mask0.5", "cma@mask0.9", "merit@mask0.5", "merit@mask0.9")
FACTORIAL = tuple(
    f"{objective}{network}{views}"
    for network in ("", "@resnet18", "@tiny_vit")
    for objective in ("cma", "merit", "mse")
    for views in ("", "+views")
)
"""Network x objective x dropout views."""
GROUPS = {
    OBJECTIVES: Group(
        ("merit", "cma", "ib", "mse", "ib-0.1", "ib-1", *ABLATIONS, "random"),
        ("linear_probe", "zero_shot", "shift", "information", "clusters", "kept"),
    ),
    EQUAL_BUDGET: Group(
        ("merit", "cma", "mse", *PEERS, "random"),
        ("linear_probe", "zero_shot", "shift", "kept", "generation"),
        suffix=EQUAL_BUDGET,
    ),
    DIALS: Group(("merit", "cma", "mse", "random"), ("left_out", "carried_over")),
    REAL: Group(("merit", "cma", "cma-whole", "mse", *STRENGTHS, "random"), tuple(ROTATED), "rotations", rotates=True),
    FRONTIER: Group((*WEIGHTS, *STRENGTHS, *RATIOS, "random"), ("linear_probe", "kept"), FRONTIER, rotates=True),
    NETWORKS: Group((*FACTORIAL, "random"), ("linear_probe", "kept"), NETWORKS, rotates=True),
    PUBLISHED: Group(
        ("merit", *registry.PUBLISHED), ("linear_probe", "zero_shot", "shift", "generation"), suffix=PUBLISHED
    ),
}
"""The paper's objectives; these beside peers' methods: the same recordings, updates and evaluation; some of them
pretrained on other recordings; the objectives on real recordings, cross-fitted, then other weights and mask ratios,
then other networks; MERIT beside those published encoders whose weights are at hand, which have one seed.
"""


def make_reference(
    workspace: Workspace,
    seeds: int,
    folder: Path,
    log: Callable[[str], None] = lambda text: None,
    groups: Sequence[str] = tuple(GROUPS),
    studies: Sequence[str] = tuple(STUDIES),
    encoders: Sequence[str] | None = None,
) -> list[Path]:
    """Pretrain every encoder of the groups (those in `encoders`, if given) at `seeds` seeds, run those of their studies
    that are in `studies`, and write a file per study and group into `folder`; none where a study has nothing to say of
    these recordings.

    The files are rewritten after each seed; a run that was stopped goes on where it was, since every checkpoint and
    every result is kept as it is made, and a file that holds these scores and more is left alone. Where nothing can be
    pretrained on, the random encoder is there alone and the other rows hold the reason. log: called with a message
    after each step.
    """
    if workspace.profile.limit or workspace.profile.epochs:
        raise ValueError("reference: expected a whole run; leave LIMIT and EPOCHS (--limit, --epochs) away")
    folders = {workspace.data: "DATA", workspace.folder: "artifacts", runs.home(): "HOME"}

    def without_folders(reason: Any) -> Any:
        """A reason without the folders of this machine: these files are committed."""
        for path, name in folders.items():
            reason = reason.replace(str(path), name) if isinstance(reason, str) and path is not None else reason
        return reason

    written: dict[Path, None] = {}
    for group in (name for name in GROUPS if name in groups):
        wanted = [name for name in GROUPS[group].encoders if not encoders or name in encoders]
        ours = [name for name in wanted if not registry.known(name)]
        theirs = registry.choose(",".join(name for name in wanted if registry.known(name)) or "none")[0]
        theirs = [name for name in wanted if name in theirs]
        if group == PUBLISHED and not theirs:
            continue
        rotates = GROUPS[group].rotates
        if rotates and workspace.pretraining_cohort != "ptb-xl":
            continue
        turns = [workspace.rotated(rotation) for rotation in ROTATIONS] if rotates else [workspace]
        pretrained = [name for name in ours if name != "random"]
        found: dict[str, pd.DataFrame] = {}
        for seed, turn in itertools.product(range(seeds), turns):
            if rotates or not seed:
                with contextlib.suppress(NoCohort):
                    turn.checkpoints(pretrained, [seed] if rotates else range(seeds))
            for study in (name for name in GROUPS[group].studies if name in studies):
                names = ours if seed else [*ours, *theirs]  # weights have one seed
                of_seed = STUDIES[study](turn, names, seed)
                if of_seed.empty:
                    continue
                if rotates:
                    of_seed = of_seed.assign(rotation=turn.rotation)
                of_seed = of_seed.assign(reason=of_seed["reason"].map(without_folders))
                found[study] = pd.concat([found[study], of_seed], ignore_index=True) if study in found else of_seed
                path = folder / f"{study}-{run_name(workspace, group)}.json"
                written[path] = None
                every = scores.over_rotations(found[study], ROTATED[study]) if rotates else found[study]
                if not (path.exists() and scores.held(path, every)):
                    about = {
                        "study": study, "group": group, "suffix": GROUPS[group].suffix or None,
                        "profile": workspace.profile.name, "synthetic": workspace.synthetic, "seeds": seed + 1,
                        "device": workspace.torch_device(), "cores": usable_cores(),
                        "finished": time.strftime("%Y-%m-%d", time.gmtime()), "commit": runs.commit(),
                        "versions": runs.versions(),
                        "costs": costs(workspace, [*ours, *theirs], range(seed + 1)) if group == EQUAL_BUDGET else [],
                    }  # fmt: skip
                    scores.write(path, about, every)
                where = f", rotation {turn.rotation} of {len(turns)}" if rotates else ""
                log(f"{study}, seed {seed + 1} of {seeds}{where}: {path.name}")
    return list(written)


def run_name(workspace: Workspace, group: str = OBJECTIVES) -> str:
    """The profile, whether the recordings are real, and the group; `report.show.committed` looks for the same."""
    name = workspace.profile.name if workspace.synthetic else f"{workspace.profile.name}-real"
    suffix = GROUPS[group].suffix
    return f"{name}-{suffix}" if suffix else name
