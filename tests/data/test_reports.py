from __future__ import annotations

import pytest

from merit.data import reports


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Sinus rhythm\nBorderline ECG", "sinus rhythm, borderline ecg"),
        ("Normal EKG ***", "normal ecg"),
        ("*** Unconfirmed ***\n\n=- Abnormal  ekg =", "unconfirmed, abnormal ecg"),
        ("rate = 205/min", "rate = 205/min"),
        ("tab\there\r and\x00 null\x1b[31m\u202e", "tab here and null [31m"),
        ("Vorhof\u00dcberbelastung", "vorhofüberbelastung"),
        ("  ", ""),
        ("***\n= -\n", ""),
    ],
)
def test_cleaning(raw: str, cleaned: str) -> None:
    assert reports.clean(raw) == cleaned
    assert reports.clean(cleaned) == cleaned


def test_a_report_without_end_is_cut() -> None:
    assert len(reports.clean("sinus " * 100_000)) <= reports.MAX_CHARACTERS


def test_text_needs_words() -> None:
    assert reports.has_text("sinus rhythm, normal ecg", 4)
    assert not reports.has_text("sinus rhythm normal", 4)
    assert not reports.has_text("", 1)
