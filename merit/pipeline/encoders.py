"""Old address of `merit.studies.workspace`."""

from merit.studies.workspace import WHOLE
from merit.studies.workspace import Workspace as Encoders

__all__ = ["WHOLE", "Encoders"]
