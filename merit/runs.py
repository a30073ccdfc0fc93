"""A result: its identity, its file, its provenance. What was computed once from the same things is read, not computed.

The identity hashes the stage, its resolved parameters, the identities of its inputs and the parsed source of the
modules that compute it, with all that those import from this package (settings apart: they enter as parameters).

Everything that is stored has a SHA-256, written with it and checked before anything is computed from it: inside a
result, beside a file (`x.npy.sha256`), and in a folder's SHA256SUMS; `sha256sum -c` reads the last two.
"""

from __future__ import annotations

import ast
import dataclasses
import errno
import functools
import glob
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE_ROOT = Path(__file__).parent
NOT_SOURCE = frozenset({"merit", "merit.config", "merit.parallel", "merit.runs"})
DATA_ENDINGS = (".csv", ".json", ".txt", ".toml", ".mplstyle")
SUMS = "SHA256SUMS"
"""In a folder that is whole: one line per file, as `sha256sum` writes them."""
VERSIONED = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "transformers", "wfdb", "neurokit2")


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that depend on a JSON-like value (or dataclass) alone."""
    text = json.dumps(plain(value), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path | None) -> str:
    """Sixteen hexadecimal digits of a file's bytes; "" for None."""
    return "" if path is None else sha256(path)[:16]


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; read once a process as long as its size and times stay what they are."""
    about = path.stat()
    return _sha256(path, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@functools.cache
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def non_defaults(config: Any) -> dict[str, Any]:
    """The settings of a dataclass that are not at their defaults, those inside it likewise: a setting that is added
    later does not change it. Another default does change what it stands for (see RECIPE in `merit.pretrain`).
    """
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if type(value) is type(default) and dataclasses.is_dataclass(value):
            if inner := non_defaults(value):
                found[field.name] = inner
        elif value != default:
            found[field.name] = plain(value)
    return found


class Damaged(ValueError):
    """Something of ours that is not as it was written; one line says what to do."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: damaged; delete it, and the same command makes it again ({what})")


def seal(path: Path, names: Iterable[str] | None = None) -> None:
    """Write the digest of a file beside it, or those of a folder's files (these, or all) into its SHA256SUMS."""
    root = path if path.is_dir() else path.parent
    if names is None:
        files = (file for file in path.rglob("*") if file.is_file() and file != _sums(path)) if root == path else [path]
        names = sorted(file.relative_to(root).as_posix() for file in files)
    text = "".join(f"{sha256(root / name)}  {name}\n" for name in names)
    write_text(_sums(path), f"{text}# {hashlib.sha256(text.encode()).hexdigest()}\n")


def sealed(path: Path) -> bool:
    """Whether a file or folder is there with its digest: without one it is unfinished, or of an earlier edition."""
    return path.exists() and _sums(path).is_file()


def check(path: Path, *names: str) -> Path:
    """`path` itself, once its file, or all files of its folder (or these), are known to be as they were written; else
    Damaged. It is read once a process as long as sizes and times stay what they are.
    """
    try:
        text, _, own = _sums(path).read_text(encoding="utf-8").rpartition("# ")
    except (OSError, UnicodeDecodeError):
        text, own = "", ""
    if hashlib.sha256(text.encode()).hexdigest() != own.strip():
        raise Damaged(path, f"{_sums(path).name} is not as it was written")
    digests = {name: value for value, _, name in (line.partition("  ") for line in text.splitlines())}
    for name in names or digests:
        try:
            whole = sha256((path if path.is_dir() else path.parent) / name) == digests.get(name)
        except (FileNotFoundError, IsADirectoryError):
            whole = False
        if not whole:
            raise Damaged(path, f"{name} is not as it was written")
    return path


def _sums(path: Path) -> Path:
    return path / SUMS if path.is_dir() else path.with_name(f"{path.name}.sha256")


