"""A study is one function, declared once: inputs, the grid that it runs over, and the scores of one point of the grid.

The declaration does the rest for every study: it checks and resolves arguments, expands the grid, hashes the arguments,
the inputs' identities and the source that the function reaches, reads what is there, lets one process make what is not,
and turns `Unavailable` (no recordings, no weights) and `NotEnoughData` into a row with the reason in place of a value.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from merit import runs, scores
from merit.config import Profile, one_of, replace
from merit.data.taxonomy import TASK_COHORT, TASKS
from merit.evaluate.tasks import NotEnoughData

if TYPE_CHECKING:
    from merit.studies.workspace import Workspace

ALLOWED = {"variant": ("as_published", "standardised"), "task": tuple(TASKS)}
"""Arguments of several studies and what they may be."""

Frames = pd.DataFrame | dict[str, pd.DataFrame]
"""The scores alone; or by the name of a part: "scores", and others such as texts or points of a picture."""


def study(
    *,
    over: Mapping[str, Sequence[Any]],
    needs: Callable[..., Mapping[str, str]],
    config: str | Callable[[Profile], Any] | None = None,
    preset: Mapping[str, Any] | None = None,
    columns: Sequence[str] = (),
) -> Callable[[Callable[..., Frames]], Callable[..., pd.DataFrame]]:
    """Declare a study; what is declared takes a workspace and the study's own arguments, and returns its scores.

    over: argument -> what it runs over by default, the outermost first; each may be given as one value or a sequence.
    needs: the same arguments -> identities of what is read, by name; it may raise `Unavailable`. config: the section of
    the profile that the function takes as `config`, or a function of the profile that gives it; arguments that the
    function does not name change its fields, None changes nothing, `updates` takes the place of `epochs`, and `preset`
    stands where nothing is given. columns: columns of the scores that are there even where nothing could be scored, and
    of which a caller may choose values. The function computes one point of the grid and returns rows of scores; columns
    of the study, of `over` and of `encoder_seed` are put in front. `part=` asks for another of its frames.
    """

    def declare(compute: Callable[..., Frames]) -> Callable[..., pd.DataFrame]:
        signature, name = inspect.signature(compute), compute.__name__

        @functools.wraps(compute)
        def run(ws: Workspace, *args: Any, part: str = "scores", **given: Any) -> pd.DataFrame:
            wanted = {key: _listed(given.pop(key)) for key in columns if given.get(key) is not None}
            own = {key: given.pop(key) for key in list(given) if key in signature.parameters}
            if config is not None:
                changes = {**(preset or {}), **{key: value for key, value in given.items() if value is not None}}
                if "updates" in changes and isinstance(config, str):
                    changes.setdefault("epochs", None)
                section = getattr(ws.profile, config) if isinstance(config, str) else config(ws.profile)
                own["config"], given = replace(section, **changes), {}
            bound = signature.bind_partial(ws, *args, **own, **given)
            bound.apply_defaults()
            arguments = dict(itertools.islice(bound.arguments.items(), 1, None))
            for key, default in over.items():
                arguments[key] = _listed(arguments.get(key, default))
            for key, values in [*wanted.items(), *((key, arguments[key]) for key in over)]:
                for value in values if key in ALLOWED else ():
                    one_of(key, value, ALLOWED[key])
            signature.bind(ws, **arguments)
            rows: list[dict[str, Any]] = []
            for values in itertools.product(*(arguments[key] for key in over)):
                point = {**arguments, **dict(zip(over, values))}

                def packed(point: dict[str, Any] = point) -> dict[str, Any]:
                    """What is kept of this point of the grid; too few recordings stay too few."""
                    try:
                        found = compute(ws, **point)
                    except NotEnoughData as reason:
                        found = pd.DataFrame([{"value": None, "reason": str(reason)}])
                    parts = {"scores": found} if isinstance(found, pd.DataFrame) else found
                    return {key: scores.pack(one) for key, one in parts.items()}

                try:
                    parts = ws.result(name, packed, point, dict(needs(ws, **point)), runs.reached(compute))["values"]
                    found = scores.unpack(parts.get(part, parts["scores"]))  # a reason stands for every part
                    if part not in parts and any(row.get("reason") is None for row in found):
                        raise ValueError(f"part: expected one of {', '.join(parts)} of {name}; got {part!r}")
                except (runs.Unavailable, NotEnoughData) as reason:
                    found = [{"value": None, "reason": str(reason)}]
                seed = {"encoder_seed": point["encoder_seed"]} if "encoder_seed" in point else {}
                rows += [{"study": name, **dict(zip(over, values)), **seed, **row} for row in found]
            # A row with a reason may stand for every value of a column.
            chosen = [all(row.get(key) in (None, *values) for key, values in wanted.items()) for row in rows]
            found = scores.frame(itertools.compress(rows, chosen))
            return found.assign(**{key: None for key in ("study", *over, *columns) if key not in found})

        return run

    return declare


def embedded(ws: Workspace, task: str, encoder: str, encoder_seed: int, **_: object) -> dict[str, str]:
    """Identities of what most studies of a task read: its store, the embedding of it, and which folds are scored."""
    cohort = TASK_COHORT[task]
    return {
        "store": ws.store(cohort).identity,
        "embedding": ws.embedding_identity(encoder, cohort, encoder_seed),
        "protocol": ws.protocol(cohort),
    }


def _listed(given: Any) -> Sequence[Any]:
    """One value or a sequence as a sequence."""
    return [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
