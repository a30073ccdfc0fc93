"""The example of the book's page, run as a reader would."""

from __future__ import annotations

import runpy
import sys

from merit import runs

EXAMPLE = runs.PACKAGE_ROOT.parent / "book" / "examples" / "use_merit.py"


def test_the_example_of_the_book_runs(monkeypatch, capsys, folder, files, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(folder), *map(str, files)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    shown = capsys.readouterr().out
    assert "5 files, 16 numbers each" in shown
    assert "AFIB" in shown
    assert (tmp_path / "my-merit" / "README.md").is_file()
