from __future__ import annotations

from pathlib import Path

import pytest

from merit.data.paths import inside, name_problem
from merit.data.recording import RejectedRecording


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a\\..\\x", "http://a/b", "x::http://a", "a\nb", "a\x00b", "..", "  "]
)
def test_names_that_lead_outside_are_refused_by_their_text(name: str, tmp_path: Path) -> None:
    assert name_problem(name)
    with pytest.raises(RejectedRecording):
        inside(str(tmp_path), str(tmp_path), name)


def test_names_inside_resolve(tmp_path: Path) -> None:
    assert name_problem("files/p1000/s..1/x.y") == ""
    assert inside(str(tmp_path), str(tmp_path / "a"), "b.hea") == str(tmp_path.resolve() / "a" / "b.hea")


def test_links_out_of_the_root_are_refused_and_the_root_may_be_one(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    data.mkdir()
    other.mkdir()
    (other / "x.hea").write_text("secret")
    (data / "x.hea").symlink_to(other / "x.hea")
    (data / "folder").symlink_to(other)
    (data / "y.hea").write_text("ours")
    (tmp_path / "link").symlink_to(data)
    for name in ("x.hea", "folder/x.hea"):
        with pytest.raises(RejectedRecording, match=r"^outside the data set"):
            inside(str(data), str(data), name)
    assert inside(str(tmp_path / "link"), str(tmp_path / "link"), "y.hea") == str(data.resolve() / "y.hea")
