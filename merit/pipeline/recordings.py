"""Old address of `merit.studies.workspace`."""

from merit.studies.workspace import NoCohort
from merit.studies.workspace import Workspace as Recordings

__all__ = ["NoCohort", "Recordings"]
