"""Two executed notebooks side by side: parameters, inputs, numbers, and nothing where nothing differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from merit import runs
from merit.publish.compare import compare


def executed(folder: Path, name: str, parameters: dict, result: str | None, score: float = 0.5) -> Path:
    """A notebook with the record of a run that rests on one result."""
    path = folder / "notebooks" / "variants" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs = [{"what": "linear_probe merit form", "id": result}] if result else []
    notebook = {"metadata": {"merit": {"parameters": parameters, "inputs": inputs}}, "cells": []}
    notebook["metadata"]["merit"]["digest"] = runs.digest(notebook)
    path.write_text(json.dumps(notebook))
    values = {"encoder": "merit", "task": "form", "variant": "as_published", "mean": {"auroc": score}}
    (folder / "results").mkdir(exist_ok=True)
    kept = {"stage": "linear_probe", "id": result, "values": values}
    runs.write_json(folder / "results" / f"linear_probe-{result}.json", {**kept, "digest": runs.digest(kept)})
    return path


def test_parameters_come_before_numbers(tmp_path):
    a = executed(tmp_path, "a", {"seed": 0, "tasks": "form"}, "1", 0.61)
    b = executed(tmp_path, "b", {"seed": 1, "tasks": "form"}, "2", 0.625)
    assert compare(a, b).splitlines()[2:] == [
        "parameter seed: 0 | 1",
        "input linear_probe merit form: 1 | 2",
        "number merit form as_published auroc: 0.6100 | 0.6250",
    ]


def test_nothing_differs(tmp_path):
    a, b = (executed(tmp_path, name, {"seed": 0}, "1") for name in "ab")
    assert compare(a, b).splitlines()[2:] == ["nothing differs"]


def test_a_notebook_that_was_not_run_is_refused(tmp_path):
    plain = tmp_path / "plain.ipynb"
    plain.write_text(json.dumps({"metadata": {}, "cells": []}))
    with pytest.raises(ValueError, match="expected an executed notebook"):
        compare(plain, plain)
