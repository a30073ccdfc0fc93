"""Names that come out of headers and tables, resolved so that nothing outside the data set's folder is opened."""

from __future__ import annotations

import functools
import os
import re

from merit.data.recording import RejectedRecording

_OUTSIDE = re.compile(r"^/|(^|/)\.\.(/|$)|::|://|[\x00-\x1f\\]")
"""An absolute path, a step up, a chained or remote address (which file-system layers follow), a control character."""


def name_problem(name: str) -> str:
    """Why a relative path without extension cannot name a recording; "" if it can. Looks at the text alone."""
    if not name.strip():
        return "no file name"
    if _OUTSIDE.search(name):
        return f"outside the data set: {shown(name)}"
    return ""


def inside(root: str, folder: str, name: str) -> str:
    """The absolute path of `name`, relative to `folder`; refused if it, or a link on the way, leaves `root`."""
    if problem := name_problem(name):
        raise RejectedRecording(problem)
    folder, name = os.path.split(os.path.join(folder, name))
    path = os.path.join(_real(folder), name)
    if os.path.islink(path):
        path = os.path.realpath(path)
    base = _real(root)
    if not path.startswith(base.rstrip(os.sep) + os.sep):
        raise RejectedRecording(f"outside the data set: {shown(name)}")
    return path


def forget_links() -> None:
    """Look again where folders lead: links may have changed since a data set was last opened."""
    _real.cache_clear()


def shown(text: str, limit: int = 80) -> str:
    """Text of unknown origin, safe within one line: quoted, escaped and bounded."""
    return ascii(text if len(text) <= limit else text[:limit] + "…")


@functools.lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
