"""The workspace that notebooks and commands use: it makes what is missing and reads what is there.

Heavy packages are imported where something has to be computed: on the cached path torch is never touched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from merit import runs
from merit.evaluate.tasks import OFFICIAL_SPLIT, TEN_FOLDS
from merit.pipeline.encoders import Encoders
from merit.pipeline.recordings import NoCohort

VARIANTS = ("as_published", "standardised")
BOUND_RECORDINGS = 5000
"""Recordings that the linear bounds are fitted on; more change the third digit."""


INPUTS = frozenset(
    f"merit.pipeline.{name}" for name in ("workspace", "encoders", "training", "recordings", "text_states")
)
"""Modules that bring what a stage reads; that has identities of its own."""


def stage_source(compute: Callable[..., Any]) -> dict[str, str]:
    """Module -> digest of the source of a stage: where `compute` was written, and what that imports from here."""
    while isinstance(compute, functools.partial) or hasattr(compute, "__wrapped__"):
        compute = compute.func if isinstance(compute, functools.partial) else compute.__wrapped__
    found: dict[str, str] = {}
    queue = [compute.__module__] if compute.__module__.startswith("merit.pipeline") else []
    while queue:
        name = queue.pop()
        found[name] = runs.own_source(name)
        imported = runs.parsed(runs.module_file(name))[1]
        queue += [m for m in imported if m.startswith("merit.pipeline.") and m not in INPUTS | found.keys()]
    return found


class Workspace(Encoders):
    """From files to results in one direction (DESIGN section 3)."""

    def bounds(self) -> dict[str, Any]:
        """What masked reconstruction is held against, on the recordings that are pretrained on (see
        `evaluate.reconstruction.bounds`); empty where there are none.
        """
        try:
            rows = self.pretraining_rows[:BOUND_RECORDINGS]
        except NoCohort:
            return {}
        store, ratio = self.store(self.pretraining_cohort), self.profile.model.mask_ratio
        truth = self.truth(self.pretraining_cohort)

        def compute() -> dict[str, Any]:
            from merit.evaluate.reconstruction import bounds

            return bounds(store.signal_uv[rows], ratio, truth)

        inputs = {"store": store.identity, "rows": runs.digest(rows.tolist()), "truth": runs.file_digest(truth)}
        result = self.result("bounds", compute, {"mask_ratio": ratio}, inputs, ["merit.evaluate.reconstruction"])
        return result["values"]

    def protocol(self, cohort: str) -> str:
        """One official split for a cohort that is also pretrained on, else ten folds."""
        try:
            return OFFICIAL_SPLIT if cohort == self.pretraining_cohort and len(self.pretraining_rows) else TEN_FOLDS
        except NoCohort:
            return TEN_FOLDS

    def result(
        self, stage: str, compute: Callable[[], dict[str, Any]], parameters: Any, inputs: dict[str, str],
        modules: Sequence[str], seed: int | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """A stage's result, read where it is and computed else (`runs.read_or_compute`); noted for `provenance`.

        Its identity holds the source of `modules` with all that they import, and that of the stage's own module, which
        `compute` comes from, with those of this package that it takes from and that bring no inputs (`INPUTS`).
        """

        def facts() -> dict[str, Any]:
            about = {"profile": self.profile.name, "seed": seed, "synthetic": self.synthetic}
            return {**about, "device": self.torch_device()}

        identified = {**parameters, "code": stage_source(compute)}
        result = runs.read_or_compute(
            self.folder / "results", stage, compute, parameters=identified, inputs=inputs, modules=modules, facts=facts
        )
        label = " ".join(str(parameters.get(k, "")) for k in ("encoder", "task", "variant")).strip()
        self.used[f"{stage} {label}".strip()] = result
        return result

    def kept(
        self, study: str, compute: Callable[[], dict[str, Any]], arguments: Mapping[str, Any],
        inputs: Mapping[str, str], source: Mapping[str, str],
    ) -> dict[str, Any]:  # fmt: skip
        """A study's result for one point of its grid, read where it is and computed else; noted for `provenance`."""

        def facts() -> dict[str, Any]:
            """What does not change the numbers."""
            return {"profile": self.profile.name, "synthetic": self.synthetic, "device": self.torch_device()}

        parameters = {"arguments": arguments, "code": source}
        result = runs.read_or_compute(
            self.folder / "results", study, compute, parameters=parameters, inputs=inputs, modules=(), facts=facts
        )
        label = " ".join(str(value) for value in arguments.values() if isinstance(value, str))
        self.used[f"{study} {label}".strip()] = result
        return result

    def provenance(self) -> pd.DataFrame:
        """A row per store, checkpoint and result that this session used: id, seconds, commit, device, finished."""
        columns = ("id", "seconds", "commit", "device", "finished")
        rows = [{"what": what, **{c: entry.get(c) for c in columns}} for what, entry in self.used.items()]
        return pd.DataFrame(rows, columns=["what", *columns])
