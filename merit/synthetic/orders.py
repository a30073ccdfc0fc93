"""What passes between the one that plans a site and the ones that make its recordings."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Order:
    """One recording to make: everything a worker needs, and nothing that depends on other recordings."""

    site: str
    index: int
    patient: int
    age: float
    female: bool
    findings: frozenset[str]
    patient_seed: int
    record_seed: int
    fold: int = 0
    duration_s: float = 10.0
    also_500_hz: bool = False


@dataclass(kw_only=True)
class Made:
    """What a worker returns about a recording that it has written."""

    order: Order
    truth: dict[str, float] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
