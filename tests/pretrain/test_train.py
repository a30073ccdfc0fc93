"""The loop: exact resume, a SIGKILL in the middle, non-finite losses, full disks, settings that cannot work."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrain_runs import CPU, MODEL, WITH_TOWER, assert_same, history, run, settings, train_here

import merit
from merit import runs
from merit.config import ABLATIONS, PEERS, Method, ModelConfig, PretrainConfig, SignalConfig, TinyVitConfig, ViewsConfig
from merit.data.batches import TokenStates, hold_out_patients
from merit.model.merit import scale as merit_scale
from merit.objectives import OBJECTIVES
from merit.pretrain import checkpoint, train
from merit.pretrain.distributed import World

HIERARCHICAL = {
    "encoder.kind": "tiny_vit",
    "encoder.tiny_vit.widths": (8, 16, 16, 16),
    "encoder.tiny_vit.depths": (1, 1, 2, 1),
    "encoder.tiny_vit.heads": (1, 2, 2, 2),
}
METHODS = {
    "merit": Method("merit"),
    "ib": Method("ib"),
    "tiny-vit": Method("merit", HIERARCHICAL),
    "resnet18": Method("merit", {"encoder.kind": "resnet18"}),
    "cross": Method("merit", {"decoder.attention": "cross", "decoder.decode_share": 0.5}),
    **ABLATIONS,
    **PEERS,
}


def run_method(data, folder: Path, name: str, **changes) -> Path:
    return run(data, folder, METHODS[name].model(MODEL), objective=METHODS[name].objective, **changes)


def stopped_at(folder: Path) -> int:
    """The update of the state in a folder."""
    return torch.load(folder / checkpoint.STATE, weights_only=True)["update"]


# -- a run that goes on is the run that was not stopped ---------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_six_updates_equal_three_and_three_and_come_back_as_they_were(paired, tmp_path, name):
    """Whatever is drawn (masks, augmentations, dropout) and counted (statistics of BatchNorm) goes on as it was."""
    whole, method = run_method(paired, tmp_path / "whole", name), METHODS[name]
    run_method(paired, tmp_path / "parts", name, how={"stop_after": 3})
    assert_same(whole, run_method(paired, tmp_path / "parts", name))
    assert [line["update"] for line in history(whole)] == [3, 6]
    encoder, signal_mv = merit.load(whole).encoder, paired.signal_uv[:5].astype(np.float32) / 1000
    assert encoder.model.config == method.model(MODEL)
    assert not encoder.model.training
    assert encoder.shares_space == ("info_nce" in OBJECTIVES[method.objective])
    z = encoder.embed(signal_mv, 100)
    assert z.shape == (5, encoder.model.config.encoder.embedding_width)
    np.testing.assert_allclose(encoder.tokens(signal_mv, 100).mean(1), z, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(signal_mv[2], 100), z[2], atol=1e-5)
    start = dict(train.build(encoder.model.config, settings(objective=method.objective)).named_parameters())
    assert [k for k, p in encoder.model.named_parameters() if torch.equal(p, start[k])] == [], "all of it learns"


@pytest.mark.parametrize("kind", ["vit", "tiny_vit", "resnet18"])
@pytest.mark.parametrize("objective", ["cma", "merit", "mse"])
def test_networks_objectives_and_dropout_views_go_together(paired, tmp_path, kind, objective):
    model = Method(objective, HIERARCHICAL | {"encoder.kind": kind}).model(MODEL)
    folder = run(paired, tmp_path / "run", model, objective=objective, view_scale=1.0, updates=3)
    line, (loaded, _) = history(folder)[-1], checkpoint.load_model(folder)
    assert set(line["train"]) == set(line["validation"]) == {"dropout_views", *OBJECTIVES[objective]}
    assert torch.isfinite(loaded.embed(torch.from_numpy(paired.signal_uv[:4]).float() / 1000)).all()
    start = dict(train.build(model, settings(objective=objective, view_scale=1.0)).named_parameters())
    still = [k for k, p in loaded.named_parameters() if torch.equal(p, start[k])]
    assert [k for k in still if not k.endswith("mask_value")] == []


def test_statistics_of_a_masked_resnet18_are_those_of_whole_recordings(paired, tmp_path):
    """Of the first BatchNorm, whose input is a convolution of the signal, against the plain mean over batches."""
    folder = run_method(paired, tmp_path / "run", "resnet18")
    model, config = checkpoint.load_model(folder)[0], settings()
    training, _ = hold_out_patients(paired, config.validation_share, config.seed)
    means = []
    for update in range(len(training) // config.batch):
        signal = training.take(train.positions(len(training), update, config), CPU)[0]
        with torch.no_grad():
            means.append(model.encoder.stem[0](merit_scale(signal, "zscore")).mean((0, 2)))
    torch.testing.assert_close(model.encoder.stem[1].running_mean, torch.stack(means).mean(0))
    assert model.encoder.stem[1].momentum == 0.1


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from merit import runs
slow = runs.write_state
runs.write_state = lambda *a: (slow(*a), time.sleep(0.2))
from pretrain_runs import train_here
train_here(sys.argv[2], 40, None, int(sys.argv[3]))
"""


