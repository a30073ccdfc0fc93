"""The registry: published encoders whose weights are there, absent or broken, and a reader's own."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from merit import runs
from merit.encoders import registry
from merit.encoders.published import read_state
from merit.encoders.registry import PUBLISHED, UserEncoder

EXAMPLE = runs.PACKAGE_ROOT.parent / "book" / "examples" / "band_power.py"
HEAD = """
import numpy as np, merit
SPEC = merit.InputSpec(fs_hz=100, duration_s=10, leads=("I",), scaling="none")
"""
MINE = "class Mine:\n    input_spec = SPEC\n    def __init__(self, device): pass\n    def embed(self, x, fs): "
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 134217728\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path) -> Path:
    """An empty folder of weights, and no encoder of a reader's own."""
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("MERIT_ENCODER", raising=False)
    return tmp_path


def test_published_ones_without_weights_are_absent(folder):
    names, absent = registry.choose("all")
    assert not names
    assert [row.name for row in absent] == list(PUBLISHED)
    assert all(row.label and "published: " in row.note for row in absent)
    (folder / "medtvt-r1").mkdir()
    (folder / "medtvt-r1" / "w.pt").write_bytes(b"\x80x")
    assert registry.choose("medtvt-r1") == (["medtvt-r1"], [])
    assert "medtvt-r1     weights there" in registry.describe()
    with pytest.raises(ValueError, match="peers: expected all, none or any of"):
        registry.choose("nobody")
    (folder / "medtvt-r1" / "more.bin").write_bytes(b"\x80x")
    with pytest.raises(ValueError, match=r"expected one weights file; got more\.bin, w\.pt"):
        registry.choose("medtvt-r1")


def test_identity_and_surroundings_follow_the_files(folder):
    text = folder / "merl" / "text"
    text.mkdir(parents=True)
    torch.save({"a": torch.zeros(2)}, text.parent / "w.pt")
    first, around = PUBLISHED["merl"].identity(), registry.surroundings()
    (text / "config.json").write_text("{}")
    second = PUBLISHED["merl"].identity()
    torch.save({"a": torch.ones(2)}, text.parent / "w.pt")
    assert len({first, second, PUBLISHED["merl"].identity()}) == 3
    assert registry.surroundings() != around


def test_the_data_sets_that_were_seen_are_those_of_the_file_at_hand(folder, small_peer):
    qoq, state = PUBLISHED["qoq"], small_peer("qoq").state()
    assert qoq.pretraining_cohorts() == ("csn",)
    path = small_peer("qoq").write(folder / "qoq")
    assert qoq.pretraining_cohorts() == ("csn",)
    path.unlink()
    further = {f"time_series_embedding.encoder.{key}": value for key, value in state.items()}
    for content, seen in ((state, ("csn",)), (further, ("csn", "ptb-xl", "cpsc2018"))):
        save_file(content, folder / "qoq" / "jepa.safetensors")
        assert qoq.pretraining_cohorts() == seen
    assert PUBLISHED["ecg-fm"].pretraining_cohorts() == ("mimic-iv-ecg", "ptb-xl", "cpsc2018", "csn")


