"""The parameters of a notebook: read from its source without running it, and checked before anything runs.

A notebook declares them in one cell tagged `parameters`, one per line: `name: type = literal  # comment`. Papermill
alone only logs a name it does not know and checks no type, so both routes come here: the strict runner before it starts
(`check`), and every notebook in its first cell after the parameters (`guard`), for plain papermill.
"""

from __future__ import annotations

import ast
import functools
import json
import operator
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from merit.config import converted, resolve

TYPES = {
    "None": type(None),
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "list[str]": list[str],
    "list[int]": list[int],
    "list[float]": list[float],
}
INJECTED = "# Parameters"
"""Papermill writes this line at the top of the cell that it injects."""


class Declared(NamedTuple):
    """One declared parameter: its type as written, the default, and what the comment says."""

    type: str
    default: Any
    comment: str

    def convert(self, name: str, value: Any) -> Any:
        """A value as the declared type, a text as the command line would write it; ValueError, one line, else."""
        kinds = [TYPES[kind.strip()] for kind in self.type.split("|")]
        try:
            return converted(value, functools.reduce(operator.or_, kinds))
        except TypeError:
            raise ValueError(f"{name}: expected {self.type}, got {value!r}") from None


def declared(notebook: Path | Mapping) -> dict[str, Declared]:
    """The parameters that a notebook (a path, or its parsed JSON) declares, in order.

    ValueError where there is not exactly one cell tagged `parameters`, or a line of it is not `name: type = literal`.
    """
    where = str(notebook) if isinstance(notebook, (str, Path)) else "notebook"
    parsed = json.loads(Path(notebook).read_text()) if isinstance(notebook, (str, Path)) else notebook
    cells = [cell for cell in parsed["cells"] if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{where}: expected one cell tagged 'parameters', found {len(cells)}")
    if (found := _assignments("".join(cells[0]["source"]))) is None:
        raise ValueError(f"{where}: the parameters cell holds lines other than `name: type = literal  # comment`")
    return found


def check(given: Mapping[str, Any], known: Mapping[str, Declared]) -> dict[str, Any]:
    """The given values, converted to their declared types. ValueError, one line, for a name that is not declared or a
    value of another type.
    """
    if unknown := [name for name in given if name not in known]:
        right = ", ".join(f"{name}: {parameter.type}" for name, parameter in known.items())
        raise ValueError(f"unknown {', '.join(map(repr, unknown))}; the parameters are {right}")
    return {name: known[name].convert(name, value) for name, value in given.items()}


def guard(namespace: Mapping[str, Any]) -> None:
    """Reject what plain papermill let through; a notebook calls `guard(globals())` right after its parameters.

    `namespace` is the kernel's: its history `In` holds the cell that declares, and the one that papermill injected.
    ValueError as `check` raises it, and for settings that the profile does not take; outside a kernel there is nothing
    to check.
    """
    known: dict[str, Declared] = {}
    for source in namespace.get("In", []):
        if source.startswith(INJECTED):
            check(
                {name: injected.default for name, injected in (_assignments(source, typed=False) or {}).items()}, known
            )
        elif not known:
            known = _assignments(source) or {}
    given = check({name: namespace[name] for name in known if name in namespace}, known)
    if "profile" in given:
        resolve(given["profile"], given.get("settings", ""))


def _assignments(source: str, typed: bool = True) -> dict[str, Declared] | None:
    """Every `name: type = literal` of a cell, None for one that holds anything else; typed: False: of those that
    papermill injects, without types. ValueError where a default is not of its type.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    kind = ast.AnnAssign if typed else ast.Assign
    if not body or not all(isinstance(node, kind) and node.value is not None for node in body):
        return None
    lines, found = source.splitlines(), {}
    for node in body:
        name = ast.unparse(node.target if typed else node.targets[0])
        comment = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip().lstrip("# ").strip()
        found[name] = Declared(ast.unparse(node.annotation) if typed else "", ast.literal_eval(node.value), comment)
        if typed:
            found[name].convert(name, found[name].default)
    return found


if __name__ == "__main__":  # what a notebook takes: python -m merit.publish.parameters book/table1_linear_probe.ipynb
    for _name, _parameter in declared(Path(sys.argv[1])).items():
        print(f"{_name}: {_parameter.type} = {_parameter.default!r}  # {_parameter.comment}")
