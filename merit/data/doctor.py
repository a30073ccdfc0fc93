"""What lies under a data folder, complete or in part, and what each chapter of the book can show with it.

Quick on any size: names and metadata are looked at, and of a very large tree only the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merit.data import taxonomy
from merit.data.cohorts import COHORT_CLASSES, CohortNotFound, locate, nothing_found
from merit.data.cohorts.base import BadTable

MAX_COUNTED_FILES = 100_000
"""Waveform files counted per data set; PTB-XL has 87,196, MIMIC-IV-ECG 1.6 million."""


@dataclass(frozen=True, kw_only=True)
class CohortStatus:
    """One data set under the folder examined."""

    name: str
    root: Path | None
    """Where it lies; None where it does not."""
    rows: int = 0
    """Recordings that its metadata list."""
    waveforms: int = 0
    """Recordings of which a waveform file is there."""
    halves: int = 0
    """Recordings of which only the header or only the signals are there."""
    counted_all: bool = True
    """False where `waveforms` is a lower bound, because counting stopped."""
    published: int = 0
    """Recordings of the complete data set."""
    synthetic: bool = False
    unread: int = 0
    """Folders that the system would not list."""
    problem: str = ""
    """Why its metadata cannot be read; "" if they can."""

    @property
    def complete(self) -> bool:
        """Whether every published recording is there, by count."""
        return self.counted_all and self.rows >= self.published and self.waveforms >= self.published

    @property
    def usable(self) -> bool:
        """Whether there is anything to try to read."""
        return self.waveforms + self.halves > 0 and not self.problem


def examine(root: str | Path) -> list[CohortStatus]:
    """The state of each of the four data sets at or below `root`.

    Raises CohortNotFound, with one line that says what was looked for where, if the folder or all four are missing.
    """
    found = locate(root)
    if not found:
        raise CohortNotFound(nothing_found(root))
    return [_best([_status(name, folder) for folder in found.get(name, [])], name) for name in COHORT_CLASSES]


def describe(statuses: list[CohortStatus]) -> str:
    """The statuses as text: a line a data set, then a line a chapter."""
    usable = {status.name for status in statuses if status.usable}
    lines = [f"  {status.name:<14}{_state(status)}" for status in statuses]
    chapters = [f"  {name:<24}{text}" for name, text in _chapters(usable, statuses).items()]
    return "\n".join(["Data sets", *lines, "", "What the chapters can show", *chapters])


def _status(name: str, folder: Path) -> CohortStatus:
    cohort = COHORT_CLASSES[name](folder)
    known = {"name": name, "root": folder, "published": cohort.published_recordings, "synthetic": cohort.synthetic}
    try:
        census = cohort.census(MAX_COUNTED_FILES)
    except (BadTable, OSError) as error:
        return CohortStatus(problem=str(error), **known)
    return CohortStatus(**census._asdict(), unread=len(cohort.unread), **known)


def _best(copies: list[CohortStatus], name: str) -> CohortStatus:
    """Of several copies the first with anything to read, as `find_cohorts` chooses; else the first."""
    if not copies:
        return CohortStatus(name=name, root=None, published=COHORT_CLASSES[name].published_recordings)
    return next((copy for copy in copies if copy.usable), copies[0])


def _state(status: CohortStatus) -> str:
    if status.root is None:
        return "not there"
    where = f"{status.root}{' (synthetic)' if status.synthetic else ''}"
    if status.problem:
        return f"unreadable: {status.problem}"
    at_least = "" if status.counted_all else "at least "
    counts = f"{at_least}{status.waveforms:,} waveforms for {status.rows:,} rows, {status.published:,} published"
    if status.halves:
        counts += f", {at_least}{status.halves:,} more of which header or signals are missing (or links to nothing)"
    if status.unread:
        counts += f", {status.unread:,} folders that cannot be read"
    word = "complete" if status.complete else "in part" if status.waveforms else "no waveforms"
    return f"{word}: {counts}; {where}"


def _chapters(usable: set[str], statuses: list[CohortStatus]) -> dict[str, str]:
    """Chapter -> what it will show; chapters with one answer share a line."""
    labelled = _labelled(usable)
    pretrained = bool(usable & {"mimic-iv-ecg", "ptb-xl"})
    held_out = "unseen pairs of " + ("ptb-xl" if "ptb-xl" in usable else "mimic-iv-ecg") if pretrained else "nothing"
    return {
        "cohorts": ", ".join(s.name for s in statuses if s.name in usable) or "nothing",
        "pretraining": _pretraining(usable),
        "fig1_framework": "shapes; a held-out recording" if pretrained else "shapes alone: nothing to pretrain on",
        "table1_linear_probe": labelled,
        "table4, 6, 8, protocol": "as table1_linear_probe",
        "table2_zero_shot, 9": labelled if pretrained else "nothing: needs reports to align with",
        "table7_shift": _transfers(usable),
        "fig3_embedding_mi": held_out,
        "table3_generation": _generation(usable),
        "fig4_umap, limits": "ptb-xl" if "ptb-xl" in usable else "nothing: needs ptb-xl",
    }


def _generation(usable: set[str]) -> str:
    """Which recordings are asked about."""
    if "ptb-xl" in usable:
        return "questions composed on ptb-xl" + ("; MedTVT-QA's, if its files are there" * ("mimic-iv-ecg" in usable))
    return "MedTVT-QA's questions, if its files are there" if "mimic-iv-ecg" in usable else "nothing: needs ptb-xl"


def _labelled(usable: set[str]) -> str:
    """Tasks by data set, and the labelled data sets that are not there."""
    tasks = {name: [t for t, cohort in taxonomy.TASK_COHORT.items() if cohort == name] for name in COHORT_CLASSES}
    shown = [f"{', '.join(tasks[name])} ({name})" for name in COHORT_CLASSES if tasks[name] and name in usable]
    missing = [name for name in COHORT_CLASSES if tasks[name] and name not in usable]
    return ("; ".join(shown) or "nothing") + (f"; rows left empty: {', '.join(missing)}" if missing else "")


def _transfers(usable: set[str]) -> str:
    """How many of the six directions have both ends."""
    there = len(usable & {"ptb-xl", "cpsc2018", "csn"})
    return f"{there * (there - 1)} of 6 directions" if there > 1 else "nothing: needs two of ptb-xl, cpsc2018, csn"


def _pretraining(usable: set[str]) -> str:
    if "mimic-iv-ecg" in usable:
        return "on mimic-iv-ecg, as the paper does"
    if "ptb-xl" in usable:
        return "on folds 1 to 8 of ptb-xl with their reports, as mimic-iv-ecg is not there"
    return "nothing: needs mimic-iv-ecg or ptb-xl, the data sets with reports"
