"""Leads by name and voltages by unit: whatever a file's order, case and scale, twelve leads in millivolts come out.

Legend: L leads, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from merit.data.paths import shown
from merit.data.recording import LEADS, RejectedRecording

MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "μv": 1e-3, "v": 1e3}
"""Units of voltage, case-folded (which turns the micro sign into the Greek letter); WFDB's own default is mV."""

CANONICAL = {name.casefold(): name for name in LEADS}

DERIVED = {"III": (-1.0, 1.0), "aVR": (-0.5, -0.5), "aVL": (1.0, -0.5), "aVF": (-0.5, 1.0)}
"""Weights of (I, II) that give the other limb leads (Einthoven's law, Goldberger's definitions)."""


def to_millivolts(signal: np.ndarray, units: Sequence[str]) -> np.ndarray:
    """float32 [L, T] in mV from a signal [L, T] whose rows have `units`. A unit that is no voltage is refused."""
    foreign = sorted({unit for unit in units if unit.strip().casefold() not in MV_PER_UNIT})
    if foreign:
        raise RejectedRecording(f"foreign unit: {', '.join(map(shown, foreign))}, expected mV, uV or V")
    scale = np.array([MV_PER_UNIT[unit.strip().casefold()] for unit in units])
    if (scale != 1.0).any():
        signal = signal * scale[:, None]
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes Inf, which is repaired or refused as a gap is
        return signal.astype(np.float32)


def place(names: Sequence[str]) -> list[int | None]:
    """For each of LEADS the row of that name, in any order and case; None for a limb lead that I and II give.

    Other leads, as Frank's, have no place. RejectedRecording where a lead is missing or occurs twice.
    """
    found = [CANONICAL.get(name.strip().casefold()) for name in names]
    repeated = sorted({name for name in found if name is not None and found.count(name) > 1})
    if repeated:
        raise RejectedRecording(f"repeated lead: {', '.join(repeated)}")
    missing = [name for name in LEADS if name not in found and name not in DERIVED]
    unknown = [shown(name) for name, known in zip(names, found) if known is None]
    if missing and not any(name.strip() for name in names):
        raise RejectedRecording(f"missing lead: none of {len(names)} signals has a name, expected {' '.join(LEADS)}")
    if missing and unknown:
        raise RejectedRecording(f"unknown lead: {', '.join(unknown[:12])}, expected {' '.join(LEADS)}")
    if missing:
        raise RejectedRecording(f"missing lead: {', '.join(missing)}")
    return [found.index(name) if name in found else None for name in LEADS]


def arrange(signal: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[12, T] in the order of `LEADS` from the rows [L, T] called `names`; see `place`.

    Of the limb leads III, aVR, aVL and aVF those that are missing are derived from I and II.
    """
    rows = place(names)
    if rows == list(range(len(LEADS))):
        return signal[: len(LEADS)]
    lead_i, lead_ii = signal[rows[0]], signal[rows[1]]
    return np.stack([derive(n, lead_i, lead_ii) if row is None else signal[row] for n, row in zip(LEADS, rows)])


def derive(name: str, lead_i: np.ndarray, lead_ii: np.ndarray) -> np.ndarray:
    """One of III, aVR, aVL, aVF from I and II, in their unit and type."""
    weight_i, weight_ii = DERIVED[name]
    return (weight_i * lead_i + weight_ii * lead_ii).astype(lead_i.dtype)
