"""Where recordings come from: real data sets under a folder, or synthetic hospitals; each becomes a store."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from merit import runs
from merit.config import COHORTS, Profile, one_of, replace
from merit.profiles import folder_name, profile, resolve, settings_of
from merit.threads import torch_device

if TYPE_CHECKING:
    import numpy as np

    from merit.data.store import Store


class NoCohort(runs.Unavailable):
    """A data set that is not there; the message says in one line what was looked for where."""


@dataclass(eq=False)
class Recordings:
    """The stores of one profile and one source of recordings, in `artifacts/<name>/`."""

    profile: Profile
    data: Path | None
    device: str
    folder: Path
    compiled: bool = False
    """Whether pretraining compiles its network (`merit pretrain --compiled`)."""
    graphs: bool = False
    """Whether it also records CUDA graphs (`--graphs`)."""
    attention: str = "sdpa"
    """The kernel of its attention (`--attention`)."""
    settings: str = ""
    """What differs from the profile of that name, for the page's foot."""
    used: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What this session read or made, by kind and id, for `provenance`."""

    @classmethod
    def open(
        cls, profile: str = "demo", data: str | Path | None = None, device: str = "auto", settings: str = ""
    ) -> Self:  # fmt: skip
        """profile: smoke, demo or paper. data: folder with real data sets, None: synthetic hospitals. device: auto: GPU
        where there is one. settings: what is changed of the profile, "model.mask_ratio=0.5" (`profiles.resolve`, which
        reads the environment too). Nothing is computed yet; what is wrong of these is refused. MERIT_COMPILED,
        MERIT_GRAPHS and MERIT_ATTENTION=flex say how pretraining computes, the same numbers but for rounding.
        """
        chosen = resolve(profile, settings)
        root = None if data is None else Path(data).resolve()
        if root is not None and not root.is_dir():
            raise NoCohort(f"data: expected a folder that holds {', '.join(COHORTS)}; there is no folder {root}")
        opened = cls(
            chosen, root, device, runs.home() / "artifacts" / folder_name(chosen, root),
            compiled=_switched("MERIT_COMPILED"), graphs=_switched("MERIT_GRAPHS"),
            attention=os.environ.get("MERIT_ATTENTION") or "sdpa", settings=settings_of(chosen),
        )  # fmt: skip
        one_of("MERIT_ATTENTION", opened.attention, ("sdpa", "flex"))
        fast = "MERIT_GRAPHS" if opened.graphs else "MERIT_ATTENTION" if opened.attention == "flex" else ""
        if device not in ("auto", "cpu") or fast:
            place = opened.torch_device()
            if fast and not place.startswith("cuda"):
                raise ValueError(f"{fast}: expected a GPU; the device is {place}; leave it away")
        if opened.graphs and chosen.pretrain.text_layers:
            raise ValueError("MERIT_GRAPHS: expected a frozen text encoder; leave it, or TEXT_LAYERS, away")
        return opened

    @functools.cached_property
    def synthetic(self) -> bool:
        """Whether numbers come from synthetic hospitals: made here, or found under `data` and declared as such."""
        if self.data is None:
            return True
        from merit.data.cohorts.registry import open_cohort

        return any(open_cohort(name, root).synthetic for name, root in self.sources.items())

    @functools.cached_property
    def sources(self) -> dict[str, Path]:
        """Cohort -> root of its files; the synthetic hospitals are written when they are missing."""
        if self.data is not None:
            from merit.data.cohorts.registry import find_cohorts, nothing_found

            found = find_cohorts(self.data)
            if not found:
                raise NoCohort(nothing_found(self.data))
            return found
        from merit.synthetic.hospitals import write_hospitals

        return write_hospitals(self.folder / "raw", self.profile.hospitals)

    def truth(self, cohort: str) -> Path | None:
        """The table of what is known of a synthetic hospital's recordings, checked; None: real ones have no such."""
        root = self.sources[cohort]
        if not (root / "truth.parquet").exists():
            return None
        return (runs.check(root, "truth.parquet") if runs.sealed(root) else root) / "truth.parquet"

    def store(self, cohort: str) -> Store:
        """The store of a cohort, ingested when it is missing; NoCohort where there are no recordings."""
        one_of("cohort", cohort, COHORTS)
        return self._stores(cohort)

    def store_500(self, cohort: str, rows: np.ndarray | None = None) -> Store:
        """The same recordings, or those in these rows, at 500 Hz, from the files' own rate, for encoders that want more
        than the profile's.
        """
        records = self.store(cohort).records["record_id"]
        return self._stores(cohort, 500, None if rows is None else tuple(sorted(set(records.iloc[rows]))))

    @functools.cached_property
    def _stores(self) -> Callable[..., Store]:
        return functools.cache(self._open_store)

    def _open_store(self, cohort: str, fs_hz: int | None = None, only: tuple[str, ...] | None = None) -> Store:
        from merit.data.ingest import ingest

        if cohort not in self.sources:
            raise NoCohort(f"{cohort}: no such data set under {self.data}")
        name = cohort if fs_hz is None else f"{cohort}-{fs_hz}hz"
        name += "" if only is None else f"-{runs.digest(only)}"
        out, signal = self.folder / "stores" / name, self.profile.signal
        source = self.sources[cohort]
        if fs_hz is not None:
            signal = replace(signal, fs_hz=fs_hz)
        store = ingest(cohort, source, out, signal=signal, limit=self.profile.limit, only=only)
        if len(store.records) == 0:
            raise NoCohort(f"{source}: {store.why_empty}")
        self.used[f"store {name}"] = {"id": store.identity, "device": "cpu"}
        return store

    def cohorts(self) -> dict[str, dict[str, Any] | str]:
        """Cohort -> the manifest of its store, or the reason why there is none."""
        found: dict[str, dict[str, Any] | str] = {}
        for cohort in COHORTS:
            try:
                found[cohort] = self.store(cohort).manifest
            except (NoCohort, ValueError) as reason:
                found[cohort] = str(reason)
        return found

    @property
    def as_paper(self) -> bool:
        """Whether numbers are to be compared with the paper's: its profile, real recordings, and nothing set but where
        models lie.
        """
        named = profile(self.profile.name)
        text = replace(self.profile.text, source=named.text.source)
        placed = replace(self.profile, text=text, generation=named.generation)
        return self.profile.name == "paper" and placed == named and not self.synthetic

    @property
    def trial(self) -> bool:
        """As `Profile.trial`."""
        return self.profile.trial

    def note(self) -> str:
        """One sentence on where the numbers come from, and what is set of the profile."""
        return f"{self._note()} Set: {self.settings}." if self.settings else self._note()

    def _note(self) -> str:
        asked = {"limit": self.profile.limit, "epochs": self.profile.epochs}
        if asked := [f"{name} {number}" for name, number in asked.items() if number is not None]:
            return f"A run with {' and '.join(asked)}, to see that everything runs; no number here means anything."
        if self.profile.name == "smoke":
            return "Smoke profile: everything runs, tiny and hardly trained; no number here means anything."
        if self.synthetic:
            return (
                "Synthetic hospitals: these numbers show that the machinery works and test the theory where the truth "
                "is known; they say nothing about real hearts and are not comparable with the paper's."
            )
        there = [c for c, manifest in self.cohorts().items() if isinstance(manifest, dict)]
        counts = ", ".join(f"{cohort} ({len(self.store(cohort).records):,} recordings)" for cohort in there)
        return f"Real recordings: {counts}; profile {self.profile.name}."

    def torch_device(self) -> str:
        """The device's name for torch; a ValueError when it is not there."""
        return torch_device(self.device)


def _switched(variable: str) -> bool:
    """Whether a variable of the environment is 1; not set, or 0: it is not."""
    value = os.environ.get(variable) or "0"
    one_of(variable, value, ("0", "1"))
    return value == "1"
