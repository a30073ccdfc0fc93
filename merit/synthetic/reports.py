"""What the machine writes under a recording, and which statements a report makes.

Statements come in varying words, some findings are left out, and no measurement is named.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np

from merit.data.recording import clean
from merit.synthetic.labels import column

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
    statements = [_phrase(code, rng) for code in named if code != "NORM"]
    axis = truth["axis_deg"]
    spoken_of = {"LAFB", "LPFB", "ALS", "ARS", "RVH"} & set(named)
    if not spoken_of and rng.random() < 0.4 and not -30 <= axis <= 90:
        side = "Left" if -90 < axis < -30 else "Right"
        statements.insert(min(1, len(statements)), f"{side} axis deviation")
    if named[:1] == ["AFIB"] and truth["heart_rate_bpm"] > 100 and rng.random() < 0.5:
        statements[0] = "Atrial fibrillation with rapid ventricular response"
    if "NORM" in named:
        statements.append(_phrase("NORM", rng))
    elif rng.random() < (0.8 if len(statements) == 1 else 0.5):
        statements.append("Borderline ECG" if len(named) < 3 and rng.random() < 0.3 else "Abnormal ECG")
    return statements[:MAX_STATEMENTS]


def _phrase(code: str, rng: np.random.Generator) -> str:
    options = phrases()[code]
    odds = 1.0 / np.arange(1, len(options) + 1)
    return options[rng.choice(len(options), p=odds / odds.sum())]


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
