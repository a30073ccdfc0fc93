"""From files to results: `Workspace` is what notebooks and commands use."""

from merit.studies.workspace import Workspace

__all__ = ["Workspace"]
