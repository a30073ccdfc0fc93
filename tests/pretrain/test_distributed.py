"""Several processes against one with the whole batch: terms, gradients, whole runs, kills, and a cluster's warning."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pretrain_runs
import pytest
import torch
from pretrain_runs import CPU, ENVIRONMENT, MODEL, TOWER, history, run, settings, token_states, train_here, weights_of

from merit.config import replace
from merit.pretrain import train
from merit.pretrain.distributed import World, joined
from merit.pretrain.train import build, compile_model, total_loss, update_terms

BATCH = 8


def gradients(objective: str, text_layers: int = 0) -> dict[str, torch.Tensor]:
    """Terms and gradients of one update in float64, by however many processes there are."""
    config = settings(objective=objective, text_layers=text_layers)
    model_config = replace(MODEL, learn_temperature=True, text_tower=TOWER if text_layers else None)
    generator = torch.Generator().manual_seed(0)
    signal_mv = torch.randn((BATCH, 12, 1000), generator=generator, dtype=torch.float64)
    text = torch.randn((BATCH, 16), generator=generator, dtype=torch.float64)
    valid, patient, rows = (
        torch.arange(BATCH) % 3 != 1,
        torch.arange(BATCH) // 2,
        torch.tensor([0, 5, 5, 2, 7, 1, 3, 6]),
    )
    with joined("cpu") as world:
        tokens = token_states(dtype=torch.float64)
        model = build(model_config, config, tokens.weights).double()
        signal_mv, text, valid, patient, rows = map(world.share, (signal_mv, text, valid, patient, rows))
        batch = (signal_mv, tokens.take(rows.numpy(), CPU) if text_layers else text, valid, patient)
        called = compile_model(model, world, False)  # the wrapper must live until the gradients are there
        terms = update_terms(called, model, batch, config, 5, world)
        total_loss(terms, config).backward()
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return found | {f"term {name}": world.mean(value.detach()) for name, value in terms.items()}


def all_gradients(runs: list) -> list[dict[str, torch.Tensor]]:
    """Of one run after the other, in one group."""
    with joined("cpu"):
        return [gradients(*given) for given in runs]


RUNS = {2: [["merit"], ["ib"], ["simclr"], ["merit", 1]], 4: [["merit"], ["clocs"], ["merit", 1]]}


@pytest.mark.parametrize("n", RUNS)
def test_several_have_the_gradients_of_one_with_the_whole_batch(n, of_several):
    for given, several in zip(RUNS[n], of_several(n, "all_gradients", RUNS[n]), strict=True):
        alone = gradients(*given)
        assert several.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(several[name], value, rtol=0, atol=1e-10, msg=f"{given} {name}")
        part = "text_tower" if len(given) > 1 else ""
        largest = max(v.abs().max() for name, v in alone.items() if "term" not in name and name.startswith(part))
        assert largest > 1e-4


def start(n: int, *arguments: object, **settings) -> subprocess.Popen:
    """n processes that train together, or one without torchrun."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n)] if n > 1 else []
    call = [sys.executable, *torchrun, pretrain_runs.__file__, *map(str, arguments)]
    return subprocess.Popen(
        call, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def wait_for(path: Path, running: subprocess.Popen) -> None:
    """Until a file is there, the process has ended, or a minute has passed."""
    deadline = time.monotonic() + 60
    while not path.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def assert_close(one: Path, other: Path) -> None:
    a, b = weights_of(one), weights_of(other)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4, msg=name)
    for x, y in zip(history(one), history(other), strict=True):
        assert x["update"] == y["update"]
        assert x["validation"] == pytest.approx(y["validation"], rel=1e-3)
        assert x["train"] == pytest.approx(y["train"], rel=1e-3)


def test_two_train_as_one_and_go_on_after_one_of_them_is_killed(tmp_path):
    train_here(tmp_path / "one", 20)
    running = start(2, tmp_path / "two", 20, start_new_session=True)
    wait_for(tmp_path / "two" / "training_state.pt", running)
    workers = subprocess.run(["pgrep", "-g", str(running.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, errors = running.communicate(timeout=90)
    assert running.returncode != 0 or (tmp_path / "two" / "model.safetensors").exists(), errors[-1000:]
    again = start(2, tmp_path / "two", 20)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors[-2000:]
    assert_close(tmp_path / "one", tmp_path / "two")


def test_a_checkpoint_of_two_goes_on_with_one(of_several, tmp_path):
    train_here(tmp_path / "one", 20)
    of_several(2, "train_here", str(tmp_path / "two"), 20, 12)
    assert torch.load(tmp_path / "two" / "training_state.pt", weights_only=True)["update"] == 12
    train_here(tmp_path / "two", 20)
    assert_close(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("n", [1, 2])
def test_a_preempted_run_saves_and_says_so(tmp_path, n):
    running, state = start(n, tmp_path / "run", 4000), tmp_path / "run" / "training_state.pt"
    wait_for(state, running)
    running.terminate()
    running.communicate(timeout=90)
    saved = torch.load(state, weights_only=True)
    assert len(saved["since"].get("info_nce", [])) == saved["update"] % 5
    if n == 1:
        assert running.returncode == 75
    else:
        assert saved["update"] % 10 == 0  # they agree every ten updates


def test_a_batch_that_cannot_be_shared_is_rejected(monkeypatch, tmp_path, paired):
    class Three(World):
        def wait(self) -> None:
            pass

    monkeypatch.setattr(train, "joined", lambda device: contextlib.nullcontext(Three(0, 3)))
    with pytest.raises(ValueError, match="batch: expected a multiple of the 3 processes; got 8"):
        run(paired, tmp_path / "run")
