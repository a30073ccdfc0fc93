"""The loop: exact resume, a SIGKILL in the middle, non-finite losses, full disks, what peers' objectives learn."""

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
from pretrain_runs import CPU, MODEL, WITH_TOWER, assert_same, history, recordings, run, settings, weights_of

import merit
from merit import runs
from merit.config import ABLATIONS, PEERS, Method, PretrainConfig
from merit.data.batches import TokenStates, hold_out_patients
from merit.model.merit import scale as merit_scale
from merit.objectives import OBJECTIVES
from merit.pretrain import checkpoint, loaders
from merit.pretrain.distributed import World
from merit.pretrain.train import (
    FiniteCheck,
    NonFiniteLoss,
    build,
    compile_model,
    mask_generator,
    positions,
    rate_factor,
    total_loss,
    total_updates,
    update_terms,
)

SIZES = {"widths": (8, 16, 16, 16), "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 2)}
HIERARCHICAL = {"encoder.kind": "tiny_vit", **{f"encoder.tiny_vit.{name}": sizes for name, sizes in SIZES.items()}}
METHODS = {"merit": Method("merit"), "ib": Method("ib"), "tiny-vit": Method("merit", HIERARCHICAL)}
METHODS |= {
    "resnet18": Method("merit", {"encoder.kind": "resnet18"}),
    "cross": Method("merit", {"decoder.attention": "cross", "decoder.decode_share": 0.5}),
}
METHODS |= {**ABLATIONS, **PEERS}


def run_method(data, folder: Path, name: str, **changes) -> Path:
    return run(data, folder, METHODS[name].model(MODEL), objective=METHODS[name].objective, **changes)


def stopped_at(folder: Path) -> int:
    """The update of the state in a folder."""
    return torch.load(folder / checkpoint.STATE, weights_only=True)["update"]


# -- a run that goes on is the run that was not stopped ---------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_six_updates_equal_three_and_three(paired, tmp_path, name):
    """Whatever is drawn (masks, augmentations, dropout) and counted (statistics of BatchNorm) goes on as it was."""
    whole = run_method(paired, tmp_path / "whole", name)
    run_method(paired, tmp_path / "parts", name, how={"stop_after": 3})
    assert_same(whole, run_method(paired, tmp_path / "parts", name))
    assert [line["update"] for line in history(whole)] == [3, 6]


@pytest.mark.parametrize("kind", ["vit", "tiny_vit", "resnet18"])
@pytest.mark.parametrize("objective", ["cma", "merit", "mse"])
@pytest.mark.parametrize("view_scale", [0.0, 1.0])
def test_networks_objectives_and_dropout_views_go_together(paired, tmp_path, kind, objective, view_scale):
    model = Method(objective, HIERARCHICAL | {"encoder.kind": kind}).model(MODEL)
    folder = run(paired, tmp_path / "run", model, objective=objective, view_scale=view_scale, updates=3)
    terms = {"cma": {"info_nce"}, "merit": {"info_nce", "masked_mse"}, "mse": {"masked_mse"}}[objective]
    line = history(folder)[-1]
    assert set(line["train"]) == set(line["validation"]) == terms | ({"dropout_views"} if view_scale else set())
    loaded, _ = checkpoint.load_model(folder)
    signal = torch.from_numpy(paired.signal_uv[:4]).float() / 1000
    assert torch.isfinite(loaded.embed(signal)).all()
    start = build(model, settings(objective=objective, view_scale=view_scale)).state_dict()
    still = [k for k, v in loaded.state_dict().items() if torch.equal(v, start[k]) and start[k].is_floating_point()]
    assert [k for k in still if not k.endswith(("log_temperature", "mask_value"))] == []


def test_statistics_of_a_masked_resnet18_are_those_of_whole_recordings(paired, tmp_path):
    """Of the first BatchNorm, whose input is a convolution of the signal, against the plain mean over batches."""
    folder = run_method(paired, tmp_path / "run", "resnet18")
    model, config = checkpoint.load_model(folder)[0], settings()
    training, _ = hold_out_patients(paired, config.validation_share, config.seed)
    means = []
    for update in range(len(training) // config.batch):
        signal = training.take(positions(len(training), update, config), CPU)[0]
        with torch.no_grad():
            means.append(model.encoder.stem[0](merit_scale(signal, "zscore")).mean((0, 2)))
    torch.testing.assert_close(model.encoder.stem[1].running_mean, torch.stack(means).mean(0))
    assert model.encoder.stem[1].momentum == 0.1


@pytest.mark.parametrize("text_layers", [0, 1])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, text_layers):
    """SIGKILL at some update of a child process, then the same call again."""
    from pretrain_runs import train_here

    script, folder = tmp_path / "child.py", tmp_path / "killed"
    script.write_text(
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from merit import runs\n"
        "slow = runs.write_state\n"
        "runs.write_state = lambda *a: (slow(*a), time.sleep(0.2))\n"
        "from pretrain_runs import train_here\n"
        f"train_here(sys.argv[1], 40, None, {text_layers})\n"
    )
    child = subprocess.Popen([sys.executable, str(script), str(folder)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not (folder / checkpoint.STATE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.4)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not checkpoint.finished(folder)
    assert 0 < stopped_at(folder) < 40
    train_here(tmp_path / "whole", 40, None, text_layers)
    train_here(folder, 40, None, text_layers)
    assert_same(tmp_path / "whole", folder)
    assert not list(folder.glob(".*"))


def test_another_seed_gives_other_weights(paired, tmp_path):
    a, b = (weights_of(run(paired, tmp_path / str(s), seed=s))["encoder.norm.weight"] for s in (0, 1))
    assert not torch.equal(a, b)


def test_memory_that_does_not_suffice_changes_no_number(paired, tmp_path, monkeypatch, capsys):
    whole = run(paired, tmp_path / "whole")
    monkeypatch.setattr(loaders, "free_bytes", lambda device: loaders.needed_bytes(paired) / 2)
    assert_same(whole, run(paired, tmp_path / "streamed"))
    assert "recordings need 0.0 GB and cpu has 0.0 GB free" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.1}, r"they differ in pretrain.learning_rate: 0.003 there, 0.1 here"),
        ({"views": replace(settings().views, gain=0.5)}, r"differ in pretrain.views.gain: 0.2 there, 0.5 here"),
    ],
)
def test_a_checkpoint_of_other_settings_is_rejected_with_what_differs(paired, tmp_path, changes, message):
    run(paired, tmp_path, how={"stop_after": 2})
    with pytest.raises(ValueError, match=message):
        run(paired, tmp_path, **changes)


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


