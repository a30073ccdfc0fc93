"""Which statements a synthetic report makes, read back from its text: codes of findings, or the words themselves."""

from __future__ import annotations

from functools import cache

from merit.data.reports import clean
from merit.synthetic.reports import phrases

BETWEEN = ", "
"""What stands between statements in a cleaned report; a few wordings hold one too."""
MORE = {"atrial fibrillation with rapid ventricular response": "AFIB"}
"""Words that state a finding and something else; they are a statement of their own too."""


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
