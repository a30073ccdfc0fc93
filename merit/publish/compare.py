"""What differs between two executed notebooks: parameters first, then the numbers of the results that they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from merit import runs
from merit.publish import record


def compare(one: Path, other: Path) -> str:
    """Lines that say what differs; "nothing differs" where nothing does. Both must have been run by `make`."""
    records = [_record(path) for path in (one, other)]
    lines = [f"A {one}", f"B {other}"]
    lines += list(_differences(*(r["parameters"] for r in records), "parameter"))
    inputs = [{item["what"]: str(item.get("id")) for item in r.get("inputs", [])} for r in records]
    lines += list(_differences(*inputs, "input"))
    lines += list(_differences(*(_scores(path) for path in (one, other)), "number"))
    return "\n".join(lines if len(lines) > 2 else [*lines, "nothing differs"])


def _record(path: Path) -> dict[str, Any]:
    found = record.of_notebook(path)
    if not found:
        raise ValueError(
            f"{path}: expected an executed notebook (see artifacts/<run>/notebooks); there is no record of a run"
        )
    return found


def _differences(a: Mapping[str, Any], b: Mapping[str, Any], kind: str) -> Iterator[str]:
    for name in sorted(set(a) | set(b)):
        if a.get(name) != b.get(name):
            yield f"{kind} {name}: {_shown(a, name)} | {_shown(b, name)}"


def _shown(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "–")
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _scores(path: Path) -> dict[str, float]:
    """Encoder, task, variant and metric -> mean over folds, of the results that a notebook names."""
    folder = path.parent
    while folder.name != "notebooks":
        folder = folder.parent
    ids = {str(item.get("id")) for item in _record(path).get("inputs", [])}
    scores = {}
    for file in sorted((folder.parent / "results").glob("*.json")):
        result = runs.read_result(file)
        if result is not None and result["id"] in ids:
            values = result["values"]
            where = " ".join(str(values.get(k, "")) for k in ("encoder", "task", "variant")).strip() or result["stage"]
            for metric, value in values.get("mean", {}).items():
                scores[f"{where} {metric}"] = value
    return scores