def test_a_disk_that_fills_up_during_a_checkpoint_leaves_the_old_one(paired, tmp_path):
    whole, folder = run(paired, tmp_path / "whole"), tmp_path / "c"
    run(paired, folder, how={"stop_after": 3})
    before = (folder / checkpoint.STATE).read_bytes()
    with (
        full_disk(20_000),
        pytest.raises(OSError, match=r"training_state\.pt: no room to write it \(.*the same command goes on"),
    ):
        run(paired, folder, how={"stop_after": 1})
    assert (folder / checkpoint.STATE).read_bytes() == before
    assert not list(folder.glob(".*"))
    assert stopped_at(folder) == 3
    assert_same(whole, run(paired, folder))


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
    assert stopped_at(folder) == 6
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    assert_same(whole, run(paired, folder))


def test_a_non_finite_loss_stops_by_name_and_keeps_the_last_good_checkpoint(paired, tmp_path):
    run(paired, tmp_path, how={"stop_after": 3})
    paired.text[:] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"update 4: expected a finite info_nce; got nan"):
        run(paired, tmp_path)
    assert stopped_at(tmp_path) == 3


def test_weights_that_are_not_finite_are_never_saved(paired, tmp_path, monkeypatch):
    run(paired, tmp_path, how={"stop_after": 3})
    step = torch.optim.AdamW.step

    def broken(self, *args):
        step(self, *args)
        self.param_groups[0]["params"][0].data[:] = float("inf")

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    with pytest.raises(NonFiniteLoss):
        run(paired, tmp_path)
    assert stopped_at(tmp_path) == 3