def once(path: Path, make: Callable[[], object]) -> Path:
    """`path`, checked; where it is not there `make` writes and seals it, under its lock. What is whole takes none."""
    if not sealed(path):
        with claimed(path):
            if not sealed(path):
                make()
    return check(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder that is sealed and becomes `path` at the end, as `written` has it."""
    with written(path) as temporary:
        temporary.mkdir()
        yield temporary
        seal(temporary)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A name of the same ending that becomes `path`, sealed, at the end, as `written` has it."""
    with written(path) as temporary:
        yield temporary
        _sums(path).unlink(missing_ok=True)
    seal(path)


# -- what a training loop goes on from ---------------------------------------------------------------------------------


def write_state(path: Path, settings: Any, state: Mapping[str, Any]) -> None:
    """All that a training loop changes, and its settings, renamed into place: a kill leaves the old file or the new.

    state: what `torch.load(weights_only=True)` takes. Its digest stands at the file's own end, since of two files that
    are written again and again one could be older; `torch.load` reads past it.
    """
    import torch

    with written(path) as temporary:
        torch.save({**state, "settings": json.dumps(plain(settings), sort_keys=True)}, temporary)
        digest = sha256(temporary)
        with temporary.open("ab") as file:
            file.write(f"\nsha256:{digest}\n".encode())


def read_state(path: Path, settings: Any, may_differ: Iterable[str] = (), device: Any = "cpu") -> dict[str, Any] | None:
    """What `write_state` wrote, on a device; None where there is none. ValueError for other settings than these, those
    in `may_differ` apart ("part.name"); Damaged for a file that is not as it was written.
    """
    import torch

    if not path.exists():
        return None
    content, _, digest = path.read_bytes().rpartition(b"\nsha256:")
    if digest.strip().decode(errors="replace") != hashlib.sha256(content).hexdigest():
        raise Damaged(path, "its digest is another")
    state = torch.load(path, map_location=device, weights_only=True)
    require_same_settings(path, json.loads(state.pop("settings")), settings, may_differ)
    return state


def require_same_settings(path: Path, there: Any, here: Any, may_differ: Iterable[str] = ()) -> None:
    """ValueError, with those that differ, for a run in `path` of other settings, those in `may_differ` apart."""

    def differing(there: Any, here: Any, name: str = "") -> list[str]:
        if isinstance(there, dict) and isinstance(here, dict):
            names = sorted(there.keys() | here.keys())
            return [d for k in names for d in differing(there.get(k), here.get(k), f"{name}.{k}".lstrip("."))]
        return [] if there == here or name in may_differ else [f"{name}: {there!r} there, {here!r} here"]

    if found := differing(there, json.loads(json.dumps(plain(here)))):
        raise ValueError(f"{path}: expected a run of these settings; they differ in {'; '.join(found)}")


# -- files and folders: whole or not there -----------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as what JSON has; anything else that it lacks is a TypeError at writing."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def write_json(path: Path, value: Any) -> None:
    """A JSON file of a JSON-like value (or dataclass), whole or not there."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8, whole or not there."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class DiskFull(OSError):
    """A file found no room; the message names it and says what to do."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
IN_WORDS = re.compile(
    "|".join([*map(os.strerror, NO_ROOM), r"\d+ requested and \d+ written", "file write failed", r"unexpected pos \d+"])
)
"""Libraries in other languages pass the system's words on; numpy and torch keep even these to themselves."""


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A name beside `path` for a file or folder, which becomes `path` at the end, if it was written: a reader sees all
    of it or what was there before. What fails is cleared away; what a kill leaves, `claimed` clears. Raises DiskFull.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = f"{os.getpid()}.{secrets.token_hex(4)}.partial"
    temporary, old = (path.with_name(f".{path.name}.{prefix}{kind}{path.suffix}") for prefix in ("", "old."))
    try:
        with naming_a_full_disk(path):
            yield temporary
            if temporary.exists():
                if path.is_dir():  # no folder takes another's name while that one is there
                    os.replace(path, old)
                os.replace(temporary, path)
    finally:
        remove(temporary)
        remove(old)


@contextmanager
def naming_a_full_disk(path: Path) -> Iterator[None]:
    """Turn a full disk (or quota, or limit of a file's size) met while `path` is written into DiskFull."""
    try:
        yield
    except Exception as error:
        cause, reason = error, ""
        while cause is not None and not reason:
            if isinstance(cause, OSError) and cause.errno in NO_ROOM:
                reason = os.strerror(cause.errno)
            elif said := IN_WORDS.search(str(cause)):
                reason = said[0]
            cause = cause.__cause__
        if isinstance(error, DiskFull) or not reason:
            raise
        raise DiskFull(
            f"{path}: no room to write it ({reason}); make room on that disk, and the same command goes on from there"
        ) from error


def remove(path: Path) -> None:
    """Remove a file or folder, there or not."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def claimed(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Make `path` alone: whoever else wants to waits, and then finds it. The claim goes with the process, even killed.

    Ask again whether `path` is there, inside. Claims nest only as products do, so nobody waits in a circle. What killed
    processes left half written of `path`, or in it, is cleared away. wait: False raises RuntimeError instead.
    """
    import psutil
    from filelock import FileLock, Timeout

    lock = FileLock(path.parent / ".locks" / path.name, is_singleton=True)  # one a process: claims may be made again
    with naming_a_full_disk(path):
        try:
            path.parent.joinpath(".locks").mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=-1 if wait else 0, poll_interval=0.2)
        except Timeout:
            raise RuntimeError(f"{path}: another process is writing there; wait for it or end it") from None
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
    try:
        if lock.is_locked:  # else nobody can write there: what is there may be read, and making it fails by itself
            beside = path.parent.glob(f".{glob.escape(path.name)}.*.partial*")
            for left in [*beside, *(path.glob(".*.partial*") if path.is_dir() else ())]:
                process = re.search(r"\.(\d+)\.[0-9a-f]{8}\.partial", left.name)
                if process and not psutil.pid_exists(int(process[1])):
                    remove(left)
        yield
    finally:
        lock.release()


