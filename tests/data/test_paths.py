from __future__ import annotations

from pathlib import Path

import pytest

from merit.data.paths import inside, name_problem, something_else
from merit.data.recording import RejectedRecording


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a\\..\\x",
        "http://a/b",
        "x::http://a",
        "a\nb",
        "a\x00b",
        "..",
        "  ",
        "C:x",
        "c:/x",
    ],
)
def test_names_that_lead_outside_are_refused_by_their_text(name: str, tmp_path: Path) -> None:
    assert name_problem(name)
    with pytest.raises(RejectedRecording):
        inside(str(tmp_path), name)


def test_names_inside_resolve(tmp_path: Path) -> None:
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
def test_what_lies_in_place_of_a_download(content: bytes, kind: str) -> None:
    assert something_else(content) == kind
