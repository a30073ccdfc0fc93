"""The committed book: what a reader's build relies on, checked without executing anything."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from merit.config import PROFILE_NAMES, settable
from merit.config import profile as named_profile
from merit.publish import build, execute, parameters

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
COMMON = {"profile": ("str", "demo"), "data": ("str | None", None), "settings": ("str", "")}


def test_toc_lists_every_page_and_nothing_else():
    listed = execute.pages(ROOT / "_toc.yml")
    there = [f"book/{path.stem}" for path in (ROOT / "book").iterdir() if path.suffix in (".md", ".ipynb")]
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_clean_with_typed_guarded_parameters_and_figures_with_captions_and_a_text(path):
    known, cells = parameters.declared(path), json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert {name: known[name][:2] for name in COMMON} == COMMON
    assert all(parameter.comment for parameter in known.values())
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert "guard(globals())" in "".join(code[1]["source"])
    assert all(cell["id"] for cell in cells)
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    for cell in cells:
        shown = cell["metadata"].get("mystnb", {})
        if "figure" in shown:
            assert shown["figure"]["name"]
            assert shown["figure"]["caption"].endswith(".")
        if "figure" in shown or (cell in code and "figures." in "".join(cell["source"])):
            assert shown["image"]["alt"]


def test_settings_that_pages_name_are_there():
    known = {path for name in PROFILE_NAMES for path in settable(named_profile(name))}
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if "SET=" in line or "--set" in line)
    text += (ROOT / "book" / "decisions.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:model|pretrain|probe|generation|text|signal)\.[a-z_]+(?:\.[a-z_]+)*", text))
    parts = {one for one in named if any(there.startswith(f"{one}.") for there in known)}
    assert len(named) > 30
    assert {one for one in named - parts if not one.endswith(".py")} <= known


def test_budget_covers_every_notebook_in_every_profile_and_the_demo_fits():
    with (ROOT / "book" / "budget.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for profile in PROFILE_NAMES:
        steps = [row["step"] for row in rows if row["profile"] == profile]
        assert {path.stem for path in NOTEBOOKS} <= set(steps)
        assert len(steps) == len(set(steps))
    demo = {row["step"]: float(row["seconds"]) for row in rows if row["profile"] == "demo"}
    alone = sum(demo.pop(step) for step in (*build.ALONE, build.LAST, "rendering"))
    assert alone + sum(demo.values()) / 2 < 1200  # the others run side by side, on two cores
