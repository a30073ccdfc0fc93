"""Marks in texts that nobody vouches for: every one escaped, TeX left as it stands."""

from __future__ import annotations

import re

import pytest

from merit.report import texts

REFERENCE = "The rhythm is atrial fibrillation. No pacing. Left ventricular hypertrophy"
TEXT = "Sinus rhythm; no atrial fibrillation, possible pacing. <script>hi()</script> $x^2$ Left ventricular hypertrophy"
NAMES = {"AFIB": "atrial fibrillation", "SR": "sinus rhythm", "LVH": "left <ventricular> hypertrophy", "PACE": "pacing"}


def mentions(text: str, **states: str) -> list[list]:
    """Mentions of these statements in a text, by the phrase of each."""
    phrases = {"AFIB": "atrial fibrillation", "SR": "Sinus rhythm", "LVH": "Left ventricular", "PACE": "pacing"}
    return [
        [code, state, text.index(phrases[code]), text.index(phrases[code]) + len(phrases[code])]
        for code, state in states.items()
    ]


def row(text: str = TEXT) -> dict:
    """A test pair and what was written; its reference asserts atrial fibrillation and hypertrophy."""
    said = mentions(TEXT, SR="present", AFIB="absent", PACE="uncertain", LVH="present") if text == TEXT else []
    there = mentions(REFERENCE, AFIB="present", PACE="absent", LVH="present")
    question = "What does <ecg> show, and is $x^2$ < 3?"
    return {"question": question, "reference": REFERENCE, "text": text, "reference_mentions": there, "mentions": said}


def mark(text: str, kind: str, title: str, sign: str) -> str:
    return f'<span class="merit-mark merit-mark-{kind}" title="{title}"><u>{text}</u><sup>{sign}</sup></span>'


def test_findings_are_marked_in_texts_and_what_is_missed_in_the_reference() -> None:
    html = texts.example({"MERIT": row()}, NAMES).text
    assert mark("Sinus rhythm", "wrong", "sinus rhythm: said, and not there", "×") in html
    assert mark("atrial fibrillation", "denied", "atrial fibrillation: denied, although there", "−") in html
    assert mark("pacing", "uncertain", "pacing: held possible, there or not", "?") in html
    missed = mark("atrial fibrillation", "missed", "atrial fibrillation: there, and not said", "○")
    assert f"{missed}. No pacing." in html
    name = "left &lt;ventricular&gt; hypertrophy: said, and there"
    assert f"{mark('Left ventricular', 'right', name, '+')} hypertrophy</dd></dl>" in html
    assert "there, and not said by MERIT</u><sup>○</sup>" in texts.legend("MERIT").text


def test_all_text_is_escaped_and_tex_stays_text() -> None:
    html = texts.example({"MERIT": row(), "<script>": row("")}, NAMES).text
    assert "<script>" not in html
    assert "&lt;script&gt;hi()&lt;/script&gt; $x^2$ " in html
    assert "What does &lt;ecg&gt; show, and is $x^2$ &lt; 3?" in html
    assert "<dt>&lt;script&gt;</dt><dd><i>nothing</i></dd>" in html
    assert "$" not in re.sub(r'<dl class="[^"]*mathjax_ignore[^"]*">.*?</dl>', "", html, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], "a &lt; b"),
        ([(4, 5)], "a &lt; [b]"),
        ([(2, 99)], "a [&lt; b]"),
        ([(2, 5), (0, 3)], "[a &lt;][ b]"),
        ([(0, 5), (2, 3)], "[a &lt; b]"),
        ([(0, 1), (1, 2)], "[a][ ]&lt; b"),
        ([(-3, 1), (3, 3), (9, 12), (5, 2)], "[a] &lt; b"),
    ],
)
def test_spans_may_overlap_touch_the_end_or_lie_beyond_it(spans, expected) -> None:
    html = texts.marked("a < b", [(start, end, "right", "x") for start, end in spans]).text
    assert re.sub(r"<span[^>]*><u>(.*?)</u><sup>\+</sup></span>", r"[\1]", html) == expected