@pytest.mark.parametrize("text_layers", [0, 1])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, text_layers):
    """SIGKILL at some update of a child process, then the same call again."""
    folder = tmp_path / "killed"
    call = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(folder), str(text_layers)]
    child = subprocess.Popen(call, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not (folder / checkpoint.STATE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.4)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not checkpoint.finished(folder)
    assert 0 < stopped_at(folder) < 40
    for one in (tmp_path / "whole", folder):
        train_here(one, 40, None, text_layers)
    assert_same(tmp_path / "whole", folder)
    assert not list(folder.glob(".*"))


def test_a_checkpoint_of_other_settings_is_rejected_with_what_differs(paired, tmp_path):
    run(paired, tmp_path, how={"stop_after": 2})
    with pytest.raises(ValueError, match=r"they differ in pretrain.learning_rate: 0.003 there, 0.1 here"):
        run(paired, tmp_path, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"differ in pretrain.views.gain: 0.2 there, 0.5 here"):
        run(paired, tmp_path, views=replace(settings().views, gain=0.5))


def test_two_runs_do_not_share_a_folder(paired, tmp_path):
    with ThreadPoolExecutor(1) as other, runs.claimed(tmp_path / "c"):
        second = other.submit(run, paired, tmp_path / "c")
        with pytest.raises(RuntimeError, match="c: another process is writing there; wait for it or end it"):
            second.result()


# -- what goes wrong loses nothing that was saved ---------------------------------------------------------------------


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """No file grows beyond so many bytes: the kernel rejects the write, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_loses_nothing(paired, tmp_path, monkeypatch):
    """During a checkpoint the old one stays; at the end the last one does."""
    whole, folder, save_file = run(paired, tmp_path / "whole"), tmp_path / "c", checkpoint.save_file
    run(paired, folder, how={"stop_after": 3})
    before = (folder / checkpoint.STATE).read_bytes()
    no_room = r"training_state\.pt: no room to write it \(.*the same command goes on"
    with full_disk(20_000), pytest.raises(OSError, match=no_room):
        run(paired, folder, how={"stop_after": 1})
    assert (folder / checkpoint.STATE).read_bytes() == before
    assert not list(folder.glob(".*"))

    def cramped(*given) -> None:
        with full_disk(20_000):
            save_file(*given)

    monkeypatch.setattr(checkpoint, "save_file", cramped)
    with pytest.raises(OSError, match=r"model\.safetensors: no room to write it \(File too large\)"):
        run(paired, folder)
    assert not checkpoint.finished(folder)
    assert stopped_at(folder) == 6
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    assert_same(whole, run(paired, folder))


def test_what_is_not_finite_stops_by_name_and_keeps_the_last_good_checkpoint(paired, tmp_path, monkeypatch):
    run(paired, tmp_path, how={"stop_after": 3})
    step = torch.optim.AdamW.step

    def broken(self, *args):
        step(self, *args)
        self.param_groups[0]["params"][0].data[:] = float("inf")

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    with pytest.raises(train.NonFiniteLoss):
        run(paired, tmp_path)
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    assert stopped_at(tmp_path) == 3
    paired.text[:] = float("nan")
    with pytest.raises(train.NonFiniteLoss, match=r"update 4: expected a finite info_nce; got nan"):
        run(paired, tmp_path)
    assert stopped_at(tmp_path) == 3


def test_on_a_gpu_the_first_update_that_is_not_finite_is_named_when_it_is_asked():
    """Where the values themselves lie does not matter."""
    finite = train.FiniteCheck(torch.device("cuda"))
    finite.check()
    for update, value in enumerate((1.0, np.nan, 2.0, np.nan), 1):
        finite.note({"loss": torch.tensor(value), "gradient": torch.tensor(1.0)}, update)
    with pytest.raises(train.NonFiniteLoss, match="update 2: expected a finite loss"):
        finite.check()


KERNELS = [
    ({"graphs": True}, "graphs: CUDA graphs need a GPU; got device cpu; leave --graphs out"),
    ({"attention": "flex"}, "attention: FlexAttention has gradients on a GPU alone; got device cpu"),
    ({"attention": "flash"}, "attention: expected one of sdpa, flex; got 'flash'"),
]


def test_a_kernel_that_the_device_lacks_is_rejected(paired, tmp_path):
    for how, message in KERNELS:
        with pytest.raises(ValueError, match=message):
            run(paired, tmp_path / "c", how=how)
    assert not (tmp_path / "c" / checkpoint.STATE).exists()


# -- what a run learns and leaves -------------------------------------------------------------------------------------


def test_what_a_finished_run_leaves(paired, tmp_path):
    folder = run(paired, tmp_path / "c")
    left = {p.name for p in folder.iterdir()}
    assert left == {*checkpoint.KEPT, "README.md", "SHA256SUMS"} - {"origin.json"}
    seen = checkpoint.pd.read_parquet(folder / "seen.parquet")
    assert set(seen["record_id"]) == set(paired.records["record_id"])
    before = (folder / "model.safetensors").stat().st_mtime_ns
    run(paired, tmp_path / "c")
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


# -- order, masks, schedule -------------------------------------------------------------------------------------------


def test_order_masks_and_schedule():
    config = PretrainConfig(batch=8, updates=10, epochs=None)
    first, again = (np.concatenate([train.positions(43, u, config) for u in range(5)]) for _ in range(2))
    assert len(set(first.tolist())) == 40, "an epoch visits each recording once"
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:8], train.positions(43, 5, config))

    def draw(seed: int, update: int) -> tuple[float, ...]:
        return tuple(torch.rand(3, generator=train.mask_generator(seed, update, CPU)).tolist())

    assert draw(0, 5) == draw(0, 5)
    assert len({draw(s, u) for s in (0, 1) for u in (-2, -1, 0, 1, 2)}) == 10
    config = PretrainConfig(batch=10, epochs=3.0)
    assert train.total_updates(config, 105) == 30
    with pytest.raises(ValueError, match="expected at most the 5 training recordings; got 10"):
        train.total_updates(config, 5)
    factors = [train.rate_factor(u, 100, 0.1) for u in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors == sorted(factors[:10]) + sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.001


SETTINGS = [
    (PretrainConfig, {"validate_every": 3, "save_every": 4}, "save_every: expected a multiple of validate_every = 3"),
    (PretrainConfig, {"epochs": 1.0, "updates": 5}, "expected epochs or updates, the other none"),
    (ViewsConfig, {"crop_least": 1.5}, "crop_least: expected a number above 0, at most 1; got 1.5"),
    (ViewsConfig, {"lead_drop": 1.0}, "lead_drop: expected a number from 0 and below 1; got 1.0"),
    (ModelConfig, {"scaling": "max"}, "expected one of zscore, minmax, mv; got 'max'"),
    (TinyVitConfig, {"heads": (2, 4)}, "heads: expected 4 numbers above 0, one a stage"),
    (TinyVitConfig, {"widths": (64, 128, 160, 64)}, "widths: expected a multiple of the stage's heads = 10; got 64"),
    (SignalConfig, {"ptb_xl_from_hz": 250}, "ptb_xl_from_hz: expected one of 100, 500; got 250"),
]


@pytest.mark.parametrize(("kind", "changes", "message"), SETTINGS)
def test_settings_that_cannot_work_are_rejected(kind, changes, message):
    with pytest.raises(ValueError, match=message):
        kind(**changes)


# -- compiled ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch itself, as it compiles
def test_compiled_terms_are_the_eager_ones_and_trained_text_layers_compile_nothing_again():
    config, world = settings(text_layers=1), World()
    model = train.build(WITH_TOWER, config)
    start = np.concatenate([[0], np.array([3, 1, 9, 4, 12, 2, 7, 5, 3, 6]).cumsum()])
    generator = torch.Generator().manual_seed(0)
    tokens = TokenStates(torch.randn((int(start[-1]), 16), generator=generator), start, {}, {})
    signal, valid = torch.randn((8, 12, 1000), generator=generator), torch.ones(8, dtype=torch.bool)
    called = train.compile_model(model, world, True)
    counts = []
    for rows in ([0, 1, 2, 3, 4, 5, 6, 7], [9, 9, 9, 9, 1, 1, 1, 1], [2, 4, 6, 8, 9, 0, 1, 3]):
        batch = (signal, tokens.take(np.array(rows), CPU), valid, torch.arange(8))
        both = []
        for network in (model, called):
            model.zero_grad()
            terms = train.update_terms(network, model, batch, config, 3, world)
            train.total_loss(terms, config).backward()
            gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            both.append(({name: value.detach() for name, value in terms.items()}, gradients))
        torch.testing.assert_close(both[1], both[0], rtol=1e-4, atol=1e-5)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[0] == counts[-1]


def test_a_device_that_is_not_there_is_named(monkeypatch):
    from merit.parallel import torch_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == "cpu"
    for device, message in {"cuda": r"expected one that is there \(cpu\); got cuda", "mps": "auto, cpu, cuda"}.items():
        with pytest.raises(ValueError, match=message):
            torch_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match="device: expected cuda:0 to cuda:1, or cpu; got cuda:2"):
        torch_device("cuda:2")


def test_no_patient_is_on_both_sides(paired):
    training, validation = hold_out_patients(paired, 0.3, seed=0)
    sides = [set(paired.records["patient_id"].iloc[part.rows]) for part in (training, validation)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 6
    assert len(training) + len(validation) == 40
