"""What `make` hands over: every value as it is written, in one piece, and nothing in it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAYS = """#!{python}
import json, os, sys
print(json.dumps([sys.argv[1:], {{k: v for k, v in os.environ.items() if k.startswith("MERIT_")}}]))
sys.exit(int(os.environ.get("FAIL", "0")))
"""
STRANGE = ("My Drive", "a;touch ran", "$(touch ran)", "$(shell touch ran)", "`touch ran`", "a'b", 'a"b', "a#b", "$HOME")


@pytest.fixture
def make(tmp_path):
    """`make ...` with an interpreter that says how it was called; its status, and what was said."""
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(SAYS.format(python=sys.executable))
    python.chmod(0o755)
    for name in ("requirements.txt", "pyproject.toml", "requirements-browser.txt", ".venv/.ready", ".venv/.browser"):
        (tmp_path / name).touch()

    def call(*arguments: str, **environment: str) -> tuple[int, list]:
        here = {k: v for k, v in os.environ.items() if not k.startswith(("MERIT_", "MAKE", "MFLAGS"))}
        done = subprocess.run(
            ["make", *arguments], cwd=tmp_path, env={**here, **environment}, capture_output=True, text=True, check=False
        )
        assert not list(tmp_path.rglob("ran")), "something in a value was run"
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]

    return call


def after(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


@pytest.mark.parametrize("value", STRANGE)
def test_a_value_is_one_argument_or_variable_as_it_is_written(make, value):
    names = ("TEXT", "LM", "BERT", "ENCODER", "BACKBONE", "LIMIT")
    status, said = make("pdf", f"DATA={value}", f"CHROMIUM={value}", f"SET={value}", *(f"{n}={value}" for n in names))
    assert status == 0
    for arguments, environment in said:
        assert after(arguments, "--data") == after(arguments, "--set") == value
        assert {environment[f"MERIT_{name}"] for name in names} == {value}
    assert after(said[-1][0], "--chromium") == value
    assert make("book", DATA=value)[1][0][0][3:][:4] == ["--profile", "demo", "--data", value]
    assert make("compare", f"A={value}", f"B={value}")[1][0][0] == ["-m", "merit", "compare", value, value]
    assert after(make("bench", f"DATA={value}")[1][0][0], "--data") == value
    assert make("browser", "CHROMIUM=/bin/sh", f"BOOK={value}")[1][0][1]["MERIT_BOOK"] == value
    for target in ("data", "pretrain", "evaluate", "reference"):
        assert after(make(target, f"PROFILE={value}")[1][0][0], "--profile") == value
    assert make("notebook", f"NB={value}")[1][0][0][2:4] == ["notebook", value]


def test_parameters_are_words_with_quotes_and_nothing_else(make):
    given = "P=-p tasks 'form, all' -p x \"$(touch ran)\" -p y ';touch ran' `touch ran`"
    ((arguments, _),) = make("notebook", given)[1]
    words = ["-p", "tasks", "form, all", "-p", "x", "$(touch ran)", "-p", "y", ";touch ran", "`touch", "ran`"]
    assert arguments[arguments.index("-p") :] == words
    assert make("notebook", "P=-p tasks 'form")[0] != 0


def test_what_is_not_given_is_not_handed_over(make):
    ((arguments, environment),) = make("book")[1]
    assert arguments == ["-m", "merit", "book", "--profile", "demo", "--device", "auto"]
    assert not {"MERIT_TEXT", "MERIT_LM", "MERIT_LIMIT", "MERIT_COMPILED", "MERIT_SET"} & set(environment)
    fast = make("reference", "COMPILED=1", "GRAPHS=1", "ATTENTION=flex")[1][0][1]
    assert [fast[f"MERIT_{name}"] for name in ("COMPILED", "GRAPHS", "ATTENTION", "MAKE")] == ["1", "1", "flex", "1"]


@pytest.mark.parametrize("target", ["book", "pdf", "notebook", "data", "pretrain", "evaluate", "reference", "compare",
                                    "bench", "test"])  # fmt: skip
def test_a_failed_command_is_a_failed_target(make, target):
    assert make(target, FAIL="1")[0] != 0
    assert make(target, "P=-p a b", FAIL="1")[0] != 0
