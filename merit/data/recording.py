"""What a reader hands over: one recording, always twelve leads in one order, in millivolts; and texts of others.

Names, tables and reports come from files of unknown origin: nothing outside the data set's folder is opened by them,
and they are shown escaped. Legend: L leads, T samples.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The order of the leads in every signal after reading, whatever the order in the file."""

SEXES = ("female", "male")


class RejectedRecording(ValueError):
    """A recording that cannot be used; its text is the reason, one line, that `rejected.csv` prints."""


UNREADABLE = "unreadable file"
"""How the reason begins where the system would not read a file."""


class UnreadableFile(RejectedRecording):
    """A file that the system would not read (permission, input or output): another time it may."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One recording as published, with the leads in the order of `LEADS`."""

    record_id: str
    """Unique within its cohort."""
    patient_id: str
    """The record's own id where the data set publishes no patient ids."""
    signal_mv: np.ndarray
    """float32 [12, T], millivolts at `fs_hz`; NaN where the file marks a sample as invalid."""
    fs_hz: float
    """Sampling rate of `signal_mv`, Hz."""
    report: str
    """As published, untrusted; empty where there is none."""
    labels: frozenset[str]
    """Codes of the cohort's own vocabulary (see `merit.data.taxonomy`)."""
    fold: int | None = None
    """Official fold, where the data set has one."""
    age: float | None = None
    """Years."""
    sex: str | None = None
    """"female", "male" or None."""
    checksums_agree: bool | None = None
    """Whether the samples add up to what the file's header states; None where it states nothing."""

    def __post_init__(self) -> None:
        if self.signal_mv.ndim != 2 or self.signal_mv.shape[0] != len(LEADS):
            raise ValueError(f"record {self.record_id}: signal_mv has shape {self.signal_mv.shape}, expected (12, T)")
        if self.sex not in (None, *SEXES):
            raise ValueError(f"record {self.record_id}: sex is {self.sex!r}, expected one of {SEXES} or None")


# Names and contents of unknown origin

_OUTSIDE = re.compile(r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)|::|://|[\x00-\x1f\\]")
"""An absolute path, a drive, a step up, a chained or remote address (which file-system layers follow), a control
character."""


def name_problem(name: str) -> str:
    """Why a relative path without extension cannot name a recording; "" if it can. Looks at the text alone."""
    if not name.strip():
        return "no file name"
    if _OUTSIDE.search(name):
        return f"outside the data set: {shown(name)}"
    return ""


def inside(folder: str, name: str) -> str:
    """The path of `name` below `folder`; rejected if its text leads elsewhere.

    Links are followed where the file is opened, under the name that the user sees: a link in the folder
    was laid there on purpose (git-annex, Hugging Face's cache, a scratch disk).
    """
    if problem := name_problem(name):
        raise RejectedRecording(problem)
    return os.path.join(folder, name)


def something_else(content: bytes) -> str:
    """What lies in place of a file that was not downloaded, from its first bytes; "" where they tell nothing."""
    head = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kinds = {
        "a Git LFS pointer": head.startswith(b"version https://git-lfs"),
        "a git-annex pointer": b"annex/objects/" in head,
        "a web page": head.startswith((b"<!doctype html", b"<html", b"<head")),
    }
    return next((kind for kind, found in kinds.items() if found), "")


def shown(text: str, limit: int = 80) -> str:
    """Text of unknown origin, safe within one line: quoted, escaped and bounded."""
    return ascii(text if len(text) <= limit else text[:limit] + "…")


# Reports

STATEMENT_BREAK = "\n"
"""What separates the statements of one report before cleaning."""
MAX_CHARACTERS = 5000
"""A longer report is cut: the longest real ones have a few hundred characters."""
_EKG = re.compile(r"\bekg", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def clean(report: str) -> str:
    """One lower-case line: statements (lines of the input) joined by ", ", "EKG" as "ecg", marks and controls removed.

    Asterisks go everywhere; equal signs, dashes and commas at the ends of a statement, where devices leave them.
    """
    statements = []
    for line in report[:MAX_CHARACTERS].split(STATEMENT_BREAK):
        if not line.isascii() or not line.isprintable():
            line = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") else c for c in line)
        line = _SPACES.sub(" ", _EKG.sub("ECG", line.replace("*", " ")))
        statements.append(line.strip(" =-,;").lower())
    return ", ".join(statement for statement in statements if statement)
