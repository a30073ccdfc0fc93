"""Several processes against one with the whole batch: terms, gradients, whole runs, kills, and a cluster's warning."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig
from merit.pretrain.step import build, ready, total_loss, update_terms
from merit.pretrain.world import World, joined

MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16, shared_width=16, learn_temperature=True,
)  # fmt: skip
BATCH = 8
ROOT = Path(__file__).parents[2]


def gradients(objective: str) -> dict[str, torch.Tensor]:
    """Terms and gradients of one update in float64, by however many processes there are."""
    config = PretrainConfig(objective=objective, batch=BATCH, epochs=None, updates=1)
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn((BATCH, 12, 1000), generator=generator, dtype=torch.float64)
    text = torch.randn((BATCH, 16), generator=generator, dtype=torch.float64)
    valid = torch.arange(BATCH) % 3 != 1
    with joined("cpu") as world:
        model = build(MODEL, config).double()
        part = tuple(world.share(x) for x in (signal, text, valid, torch.arange(BATCH) // 2))
        called = ready(model, world, False)  # the wrapper must live until the gradients are there
        terms = update_terms(called, model, part, config, 5, world)
        total_loss(terms, config).backward()
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return found | {f"term {name}": world.mean(value.detach()) for name, value in terms.items()}


def torchrun(n: int, *call: str, **settings) -> subprocess.Popen:
    """Start n processes that train together."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), *call]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        launch, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings
    )


def all_gradients(objectives: list[str]) -> list[dict[str, torch.Tensor]]:
    """Of one objective after the other, in one group."""
    with joined("cpu"):
        return [gradients(objective) for objective in objectives]


OBJECTIVES = {2: ["merit", "ib", "simclr"], 4: ["merit", "clocs"]}


@pytest.mark.parametrize("n", OBJECTIVES)
def test_several_have_the_gradients_of_one_with_the_whole_batch(n, of_several):
    for objective, found in zip(OBJECTIVES[n], of_several(n, "all_gradients", OBJECTIVES[n]), strict=True):
        one = gradients(objective)
        assert found.keys() == one.keys()
        for name, value in one.items():
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-10, msg=f"{objective} {name}")
        assert max(value.abs().max() for name, value in one.items() if "term" not in name) > 1e-3


def test_every_recording_of_a_batch_goes_to_one_process():
    whole = torch.arange(12)
    for size in (1, 2, 3, 4):
        shares = [World(rank, size).share(whole) for rank in range(size)]
        assert torch.cat(shares).tolist() == whole.tolist()


def wait_for(path: Path, running: subprocess.Popen) -> None:
    """Until a file is there, the process has ended, or a minute has passed."""
    deadline = time.monotonic() + 60
    while not path.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


SMALL = (
    "import sys; from pathlib import Path\n"
    "sys.path.insert(0, {tests!r})\n"
    "from test_world import train_here\n"
    "train_here(Path(sys.argv[1]), *map(int, sys.argv[2:]))\n"
)


def train_here(folder: Path | str, updates: int, stop_after: int | None = None) -> None:
    """A run on recordings that every process makes alike; SystemExit 75 where it was warned."""
    import pandas as pd

    from merit.data.batches import PairedRecordings
    from merit.pretrain.loop import pretrain
    from merit.pretrain.watch import Warned

    rng = np.random.default_rng(0)
    signal = (rng.normal(size=(40, 12, 1000)).cumsum(-1) * 20).clip(-3e4, 3e4).astype(np.int16)
    names = [f"r{i}" for i in range(40)]
    records = pd.DataFrame({"record_id": names, "patient_id": names, "group": names})
    text = torch.from_numpy(rng.normal(size=(8, 16)).astype(np.float32))
    data = PairedRecordings(signal, np.arange(40), text, np.arange(40) % 8, records)
    config = PretrainConfig(
        batch=8, epochs=None, updates=updates, learning_rate=1e-3, validate_every=5, save_every=5, validation_share=0.2
    )
    try:
        pretrain(data, MODEL, config, Path(folder), cohort="here", progress=False, stop_after=stop_after)
    except Warned as warned:
        raise SystemExit(warned.exit_code) from warned


@pytest.fixture
def script(tmp_path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SMALL.format(tests=str(Path(__file__).parent)))
    return path


def weights_and_history(folder: Path) -> tuple[dict, list]:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return load_file(folder / "model.safetensors"), [
        {k: v for k, v in x.items() if k != "samples_per_s"} for x in lines
    ]


def assert_close(one: Path, other: Path) -> None:
    (a, first), (b, second) = weights_and_history(one), weights_and_history(other)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4, msg=name)
    assert [line["update"] for line in first] == [line["update"] for line in second]
    for x, y in zip(first, second):
        assert x["validation"] == pytest.approx(y["validation"], rel=1e-3)
        assert x["train"] == pytest.approx(y["train"], rel=1e-3)


def test_two_train_as_one_and_go_on_after_one_of_them_is_killed(script, tmp_path):
    train_here(tmp_path / "one", 20)
    running = torchrun(2, str(script), str(tmp_path / "two"), "20", start_new_session=True)
    state = tmp_path / "two" / "training_state.pt"
    wait_for(state, running)
    workers = subprocess.run(["pgrep", "-g", str(running.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, errors = running.communicate(timeout=90)
    assert running.returncode != 0 or (tmp_path / "two" / "model.safetensors").exists(), errors[-1000:]
    again = torchrun(2, str(script), str(tmp_path / "two"), "20")
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors[-2000:]
    assert_close(tmp_path / "one", tmp_path / "two")


def test_a_checkpoint_of_two_goes_on_with_one(of_several, tmp_path):
    train_here(tmp_path / "one", 20)
    of_several(2, "train_here", str(tmp_path / "two"), 20, 12)
    assert torch.load(tmp_path / "two" / "training_state.pt", weights_only=True)["update"] == 12
    train_here(tmp_path / "two", 20)
    assert_close(tmp_path / "one", tmp_path / "two")


def test_two_that_are_warned_save_and_leave_together(script, tmp_path):
    running = torchrun(2, str(script), str(tmp_path / "two"), "4000")
    state = tmp_path / "two" / "training_state.pt"
    wait_for(state, running)
    running.terminate()
    running.communicate(timeout=90)
    saved = torch.load(state, weights_only=True)
    assert saved["update"] % 10 == 0  # they agree every ten updates
    assert len(saved["since"].get("info_nce", [])) == saved["update"] % 5


def test_a_warning_saves_and_says_so(script, tmp_path):
    call = [sys.executable, str(script), str(tmp_path / "run"), "4000"]
    running = subprocess.Popen(call, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    wait_for(tmp_path / "run" / "training_state.pt", running)
    running.terminate()
    assert running.wait(60) == 75
    saved = torch.load(tmp_path / "run" / "training_state.pt", weights_only=True)
    assert len(saved["since"].get("info_nce", [])) == saved["update"] % 5


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, tmp_path, paired):
    from merit.pretrain import loop

    class Three(World):
        def wait(self) -> None:
            pass

    monkeypatch.setattr(loop, "joined", lambda device: __import__("contextlib").nullcontext(Three(0, 3)))
    config = PretrainConfig(batch=8, epochs=None, updates=2, validate_every=1, save_every=1, validation_share=0.2)
    with pytest.raises(ValueError, match="batch: expected a multiple of the 3 processes; got 8"):
        loop.pretrain(paired, MODEL, config, tmp_path / "run", cohort="here", progress=False)


def test_the_loop_is_imported_without_the_compiler():
    """It takes seconds, and its threads can keep processes that have left their group from ending."""
    code = "import sys, merit.pretrain.loop; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0
