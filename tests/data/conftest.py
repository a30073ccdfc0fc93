"""A tree in PTB-XL's layout; the tests of this folder share `wfdb_trees`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def ptb_xl(tmp_path: Path) -> Any:
    """An empty tree in PTB-XL's layout, a `wfdb_trees.PtbXlTree`."""
    from wfdb_trees import PtbXlTree

    return PtbXlTree(tmp_path / "ptb-xl")
