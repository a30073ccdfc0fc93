"""Names that come out of headers and tables, read so that nothing outside the data set's folder is opened by them."""

from __future__ import annotations

import os
import re

from merit.data.recording import RejectedRecording

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
    """The path of `name` below `folder`; refused if its text leads elsewhere.

    Links are followed where the file is opened, under the name that the user sees: whoever laid one into the folder
    meant it (git-annex, Hugging Face's cache, a scratch disk).
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
