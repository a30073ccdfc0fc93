"""What is run on which encoders and recordings: a workspace provides them, a study is declared once (`core.study`)."""

from merit.studies.workspace import Workspace

__all__ = ["Workspace"]
