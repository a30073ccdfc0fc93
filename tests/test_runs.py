"""Identities: editing what computes changes them, editing words does not; files are whole or absent."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from merit import runs


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package that a test may edit."""
    shutil.copytree(runs.PACKAGE_ROOT, tmp_path / "merit", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runs, "PACKAGE_ROOT", tmp_path / "merit")
    return tmp_path / "merit"


def probe_identity() -> str:
    runs.parsed.cache_clear()
    return runs.identity("linear_probe", {"task": "form"}, {"store": "a"}, ["merit.evaluate.probing"])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_editing_what_computes_or_a_table_that_it_reads_is_another_identity_and_editing_words_is_not(package):
    before, metrics = probe_identity(), package / "evaluate" / "metrics.py"
    edit(metrics, '"""', '# a comment\n"""Other words. ')
    (package / "report" / "tables.py").write_text("CAPTION = 'other'\n")
    assert probe_identity() == before
    edit(metrics, "\ndef ", "\nEXTRA = 1\n\n\ndef ")
    edited = probe_identity()
    edit(package / "data" / "ptb_xl_statements.csv", "NORM", "NORMAL")
    assert len({before, edited, probe_identity()}) == 3


def test_the_closure_follows_imports_and_leaves_settings_and_types_out(tmp_path):
    found = runs.source_closure(["merit.pretrain.train"])
    assert {"merit.model.attention", "merit.objectives", "merit.data.batches"} <= set(found)
    assert not {"merit.config", "merit.runs", "merit.report.show"} & set(found)
    assert not [name for name in runs.source_closure(["merit.data.ingest"]) if ".model" in name or ".pretrain" in name]
    with pytest.raises(ValueError, match=r"expected one of this package; got 'merit\.nothing'"):
        runs.source_closure(["merit.nothing"])
    lines = ["from typing import TYPE_CHECKING", "if TYPE_CHECKING:", "    import merit.config", "import merit.runs"]
    (tmp_path / "m.py").write_text("\n".join(lines))
    assert runs.parsed(tmp_path / "m.py")[1] == {"merit.runs"}


def test_parameters_and_inputs_matter_and_their_order_does_not():
    base = runs.identity("s", {"a": 1, "b": 2}, {"x": "1"}, [])
    assert runs.identity("s", {"b": 2, "a": 1}, {"x": "1"}, []) == base
    for other in (("t", {"a": 1, "b": 2}, "1"), ("s", {"a": 1, "b": 3}, "1"), ("s", {"a": 1, "b": 2}, "2")):
        assert runs.identity(*other[:2], {"x": other[2]}, []) != base


def compute_once(folder: Path, compute=lambda: {"score": 0.5}, **changes):
    given = {"parameters": {"a": 1}, "inputs": {}, "source": {}, "facts": lambda: {"profile": "smoke"}}
    return runs.read_or_compute(folder, "stage", compute, **{**given, **changes})


def test_those_that_want_the_same_at_once_make_it_once(tmp_path):
    def compute_slowly():
        time.sleep(0.3)
        with (tmp_path / "calls").open("a") as file:
            file.write("called\n")
        return {}

    with ThreadPoolExecutor(3) as others:  # a claim is on a file: threads and processes are alike to it
        results = list(others.map(lambda _: compute_once(tmp_path, compute_slowly), range(3)))
    assert len({result["id"] for result in results}) == 1
    assert (tmp_path / "calls").read_text() == "called\n"


def test_a_failed_computation_leaves_no_file_and_one_that_says_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        compute_once(tmp_path, lambda: {"score": float("nan")})
    assert not list(tmp_path.glob("*stage-*"))
    first = compute_once(tmp_path)
    assert compute_once(tmp_path, lambda: pytest.fail("computed again")) == json.loads(json.dumps(first))
    (path,) = tmp_path.glob("*.json")
    compute_once(tmp_path, parameters={"a": 2})
    assert len(list(tmp_path.glob("*.json"))) == 2
    path.write_text(json.dumps({**json.loads(path.read_text()), "id": "other"}))
    with pytest.raises(ValueError, match="damaged; delete it, and the same command makes it again"):
        compute_once(tmp_path)


