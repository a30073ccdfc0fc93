from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from merit import runs
from merit.encoders import others, own

EXAMPLE = runs.PACKAGE_ROOT.parent / "book" / "examples" / "band_power.py"
HEAD = """
import numpy as np, merit
SPEC = merit.InputSpec(fs_hz=100, duration_s=10, leads=("I",), scaling="none")
"""


@pytest.fixture
def named(monkeypatch, tmp_path):
    """Set MERIT_ENCODER to a file with these lines."""

    def name(lines: str, suffix: str = "") -> dict[str, type]:
        path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.py"
        path.write_text(HEAD + lines)
        monkeypatch.setenv("MERIT_ENCODER", f"{path}{suffix}")
        return own.registered()

    return name


@pytest.mark.parametrize("suffix", ["", ":BandPower"])
def test_the_example_of_the_book_is_an_encoder(monkeypatch, suffix):
    monkeypatch.setenv("MERIT_ENCODER", f"{EXAMPLE}{suffix}")
    names, absent = others.choose("none")
    assert names == ["band-power"]
    assert not absent
    assert others.known("band-power")
    assert others.fs_hz("band-power") == 100
    assert not others.shares_space("band-power")
    assert others.pretrained_on("band-power") == ()
    encoder = others.load("band-power", "cpu")
    time_s = np.arange(1000) / 100
    tones = np.stack([np.tile(np.sin(2 * np.pi * f * time_s), (12, 1)) for f in (1, 20)]).astype(np.float32)
    z = encoder.embed(tones, 100)
    assert z.shape == (2, 96)
    assert z[0].reshape(8, 12).mean(1).argmax() == 1
    assert z[1].reshape(8, 12).mean(1).argmax() == 6
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 24, "it is called an encoder in twenty lines"


def test_nothing_is_registered_without_the_setting(monkeypatch):
    monkeypatch.delenv("MERIT_ENCODER", raising=False)
    assert own.registered() == {}
    assert not others.known("band-power")


def test_identity_follows_the_file_and_its_weights(named, tmp_path):
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"1")
    lines = f"""
class A:
    input_spec, weights = SPEC, {str(weights)!r}
    def __init__(self, device): pass
    def embed(self, x, fs): return x[:, :, 0] * 1.0
"""
    first = others.identity(next(iter(named(lines, ":A"))))
    assert first == others.identity("A")
    weights.write_bytes(b"2")
    assert others.identity("A") != first
    second = others.identity("A")
    named(lines + "\n# changed", ":A")
    assert others.identity("A") != second


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return x[:, :, 0].T", r"expected \[3, width\]; got \[12, 3\]"),
        ("return x[:, 0, :5] * np.nan", "expected finite numbers; got float32 with NaN"),
        ("return x[:, 0, :5].astype(int)", "expected finite numbers; got int64"),
        ("return x[:, 0, :5] - x[:, 0, :5].mean(0)", "the same embedding of a recording whatever the batch"),
        ("return x[:, 12]", "it raised IndexError"),
        ("raise RuntimeError('one\\ntwo')", "it raised RuntimeError: one$"),
    ],
)
def test_a_broken_one_is_refused_with_what_was_expected(named, body, message):
    named(f"""
class Broken:
    input_spec = SPEC
    def __init__(self, device): pass
    def embed(self, x, fs): {body}
""", ":Broken")  # fmt: skip
    with pytest.raises(ValueError, match=message) as error:
        others.load("Broken", "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "suffix", "message"),
    [
        ("x = 1", ":A", "expected a class A in .*; there is none"),
        ("x = 1", "", "expected a class under @register"),
        ("1 / 0", "", "does not run: ZeroDivisionError"),
        ("class A: pass", ":A", "it lacks input_spec, embed"),
        ("class A:\n    input_spec = 1\n    embed = 2", ":A", "it lacks an InputSpec"),
        ("@merit.register('a b')\nclass A: pass", "", "expected a name of letters"),
    ],
)
def test_a_file_without_an_encoder_is_refused_in_one_line(named, lines, suffix, message):
    with pytest.raises(ValueError, match=message):
        named(lines, suffix)


@pytest.mark.parametrize("setting", ["no/such/file.py:A", "no-such-entry-point"])
def test_what_is_not_there_is_refused(monkeypatch, setting):
    monkeypatch.setenv("MERIT_ENCODER", setting)
    with pytest.raises(ValueError, match=r"expected path\.py:Class"):
        own.registered()


def test_an_installed_entry_point_is_found(monkeypatch, tmp_path):
    (tmp_path / "theirs.py").write_text(EXAMPLE.read_text())
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[merit.encoders]\nbands = theirs:BandPower\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MERIT_ENCODER", "bands")
    try:
        assert list(own.registered()) == ["band-power"]
    finally:
        sys.modules.pop("theirs", None)


def test_published_ones_without_weights_are_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("MERIT_ENCODER", raising=False)
    names, absent = others.choose("all")
    assert not names
    assert "medtvt-r1" in [one.name for one in absent]
    assert all(one.label and "published: " in one.note for one in absent)
    Path(tmp_path, "medtvt-r1").mkdir()
    Path(tmp_path, "medtvt-r1", "w.pt").write_bytes(b"\x80x")
    assert others.choose("medtvt-r1") == (["medtvt-r1"], [])
    with pytest.raises(ValueError, match="peers: expected all, none or any of"):
        others.choose("nobody")
