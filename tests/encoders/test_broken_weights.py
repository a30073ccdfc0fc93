"""What failed downloads leave in place of weights is one line, whatever of the file is damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from merit.encoders import others, outside, published

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 134217728\n"
PAGE = b"\n<!DOCTYPE html><html><head><title>Google Drive - Virus scan warning</title></head></html>"


def one_line(error: Exception, name: str) -> bool:
    text = str(error)
    return name in text and "not downloaded whole" in text and "\n" not in text and "trust" not in text


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [POINTER, PAGE, b"", b"garbage" * 100, "cut"])
def test_no_weights_in_place_of_weights(tmp_path: Path, monkeypatch, name: str, content: bytes | str) -> None:
    path = tmp_path / "qoq" / name
    path.parent.mkdir()
    if content == "cut":
        state = {"a": torch.arange(1000.0)}
        torch.save(state, path) if path.suffix == ".pth" else save_file(state, path)
        content = path.read_bytes()[:2000]
    path.write_bytes(content)
    (path.parent / f"._{name}").write_bytes(b"\x00\x05\x16\x07")
    monkeypatch.setenv("MERIT_WEIGHTS", str(tmp_path))
    for call in (lambda: outside.load("qoq", "cpu"), lambda: outside.identity("qoq")):
        with pytest.raises(outside.NoWeights) as refusal:
            call()
        assert one_line(refusal.value, f"weights/qoq/{name}")
    with pytest.raises(ValueError, match=r"w\.") as refusal:
        published.read(path)
    assert one_line(refusal.value, str(path))
    there, absent = others.choose("qoq")
    assert (there, "not downloaded whole" in absent[0].note) == ([], True)
    assert outside.pretrained_on("qoq") == ("csn",)


@pytest.mark.parametrize("legacy", [False, True])
def test_any_damage_is_one_line_or_is_read(tmp_path: Path, legacy: bool) -> None:
    path, rng = tmp_path / "w.pt", random.Random(0)
    torch.save({"a": torch.arange(20.0)}, path, _use_new_zipfile_serialization=not legacy)
    whole, said = path.read_bytes(), []
    for trial in range(80):
        content = bytearray(whole)
        if trial % 2:
            content = content[: rng.randrange(len(whole))]
        else:
            for _ in range(4):
                content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            published.read(path)
        except ValueError as error:
            said.append(str(error))
        else:
            assert trial % 2 == 0, "a cut file is never read"
    assert len(said) >= 40
    assert all(str(path) in text and "\n" not in text and "trust" not in text for text in said)
