"""Which findings each recording of a site has: sampled without any waveform, with an imbalance like the real one.

`vocabulary.csv` says for each finding its name in each data set, the slots it occupies (two findings that need the same
slot exclude each other), the findings it likes to come with, and how common it is at each site, in percent of records.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

PREVALENCE = {"mimic-iv-ecg": "p_mimic", "ptb-xl": "p_ptb", "cpsc2018": "p_cpsc", "csn": "p_csn"}
NORMAL_RHYTHMS = ("SR", "SBRAD", "SARRH")
"""Rhythms that a normal ECG may have."""
LIKING = 5.0
"""How much likelier a finding is where one that it likes is present."""
CROWDING = 1.3
"""Exponent by which recordings that have findings already are spared the next."""


@cache
def vocabulary() -> pd.DataFrame:
    """One row a finding, indexed by code; slots and likes as sets."""
    with resources.files("merit.synthetic").joinpath("vocabulary.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("code")
    for name in PREVALENCE.values():
        table[name] = table[name].astype(float)
    for name in ("slots", "likes"):
        table[name] = [frozenset(cell.split()) for cell in table[name]]
    return table


@cache
def column(name: str) -> dict[str, Any]:
    """A column of the vocabulary by finding; a dict is looked up much faster than a table."""
    return dict(vocabulary()[name])


def published(site: str, findings: frozenset[str]) -> list[str]:
    """The labels that a site publishes for these findings, in the order of the vocabulary."""
    return [label for code, label in _names("ptb-xl" if site == "mimic-iv-ecg" else site) if code in findings]


@cache
def _names(data_set: str) -> tuple[tuple[str, str], ...]:
    """(finding, published label) of the findings that a site publishes."""
    return tuple((code, label) for code, label in column(data_set).items() if label)


def targets(site: str, n: int, floor: int) -> dict[str, int]:
    """How many recordings get each finding: its prevalence, but `floor` at least where the site publishes it.

    Where the floors together would fill the site, they shrink: rare findings are made commoner, never dominant.
    """
    table = vocabulary()
    wanted = table[PREVALENCE[site]]
    wanted = wanted[wanted > 0] / 100 * n
    is_rhythm = np.array(["rhythm" in table["slots"][code] for code in wanted.index])
    share = {"rhythm": 0.62 * n / max(is_rhythm.sum(), 1), "other": 1.55 * n / max((~is_rhythm).sum(), 1)}
    room = np.where(is_rhythm, share["rhythm"], share["other"])
    lowest = np.minimum(floor, np.floor(room)) if floor else np.minimum(2, room)
    counts = {code: int(max(round(value), low)) for code, value, low in zip(wanted.index, wanted, lowest)}
    if "NORM" in counts:
        extra = sum(counts.values()) - int(wanted.sum())
        counts["NORM"] = max(counts["NORM"] - extra // 4, int(0.15 * n) if site != "cpsc2018" else counts["NORM"])
    return counts


@dataclass
class _Draft:
    """Findings so far, and which slots they take."""

    findings: list[set[str]]
    slots: list[set[str]]

    def give(self, row: int, code: str) -> None:
        self.findings[row].add(code)
        self.slots[row] |= column("slots")[code]


def sample_findings(site: str, n: int, floor: int, rng: np.random.Generator) -> list[frozenset[str]]:
    """The findings of n recordings of a site; each published finding at least `floor` times where they fit.

    One or two are added to what was asked for, so that a class keeps its floor if one recording is lost in reading.
    """
    slots = column("slots")
    counts = targets(site, n, floor + 2 if floor else 0)
    draft = _Draft([set() for _ in range(n)], [set() for _ in range(n)])
    rhythms = [code for code in counts if "rhythm" in slots[code]]
    rows = rng.permutation(n)
    for code in rhythms:
        take, rows = rows[: counts[code]], rows[counts[code] :]
        for row in take:
            draft.give(row, code)
    for row in rows:
        draft.give(row, "SR")
    others = [code for code in counts if code not in rhythms and code != "NORM"]
    if "NORM" in counts:
        _choose(draft, "NORM", counts["NORM"], rng)
    for code in sorted(others, key=lambda c: (-len(slots[c]), counts[c])):
        _choose(draft, code, counts[code], rng)
    if site == "cpsc2018":
        _label_the_unlabelled(draft, site)
    return [frozenset(found) for found in draft.findings]


def _choose(draft: _Draft, code: str, count: int, rng: np.random.Generator) -> None:
    """Give a finding to `count` recordings where it fits, sooner where it is liked and where there are few."""
    slots, likes = column("slots")[code], column("likes")
    weight = np.zeros(len(draft.findings))
    for row, (found, taken) in enumerate(zip(draft.findings, draft.slots)):
        if code == "NORM":
            fits = len(found) == 1 and not found.isdisjoint(NORMAL_RHYTHMS)
        else:
            fits = not (slots & taken) and "NORM" not in found
        if fits:
            liked = bool(likes[code] & found) or any(code in likes[other] for other in found)
            weight[row] = (LIKING if liked else 1.0) / len(found) ** CROWDING
    possible = int(np.count_nonzero(weight))
    if possible:
        chosen = rng.choice(len(weight), min(count, possible), replace=False, p=weight / weight.sum())
        for row in chosen:
            draft.give(int(row), code)


def _label_the_unlabelled(draft: _Draft, site: str) -> None:
    """CPSC2018 has no recording without a class: the rest become normal, or get the commonest class that fits."""
    slots = column("slots")
    for row, found in enumerate(draft.findings):
        if published(site, frozenset(found)):
            continue
        if len(found) == 1:
            draft.give(row, "NORM")
        else:
            fitting = (code for code in ("CRBBB", "STD_", "1AVB", "PVC") if not slots[code] & draft.slots[row])
            draft.give(row, next(fitting))


def assign_folds(groups: np.ndarray, labels: list[list[str]], n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold 1..n_folds of each recording: whole groups (patients), each label spread evenly, the rarest label first.

    groups: group index of each recording. Greedy iterative stratification on the labels of whole groups.
    """
    names = sorted({name for record in labels for name in record})
    column = {name: k for k, name in enumerate(names)}
    counts = np.zeros((groups.max() + 1, len(names) + 1))
    for group, record in zip(groups, labels):
        counts[group, [column[name] for name in record]] += 1
        counts[group, -1] += 1
    need = np.tile(counts.sum(0) / n_folds, (n_folds, 1))
    fold = np.zeros(len(counts), int)
    rarity = 1 / np.maximum(counts.sum(0), 1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-((counts[order] > 0) * rarity).max(1), kind="stable")]
    for group in order:
        gain = need @ ((counts[group] > 0) * rarity) + 1e-6 * need[:, -1] + 1e-9 * rng.random(n_folds)
        fold[group] = int(np.argmax(gain))
        need[fold[group]] -= counts[group]
    return fold[groups] + 1
