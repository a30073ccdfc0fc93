"""Old address of `merit.studies.workspace`."""

from merit.studies.workspace import BOUND_RECORDINGS, VARIANTS, Workspace, stage_source

__all__ = ["BOUND_RECORDINGS", "VARIANTS", "Workspace", "stage_source"]
