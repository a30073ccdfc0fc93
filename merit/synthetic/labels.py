"""Who comes to a site, with which findings, and what the report says: sampled with an imbalance like the real one.

`vocabulary.csv` says for each finding its name in each data set, the slots it occupies (two findings that need the same
slot exclude each other), the findings it likes to come with, and how common it is at each site, in percent of records.
A report states findings in varying words (`phrases.json`), leaves some out, and names no measurement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from merit.config import HospitalConfig
from merit.data.recording import clean

PREVALENCE = {"mimic-iv-ecg": "p_mimic", "ptb-xl": "p_ptb", "cpsc2018": "p_cpsc", "csn": "p_csn"}
"""Column of the vocabulary that holds how common findings are at a site; the sites in the order of their seeds."""
NORMAL_RHYTHMS = ("SR", "SBRAD", "SARRH")
"""Rhythms that a normal ECG may have."""
LIKING = 5.0
"""How much likelier a finding is where one that it likes is present."""
CROWDING = 1.3
"""Exponent by which recordings that have findings already are spared the next."""
_LASTING = """IMI ASMI AMI ALMI LMI ILMI IPMI IPLMI PMI MI LVH RVH SEHYP LAFB LPFB IRBBB CRBBB CLBBB ILBBB IVCD WPW PACE
NORM LAO/LAE RAO/RAE ALS ARS"""
LASTING = frozenset(_LASTING.split())
"""Findings that a patient keeps from one recording to the next."""
ANOTHER = {"mimic-iv-ecg": 0.42, "ptb-xl": 0.14, "cpsc2018": 0.0, "csn": 0.0}
"""Probability that a patient comes back for one more recording."""
AGE = {"NORM": 50, "AFIB": 73, "PACE": 75, "CLBBB": 71, "CRBBB": 68, "LVH": 67, "AFLT": 69, "WPW": 42, "SARRH": 46}
AGE |= {"ERV": 38, "PSVT": 52, "3AVB": 74}
"""Mean age of patients with a finding, years; the youngest of several holds."""
USUAL_AGE = 63
RECORDS_AT_500_HZ = 40
"""So many of the first recordings of the PTB-XL-like site are also written at 500 Hz."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One recording to make: everything a worker needs, and nothing that depends on other recordings."""

    site: str
    index: int
    patient: int
    """Index of the patient's first recording."""
    age: float
    female: bool
    findings: frozenset[str]
    patient_seed: int
    record_seed: int
    fold: int = 0
    duration_s: float = 10.0
    also_500_hz: bool = False


@cache
def vocabulary() -> pd.DataFrame:
    """One row per finding, indexed by code; slots and likes as sets."""
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
    names = column("ptb-xl" if site == "mimic-iv-ecg" else site)
    return [label for code, label in names.items() if label and code in findings]


def plan_site(site: str, config: HospitalConfig) -> list[Order]:
    """Who comes to a site and with which findings; no waveform is needed for it."""
    n, number = config.recordings[site], list(PREVALENCE).index(site)
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, number]))
    findings = sample_findings(site, n, 0 if site == "mimic-iv-ecg" else config.min_positives, rng)
    owner = np.arange(n)  # recordings with the same lasting findings may be of one patient
    last: dict[frozenset[str], int] = {}
    for k in rng.permutation(n):
        lasting = findings[k] & LASTING
        if lasting in last and rng.random() < ANOTHER[site]:
            owner[k] = last[lasting]
        else:
            last[lasting] = int(k)
    typical = np.array([min((AGE[c] for c in found if c in AGE), default=USUAL_AGE) for found in findings])
    age = np.clip(np.rint(rng.normal(typical, 14)), 18, 89)[owner]
    female = (rng.random(n) < 0.48)[owner]
    folds, duration_s = np.zeros(n, int), np.full(n, 10.0)
    if site == "ptb-xl":
        _, groups = np.unique(owner, return_inverse=True)
        folds = assign_folds(groups, [published(site, found) for found in findings], 10, rng)
    if site == "cpsc2018":  # near half at 10 s, most below 20, a few up to 60 and a few down to 6
        kind = rng.random(n)
        choices = [np.full(n, 10.0), rng.uniform(10, 19, n), rng.uniform(20, 60, n), rng.uniform(6, 10, n)]
        duration_s = np.round(np.select([kind < 0.45, kind < 0.90, kind < 0.96], choices[:3], choices[3]), 2)
    seeds = [np.random.SeedSequence([config.seed, number, k]).generate_state(2, np.uint64) for k in range(n)]
    return [
        Order(
            site=site,
            index=k,
            patient=int(owner[k]),
            age=float(age[k]),
            female=bool(female[k]),
            findings=findings[k],
            patient_seed=int(seeds[owner[k]][0]),
            record_seed=int(seeds[k][1]),
            fold=int(folds[k]),
            duration_s=float(duration_s[k]),
            also_500_hz=site == "ptb-xl" and k < RECORDS_AT_500_HZ,
        )
        for k in range(n)
    ]


