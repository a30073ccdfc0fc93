"""Both routes by which a notebook gets parameters: the strict runner's check, and the guard inside the notebook."""

from __future__ import annotations

import pytest

from merit.publish import parameters

CELL = """tasks: str = "superclass,form"  # which tasks
epochs: int | None = None  # passes over the data
rate: float = 1e-3  # step
deep: bool = False  # whether
names: list[str] = ["a", "b"]  # several"""


def notebook(*sources: str) -> dict:
    cells = [{"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}} for source in sources]
    return {"cells": [{"cell_type": "markdown", "source": "# Title", "metadata": {}}, *cells]}


def test_declared_reads_type_default_and_comment():
    known = parameters.declared(notebook(CELL))
    assert known["tasks"] == ("str", "superclass,form", "which tasks")
    assert known["epochs"] == ("int | None", None, "passes over the data")
    assert list(known) == ["tasks", "epochs", "rate", "deep", "names"]


@pytest.mark.parametrize("sources", [[], [CELL, CELL], ["x = 1"], ["import os\nx: int = 1"], ['x: int = "one"']])
def test_declared_refuses_anything_but_one_typed_cell(sources):
    with pytest.raises(ValueError, match=r"parameters|expected int"):
        parameters.declared(notebook(*sources))


def test_check_converts_by_the_declared_type():
    given = {"tasks": "form", "epochs": "3", "rate": "2", "deep": "yes", "names": "x, y"}
    converted = parameters.check(given, parameters.declared(notebook(CELL)))
    assert converted == {"tasks": "form", "epochs": 3, "rate": 2.0, "deep": True, "names": ["x", "y"]}
    assert type(converted["rate"]) is float
    assert type(parameters.check({"rate": 2}, parameters.declared(notebook(CELL)))["rate"]) is float
    assert parameters.check({"epochs": "None"}, parameters.declared(notebook(CELL))) == {"epochs": None}


def test_check_refuses_unknown_names_and_ill_typed_values():
    for name, value, message in (
        ("task", "form", r"^unknown 'task'; the parameters are tasks: str, epochs: int \| None, "),
        ("epochs", "many", r"epochs: expected int \| None, got 'many'"),
        ("epochs", 2.5, "epochs: expected int"),
        ("epochs", True, "epochs: expected int"),
        ("tasks", 3, "tasks: expected str, got 3"),
        ("deep", "perhaps", "deep: expected bool"),
        ("tasks", None, "tasks: expected str, got None"),
    ):
        with pytest.raises(ValueError, match=message):
            parameters.check({name: value}, parameters.declared(notebook(CELL)))


def test_guard_sees_what_plain_papermill_injects_or_a_hand_edits_and_leaves_ordinary_work_alone():
    for cells, changed, message in (
        (['# Parameters\ntask = "form"\n'], {"task": "form"}, "unknown 'task'; the parameters are tasks: str"),
        (['# Parameters\nepochs = "many"\n'], {"epochs": "many"}, "epochs: expected int"),
        ([], {"epochs": "three"}, "epochs: expected int"),
    ):
        with pytest.raises(ValueError, match=message):
            parameters.guard({"In": ["", CELL, *cells], **changed})
    cells = ["", CELL, "# Parameters\nepochs = 3\n", "other = 5"]
    parameters.guard({"In": cells, "epochs": 3, "tasks": "form", "other": 5})
    parameters.guard({})