def folder_of_files(path: Path) -> None:
    path.mkdir()
    (path / "part.txt").write_text("x" * 1_000_000)


WRITERS = {
    "text.txt": lambda path: path.write_text("x" * 1_000_000),
    "array.npy": lambda path: np.save(path, np.zeros(1_000_000)),
    "table.csv": lambda path: pd.DataFrame({"x": range(300_000)}).to_csv(path),
    "table.parquet": lambda path: pd.DataFrame({"x": np.random.default_rng(0).random(300_000)}).to_parquet(path),
    "weights.safetensors": lambda path: save_file({"w": torch.zeros(300_000)}, path),
    "state.pt": lambda path: torch.save({"w": torch.zeros(300_000)}, path),
    "folder": folder_of_files,
}


BY_LIBRARIES = r"file write failed|unexpected pos \d+|\d+ requested and \d+ written"


@pytest.fixture(params=["full", "limit of a file's size"])
def cramped(request, tmp_path) -> Iterator[tuple[Path, str]]:
    """A folder in which 200,000 bytes fit, and the system's words where more are written."""
    if request.param == "full":
        mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "merit", tmp_path]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a small file system can be mounted by root alone")
        yield tmp_path, f"No space left on device|{BY_LIBRARIES}"
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    else:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        yield tmp_path, f"File too large|{BY_LIBRARIES}"
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_one_line_with_the_file_and_leaves_nothing(cramped):
    folder, words = cramped
    before = (folder / "text.txt", folder / "folder")
    before[0].write_text("old")
    before[1].mkdir()
    for name, write in WRITERS.items():
        with pytest.raises(runs.DiskFull) as said, runs.written(folder / name) as temporary:
            write(temporary)
        end = "make room on that disk, and the same command goes on from there"
        line = rf"{re.escape(str(folder / name))}: no room to write it \(({words})\); {end}"
        assert re.fullmatch(line, str(said.value))
    assert sorted(path.name for path in folder.iterdir()) == ["folder", "text.txt"]
    assert (before[0].read_text(), list(before[1].iterdir())) == ("old", [])


def test_a_quota_counts_as_a_full_disk_and_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(runs.DiskFull, match="one: no room to write it"), runs.written(tmp_path / "one"):
        raise RuntimeError("cannot go on") from OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    with pytest.raises(PermissionError, match="not yours"), runs.written(tmp_path / "one"):
        raise PermissionError(errno.EACCES, "not yours")
    assert not list(tmp_path.iterdir())


HALF = """
import os, signal, sys
from pathlib import Path
from merit import runs
out = Path(sys.argv[1])
with runs.claimed(out), runs.written(out) as file, runs.written(out.with_name("folder") / "part.npy") as part:
    file.write_text("half")
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_claim(tmp_path):
    out, folder = tmp_path / "re[su]lt.json", tmp_path / "folder"
    mine = tmp_path / ".re[su]lt.json.notes"
    mine.write_text("of somebody else")
    subprocess.run([sys.executable, "-c", HALF, out], check=False)
    assert len(list(tmp_path.glob(".*.partial*"))) == len(list(folder.glob(".*.partial*"))) == 1
    with runs.written(out) as busy:  # of a process that lives
        busy.write_text("whole")
        with runs.claimed(out), runs.claimed(folder):
            assert not list(folder.iterdir())
    assert out.read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", mine.name, "folder", "re[su]lt.json"]


def test_a_claim_may_be_made_again_inside_and_not_by_others(tmp_path):
    with runs.claimed(tmp_path / "x"), runs.claimed(tmp_path / "x", wait=False), ThreadPoolExecutor(1) as other:
        second = other.submit(lambda: runs.claimed(tmp_path / "x", wait=False).__enter__())
        assert "x: another process is writing there" in str(second.exception())
    with runs.claimed(tmp_path / "x", wait=False):
        pass


def test_where_nothing_can_be_written_a_claim_is_no_obstacle(tmp_path):
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "merit", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("a file system can be mounted by root alone")
    try:
        with runs.claimed(tmp_path / "x"), pytest.raises(OSError, match="Read-only file system"):
            (tmp_path / "x").write_text("")
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
