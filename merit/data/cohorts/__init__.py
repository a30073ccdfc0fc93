"""Which data set lies where: recognised by the files of its published layout, at a root or a few levels below."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from merit.data.cohorts.base import Cohort
from merit.data.cohorts.datasets import Cpsc2018, Csn, MimicIvEcg, PtbXl

COHORT_CLASSES: dict[str, type[Cohort]] = {c.name: c for c in (MimicIvEcg, PtbXl, Cpsc2018, Csn)}
MAX_DEPTH, MAX_FOLDERS = 3, 5_000


class CohortNotFound(FileNotFoundError):
    """No data set where one was looked for; one line says what was looked for where."""


def open_cohort(name: str, root: str | Path) -> Cohort:
    """The data set `name` in `root` itself or, if it is not there, below it (see `locate`). Raises CohortNotFound."""
    if name not in COHORT_CLASSES:
        raise ValueError(f"unknown cohort {name!r}; known: {', '.join(COHORT_CLASSES)}")
    root = Path(root)
    found = [root] if root.is_dir() and _recognised(root) == name else locate(root).get(name, [])
    if not found:
        mark = COHORT_CLASSES[name].mark
        raise CohortNotFound(f"no {name} in {root} or up to {MAX_DEPTH} folders below it: looked for {mark}")
    return COHORT_CLASSES[name](found[0])


def find_cohorts(root: str | Path) -> dict[str, Path]:
    """Cohort name -> folder, for the data sets at or below `root` that have at least one waveform file.

    Of several copies the one in a folder of the cohort's own name is taken, else the first by depth and name.
    Raises CohortNotFound where `root` does not exist; finding nothing is an empty dict (see `nothing_found`).
    """
    found = {}
    for name, folders in locate(root).items():
        for folder in folders:
            if next(iter(COHORT_CLASSES[name](folder).waveforms()), None) is not None:
                found[name] = folder
                break
    return found


def nothing_found(root: str | Path) -> str:
    """One line for a root in which `find_cohorts` finds nothing."""
    looked = "; ".join(f"{name}: {cohort.mark}" for name, cohort in COHORT_CLASSES.items())
    return f"no data set with waveforms in {root} or up to {MAX_DEPTH} folders below it: looked for {looked}"


def locate(root: str | Path) -> dict[str, list[Path]]:
    """Cohort name -> folders that have its layout, with or without waveforms, the best first; in order of COHORTS.

    Searched breadth first, at most MAX_FOLDERS; a recognised folder is not searched further.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise CohortNotFound(f"the data folder {root} {what}: expected a folder with {', '.join(COHORT_CLASSES)}")
    found: dict[str, list[tuple[bool, int, str]]] = {name: [] for name in COHORT_CLASSES}
    queue = [(root, 0)]
    for folder, depth in itertools.islice(queue, MAX_FOLDERS):
        if name := _recognised(folder):
            found[name].append((folder.name != name, depth, str(folder)))
        elif depth < MAX_DEPTH:
            try:
                children = [e.path for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".")]
            except OSError:
                continue
            queue += [(child, depth + 1) for child in sorted(map(Path, children))]
    return {name: [Path(text) for _, _, text in sorted(places)] for name, places in found.items() if places}


def _recognised(folder: Path) -> str:
    """The cohort whose layout a folder has; "" for none. CPSC2018's is recognised by names alone and comes last."""
    return next((c.name for c in (MimicIvEcg, PtbXl, Csn, Cpsc2018) if c.is_at(folder)), "")