def one_line(error: Exception, name: str) -> bool:
    text = str(error)
    return name in text and "not downloaded whole" in text and "\n" not in text and "trust" not in text


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [POINTER, PAGE, b"", b"garbage" * 100, "cut"])
def test_no_weights_in_place_of_weights(folder: Path, name: str, content: bytes | str) -> None:
    path = folder / "qoq" / name
    path.parent.mkdir()
    if content == "cut":
        state = {"a": torch.arange(1000.0)}
        torch.save(state, path) if path.suffix == ".pth" else save_file(state, path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    (path.parent / f"._{name}").write_bytes(b"\x00\x05\x16\x07")
    for call in (lambda: PUBLISHED["qoq"].load("cpu"), PUBLISHED["qoq"].identity):
        with pytest.raises(runs.Unavailable) as refusal:
            call()
        assert one_line(refusal.value, f"weights/qoq/{name}")
    with pytest.raises(ValueError, match=r"w\.") as refusal:
        read_state(path)
    assert one_line(refusal.value, str(path))
    there, absent = registry.choose("qoq")
    assert (there, "not downloaded whole" in absent[0].note) == ([], True)
    assert PUBLISHED["qoq"].pretraining_cohorts() == ("csn",)


@pytest.mark.parametrize("legacy", [False, True])
def test_any_damage_is_one_line_or_is_read(tmp_path: Path, legacy: bool) -> None:
    path, rng, said = tmp_path / "w.pt", random.Random(0), []
    torch.save({"a": torch.arange(20.0)}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for trial in range(80):
        content = bytearray(whole)
        if trial % 2:
            content = content[: rng.randrange(len(whole))]
        else:
            for _ in range(4):
                content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            read_state(path)
            assert trial % 2 == 0, "a cut file is never read"
        except ValueError as error:
            said.append(str(error))
    assert len(said) >= 40
    assert all(str(path) in text and "\n" not in text and "trust" not in text for text in said)


@pytest.fixture
def named(monkeypatch, tmp_path):
    """Set MERIT_ENCODER to a file with these lines."""

    def name(lines: str, suffix: str = "") -> dict[str, UserEncoder]:
        path = tmp_path / f"mine{len(list(tmp_path.iterdir()))}.py"
        path.write_text(HEAD + lines)
        monkeypatch.setenv("MERIT_ENCODER", f"{path}{suffix}")
        return registry.registered()

    return name


@pytest.mark.parametrize("suffix", ["", ":BandPower"])
def test_the_example_of_the_book_is_an_encoder(monkeypatch, suffix):
    assert registry.registered() == {}
    assert not registry.known("band-power")
    for setting in ("no/such/file.py:A", "no-such-entry-point"):
        monkeypatch.setenv("MERIT_ENCODER", setting)
        with pytest.raises(ValueError, match=r"expected path\.py:Class"):
            registry.registered()
    monkeypatch.setenv("MERIT_ENCODER", f"{EXAMPLE}{suffix}")
    assert registry.choose("none") == (["band-power"], [])
    assert registry.known("band-power")
    assert "band-power    your own" in registry.describe()
    entry = registry.entry("band-power")
    assert (entry.fs_hz, entry.shares_space, entry.pretraining_cohorts()) == (100, False, ())
    time_s = np.arange(1000) / 100
    tones = np.stack([np.tile(np.sin(2 * np.pi * f * time_s), (12, 1)) for f in (1, 20)]).astype(np.float32)
    z = entry.load("cpu").embed(tones, 100)
    assert z.shape == (2, 96)
    assert z[0].reshape(8, 12).mean(1).argmax() == 1
    assert z[1].reshape(8, 12).mean(1).argmax() == 6
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 24, "it is called an encoder in twenty lines"


def test_identity_follows_the_file_and_its_weights(named, tmp_path):
    path = tmp_path / "w.bin"
    path.write_bytes(b"1")
    lines = f"{MINE}return x[:, :, 0] * 1.0\n    weights, pretrained_on = {str(path)!r}, ['csn']\n    embed_text = 1"
    entry = named(lines, ":Mine")["Mine"]
    assert (entry.shares_space, entry.pretraining_cohorts()) == (True, ("csn",))
    first = entry.identity()
    assert first == registry.entry("Mine").identity()
    path.write_bytes(b"2")
    second = entry.identity()
    assert len({first, second, named(lines + "\n# changed", ":Mine")["Mine"].identity()}) == 3


@pytest.mark.parametrize(
    ("lines", "suffix", "message"),
    [
        # a file without an encoder
        ("x = 1", ":A", r"expected a class A in .*\.py; there is none"),
        ("x = 1", "", "expected a class under @register"),
        ("1 / 0", "", "does not run: ZeroDivisionError"),
        ("class A: pass", ":A", "it lacks input_spec, embed"),
        ("class A:\n    input_spec = 1\n    embed = 2", ":A", "it lacks an InputSpec"),
        ("@merit.register('a b')\nclass A: pass", "", "expected a name of letters"),
        ("@merit.register('a')\nclass A:\n    input_spec, embed = SPEC, 2\nB = A", "", "a is registered twice"),
        # a broken one, with what was expected
        (f"{MINE}return x[:, :, 0].T", ":Mine", r"expected \[3, width\]; got \[12, 3\]"),
        (f"{MINE}return x[:, 0, :5] * np.nan", ":Mine", "expected finite numbers; got float32 with NaN"),
        (f"{MINE}return x[:, 0, :5].astype(int)", ":Mine", "expected finite numbers; got int64"),
        (
            f"{MINE}return x[:, 0, :5] - x[:, 0, :5].mean(0)",
            ":Mine",
            "the same embedding of a recording whatever",
        ),
        (f"{MINE}return x[:, 12]", ":Mine", "it raised IndexError"),
        (f"{MINE}raise RuntimeError('one\\ntwo')", ":Mine", "it raised RuntimeError: one$"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(named, lines, suffix, message):
    with pytest.raises(ValueError, match=message) as error:
        named(lines, suffix)["Mine"].load("cpu")
    assert "\n" not in str(error.value)


def test_an_installed_entry_point_is_found(monkeypatch, tmp_path):
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    for name, text in (
        ("theirs.py", EXAMPLE.read_text()),
        ("theirs-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n"),
        ("theirs-1.0.dist-info/entry_points.txt", "[merit.encoders]\nbands = theirs:BandPower\n"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MERIT_ENCODER", "bands")
    try:
        assert list(registry.registered()) == ["band-power"]
    finally:
        sys.modules.pop("theirs", None)
