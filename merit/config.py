"""Every setting of every stage: frozen dataclasses, and three profiles that fix them all.

Imports nothing of ours, so that anything may read it. A docstring under a field gives unit and source.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

COHORTS = ("mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn")
"""The data sets of the paper, by the names of their folders. The first is the one that is pretrained on."""

PROFILE_NAMES = ("smoke", "demo", "paper")
OBJECTIVE_NAMES = ("merit", "cma", "ib", "mse")


@dataclass(frozen=True, kw_only=True)
class SignalConfig:
    """What a recording looks like in a store and to the encoder (App. A.1: all signals at 100 Hz, 10 s)."""

    fs_hz: int = 100
    """Sampling rate of the store, Hz."""
    duration_s: float = 10.0
    """Length of a stored recording, seconds; longer ones are cut, shorter ones padded with zeros at the end."""
    min_report_words: int = 4
    """A report with fewer words takes no part in alignment (MERL's rule, which the paper follows)."""

    @property
    def n_samples(self) -> int:
        return round(self.fs_hz * self.duration_s)


@dataclass(frozen=True, kw_only=True)
class HospitalConfig:
    """The synthetic hospitals: how many recordings a site, and what reports leave out."""

    recordings: dict[str, int] = field(
        default_factory=lambda: {"mimic-iv-ecg": 4000, "ptb-xl": 2000, "cpsc2018": 600, "csn": 1000}
    )
    """Recordings per site, by the name of the data set whose layout the site writes."""
    seed: int = 0
    report_omission: float = 0.3
    """Share of the findings of a recording that its report leaves out, 0 to 1."""
    min_positives: int = 30
    """Positives that every scored class of a labelled site has at least, where the site's size allows."""
    workers: int = 2
    """Processes that generate; the output does not depend on it."""


def replace(config: Any, **changes: Any) -> Any:
    """`dataclasses.replace` that names the unknown field and the known ones."""
    known = [f.name for f in dataclasses.fields(config)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ValueError(f"unknown settings {unknown} of {type(config).__name__}; known: {known}")
    return dataclasses.replace(config, **changes)
