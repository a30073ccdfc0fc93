"""Work in other processes: every result once, and a failure ends the rest."""

from __future__ import annotations

import subprocess
from subprocess import check_output

import pytest

from merit.parallel import as_done, ordered_map


def shell(script: str) -> list[str]:
    """Arguments for `check_output`, a function that other processes can import."""
    return ["sh", "-c", script]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_once(workers):
    tasks = [shell(f"printf {number}") for number in range(4)]
    assert sorted(as_done(check_output, tasks, workers)) == [b"0", b"1", b"2", b"3"]
    assert list(ordered_map(check_output, tasks, workers)) == [b"0", b"1", b"2", b"3"]


def test_what_is_done_first_comes_first_from_other_processes():
    tasks = [shell("sleep 0.5; printf late"), shell("printf early")]
    assert list(as_done(check_output, tasks, 2)) == [b"early", b"late"]
    assert list(ordered_map(check_output, tasks, 2)) == [b"late", b"early"]


def test_after_a_failure_no_further_task_begins(tmp_path):
    tasks = [shell("exit 3"), *(shell(f"sleep 0.2; touch {tmp_path / str(number)}") for number in range(40))]
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        list(as_done(check_output, tasks, 2))
    assert len(list(tmp_path.iterdir())) < 12
