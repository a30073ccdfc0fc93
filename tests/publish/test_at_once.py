"""A small book of the real thing: two builds of it at once, and Ctrl-C in the middle of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CONFIG = "title: Small\nauthor: nobody\nexecute: {execute_notebooks: 'off'}\nonly_build_toc_files: true\n"
SAYS_THAT_IT_RAN = """import os, time
from pathlib import Path
(Path("ran") / f"{name}-{os.getpid()}").touch()
time.sleep(1)
print(name)"""
NEVER_ENDS = """import time
from pathlib import Path
from merit.parallel import ordered_map
(Path("ran") / name).touch()
list(ordered_map(time.sleep, [600, 600], 2))"""


@pytest.fixture
def book(tmp_path):
    """Call it with the code of the notebooks; the folder of a book of a first page and two such notebooks."""

    def write(code: str) -> Path:
        (tmp_path / "book").mkdir()
        (tmp_path / "ran").mkdir()
        toc = "format: jb-book\nroot: book/intro\nchapters: [{file: book/one}, {file: book/two}]\n"
        for name, text in (("_toc.yml", toc), ("_config.yml", CONFIG), ("requirements.txt", "")):
            (tmp_path / name).write_text(text)
        (tmp_path / "book" / "budget.csv").write_text("step,profile,seconds\n")
        (tmp_path / "book" / "intro.md").write_text("# Small\n")
        for name in ("one", "two"):
            cells = [{"cell_type": "markdown", "id": "t", "source": f"# {name}", "metadata": {}}]
            for k, (source, tags) in enumerate([(f'name: str = "{name}"', ["parameters"]), (code, [])]):
                cell = {"cell_type": "code", "id": f"c{k}", "source": source, "metadata": {"tags": tags}}
                cells.append({**cell, "outputs": [], "execution_count": None})
            kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
            notebook = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
            (tmp_path / "book" / f"{name}.ipynb").write_text(json.dumps(notebook))
        return tmp_path

    return write


def make(root: Path) -> subprocess.Popen[str]:
    """`make book` in that folder, in a process group of its own as a terminal starts it."""
    command = [sys.executable, "-m", "merit", "book", "--profile", "smoke"]
    environment = {**os.environ, "MERIT_HOME": str(root), "OMP_NUM_THREADS": "2"}
    said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **said)


@pytest.mark.slow
def test_two_builds_in_one_folder_make_everything_once(book):
    root = book(SAYS_THAT_IT_RAN)
    builds = [make(root), make(root)]
    said = [build.communicate(timeout=300)[0] for build in builds]
    assert [build.returncode for build in builds] == [0, 0], said
    assert sorted(path.name.split("-")[0] for path in (root / "ran").iterdir()) == ["one", "two"]
    assert sorted("nothing to do" in text for text in said) == [False, True], said
    pages = root / "_build" / "smoke" / "html" / "book"
    assert "<pre>one" in "".join((pages / "one.html").read_text().split("<span></span>"))
    left = [path for path in root.rglob(".*") if path.is_file() and ".locks" not in path.parts]
    assert [path.name for path in left if "html" not in path.parts] == []
    assert make(root).communicate(timeout=300)[0].startswith("nothing to do")


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False])
def test_ctrl_c_is_one_line_within_seconds_and_leaves_no_process(book, to_all):
    root = book(NEVER_ENDS)
    build = make(root)
    deadline = time.monotonic() + 120
    while len(list((root / "ran").iterdir())) < 2 and build.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)  # the notebooks' own workers
    children = psutil.Process(build.pid).children(recursive=True)
    assert len([child for child in children if "ipykernel_launcher" in " ".join(child.cmdline())]) == 2
    pressed = time.monotonic()
    os.killpg(build.pid, signal.SIGINT) if to_all else os.kill(build.pid, signal.SIGINT)
    said = build.communicate(timeout=60)[0].splitlines()
    assert time.monotonic() - pressed < 15
    assert build.returncode == 130
    assert said[1:] == ["merit: stopped; the same command goes on from what is on disk"]
    assert psutil.wait_procs(children, timeout=15)[1] == []
    assert not list((root / "artifacts").rglob("*.partial*"))
