"""What can be wrong with a run from outside: each is one clear line, or is worked around, and nothing saved is lost."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig
from merit.pretrain import checkpoint, feed
from merit.pretrain.feed import needed_bytes
from merit.pretrain.loop import pretrain
from merit.pretrain.step import build, ready
from merit.pretrain.world import World

MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16, shared_width=16,
)  # fmt: skip


def run(data, folder: Path, **more) -> Path:
    """Six updates, saved after three."""
    config = PretrainConfig(
        epochs=None, updates=6, batch=8, learning_rate=3e-3, validate_every=3, save_every=3, validation_share=0.2
    )
    return pretrain(data, MODEL, config, folder, cohort="here", progress=False, **more)


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file grows beyond so many bytes: the kernel refuses the write, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, bit for bit."""
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_disk_that_fills_up_during_a_checkpoint_leaves_the_old_one(paired, tmp_path):
    whole, folder = run(paired, tmp_path / "whole"), tmp_path / "c"
    run(paired, folder, stop_after=3)
    before = (folder / checkpoint.STATE).read_bytes()
    with (
        full_disk(20_000),
        pytest.raises(OSError, match=r"training_state\.pt: no room to write it \(.*the same command goes on"),
    ):
        run(paired, folder, stop_after=1)
    assert (folder / checkpoint.STATE).read_bytes() == before
    assert not list(folder.glob(".*"))
    assert torch.load(folder / checkpoint.STATE, weights_only=True)["update"] == 3
    assert same(whole, run(paired, folder))


def test_a_disk_that_fills_up_at_the_end_loses_nothing(paired, tmp_path, monkeypatch):
    whole, folder = run(paired, tmp_path / "whole"), tmp_path / "c"
    save_file = checkpoint.save_file

    def cramped(*given) -> None:
        with full_disk(20_000):
            save_file(*given)

    monkeypatch.setattr(checkpoint, "save_file", cramped)
    with pytest.raises(OSError, match=r"model\.safetensors: no room to write it \(File too large\)"):
        run(paired, folder)
    assert not checkpoint.finished(folder)
    assert torch.load(folder / checkpoint.STATE, weights_only=True)["update"] == 6
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    assert same(whole, run(paired, folder))


def test_memory_that_does_not_suffice_changes_no_number(paired, tmp_path, monkeypatch, capsys):
    whole = run(paired, tmp_path / "whole")
    monkeypatch.setattr(feed, "free_bytes", lambda device: needed_bytes(paired) / 2)
    assert same(whole, run(paired, tmp_path / "streamed"))
    assert "recordings need 0.0 GB and cpu has 0.0 GB free" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"graphs": True}, "graphs: CUDA graphs need a GPU; got device cpu; leave --graphs out"),
        ({"attention": "flex"}, "attention: FlexAttention has gradients on a GPU alone; got device cpu"),
        ({"attention": "flash"}, "attention: expected one of sdpa, flex; got 'flash'"),
    ],
)
def test_a_way_that_the_device_lacks_is_refused(paired, tmp_path, way, message):
    with pytest.raises(ValueError, match=message):
        run(paired, tmp_path / "c", **way)
    assert not (tmp_path / "c" / checkpoint.STATE).exists()


def test_the_graphs_way_asks_torch_for_graphs_and_marks_each_step(monkeypatch):
    """Not run here: that the GPU then records them."""
    asked, marks = {}, []
    monkeypatch.setattr(torch, "compile", lambda model, **how: asked.update(how) or model)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    config = PretrainConfig(batch=8, epochs=None, updates=1)
    model = build(MODEL, config)
    called = ready(model, World(device=torch.device("cuda")), False, graphs=True)
    assert asked == {"dynamic": False, "mode": "reduce-overhead"}
    signal, visible = torch.randn(2, 12, 1000), torch.arange(2).expand(2, 12, -1)
    for count in (1, 2):
        assert called(signal, torch.randn(2, 16), visible, None).ecg.shape == (2, 16)
        assert len(marks) == count


def test_a_device_that_is_not_there_is_named(monkeypatch):
    from merit.pipeline import Workspace

    for device, message in {"cuda": r"expected one that is there \(cpu\); got cuda", "mps": "auto, cpu, cuda"}.items():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ValueError, match=message):
            Workspace.open("smoke", device=device).torch_device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Workspace.open("smoke", device="cuda:1").torch_device() == "cuda:1"
    with pytest.raises(ValueError, match="device: expected cuda:0 to cuda:1, or cpu; got cuda:2"):
        Workspace.open("smoke", device="cuda:2").torch_device()
