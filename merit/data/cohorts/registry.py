"""Which data set lies where: recognised by the files of its published layout, at a root or a few levels below."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from merit.data.cohorts.base import Cohort
from merit.data.cohorts.cpsc2018 import PARTS, RECORD_NAME, REFERENCE, Cpsc2018, has_reference
from merit.data.cohorts.csn import FOLDER, Csn
from merit.data.cohorts.mimic_iv_ecg import PATHS, STATEMENTS, MimicIvEcg
from merit.data.cohorts.ptb_xl import TABLE, PtbXl

COHORT_CLASSES: dict[str, type[Cohort]] = {c.name: c for c in (MimicIvEcg, PtbXl, Cpsc2018, Csn)}

MARKS = {
    "mimic-iv-ecg": f"{PATHS} with {STATEMENTS}",
    "ptb-xl": TABLE,
    "cpsc2018": f"{REFERENCE}, training/cpsc_2018, or recordings A0001 to A6877",
    "csn": FOLDER,
}
"""What each data set is recognised by, for messages."""

MAX_DEPTH = 3
MAX_FOLDERS = 5_000


class CohortNotFound(FileNotFoundError):
    """No data set where one was looked for; one line says what was looked for where."""


def open_cohort(name: str, root: str | Path) -> Cohort:
    """The data set `name` in `root` itself or, if it is not there, below it (see `locate`). Raises CohortNotFound."""
    if name not in COHORT_CLASSES:
        raise ValueError(f"unknown cohort {name!r}; known: {', '.join(COHORT_CLASSES)}")
    root = Path(root)
    _check_folder(root)
    if name in _recognised(root):
        return COHORT_CLASSES[name](root)
    found = locate(root).get(name, [])
    if not found:
        raise CohortNotFound(f"no {name} in {root} or up to {MAX_DEPTH} folders below it: looked for {MARKS[name]}")
    return COHORT_CLASSES[name](found[0])


def find_cohorts(root: str | Path) -> dict[str, Path]:
    """Cohort name -> folder, for the data sets at or below `root` that have at least one waveform file.

    Of several copies the one in a folder of the cohort's own name is taken, else the first by depth and name.
    Raises CohortNotFound where `root` does not exist; finding nothing is an empty dict (see `nothing_found`).
    """
    found = {}
    for name, folders in locate(root).items():
        with_waveforms = [folder for folder in folders if has_waveforms(COHORT_CLASSES[name](folder))]
        if with_waveforms:
            found[name] = with_waveforms[0]
    return found


def nothing_found(root: str | Path) -> str:
    """One line for a root in which `find_cohorts` finds nothing."""
    looked = "; ".join(f"{name}: {mark}" for name, mark in MARKS.items())
    return f"no data set with waveforms in {root} or up to {MAX_DEPTH} folders below it: looked for {looked}"


def locate(root: str | Path) -> dict[str, list[Path]]:
    """Cohort name -> folders that have its layout, with or without waveforms, the best first; in order of COHORTS."""
    root = Path(root)
    _check_folder(root)
    found: dict[str, list[tuple[bool, int, str]]] = {name: [] for name in COHORT_CLASSES}
    for folder, depth, names in _search(root):
        for name in names:
            found[name].append((folder.name != name, depth, str(folder)))
    return {name: [Path(text) for _, _, text in sorted(places)] for name, places in found.items() if places}


def has_waveforms(cohort: Cohort) -> bool:
    """Whether there is any waveform file at all; stops at the first."""
    return next(iter(cohort.waveforms()), None) is not None


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise CohortNotFound(f"the data folder {root} {what}: expected a folder with {', '.join(COHORT_CLASSES)}")


def _search(root: Path) -> Iterator[tuple[Path, int, list[str]]]:
    """(folder, depth, cohorts recognised there), breadth first; a recognised folder is not searched further."""
    queue = [(root, 0)]
    for seen, (folder, depth) in enumerate(queue):
        if seen >= MAX_FOLDERS:
            return
        names = _recognised(folder)
        if names:
            yield folder, depth, names
        elif depth < MAX_DEPTH:
            queue += [(child, depth + 1) for child in _children(folder)]


def _recognised(folder: Path) -> list[str]:
    if (folder / PATHS).is_file() and ((folder / STATEMENTS).is_file() or (folder / "files").is_dir()):
        return ["mimic-iv-ecg"]
    if (folder / TABLE).is_file():
        return ["ptb-xl"]
    if (folder / FOLDER).is_dir():
        return ["csn"]
    return ["cpsc2018"] if _is_cpsc2018(folder) else []


def _is_cpsc2018(folder: Path) -> bool:
    if folder.name == "cpsc_2018" or has_reference(folder / REFERENCE):
        return True
    return any((folder / part).is_dir() for part in ("training/cpsc_2018", *PARTS)) or _has_cpsc_files(folder)


def _has_cpsc_files(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(
                RECORD_NAME.fullmatch(entry.name[:-4]) and entry.name.endswith((".hea", ".mat"))
                for _, entry in zip(range(2000), entries)
            )
    except OSError:
        return False


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(Path(e.path) for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    except OSError:
        return []