def test_on_a_gpu_the_first_update_that_is_not_finite_is_named_when_it_is_asked():
    finite, nan = FiniteCheck(torch.device("cuda")), torch.tensor(float("nan"))  # where values lie does not matter
    for update, value in enumerate((torch.tensor(1.0), nan, torch.tensor(2.0), nan), 1):
        finite.note({"loss": value, "gradient": torch.tensor(1.0)}, update)
    with pytest.raises(NonFiniteLoss, match="update 2: expected a finite loss"):
        finite.check()
    FiniteCheck(torch.device("cuda")).check()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"graphs": True}, "graphs: CUDA graphs need a GPU; got device cpu; leave --graphs out"),
        ({"attention": "flex"}, "attention: FlexAttention has gradients on a GPU alone; got device cpu"),
        ({"attention": "flash"}, "attention: expected one of sdpa, flex; got 'flash'"),
    ],
)
def test_a_kernel_that_the_device_lacks_is_rejected(paired, tmp_path, how, message):
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


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_comes_back_as_it_was(paired, tmp_path, name):
    folder = run_method(paired, tmp_path / "c", name, updates=3)
    encoder, signal_mv = merit.load(folder).encoder, paired.signal_uv[:5].astype(np.float32) / 1000
    assert encoder.model.config == METHODS[name].model(MODEL)
    assert not encoder.model.training
    assert encoder.shares_space == ("info_nce" in OBJECTIVES[METHODS[name].objective])
    z = encoder.embed(signal_mv, 100)
    assert z.shape == (5, encoder.model.config.encoder.embedding_width)
    np.testing.assert_allclose(encoder.tokens(signal_mv, 100).mean(1), z, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(signal_mv[2], 100), z[2], atol=1e-5)
    kind = {"merl-ours": "ResNet18", "resnet18": "ResNet18", "tiny-vit": "TinyViT"}.get(name, "A ViT")
    assert kind in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_has_a_finite_gradient(paired, name):
    config = settings(objective=METHODS[name].objective)
    model = build(METHODS[name].model(MODEL), config).train()
    terms = update_terms(model, model, paired.take(np.arange(8), CPU), config, 0, World())
    total_loss(terms, config).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name


def test_reconstruction_learns(paired, tmp_path):
    every = {"updates": 150, "learning_rate": 1e-2, "validate_every": 50, "save_every": 50}
    folder = run(paired, tmp_path, objective="mse", **every)
    assert history(folder)[-1]["validation"]["masked_mse"] < 0.8  # predicting the mean gives 1


@pytest.mark.parametrize("name", ["merl-ours", "simclr", "clocs"])
def test_the_contrast_is_learnt(paired, tmp_path, name):
    alone = replace(paired, records=paired.records.assign(patient_id=paired.records["record_id"]))
    lines = history(run_method(alone, tmp_path, name, updates=60, validate_every=20, save_every=20))
    for term in lines[0]["train"]:
        assert lines[-1]["train"][term] < lines[0]["train"][term], term


def test_recordings_of_one_patient_are_positives_of_clocs(paired):
    config = settings(objective="clocs")
    model = build(MODEL, config)
    signal, text, valid, patient = paired.take(np.arange(8), CPU)
    assert patient.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    together, apart = (
        update_terms(model, model, (signal, text, valid, who), config, 0, World())["segments"].item()
        for who in (patient, torch.arange(8))
    )
    assert together != apart


# -- order, masks, schedule -------------------------------------------------------------------------------------------


def test_no_patient_is_on_both_sides(paired):
    training, validation = hold_out_patients(paired, 0.3, seed=0)
    sides = [set(paired.records["patient_id"].iloc[part.rows]) for part in (training, validation)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == 6
    assert len(training) + len(validation) == 40


def test_an_epoch_visits_each_recording_once():
    config = PretrainConfig(batch=8, updates=10, epochs=None)
    first = np.concatenate([positions(43, u, config) for u in range(5)])
    assert len(set(first.tolist())) == 40
    again = np.concatenate([positions(43, u, config) for u in range(5)])
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:8], positions(43, 5, config))


