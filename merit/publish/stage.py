"""Lay out what jupyter-book builds from: the committed pages, with each notebook replaced by its executed twin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from merit import runs

_SKIPPED = {"__pycache__", ".ipynb_checkpoints", "reference"}
"""Folders that are no part of the book; rendering leaves Python's cache of our extensions in the target too."""


def pages(toc: Path) -> list[str]:
    """The pages that a `_toc.yml` names, in order, the root first, as written there (no extension)."""
    found: list[str] = []

    def walk(node: object) -> None:
        """Collect the files named at or below a node, in order."""
        if isinstance(node, dict):
            found.extend(str(node[name]) for name in ("root", "file") if name in node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(yaml.safe_load(toc.read_text()))
    return found


def stage(root: Path, executed: Path, target: Path) -> list[Path]:
    """Bring `target` to what the book at `root` now is, notebooks taken from the folder `executed`.

    Files whose content did not change are left alone, files that are no longer there are removed.
    Returns what was written or removed; raises FileNotFoundError for a notebook that was not executed.
    """
    wanted = {target / name: (root / name).read_bytes() for name in ("_config.yml", "_toc.yml")}
    for path in sorted((root / "book").rglob("*")):
        if path.is_dir() or _skipped(path, root):
            continue
        content = path.read_bytes()
        if path.suffix == ".ipynb":
            content = refreshed(path, executed / path.name)
        wanted[target / path.relative_to(root)] = content
    there = (path for path in target.rglob("*") if path.is_file()) if target.exists() else ()
    changed = [path for path in there if path not in wanted and not _skipped(path, target)]
    for path in changed:
        path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            with runs.written(path) as temporary:
                temporary.write_bytes(content)
            changed.append(path)
    return changed


def _skipped(path: Path, root: Path) -> bool:
    return bool(_SKIPPED & set(path.relative_to(root).parts))


def refreshed(source: Path, executed: Path) -> bytes:
    """The executed notebook with the prose, captions and tags of its source as they are now: editing those re-runs
    nothing."""
    if not executed.exists():
        raise FileNotFoundError(f"{source.name} has not been executed: no {executed}")
    now, ran = json.loads(source.read_text()), json.loads(executed.read_text())
    outputs = {cell.get("id"): cell for cell in ran["cells"]}
    cells = []
    for cell in now["cells"]:
        if cell["cell_type"] == "code":
            cell = {**outputs[cell["id"]], "metadata": cell["metadata"]}
        cells.append(cell)
        if "parameters" in cell["metadata"].get("tags", []):
            cells += [_injected(one) for one in ran["cells"] if _is_injected(one)]
    return (json.dumps({**ran, "cells": cells}, indent=1, ensure_ascii=False) + "\n").encode()


def _is_injected(cell: Mapping) -> bool:
    return "injected-parameters" in cell["metadata"].get("tags", [])


def _injected(cell: Mapping) -> dict:
    """Papermill's cell, out of sight: the footer of the page says the same."""
    return {**cell, "metadata": {"tags": ["injected-parameters", "remove-cell"]}}
