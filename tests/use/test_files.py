"""Files into a table: a row a file, what cannot be read listed, nothing half written."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from merit import cli, runs
from merit.use import files as use_files
from merit.use.reading import CHECKSUMS_DIFFER

EXAMPLE = runs.PACKAGE_ROOT.parent / "book" / "examples" / "use_merit.py"


def test_the_example_of_the_book_runs(monkeypatch, capsys, folder, files, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(folder), *map(str, files)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    shown = capsys.readouterr().out
    assert "5 files, 16 numbers each" in shown
    assert "AFIB" in shown
    assert (tmp_path / "my-merit" / "README.md").is_file()


@pytest.fixture
def run(monkeypatch, folder):
    """`python -m merit ...` in this process; its exit status."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["merit", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as left:
            return left.code
        return 0

    return call


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_row_a_file_in_batches(run, folder, model, files, tmp_path, ending):
    out = tmp_path / "new" / f"z.{ending}"
    assert run("embed", *files, "--checkpoint", folder, "--out", out, "--batch", 2) == 0
    table = pd.read_csv(out) if ending == "csv" else pd.read_parquet(out)
    assert list(table.columns[:7]) == [*use_files.ABOUT, "z0"]
    assert table["record"].tolist() == [f"r{i}" for i in range(5)]
    assert table["path"].tolist() == [str(path) for path in files]
    assert set(table["fs_hz"]) == {100.0}
    assert set(table["duration_s"]) == {10.0}
    np.testing.assert_allclose(table.filter(regex=r"z\d").to_numpy(np.float32), model.embed(files), rtol=1e-5)
    assert model.similar(files[2], out, k=1)["record"].tolist() == ["r2"]
    assert [path.name for path in out.parent.iterdir()] == [f"z.{ending}"]


def test_what_cannot_be_read_is_listed_and_the_rest_goes_on(run, folder, files, writer, tmp_path, capsys):
    three = writer("three", np.ones((3, 1000)), leads=("I", "II", "III"))
    (tmp_path / "wfdb" / "r1.dat").write_bytes(b"")
    out = tmp_path / "z.parquet"
    given = [*files, three, tmp_path / "nowhere.hea"]
    assert run("embed", *given, "--checkpoint", folder, "--out", out) == 1
    assert pd.read_parquet(out)["record"].tolist() == ["r0", "r2", "r3", "r4"]
    listed = pd.read_csv(tmp_path / "z.rejected.csv")
    assert listed["path"].tolist() == [str(files[1]), str(three), str(tmp_path / "nowhere.hea")]
    assert listed["reason"].tolist() == [
        "empty signal file: 'r1.dat'",
        "missing lead: V1, V2, V3, V4, V5, V6",
        "no header: 'nowhere.hea' is not there",
    ]
    said = capsys.readouterr().err.splitlines()
    assert said[:3] == [f"merit: {path}: {reason}" for path, reason in listed.itertuples(index=False)]
    assert said[3] == f"merit: 3 of 7 files are not in {out}; listed in {tmp_path / 'z.rejected.csv'}"
    before = out.read_bytes()
    assert run("embed", three, "--checkpoint", folder, "--out", out) == 1
    assert out.read_bytes() == before, "an older table stays where nothing could be read"
    assert run("embed", files[0], "--checkpoint", folder, "--out", out) == 0
    assert not (tmp_path / "z.rejected.csv").exists()


def test_a_run_that_ends_early_leaves_nothing(model, files, tmp_path):
    with pytest.raises(ZeroDivisionError):
        use_files.write_table(files, tmp_path / "z.csv", model, ["z0"], lambda z: 1 / 0, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["wfdb"]


def test_scores_come_with_what_they_are_not(run, folder, model, files, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"AFIB": "atrial fibrillation", "SR": "sinus rhythm"}))
    assert run("classify", *files, "--prompts", own, "--checkpoint", folder, "--out", out) == 0
    shown = capsys.readouterr().err
    assert "no probabilities" in shown
    assert "not a medical device" in shown
    table = pd.read_csv(out)
    assert list(table.columns) == [*use_files.ABOUT, "AFIB", "SR"]
    np.testing.assert_allclose(table[["AFIB", "SR"]], model.zero_shot(files, own), atol=1e-5)
    assert run("classify", files[0], "--checkpoint", folder, "--out", out) == 0
    assert list(pd.read_csv(out).columns[6:]) == ["NORM", "MI", "STTC", "CD", "HYP"]
    own.write_text(json.dumps({"path": "a", "SR": "sinus rhythm"}))
    assert run("classify", *files, "--prompts", own, "--checkpoint", folder, "--out", out) == 2
    assert "expected classes called otherwise than the columns path" in capsys.readouterr().err


def test_the_newest_checkpoint_of_merit_is_taken_and_named(run, monkeypatch, own, files, tmp_path, capsys):
    home = tmp_path / "home"
    (home / "artifacts").mkdir(parents=True)
    monkeypatch.setenv("MERIT_HOME", str(home))
    assert run("embed", *files, "--out", tmp_path / "z.csv") == 2
    assert "expected a finished checkpoint of merit; make one or give --checkpoint" in capsys.readouterr().err
    own.rename(home / "artifacts" / "demo")
    folder = home / "artifacts" / "demo" / "checkpoints" / "merit-seed0-0123"
    older = shutil.copytree(folder, folder.with_name("merit-seed0-older"))
    for path in older.iterdir():
        os.utime(path, (0, 0))
    folder.with_name("merit-seed1-unfinished").mkdir()
    assert run("embed", *files, "--out", tmp_path / "z.csv") == 0
    assert f"merit: {folder}\n" in capsys.readouterr().err


def test_what_a_user_can_mend_is_one_line(run, capsys, tmp_path):
    assert run("embed", "a.hea", "--out", tmp_path / "z.txt") == 2
    assert "merit: out: expected a file that ends in .csv or .parquet; got" in capsys.readouterr().err
    assert run("embed", "a.hea", "--out", tmp_path / "z.csv", "--checkpoint", "nowhere") == 2
    assert "merit: nowhere: expected the folder of a finished checkpoint" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_checksums_are_compared_and_said(run, folder, model, files, tmp_path, capsys):
    """One header states its checksums truly, one those of other samples, the others none."""
    for path, change in ((files[0], 0), (files[1], 1)):
        digital = np.fromfile(path.with_suffix(".dat"), "<i2").reshape(-1, 12).astype(int) + change
        lines = path.read_text().splitlines()
        sums = digital.sum(axis=0) % 65536
        lines[1:] = [line.replace("16 0 0 0 0", f"16 0 0 {c} 0") for line, c in zip(lines[1:], sums)]
        path.write_text("\n".join(lines) + "\n")
    out = tmp_path / "z.csv"
    assert run("embed", *files, "--checkpoint", folder, "--out", out) == 0
    assert pd.read_csv(out)["checksums"].tolist() == ["agree", "differ", *["none stated"] * 3]
    said = [line for line in capsys.readouterr().err.splitlines() if "checksums" in line]
    assert said == [f"merit: {files[1]}: {CHECKSUMS_DIFFER}"]
    with pytest.warns(UserWarning, match=r"r1\.hea: the samples do not add up to the checksums"):
        model.embed(files[1:2])