def test_masks_follow_from_seed_and_update():
    def draw(seed: int, update: int) -> list[float]:
        return torch.rand(3, generator=mask_generator(seed, update, CPU)).tolist()

    assert draw(0, 5) == draw(0, 5)
    assert len({tuple(draw(s, u)) for s in (0, 1) for u in (-2, -1, 0, 1, 2)}) == 10


def test_schedule():
    config = PretrainConfig(batch=10, epochs=3.0)
    assert total_updates(config, 105) == 30
    factors = [rate_factor(u, 100, 0.1) for u in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert factors == sorted(factors[:10]) + sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.001
    with pytest.raises(ValueError, match="expected at most the 5 training recordings; got 10"):
        total_updates(config, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validate_every": 3, "save_every": 4}, "save_every: expected a multiple of validate_every = 3"),
        ({"epochs": 1.0, "updates": 5}, "expected epochs or updates, the other none"),
        ({"text_layers": -1}, "text_layers: expected a whole number from 0"),
    ],
)
def test_settings_that_cannot_work_are_rejected(changes, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**changes)


# -- compiled ---------------------------------------------------------------------------------------------------------


def test_graphs_ask_torch_for_graphs_and_mark_each_step(monkeypatch):
    """Not run here: that the GPU then records them."""
    asked, marks = {}, []
    monkeypatch.setattr(torch, "compile", lambda model, **how: asked.update(how) or model)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    model = build(MODEL, settings())
    called = compile_model(model, World(device=torch.device("cuda")), False, graphs=True)
    assert asked == {"dynamic": False, "mode": "reduce-overhead"}
    signal, visible = torch.randn(2, 12, 1000), torch.arange(2).expand(2, 12, -1)
    for count in (1, 2):
        assert called(signal, torch.randn(2, 16), visible, None).ecg.shape == (2, 16)
        assert len(marks) == count


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself, as it compiles
def test_compiled_terms_and_gradients_are_the_eager_ones():
    config, world = settings(), World()
    batch = recordings().take(np.arange(8), CPU)
    both = []
    for compiled in (False, True):
        model = build(MODEL, config)
        terms = update_terms(compile_model(model, world, compiled), model, batch, config, 3, world)
        total_loss(terms, config).backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        both.append({name: value.detach() for name, value in terms.items()} | gradients)
    assert both[0].keys() == both[1].keys()
    for name, value in both[0].items():
        torch.testing.assert_close(both[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch itself, as it compiles
def test_trained_text_layers_run_eagerly_inside_and_compile_nothing_again():
    config, world = settings(objective="cma", text_layers=1), World()
    model = build(WITH_TOWER, config)
    start = np.concatenate([[0], np.array([3, 1, 9, 4, 12, 2, 7, 5, 3, 6]).cumsum()])
    generator = torch.Generator().manual_seed(0)
    tokens = TokenStates(torch.randn((int(start[-1]), 16), generator=generator), start, {}, {})
    signal, valid = torch.randn((8, 12, 1000), generator=generator), torch.ones(8, dtype=torch.bool)
    called = compile_model(model, world, True)
    counts = []
    for rows in ([0, 1, 2, 3, 4, 5, 6, 7], [9, 9, 9, 9, 1, 1, 1, 1], [2, 4, 6, 8, 9, 0, 1, 3]):
        batch = (signal, tokens.take(np.array(rows), CPU), valid, torch.arange(8))
        both = []
        for network in (model, called):
            model.zero_grad()
            term = update_terms(network, model, batch, config, 3, world)["info_nce"]
            term.backward()
            both.append((term.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
        torch.testing.assert_close(both[1], both[0], rtol=1e-4, atol=1e-5)
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[0] == counts[-1]


def test_a_device_that_is_not_there_is_named(monkeypatch):
    from merit.parallel import torch_device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, message in {"cuda": r"expected one that is there \(cpu\); got cuda", "mps": "auto, cpu, cuda"}.items():
        with pytest.raises(ValueError, match=message):
            torch_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert torch_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match="device: expected cuda:0 to cuda:1, or cpu; got cuda:2"):
        torch_device("cuda:2")
