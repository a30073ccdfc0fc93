"""The loop: exact resume, a SIGKILL in the middle, non-finite losses, what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit import runs
from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig
from merit.data.batches import hold_out_patients
from merit.pretrain import checkpoint
from merit.pretrain.loop import positions, pretrain
from merit.pretrain.schedule import rate_factor, total_updates
from merit.pretrain.step import mask_generator
from merit.pretrain.watch import NonFiniteLoss

MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16, shared_width=16,
)  # fmt: skip


def run(data, folder: Path, **changes):
    stop_after = changes.pop("stop_after", None)
    settings = {"epochs": None, "updates": 6, "batch": 8, "learning_rate": 3e-3, "validate_every": 3, "save_every": 3}
    config = PretrainConfig(**{**settings, "validation_share": 0.2, **changes})
    return pretrain(data, MODEL, config, folder, cohort="here", progress=False, stop_after=stop_after)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def history(folder: Path) -> list[dict]:
    """The lines of a history, without what depends on the clock."""
    lines = (folder / "history.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "samples_per_s"} for line in lines]


def assert_same(one: Path, other: Path) -> None:
    a, b = weights_of(one), weights_of(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("objective", ["merit", "ib"])
def test_six_updates_equal_three_and_three(paired, tmp_path, objective):
    whole = run(paired, tmp_path / "whole", objective=objective)
    run(paired, tmp_path / "parts", objective=objective, stop_after=3)
    parts = run(paired, tmp_path / "parts", objective=objective)
    assert_same(whole, parts)
    assert history(whole) == history(parts)
    assert [line["update"] for line in history(whole)] == [3, 6]


def test_another_seed_gives_other_weights(paired, tmp_path):
    a, b = (weights_of(run(paired, tmp_path / str(s), seed=s))["encoder.norm.weight"] for s in (0, 1))
    assert not torch.equal(a, b)


def test_a_killed_run_ends_with_the_same_weights(paired, tmp_path):
    """SIGKILL at some update of a child process, then the same call again."""
    np.savez(tmp_path / "data.npz", signal=paired.signal_uv, text=paired.text.numpy(), text_row=paired.text_row)
    paired.records.to_parquet(tmp_path / "records.parquet")
    script = tmp_path / "child.py"
    script.write_text(
        "import sys, time, numpy as np, pandas as pd, torch\n"
        "from merit.data.batches import PairedRecordings\n"
        "from merit.pretrain import checkpoint\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_loop import run\n"
        "slow = checkpoint.save_state\n"
        "checkpoint.save_state = lambda *a: (slow(*a), time.sleep(0.2))\n"
        f"d = np.load({str(tmp_path / 'data.npz')!r})\n"
        f"r = pd.read_parquet({str(tmp_path / 'records.parquet')!r})\n"
        "p = PairedRecordings(d['signal'], np.arange(len(r)), torch.from_numpy(d['text']), d['text_row'], r)\n"
        "torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "run(p, Path(sys.argv[1]), updates=40)\n"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = run(paired, tmp_path / "whole", updates=40)
        folder = tmp_path / "killed"
        child = subprocess.Popen([sys.executable, str(script), str(folder)], env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 60
        while not (folder / checkpoint.STATE).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not checkpoint.finished(folder)
        assert 0 < torch.load(folder / checkpoint.STATE, weights_only=True)["update"] < 40
        assert_same(whole, run(paired, folder, updates=40))
        assert history(whole) == history(folder)
        assert not list(folder.glob(".*"))
    finally:
        torch.set_num_threads(threads)


def test_a_non_finite_loss_stops_by_name_and_keeps_the_last_good_checkpoint(paired, tmp_path):
    run(paired, tmp_path, stop_after=3)
    paired.text[:] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"update 4: expected a finite info_nce; got nan"):
        run(paired, tmp_path)
    state = torch.load(tmp_path / checkpoint.STATE, weights_only=True)
    assert state["update"] == 3
    assert all(torch.isfinite(v).all() for v in state["model"].values())


def test_a_checkpoint_of_other_settings_is_refused_with_what_differs(paired, tmp_path):
    run(paired, tmp_path, stop_after=2)
    with pytest.raises(ValueError, match=r"they differ in pretrain.learning_rate: 0.003 there, 0.1 here"):
        run(paired, tmp_path, learning_rate=0.1)


def test_what_a_finished_run_leaves(paired, tmp_path):
    folder = run(paired, tmp_path / "c")
    found = {p.name for p in folder.iterdir()}
    assert found == {*checkpoint.KEPT, "README.md", "SHA256SUMS"} - {"origin.json"}
    model, settings = checkpoint.load_model(folder)
    assert settings["pretrain"]["objective"] == "merit"
    assert not model.training
    seen = checkpoint.pd.read_parquet(folder / "seen.parquet")
    assert set(seen["record_id"]) == set(paired.records["record_id"])
    before = (folder / "model.safetensors").stat().st_mtime_ns
    run(paired, tmp_path / "c")
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_reconstruction_learns(paired, tmp_path):
    folder = run(paired, tmp_path, objective="mse", updates=150, learning_rate=1e-2, validate_every=50, save_every=50)
    errors = [line["validation"]["masked_mse"] for line in history(folder)]
    assert errors[-1] < 0.8  # predicting the mean gives 1


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
        return torch.rand(3, generator=mask_generator(seed, update, torch.device("cpu"))).tolist()

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
    with pytest.raises(ValueError, match="expected epochs or updates, the other none"):
        PretrainConfig(epochs=1.0, updates=5)


def test_two_runs_do_not_share_a_folder(paired, tmp_path):
    with ThreadPoolExecutor(1) as other, runs.claimed(tmp_path / "c"):
        second = other.submit(run, paired, tmp_path / "c")
        with pytest.raises(RuntimeError, match="c: another process is writing there; wait for it or end it"):
            second.result()


def test_weights_that_are_not_finite_are_never_saved(paired, tmp_path, monkeypatch):
    run(paired, tmp_path, stop_after=3)
    step = torch.optim.AdamW.step

    def broken(self, *args):
        step(self, *args)
        self.param_groups[0]["params"][0].data[:] = float("inf")

    monkeypatch.setattr(torch.optim.AdamW, "step", broken)
    with pytest.raises(NonFiniteLoss):
        run(paired, tmp_path)
    assert torch.load(tmp_path / checkpoint.STATE, weights_only=True)["update"] == 3


def test_saving_between_validations_is_refused():
    with pytest.raises(ValueError, match="save_every: expected a multiple of validate_every = 3"):
        PretrainConfig(validate_every=3, save_every=4)
