"""The command line: what is wrong is one line, under the user's own name for it, before anything is written."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from merit import cli
from merit.config import resolve

ROOT = Path(__file__).parents[1]
SMOKE = ("--profile", "smoke")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty place for everything that is made, but for the notebooks' sources; no variable from outside."""
    for variable in (*cli.ENVIRONMENT.values(), "MERIT_MAKE"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setattr(cli, "_given", set())
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "home" / "book").mkdir(parents=True)
    shutil.copyfile(ROOT / "book" / "limits.ipynb", tmp_path / "home" / "book" / "limits.ipynb")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def refused(home, monkeypatch, capsys):
    """`python -m merit ...`, which has to end with status 2, one line, and nothing written; the line."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["merit", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert (left.value.code, said.out) == (2, "")
        assert said.err.count("\n") == 1, said.err
        assert sorted(path.name for path in home.rglob("*")) == ["book", "limits.ipynb"]
        return said.err.removeprefix("merit: ").strip()

    return call


@pytest.mark.parametrize(
    ("arguments", "begins", "holds"),
    [
        (("data", "--profile", "demmo"), "invalid choice 'demmo' for argument '--profile'", "smoke"),
        (("data", *SMOKE, "--limit", "-1"), "--limit: expected a whole number from 8; got -1", ""),
        (("data", *SMOKE, "--limit", "0"), "--limit: expected a whole number from 8; got 0", ""),
        (("data", *SMOKE, "--limit", "many"), "--limit: expected a whole number or none; got 'many'", ""),
        (("data", *SMOKE, "--data", "nowhere"), "--data: expected a folder", "nowhere"),
        (("data", *SMOKE, "--set", "hospitals.seed=x"), "hospitals.seed: expected a whole number; got 'x'", ""),
        (("data", *SMOKE, "--set", "hospital.seed=1"), "hospital.seed: no such setting", "hospitals.seed"),
        (("data", *SMOKE, "--set", "hospitals.seed"), "--set: expected path=value", ""),
        (("pretrain", *SMOKE, "--device", "tpu"), "--device: expected auto, cpu, cuda or cuda:1; got tpu", ""),
        (("pretrain", *SMOKE, "--seed", "-1"), "--seed: expected a whole number from 0; got -1", ""),
        (("pretrain", *SMOKE, "--seed", "one"), "Error parsing --seed", "one"),
        (("pretrain", *SMOKE, "--epochs", "0"), "--epochs: expected a whole number from 1; got 0", ""),
        (("pretrain", *SMOKE, "--backbone", "foo"), "--backbone: expected one of vit, tiny_vit, resnet18; got", ""),
        (("pretrain", *SMOKE, "--text-layers", "-2"), "--text-layers: expected a whole number from 0; got -2", ""),
        (("pretrain", *SMOKE, "--text", "no/such/folder"), "--text: expected a folder", "no/such/folder"),
        (("pretrain", *SMOKE, "--text", "missing"), "--text: expected a folder", "missing"),
        (("pretrain", *SMOKE, "--objective", "mae"), "invalid choice 'mae' for argument '--objective'", "cma-whole"),
        (("pretrain", *SMOKE, "--set", "model.mask_ratio=0"), "model.mask_ratio: merit reconstructs hidden", "cma"),
        (("pretrain", *SMOKE, "--device", "cpu", "--graphs"), "--graphs: expected a GPU", "cpu"),
        (("pretrain", *SMOKE, "--device", "cpu", "--attention", "flex"), "--attention: expected a GPU", "cpu"),
        (("evaluate", *SMOKE, "--tasks", "foo"), "--tasks: expected one of superclass", "foo"),
        (("evaluate", *SMOKE, "--tasks", ","), "--tasks: expected one at least", ""),
        (("evaluate", *SMOKE, "--encoders", "merit,foo"), "--encoders: expected one of merit, cma", "'foo'"),
        (("evaluate", *SMOKE, "--encoders", "ib-nan"), "--encoders: expected one of merit", "ib-nan"),
        (("evaluate", *SMOKE, "--encoder", "no.py"), "--encoder: expected path.py:Class; there is no file", "no.py"),
        (("book", *SMOKE, "--device", "gpu"), "--device: expected auto, cpu, cuda or cuda:1; got gpu", ""),
        (("book", *SMOKE, "--lm", "no/such/folder"), "--lm: expected a folder", "no/such/folder"),
        (("book", *SMOKE, "--bert", "no/such/folder"), "--bert: expected a folder", "no/such/folder"),
        (("book", *SMOKE, "--set", "model.temperature=0"), "model.temperature: expected a number above 0; got 0.0", ""),
        (("pdf", *SMOKE, "--limit", "1"), "--limit: expected a whole number from 8; got 1", ""),
        (("notebook", "../../x"), "name: expected a notebook of", "limits"),
        (("notebook", "limits", *SMOKE, "-p", "task", "x"), "unknown 'task'; the parameters are", "tasks"),
        (("notebook", "limits", *SMOKE, "-p", "encoders", "foo"), "--encoders: expected one of merit, cma", "foo"),
        (("notebook", "limits", *SMOKE, "-p", "settings", "probe.fold=3"), "probe.fold: no such", "probe.folds"),
        (("reference", *SMOKE, "--seeds", "0"), "--seeds: expected a whole number from 1; got 0", ""),
        (("reference", *SMOKE, "--stages", "foo"), "--stages: expected one of", "linear_probe"),
        (("reference", *SMOKE, "--encoders", "foo"), "--encoders: expected one of merit", "foo"),
        (("reference", *SMOKE, "--limit", "64"), "reference: expected a whole run", "LIMIT"),
        (("ingest", "--cohort", "ptb-xl", "--root", ".", "--out", "x", "--fs", "0"), "--fs: expected a whole", ""),
        (("ingest", "--cohort", "ptb-xl", "--root", ".", "--out", "x", "--fs", "1000000000"), "--fs: expected", ""),
        (("ingest", "--cohort", "ptb-xl", "--root", ".", "--out", "x", "--fs", "1e9"), "Error parsing --fs", ""),
        (("ingest", "--cohort", "ptb-xl", "--root", ".", "--out", "x", "--limit", "-1"), "--limit: expected a", ""),
        (("ingest", "--cohort", "ptb-xl", "--root", ".", "--out", "x", "--limit", "0"), "--limit: expected a", ""),
        (("ingest", "--cohort", "ptb-xl", "--root", ".", "--out", "x", "--workers", "-3"), "--workers: expected a", ""),
        (("embed", "--out", "z.csv"), "files: expected the paths of records; got none", ""),
        (("embed", "a.hea", "--out", "z.csv", "--batch", "0"), "--batch: expected a whole number from 1; got 0", ""),
        (("classify", "--out", "z.csv"), "files: expected the paths of records; got none", ""),
        (("bench", "--stages", "foo"), "--stages: expected one of", "foo"),
        (("bench", "--price-per-hour", "-1"), "--price-per-hour: expected a number above 0; got -1.0", ""),
        (("bench", "--device", "tpu"), "--device: expected auto, cpu, cuda or cuda:1; got tpu", ""),
        (("compare", "a.ipynb"), "Missing", "b"),
        (("bok",), "Unrecognized options", "bok"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line_before_anything_is_written(refused, arguments, begins, holds):
    said = refused(*arguments)
    assert said.startswith(begins), said
    assert holds in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["pretrain", "evaluate", "book", "reference"])
def test_a_device_that_is_not_there_is_said_before_hospitals_are_written(refused, command):
    assert refused(command, *SMOKE, "--device", "cuda") == "--device: expected one that is there (cpu); got cuda"


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "by_make", "by_hand"),
    [
        ("MERIT_BACKBONE", "foo", ("book",), "BACKBONE: expected one of", "MERIT_BACKBONE: expected one of"),
        ("MERIT_LIMIT", "7", ("book",), "LIMIT: expected a whole", "MERIT_LIMIT: expected a whole"),
        ("MERIT_TEXT", "no/such/folder", ("book",), "TEXT: expected a folder", "MERIT_TEXT: expected a folder"),
        ("MERIT_ENCODER", "no.py", ("book",), "ENCODER: expected path.py", "MERIT_ENCODER: expected path.py"),
        ("MERIT_COMPILED", "yes", ("book",), "COMPILED: expected one of 0, 1", "MERIT_COMPILED: expected one of 0, 1"),
        ("MERIT_ATTENTION", "fast", ("book",), "ATTENTION: expected one of", "MERIT_ATTENTION: expected one of"),
        ("MERIT_X", "", ("book", "--device", "tpu"), "DEVICE: expected auto", "--device: expected auto"),
        ("MERIT_X", "", ("book", "--data", "nowhere"), "DATA: expected a folder", "--data: expected a folder"),
        ("MERIT_X", "", ("book", "--set", "x"), "SET: expected path=value", "--set: expected path=value"),
        ("MERIT_X", "", ("book", "--profile", "x"), "invalid choice 'x' for argument PROFILE", "invalid choice 'x'"),
        ("MERIT_X", "", ("notebook", "../x"), "NB: expected a notebook", "name: expected a notebook"),
    ],
)  # fmt: skip
def test_the_name_is_what_the_user_wrote(refused, monkeypatch, variable, value, arguments, by_make, by_hand):
    if value:
        monkeypatch.setenv(variable, value)
    command, *rest = arguments
    profile = () if "--profile" in rest else SMOKE
    for made, begins in (("", by_hand), ("1", by_make)):
        monkeypatch.setenv("MERIT_MAKE", made)
        assert refused(command, *rest, *profile).startswith(begins)


def test_options_are_the_environments_settings(home, monkeypatch):
    """What a command's processes and notebooks find."""
    options = cli.Paged(
        profile="smoke", limit="64", epochs="1", text="t", backbone="tiny_vit", text_layers="2", lm="l", bert="b",
        encoder="e.py", compiled=True, graphs=True, attention="flex",
        set=("pretrain.seed=3", "probe.folds=5 probe.seed=2"),
    )  # fmt: skip
    cli.apply(options)
    assert {option: os.environ[variable] for option, variable in cli.ENVIRONMENT.items()} == {
        "limit": "64", "epochs": "1", "text": "t", "backbone": "tiny_vit", "text_layers": "2", "lm": "l", "bert": "b",
        "encoder": "e.py", "compiled": "1", "graphs": "1", "attention": "flex",
    }  # fmt: skip
    chosen = resolve("smoke", options.settings)
    assert (chosen.limit, chosen.text.source, chosen.model.encoder.kind, chosen.generation.bert) == (
        64,
        "t",
        "tiny_vit",
        "b",
    )
    assert (chosen.pretrain.seed, chosen.pretrain.epochs, chosen.probe.folds, chosen.probe.seed) == (3, 1.0, 5, 2)
