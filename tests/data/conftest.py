"""A tree in PTB-XL's layout."""

from __future__ import annotations

from pathlib import Path

import pytest
from wfdb_trees import PtbXlTree


@pytest.fixture
def ptb_xl(tmp_path: Path) -> PtbXlTree:
    return PtbXlTree(tmp_path / "ptb-xl")
