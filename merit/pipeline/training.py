"""Old address of `merit.studies.workspace`."""

from merit.studies.workspace import ENCODER_NAMES, OFFICIAL_TRAINING_FOLDS
from merit.studies.workspace import Workspace as Training

__all__ = ["ENCODER_NAMES", "OFFICIAL_TRAINING_FOLDS", "Training"]
