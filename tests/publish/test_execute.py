"""The runner: nothing in place unless everything ran, a record of what ran, and what differs between two records."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from merit import runs, scores
from merit.publish import execute as runner
from merit.publish.execute import compare

PARAMETERS = 'word: str = "a"  # what to print\nend: str = ""  # how to fail'
BODY = """import os, signal, sys
print(word, os.environ["PYTHONHASHSEED"], os.environ["OPENBLAS_NUM_THREADS"])
sys.stderr.write("\\r 50 %")
if end == "raise":
    raise KeyError("nothing here")
if end == "full":
    from merit.runs import DiskFull
    raise DiskFull("/a/store: no room to write it")
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)"""
HANDS_OVER = f'display({{"text/plain": "x", "{runner.PROVENANCE_MIME}": {{"device": "abacus"}}}}, raw=True)'


@pytest.fixture
def source(tmp_path) -> Path:
    """A notebook of three code cells that ends as its parameter `end` says."""
    guarded = f"from merit.publish.parameters import guard\nguard(globals())\n{BODY}"
    cells = [
        {"cell_type": "code", "id": name, "source": text, "metadata": {"tags": tags}, "outputs": []}
        | {"execution_count": None}
        for name, text, tags in [("p", PARAMETERS, ["parameters"]), ("b", guarded, []), ("l", HANDS_OVER, [])]
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = tmp_path / "tiny.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_success_is_recorded_and_failure_leaves_the_last_success(source, tmp_path):
    out = tmp_path / "out" / "tiny.ipynb"
    runner.execute(source, out, {"word": "<b>"}, key="k1")
    done, before = json.loads(out.read_text()), out.read_bytes()
    record = done["metadata"]["merit"]
    assert (record["parameters"], record["given"]) == ({"word": "<b>", "end": ""}, {"word": "<b>"})
    assert (record["device"], record["key"], record["seconds"] > 0) == ("abacus", "k1", True)
    assert not {"input_path", "output_path"} & set(done["metadata"]["papermill"])
    assert [output["text"] for output in done["cells"][2]["outputs"]] == [["<b> 0 1\n"]]  # and no progress bar
    with pytest.raises(runner.NotebookFailed, match="KeyError: 'nothing here'; as far as it came: "):
        runner.execute(source, out, {"end": "raise"})
    assert out.read_bytes() == before
    assert sorted(path.name for path in out.parent.iterdir()) == [".locks", "tiny.failed.ipynb", "tiny.ipynb"]


def test_a_disk_that_fills_up_in_a_notebook_is_said_as_anywhere_else(source, tmp_path):
    with pytest.raises(runs.DiskFull, match=r"^/a/store: no room to write it$"):
        runner.execute(source, tmp_path / "out" / "tiny.ipynb", {"end": "full"})
    full, raised = tmp_path / "full.ipynb", "raise OSError(28, 'No space left on device')"
    full.write_text(source.read_text().replace("import os, signal, sys", raised))
    with pytest.raises(runs.DiskFull, match=r"full\.ipynb: no room to write it \(No space left on device\); make room"):
        runner.execute(full, tmp_path / "out" / "full.ipynb", {})


def test_a_killed_kernel_is_a_failure_and_cells_without_a_count_did_not_run(source, tmp_path, monkeypatch):
    out = tmp_path / "out" / "tiny.ipynb"
    with pytest.raises(runner.NotebookFailed):
        runner.execute(source, out, {"end": "kill"})
    # as papermill leaves a notebook whose kernel was killed between two cells
    monkeypatch.setattr("papermill.execute_notebook", lambda source, out, **_: shutil.copyfile(source, out))
    with pytest.raises(runner.NotebookFailed, match="cell 0 did not run"):
        runner.execute(source, out, {})
    assert not out.exists()


def test_wrong_parameters_start_nothing_and_plain_papermill_refuses_them_too(source, tmp_path):
    said = "unknown 'wort'; the parameters are word: str, end: str"
    with pytest.raises(ValueError, match=said):
        runner.execute(source, tmp_path / "out" / "tiny.ipynb", {"wort": "x"})
    assert not (tmp_path / "out").exists()
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", source, tmp_path / "o.ipynb", "-p", "wort", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_variant_names_say_what_was_changed_and_stay_file_names():
    assert runner.variant_name("t", {}) == "t"
    assert runner.variant_name("t", {"tasks": "form", "seed": 1}) == "t--seed=1--tasks=form"
    strange = runner.variant_name("t", {"data": "/a b/../c" * 30})
    assert "/" not in strange
    assert len(strange) < 100
    assert strange != runner.variant_name("t", {"data": "/a b/../d" * 30})


def executed(folder: Path, name: str, parameters: dict, result: str | None, score: float = 0.5) -> Path:
    """A notebook with the record of a run that rests on one result."""
    path = folder / "notebooks" / "variants" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs = [{"what": "linear_probe merit form", "id": result}] if result else []
    notebook = {"metadata": {"merit": {"parameters": parameters, "inputs": inputs}}, "cells": []}
    notebook["metadata"]["merit"]["digest"] = runs.digest(notebook)
    path.write_text(json.dumps(notebook))
    rows = [{"variant": "raw", "class": name, "metric": "auroc", "value": score} for name in ("macro", "AFIB")]
    values = {"scores": scores.pack(scores.frame(rows))}
    (folder / "results").mkdir(exist_ok=True)
    kept = {"stage": "linear_probe", "id": result, "values": values}
    runs.write_json(folder / "results" / f"linear_probe-{result}.json", {**kept, "digest": runs.digest(kept)})
    return path


def test_two_notebooks_differ_in_parameters_then_inputs_then_numbers(tmp_path):
    a = executed(tmp_path, "a", {"seed": 0, "tasks": "form"}, "1", 0.61)
    b = executed(tmp_path, "b", {"seed": 1, "tasks": "form"}, "2", 0.625)
    differ = ["parameter seed: 0 | 1", "input linear_probe merit form: 1 | 2"]
    differ += ["number linear_probe merit form raw macro auroc: 0.6100 | 0.6250"]
    assert compare(a, b).splitlines()[2:] == differ
    assert compare(a, a).splitlines()[2:] == ["nothing differs"]
    a.write_text(json.dumps({"metadata": {}, "cells": []}))
    with pytest.raises(ValueError, match="expected an executed notebook"):
        compare(a, a)