def sample_findings(site: str, n: int, floor: int, rng: np.random.Generator) -> list[frozenset[str]]:
    """The findings of n recordings of a site; each published finding at least `floor` times where they fit."""
    slots, likes = column("slots"), column("likes")

    # How many recordings get each finding: its prevalence, but a floor at least, two above what was asked for, so that
    # a class keeps it if one recording is lost in reading. Where the floors together would fill the site, they shrink:
    # rare findings are made commoner, never dominant.
    wanted = vocabulary()[PREVALENCE[site]]
    wanted = wanted[wanted > 0] / 100 * n
    is_rhythm = np.array(["rhythm" in slots[code] for code in wanted.index])
    share = {"rhythm": 0.62 * n / max(is_rhythm.sum(), 1), "other": 1.55 * n / max((~is_rhythm).sum(), 1)}
    room = np.where(is_rhythm, share["rhythm"], share["other"])
    lowest = np.minimum(floor + 2, np.floor(room)) if floor else np.minimum(2, room)
    counts = {code: int(max(round(value), low)) for code, value, low in zip(wanted.index, wanted, lowest)}
    if "NORM" in counts:
        extra = sum(counts.values()) - int(wanted.sum())
        counts["NORM"] = max(counts["NORM"] - extra // 4, int(0.15 * n) if site != "cpsc2018" else counts["NORM"])

    findings: list[set[str]] = [set() for _ in range(n)]
    taken: list[set[str]] = [set() for _ in range(n)]

    def give(row: int, code: str) -> None:
        findings[row].add(code)
        taken[row] |= slots[code]

    rhythms = [code for code in counts if "rhythm" in slots[code]]
    rows = rng.permutation(n)
    for code in rhythms:
        chosen, rows = rows[: counts[code]], rows[counts[code] :]
        for row in chosen:
            give(row, code)
    for row in rows:
        give(row, "SR")
    others = [code for code in counts if code not in rhythms and code != "NORM"]
    others.sort(key=lambda code: (-len(slots[code]), counts[code]))
    for code in ["NORM"] * ("NORM" in counts) + others:
        weight = np.zeros(n)  # a finding goes where it fits, sooner where it is liked and where there are few
        for row, found in enumerate(findings):
            if code == "NORM":
                fits = len(found) == 1 and not found.isdisjoint(NORMAL_RHYTHMS)
            else:
                fits = not (slots[code] & taken[row]) and "NORM" not in found
            if fits:
                liked = bool(likes[code] & found) or any(code in likes[other] for other in found)
                weight[row] = (LIKING if liked else 1.0) / len(found) ** CROWDING
        possible = int(np.count_nonzero(weight))
        if possible:
            for row in rng.choice(n, min(counts[code], possible), replace=False, p=weight / weight.sum()):
                give(int(row), code)
    if site == "cpsc2018":  # has no recording without a class: the rest become normal, or get a common class that fits
        for row in [row for row, found in enumerate(findings) if not published(site, frozenset(found))]:
            common = (code for code in ("CRBBB", "STD_", "1AVB", "PVC") if not slots[code] & taken[row])
            give(row, "NORM" if len(findings[row]) == 1 else next(common))
    return [frozenset(found) for found in findings]


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


# -- reports ----------------------------------------------------------------------------------------------------------

LEFT_OUT_WEIGHT = {"rhythm": 0.35, "diagnosis": 0.9, "form": 1.5}
"""How readily a statement is left out, by its kind: rhythm seldom, descriptions of shape often."""
SHORT = 0.03
"""Share of recordings whose report is empty or says next to nothing."""
MAX_STATEMENTS = 18
"""Report columns of MIMIC-IV-ECG."""
BETWEEN = ", "
"""What stands between statements in a cleaned report; a few wordings hold one too."""
MORE = {"atrial fibrillation with rapid ventricular response": "AFIB"}
"""Words that state a finding and something else; they are a statement of their own too."""


@cache
def phrases() -> dict[str, list[str]]:
    """Finding -> the wordings it may have; the first are the usual ones."""
    return json.loads(resources.files("merit.synthetic").joinpath("phrases.json").read_text(encoding="utf-8"))


def named_findings(findings: frozenset[str], omission: float, rng: np.random.Generator) -> list[str]:
    """The findings that the report names, in the order of the vocabulary; a share `omission` is left out on average.

    The last one left is always named, so that a recording with one finding keeps it.
    """
    kinds = column("kind")
    codes = [code for code in kinds if code in findings]
    weight = np.array([LEFT_OUT_WEIGHT[kinds[code]] for code in codes])
    lost = rng.random(len(codes)) < np.clip(omission * weight * 1.25, 0, 1)
    if lost.all():
        lost[int(np.argmin(weight))] = False
    return [code for code, gone in zip(codes, lost) if not gone]


def write_report(named: list[str], truth: dict[str, float], rng: np.random.Generator) -> list[str]:
    """The statements of a report, in order. `truth` only decides on a remark about rate or axis."""
    if rng.random() < SHORT:
        return [] if rng.random() < 0.5 else [str(rng.choice(["Abnormal ECG", "Technically poor", "Unconfirmed"]))]

    def words(code: str) -> str:  # the first wordings are the usual ones
        options = phrases()[code]
        odds = 1.0 / np.arange(1, len(options) + 1)
        return options[rng.choice(len(options), p=odds / odds.sum())]

    statements = [words(code) for code in named if code != "NORM"]
    axis = truth["axis_deg"]
    spoken_of = {"LAFB", "LPFB", "ALS", "ARS", "RVH"} & set(named)
    if not spoken_of and rng.random() < 0.4 and not -30 <= axis <= 90:
        side = "Left" if -90 < axis < -30 else "Right"
        statements.insert(min(1, len(statements)), f"{side} axis deviation")
    if named[:1] == ["AFIB"] and truth["heart_rate_bpm"] > 100 and rng.random() < 0.5:
        statements[0] = "Atrial fibrillation with rapid ventricular response"
    if "NORM" in named:
        statements.append(words("NORM"))
    elif rng.random() < (0.8 if len(statements) == 1 else 0.5):
        statements.append("Borderline ECG" if len(named) < 3 and rng.random() < 0.3 else "Abnormal ECG")
    return statements[:MAX_STATEMENTS]


@cache
def code_of() -> dict[str, str]:
    """Cleaned wording -> code of the finding."""
    return {clean(wording): code for code, wordings in phrases().items() for wording in wordings}


def statements(report: str) -> tuple[str, ...]:
    """What a cleaned report states, in order: a finding's code where a wording is known, else the words.

    A wording may hold the mark that separates statements, so the longest run of pieces that is known is taken.
    """
    pieces, found, start = report.split(BETWEEN) if report else [], [], 0
    while start < len(pieces):
        ends = range(len(pieces), start, -1)
        known = next((end for end in ends if BETWEEN.join(pieces[start:end]) in code_of()), start + 1)
        text = BETWEEN.join(pieces[start:known])
        found += [MORE[text]] if text in MORE else []
        found.append(code_of().get(text, text))
        start = known
    return tuple(found)
