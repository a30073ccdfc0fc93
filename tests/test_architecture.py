"""Imports flow one way, heavy packages enter in one place, and the cached path needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from merit import runs

BELOW = {
    "runs": "",
    "config": "runs",
    "objectives": "",
    "parallel": "",
    "intervals": "",
    "scores": "runs intervals",
    "data": "config runs parallel",
    "synthetic": "config runs parallel data",
    "model": "config runs parallel",
    "pretrain": "config runs parallel model objectives data",
    "encoders": "config runs data model pretrain",
    "evaluate": "config runs parallel intervals objectives data encoders",
    "report": "config runs intervals scores",
    "publish": "config runs parallel scores data encoders report",
    "use": "config runs parallel data model pretrain encoders evaluate",
    "studies": "config runs parallel intervals scores data model pretrain encoders synthetic evaluate",
    "bench": "config runs parallel data evaluate pretrain report publish encoders studies",
}
"""Layer -> layers it may import. `cli`, `__init__` and `__main__` may import all."""

ONLY_IN = {
    "wfdb": {"merit.data.wfdb_io"},
    "transformers": {"merit.model.text", "merit.evaluate.generation", "merit.encoders"},
    "tokenizers": {"merit.model.text", "merit.evaluate.generation"},
    "peft": {"merit.evaluate.generation"},
    "sacrebleu": {"merit.evaluate.generation"},
    "nltk": {"merit.evaluate.generation"},
    "neurokit2": {"merit.evaluate.retention_factors"},
    "umap": {"merit.evaluate.clusters"},
    "papermill": {"merit.publish.execute"},
    "tyro": {"merit.cli"},
    "huggingface_hub": {"merit.use", "merit.bench.readiness", "merit.model.weights"},
}


MOST_FILES, MOST_LINES, MOST_FUNCTIONS = 105, 25_500, 1_265
"""Totals of the package; each goes down with what follows, 110 files and 22,000 lines are the aim."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(runs.PACKAGE_ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(runs.PACKAGE_ROOT.parent).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_imports_flow_down():
    upward = []
    for name, tree in modules():
        for target in imported(tree) if layer(name) not in ("", "cli", "__main__") else ():
            if target.startswith("merit.") and layer(target) not in {*BELOW[layer(name)].split(), layer(name)}:
                upward.append(f"{name} imports {target}")
    assert not upward
    assert "pretrain" not in BELOW["evaluate"].split(), "evaluation and pretraining do not know each other"
    assert "evaluate" not in BELOW["pretrain"].split()


def test_no_cycles():
    graph = {name: {t for t in imported(tree) if t.startswith("merit")} for name, tree in modules()}
    edges = {
        name: {t if t in graph else t.rpartition(".")[0] for t in targets} & set(graph) - {name, "merit"}
        for name, targets in graph.items()
    }
    list(TopologicalSorter(edges).static_order())  # raises CycleError, which names the modules


def test_heavy_packages_enter_in_one_place():
    for name, tree in modules():
        for package in {target.split(".")[0] for target in imported(tree)} & set(ONLY_IN):
            assert {name, name.rpartition(".")[0]} & ONLY_IN[package], f"{name} imports {package}"


def test_reports_and_the_workspace_need_no_torch():
    code = "import merit, merit.studies, merit.report.show, merit.publish.build, sys; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert shown.stdout.strip() == "False"


IN_PLACE = ("runs", "data.ingest", "publish.build", "publish.execute")
"""Who renames by hand: the helper; an ingest, which can go on; what the renderer wrote; a notebook that failed."""


def test_one_helper_puts_files_in_place_and_there_is_one_kind_of_lock():
    by_hand = {"os.replace", "os.rename", "tempfile.mkstemp", "tempfile.mkdtemp", "fcntl.flock", "fcntl.lockf"}
    for name, tree in modules():
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        allowed = {"os.replace"} if name.removeprefix("merit.") in IN_PLACE else set()
        assert calls & by_hand <= allowed, name
        assert "fcntl" not in {target.split(".")[0] for target in imported(tree)}, name


def test_the_package_stays_within_its_total():
    """Totals are held, single files are not: a limit on each file breeds halves of files."""
    sizes = [path.read_text(encoding="utf-8").count("\n") for path in runs.PACKAGE_ROOT.rglob("*.py")]
    functions = sum(isinstance(node, ast.FunctionDef) for _, tree in modules() for node in ast.walk(tree))
    found = len(sizes), sum(sizes), functions
    assert all(there <= most for there, most in zip(found, (MOST_FILES, MOST_LINES, MOST_FUNCTIONS))), found
