"""The parameters of a notebook: read from its source without running it, and checked before anything runs.

A notebook declares them in one cell tagged `parameters`, a line each: `name: type = literal  # comment`.
Papermill alone only logs a name it does not know and checks no type, so both routes come here: the strict runner
before it starts (`check`), and every notebook in its first cell after the parameters (`guard`), for plain papermill.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from merit.profiles import resolve

_SCALARS = {"None": type(None), "bool": bool, "int": int, "float": float, "str": str}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_INJECTED = "# Parameters"  # papermill writes this line at the top of the cell that it injects


class Declared(NamedTuple):
    """One declared parameter: its type as written, the default, and what the comment says."""

    type: str
    default: Any
    comment: str


def declared(notebook: Path | Mapping) -> dict[str, Declared]:
    """The parameters that a notebook (a path, or its parsed JSON) declares, in order.

    Raises ValueError where there is not exactly one cell tagged `parameters`, or a line of it is not
    `name: type = literal`.
    """
    where = str(notebook) if isinstance(notebook, (str, Path)) else "notebook"
    parsed = json.loads(Path(notebook).read_text()) if isinstance(notebook, (str, Path)) else notebook
    cells = [cell for cell in parsed["cells"] if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{where}: expected one cell tagged 'parameters', found {len(cells)}")
    source = cells[0]["source"]
    return _read(source if isinstance(source, str) else "".join(source), where)


def check(given: Mapping[str, Any], known: Mapping[str, Declared]) -> dict[str, Any]:
    """The given values, converted to their declared types; text is read as the command line would write it.

    Raises ValueError, one line, for a name that is not declared or a value of another type.
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        right = ", ".join(f"{name}: {one.type}" for name, one in known.items())
        raise ValueError(f"unknown {', '.join(map(repr, unknown))}; the parameters are {right}")
    return {name: _convert(name, value, known[name].type) for name, value in given.items()}


def guard(namespace: Mapping[str, Any]) -> None:
    """Refuse what plain papermill let through; a notebook calls `guard(globals())` right after its parameters.

    `namespace` is the kernel's: its history `In` holds the cell that declares, and the one that papermill injected.
    Raises ValueError as `check` does, and for settings that the profile does not take; outside a kernel there is
    nothing to check.
    """
    history = [cell for cell in namespace.get("In", []) if cell.strip()]
    known: dict[str, Declared] = {}
    for source in history:
        if source.startswith(_INJECTED):
            given = {name: value for name, (_, value, _) in _assignments(source).items()}
            check(given, known)
        elif not known and _only_declares(source):
            known = _read(source, "parameters cell")
    given = check({name: namespace[name] for name in known if name in namespace}, known)
    if "profile" in given:
        resolve(given["profile"], given.get("settings", ""))


def _read(source: str, where: str) -> dict[str, Declared]:
    if not _only_declares(source):
        raise ValueError(f"{where}: the parameters cell holds lines other than `name: type = literal  # comment`")
    found = _assignments(source)
    for name, one in found.items():
        _convert(name, one.default, one.type)
    return found


def _only_declares(source: str) -> bool:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    return bool(body) and all(isinstance(node, ast.AnnAssign) and node.value is not None for node in body)


def _assignments(source: str) -> dict[str, Declared]:
    """Every `name = literal` or `name: type = literal` of a cell."""
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign):
            target, kind = node.target, ast.unparse(node.annotation)
        elif isinstance(node, ast.Assign):
            target, kind = node.targets[0], ""
        else:
            continue
        text = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
        found[ast.unparse(target)] = Declared(kind, ast.literal_eval(node.value), text.strip().lstrip("# ").strip())
    return found


def _convert(name: str, value: Any, kind: str) -> Any:
    for one in sorted((part.strip() for part in kind.split("|")), key=lambda part: part != "None"):
        try:
            return _as(one, value)
        except (ValueError, TypeError, KeyError):
            continue
    raise ValueError(f"{name}: expected {kind}, got {value!r}")


def _as(kind: str, value: Any) -> Any:
    """The value as a `kind`, or an error; text becomes numbers, words and lists, and nothing else is converted."""
    if kind.startswith("list["):
        items = value.split(",") if isinstance(value, str) else value
        return [_as(kind[5:-1], item.strip() if isinstance(item, str) else item) for item in items]
    if kind == "None" and value in ("", "None", "none"):
        value = None
    elif kind == "bool" and isinstance(value, str):
        value = _WORDS[value.lower()]
    elif (kind == "float" and type(value) is int) or (kind in ("int", "float") and isinstance(value, str)):
        value = _SCALARS[kind](value)
    if type(value) is not _SCALARS[kind]:
        raise TypeError
    return value


if __name__ == "__main__":  # what a notebook takes: python -m merit.publish.parameters book/table1_linear_probe.ipynb
    for _name, _one in declared(Path(sys.argv[1])).items():
        print(f"{_name}: {_one.type} = {_one.default!r}  # {_one.comment}")
