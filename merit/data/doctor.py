"""What lies under a data folder, complete or in part, and what each chapter of the book can show with it.

Quick on any size: names and metadata are looked at, and of a very large tree only the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from merit.data import taxonomy
from merit.data.cohorts import COHORT_CLASSES, BadTable, CohortNotFound, locate, nothing_found

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
    statuses = []
    for name, cohort_class in COHORT_CLASSES.items():
        copies = []
        for folder in found.get(name, []):
            cohort = cohort_class(folder)
            known = {"name": name, "root": folder, "published": cohort.published_recordings}
            try:
                counts = {**cohort.census(MAX_COUNTED_FILES), "unread": len(cohort.unread)}
            except (BadTable, OSError) as error:
                counts = {"problem": str(error)}
            copies.append(CohortStatus(**known, **counts, synthetic=cohort.synthetic))
        missing = CohortStatus(name=name, root=None, published=cohort_class.published_recordings)
        usable = (copy for copy in copies if copy.usable)  # of several copies the first, as `find_cohorts` chooses
        statuses.append(next(usable, copies[0] if copies else missing))
    return statuses


def describe(statuses: list[CohortStatus]) -> str:
    """The statuses as text: a line for each data set, then a line for each chapter (some share one)."""
    lines = ["Data sets"]
    for status in statuses:
        at_least = "" if status.counted_all else "at least "
        state = "complete" if status.complete else "in part" if status.waveforms else "no waveforms"
        state += f": {at_least}{status.waveforms:,} waveforms for {status.rows:,} rows, {status.published:,} published"
        if status.halves:
            state += f", {at_least}{status.halves:,} more of which header or signals are missing (or links to nothing)"
        if status.unread:
            state += f", {status.unread:,} folders that cannot be read"
        state += f"; {status.root}{' (synthetic)' if status.synthetic else ''}"
        if status.root is None:
            state = "not there"
        elif status.problem:
            state = f"unreadable: {status.problem}"
        lines.append(f"  {status.name:<14}{state}")
    usable = {status.name for status in statuses if status.usable}
    paired = [name for name in ("mimic-iv-ecg", "ptb-xl") if name in usable]
    pretraining = "nothing: needs mimic-iv-ecg or ptb-xl, the data sets with reports"
    if paired:
        mimic = "mimic-iv-ecg" in usable
        on = "on folds 1 to 8 of ptb-xl with their reports, as mimic-iv-ecg is not there"
        pretraining = "on mimic-iv-ecg, as the paper does" if mimic else on
    tasks = {name: [t for t, cohort in taxonomy.TASK_COHORT.items() if cohort == name] for name in COHORT_CLASSES}
    scored = [f"{', '.join(tasks[name])} ({name})" for name in tasks if tasks[name] and name in usable]
    empty = [name for name in tasks if tasks[name] and name not in usable]
    labelled = ("; ".join(scored) or "nothing") + (f"; rows left empty: {', '.join(empty)}" if empty else "")
    ends = len(usable & {"ptb-xl", "cpsc2018", "csn"})
    transfers = f"{ends * (ends - 1)} of 6 directions" if ends > 1 else "nothing: needs two of ptb-xl, cpsc2018, csn"
    asked = ["questions composed on ptb-xl"] * ("ptb-xl" in usable)
    asked += [f"MedTVT-QA's{'' if asked else ' questions'}, if its files are there"] * ("mimic-iv-ecg" in usable)
    chapters = {
        "cohorts": ", ".join(status.name for status in statuses if status.usable) or "nothing",
        "pretraining": pretraining,
        "fig1_framework": "shapes; a held-out recording" if paired else "shapes alone: nothing to pretrain on",
        "table1_linear_probe": labelled,
        "table4, 6, 8, protocol": "as table1_linear_probe",
        "table2_zero_shot, 9": labelled if paired else "nothing: needs reports to align with",
        "table7_shift": transfers,
        "fig3_embedding_mi": f"unseen pairs of {paired[-1]}" if paired else "nothing",
        "table3_generation": "; ".join(asked) or "nothing: needs ptb-xl",
        "fig4_umap, limits": "ptb-xl" if "ptb-xl" in usable else "nothing: needs ptb-xl",
    }
    lines += ["", "What the chapters can show", *(f"  {name:<24}{text}" for name, text in chapters.items())]
    return "\n".join(lines)