# -- the source that computes ------------------------------------------------------------------------------------------


def module_file(name: str) -> Path | None:
    """The file of a module or package of ours, by its dotted name; None where there is none."""
    base = PACKAGE_ROOT.joinpath(*name.split(".")[1:])
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _code(path: str | Path) -> ast.Module:
    """A module's syntax tree without what computes nothing: bare strings (docstrings), and imports for types alone."""
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))

    def computes(node: ast.stmt) -> bool:
        if isinstance(node, ast.If):
            return not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING")
        bare = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        return not (bare and isinstance(node.value.value, str))

    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(block := getattr(node, name, None), list):
                setattr(node, name, [inner for inner in block if computes(inner)])
    return tree


def _imported(node: ast.AST, only: str | None = None) -> set[str]:
    """Modules of ours that an import statement may stand for; only: for the one name that it gives."""
    if not isinstance(node, ast.Import | ast.ImportFrom):
        return set()
    names = [alias.name for alias in node.names if only in (None, (alias.asname or alias.name).split(".")[0])]
    if isinstance(node, ast.ImportFrom):
        names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
    return {name for name in names if name.startswith("merit.") and module_file(name)}


@functools.cache
def parsed(path: Path) -> tuple[str, frozenset[str]]:
    """Digest of a file's syntax tree without docstrings and comments, and the modules of ours that it imports.

    A data file beside the module that the module names (csv, json, txt) is part of its source.
    """
    tree, imported, data = _code(path), set(), set()
    for node in ast.walk(tree):
        imported |= _imported(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(DATA_ENDINGS):
            data.add(node.value)
    beside = [f"{name}:{sha256(path.parent / name)}" for name in sorted(data) if (path.parent / name).is_file()]
    text = ast.dump(tree, annotate_fields=False) + "".join(beside)
    return hashlib.sha256(text.encode()).hexdigest(), frozenset(imported)


def source_closure(modules: Iterable[str]) -> dict[str, str]:
    """Module -> digest of its source, for `modules` and all that they import from this package."""
    closure: dict[str, str] = {}
    queue = list(modules)
    while queue:
        name = queue.pop()
        if name in closure or name in NOT_SOURCE:
            continue
        path = module_file(name)
        if path is None:
            raise ValueError(f"module: expected one of this package; got {name!r}")
        closure[name], imported = parsed(path)
        queue += imported
    return closure


INPUTS = ("merit.studies.core", "merit.studies.workspace")
"""Modules that bring what a study reads; that has identities of its own."""


def reached(function: Callable[..., Any]) -> dict[str, str]:
    """Module or `module.name` -> digest of the source that a function reaches: the definitions of its own module that
    it names, one by the other, and whole modules of ours that these import, except those that bring `INPUTS`.
    """
    module, defined = function.__module__, {}
    for node in _code(sys.modules[module].__file__).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
        else:
            targets = getattr(node, "targets", None) or [getattr(node, "target", node)]
            names = [x.id for target in targets for x in ast.walk(target) if isinstance(x, ast.Name)]
        defined |= dict.fromkeys(names, node)
    closure: dict[str, str] = {}
    imported: set[str] = set()
    queue = [function.__name__]
    while queue:
        name = queue.pop()
        if name not in defined or f"{module}.{name}" in closure:
            continue
        node = defined[name]
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= _imported(node, only=name)
            continue
        imported |= {m for inner in ast.walk(node) for m in _imported(inner)}
        closure[f"{module}.{name}"] = hashlib.sha256(ast.dump(node, annotate_fields=False).encode()).hexdigest()[:16]
        queue += [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    return closure | source_closure(m for m in imported if not m.startswith(INPUTS))


def identity(stage: str, parameters: Any, inputs: Any, modules: Iterable[str]) -> str:
    """The id of a result (DESIGN section 4): equal ids mean that computing again would give the same."""
    return digest({"stage": stage, "parameters": parameters, "inputs": inputs, "source": source_closure(modules)})


# -- with what, and from where -----------------------------------------------------------------------------------------


def loading(source: str | Path) -> dict[str, Any]:
    """What `from_pretrained` of transformers takes for a folder, a hub name or name@revision; no code is run."""
    text, given = str(source), {"trust_remote_code": False}
    name, _, revision = (text, "", "") if Path(text).is_dir() else text.partition("@")
    return {"pretrained_model_name_or_path": name, **given, **({"revision": revision} if revision else {})}


@functools.cache
def commit() -> str:
    """The commit of the checkout that this package lies in, "-dirty" added where it has changes; "" outside one."""
    call = ["git", "-C", str(PACKAGE_ROOT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on, without importing them."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# -- results -----------------------------------------------------------------------------------------------------------


def read_or_compute(
    folder: Path,
    stage: str,
    compute: Callable[[], dict[str, Any]],
    *,
    parameters: Any,
    inputs: Mapping[str, str],
    source: Mapping[str, str],
    facts: Callable[[], Mapping[str, Any]],
) -> dict[str, Any]:
    """The result `folder/<stage>-<id>.json`: read where it is, else computed and written.

    compute: gives the values, JSON-like and finite. source: digests of the code that does (`reached`). facts: gives,
    after the computation, what is recorded and does not change the numbers (profile, device, seed, synthetic). A file
    that is not as it was written is refused by name; one without a digest is of an earlier edition, and made again.
    """
    key = digest({"stage": stage, "parameters": parameters, "inputs": inputs, "source": source})
    path = folder / f"{stage}-{key}.json"
    if (found := read_result(path)) is not None:
        return found
    with claimed(path):
        if (found := read_result(path)) is not None:
            return found
        began = time.perf_counter()
        values = compute()
        result = {"stage": stage, "id": key, "values": values, "parameters": parameters, "inputs": inputs, **facts()}
        result |= {"commit": commit(), "seconds": round(time.perf_counter() - began, 2), "versions": versions()}
        result = plain({**result, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
        write_json(path, {**result, "digest": digest(result)})
    return result


def read_result(path: Path) -> dict[str, Any] | None:
    """A stored result; None where there is none with a digest, Damaged for one that is not as it was written."""
    if not path.exists():
        return None
    result = read_json(path)
    there = result.pop("digest", None)
    if there is None:
        return None
    if f"{result.get('stage')}-{result.get('id')}.json" != path.name or there != digest(result):
        raise Damaged(path, "its digest is another")
    return result


def read_json(path: Path, owner: Path | None = None) -> dict[str, Any]:
    """A JSON file of ours that holds an object; else Damaged. owner: the folder that is then to be made again."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are both
        raise Damaged(owner or path, f"{path.name} is no JSON") from error
    if not isinstance(found, dict):
        raise Damaged(owner or path, f"{path.name} is no JSON object")
    return found


class Unavailable(LookupError):
    """What a run needs and does not have, a data set or weights; in one line what was looked for, and where."""


def home() -> Path:
    """Where `artifacts/` and `book/` lie: MERIT_HOME, or the checkout that this package is in."""
    return Path(os.environ.get("MERIT_HOME") or PACKAGE_ROOT.parent)
