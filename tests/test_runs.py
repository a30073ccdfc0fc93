"""Identities: editing what computes changes them, editing words does not; files are whole or absent."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from merit import runs


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package that a test may edit."""
    shutil.copytree(runs.PACKAGE_ROOT, tmp_path / "merit", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runs, "PACKAGE_ROOT", tmp_path / "merit")
    return tmp_path / "merit"


def probe_identity() -> str:
    runs.parsed.cache_clear()
    return runs.identity("linear_probe", {"task": "form"}, {"store": "a"}, ["merit.evaluate.probe_tables"])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_editing_metrics_recomputes_what_uses_it(package):
    before = probe_identity()
    edit(package / "evaluate" / "metrics.py", "\ndef ", "\nEXTRA = 1\n\n\ndef ")
    assert probe_identity() != before


def test_a_table_that_a_module_reads_is_part_of_its_source(package):
    before = probe_identity()
    edit(package / "data" / "ptb_xl_statements.csv", "NORM", "NORMAL")
    assert probe_identity() != before


def test_ingest_does_not_depend_on_the_network():
    assert not [name for name in runs.source_closure(["merit.data.ingest"]) if ".model" in name or ".pretrain" in name]


def test_editing_a_comment_a_docstring_or_a_caption_does_not(package):
    before = probe_identity()
    metrics = package / "evaluate" / "metrics.py"
    metrics.write_text("# a comment\n" + metrics.read_text())
    edit(metrics, '"""', '"""Other words. ')
    (package / "report" / "tables.py").write_text("CAPTION = 'other'\n")
    assert probe_identity() == before


def test_the_closure_follows_imports_and_leaves_settings_out():
    found = runs.source_closure(["merit.pretrain.loop"])
    assert {"merit.model.attention", "merit.objectives", "merit.data.batches"} <= set(found)
    assert not {"merit.config", "merit.runs", "merit.report.tables"} & set(found)
    with pytest.raises(ValueError, match=r"expected one of this package; got 'merit\.nothing'"):
        runs.source_closure(["merit.nothing"])


def test_parameters_and_inputs_matter_and_their_order_does_not():
    base = runs.identity("s", {"a": 1, "b": 2}, {"x": "1"}, [])
    assert runs.identity("s", {"b": 2, "a": 1}, {"x": "1"}, []) == base
    others = [
        ("t", {"a": 1, "b": 2}, {"x": "1"}),
        ("s", {"a": 1, "b": 3}, {"x": "1"}),
        ("s", {"a": 1, "b": 2}, {"x": "2"}),
    ]
    assert base not in {runs.identity(*other, []) for other in others}


def compute_once(folder: Path, calls: list[int], **changes):
    def compute():
        calls.append(1)
        return {"score": 0.5}

    given = {"parameters": {"a": 1}, "inputs": {}, "modules": [], "facts": lambda: {"profile": "smoke"}}
    return runs.read_or_compute(folder, "stage", compute, **{**given, **changes})


def test_the_same_is_read_and_another_is_computed(tmp_path):
    calls: list[int] = []
    first = compute_once(tmp_path, calls)
    assert compute_once(tmp_path, calls) == json.loads(json.dumps(first))
    assert len(calls) == 1
    compute_once(tmp_path, calls, parameters={"a": 2})
    assert len(calls) == 2
    assert len(list(tmp_path.glob("*.json"))) == 2


def compute_slowly(folder: Path) -> str:
    def compute():
        time.sleep(0.3)
        with (folder / "calls").open("a") as file:
            file.write("called\n")
        return {}

    return runs.read_or_compute(folder, "s", compute, parameters={}, inputs={}, modules=[], facts=dict)["id"]


def test_those_that_want_the_same_at_once_make_it_once(tmp_path):
    with ThreadPoolExecutor(3) as others:  # a claim is on a file: threads and processes are alike to it
        assert len(set(others.map(compute_slowly, [tmp_path] * 3))) == 1
    assert (tmp_path / "calls").read_text() == "called\n"


def test_a_failed_computation_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        runs.read_or_compute(
            tmp_path, "s", lambda: {"score": float("nan")}, parameters={}, inputs={}, modules=[], facts=dict
        )
    assert not list(tmp_path.glob("*s-*"))


def test_a_file_that_says_something_else_is_refused(tmp_path):
    compute_once(tmp_path, [])
    path = next(tmp_path.glob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "id": "other"}))
    with pytest.raises(ValueError, match="damaged; delete it, and the same command makes it again"):
        compute_once(tmp_path, [])


def test_imports_for_types_alone_are_no_source(tmp_path):
    lines = ["from typing import TYPE_CHECKING", "if TYPE_CHECKING:", "    import merit.config", "import merit.runs"]
    (tmp_path / "m.py").write_text("\n".join(lines))
    assert runs.parsed(tmp_path / "m.py")[1] == {"merit.runs"}
