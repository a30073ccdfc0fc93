"""The cells of committed pages, for tests of what a page computes itself."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def run_cells() -> Callable:
    """Call it with a page, ids of its cells and what they find defined; it gives what is defined after them, and as
    `shown` what the last one shows. Of the cell that opens the workspace, all before that is run.
    """

    def run(page: str, ids: str, **defined: object) -> dict:
        path = Path(__file__).parents[2] / "book" / f"{page}.ipynb"
        cells = {cell["id"]: "".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}
        opening = next(source for source in cells.values() if "guard(globals())" in source)
        names: dict = {}
        exec(opening.partition("guard(globals())")[2].partition("show.theme()")[0], names)
        names |= defined
        for source in map(cells.get, ids.split()):
            *statements, last = ast.parse(source.rpartition("guard(globals())")[2]).body
            exec(compile(ast.Module(statements, []), page, "exec"), names)
            if isinstance(last, ast.Expr):
                names["shown"] = eval(compile(ast.Expression(last.value), page, "eval"), names)
            else:
                exec(compile(ast.Module([last], []), page, "exec"), names)
        return names

    return run
