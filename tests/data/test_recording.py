"""Names, reports and files of unknown origin."""

from __future__ import annotations

import pytest

from merit.data.recording import MAX_CHARACTERS, RejectedRecording, clean, inside, name_problem, something_else

OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "a\\..\\x", "http://a/b", "x::http://a", "a\nb", "a\x00b", ".."]


@pytest.mark.parametrize("name", [*OUTSIDE, "  ", "C:x", "c:/x"])
def test_names_that_lead_outside_are_refused_by_their_text(name, tmp_path):
    assert name_problem(name)
    with pytest.raises(RejectedRecording):
        inside(str(tmp_path), name)


def test_names_inside_resolve(tmp_path):
    assert name_problem("files/p1000/s..1/x.y") == ""
    assert inside(str(tmp_path), "a/b.hea") == str(tmp_path / "a" / "b.hea")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 120000\n", "a Git LFS pointer"),
        (b"../.git/annex/objects/XX/1/MD5E-s900--aa.hea", "a git-annex pointer"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", "a web page"),
        (b"<HTML><head>404", "a web page"),
        (b"rec 12 500 5000", ""),
        (b"", ""),
    ],
)
def test_what_lies_in_place_of_a_download(content: bytes, kind):
    assert something_else(content) == kind


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
def test_cleaning(raw, cleaned):
    assert clean(raw) == cleaned
    assert clean(cleaned) == cleaned


def test_a_report_without_end_is_cut():
    assert len(clean("sinus " * 100_000)) <= MAX_CHARACTERS
