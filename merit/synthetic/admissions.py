"""Who the recordings of a site belong to: patients with one or several, their age and sex, folds and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from merit.synthetic.labels import assign_folds, published

LASTING = frozenset({
    "IMI", "ASMI", "AMI", "ALMI", "LMI", "ILMI", "IPMI", "IPLMI", "PMI", "MI", "LVH", "RVH", "SEHYP", "LAFB", "LPFB",
    "IRBBB", "CRBBB", "CLBBB", "ILBBB", "IVCD", "WPW", "PACE", "NORM", "LAO/LAE", "RAO/RAE", "ALS", "ARS",
})  # fmt: skip
"""Findings that a patient keeps from one recording to the next."""
ANOTHER = {"mimic-iv-ecg": 0.42, "ptb-xl": 0.14, "cpsc2018": 0.0, "csn": 0.0}
"""Probability that a patient comes back for one more recording."""
AGE = {"NORM": 50, "AFIB": 73, "PACE": 75, "CLBBB": 71, "CRBBB": 68, "LVH": 67, "AFLT": 69, "WPW": 42, "SARRH": 46,
       "ERV": 38, "PSVT": 52, "3AVB": 74}  # fmt: skip
USUAL_AGE = 63
RECORDS_AT_500_HZ = 40
"""So many of the first recordings of the PTB-XL-like site are also written at 500 Hz."""


def admit(site: str, findings: list[frozenset[str]], rng: np.random.Generator) -> list[dict[str, Any]]:
    """One row a recording, the fields of an Order; `patient` is the index of the patient's first recording."""
    patient = _patients(findings, ANOTHER[site], rng)
    young = np.array([min((AGE[c] for c in found if c in AGE), default=USUAL_AGE) for found in findings])
    age = np.clip(np.rint(rng.normal(young, 14)), 18, 89)[patient]
    female = (rng.random(len(findings)) < 0.48)[patient]
    folds = np.zeros(len(findings), int)
    if site == "ptb-xl":
        _, groups = np.unique(patient, return_inverse=True)
        folds = assign_folds(groups, [published(site, found) for found in findings], 10, rng)
    lengths = _lengths(len(findings), rng) if site == "cpsc2018" else np.full(len(findings), 10.0)
    return [
        {
            "patient": int(patient[k]), "age": float(age[k]), "female": bool(female[k]), "findings": findings[k],
            "fold": int(folds[k]), "duration_s": float(lengths[k]),
            "also_500_hz": site == "ptb-xl" and k < RECORDS_AT_500_HZ,
        }
        for k in range(len(findings))
    ]  # fmt: skip


def _patients(findings: list[frozenset[str]], another: float, rng: np.random.Generator) -> np.ndarray:
    """Index of the first recording of each recording's patient: recordings with the same lasting findings join."""
    owner = np.arange(len(findings))
    last: dict[frozenset[str], int] = {}
    for k in rng.permutation(len(findings)):
        lasting = findings[k] & LASTING
        if lasting in last and rng.random() < another:
            owner[k] = last[lasting]
        else:
            last[lasting] = int(k)
    return owner


def _lengths(n: int, rng: np.random.Generator) -> np.ndarray:
    """Durations in seconds: near half at 10, most below 20, a few up to 60 and a few down to 6."""
    kind = rng.random(n)
    choices = [np.full(n, 10.0), rng.uniform(10, 19, n), rng.uniform(20, 60, n), rng.uniform(6, 10, n)]
    return np.round(np.select([kind < 0.45, kind < 0.90, kind < 0.96], choices[:3], choices[3]), 2)
