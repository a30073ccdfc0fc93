"""The book's own Sphinx extensions, which are no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "book" / "_ext"


@pytest.fixture
def extension():
    """Call it with a name; the module of that extension."""

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
