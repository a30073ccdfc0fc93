"""A text encoder whose last layers are trained with the network: exact resume, several processes, and the same loss
whatever the padding.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, TextTowerConfig, replace
from merit.data.batches import PairedRecordings, TokenStates
from merit.model.text_tower import TextTower
from merit.pretrain import checkpoint
from merit.pretrain.feed import Resident, Streamed, needed_bytes
from merit.pretrain.loop import pretrain
from merit.pretrain.step import build, make_optimiser, ready, total_loss, update_terms
from merit.pretrain.world import World, joined

TOWER = TextTowerConfig(layers=1, width=16, heads=2, hidden=32)
MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16, shared_width=16, text_tower=TOWER,
)  # fmt: skip
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def states(n: int = 8, dtype: torch.dtype = torch.float32) -> TokenStates:
    """Texts of 1 to 12 tokens that are noise."""
    rng = np.random.default_rng(3)
    start = np.concatenate([[0], rng.integers(1, 13, n).cumsum()])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        weights = TextTower(TOWER).state_dict()
    tokens = torch.from_numpy(rng.normal(size=(start[-1], 16))).to(dtype)
    return TokenStates(tokens, start, dataclasses.asdict(TOWER), weights)


def recordings() -> PairedRecordings:
    """Forty recordings that every process makes alike, some without a report."""
    rng = np.random.default_rng(0)
    signal_uv = (rng.normal(size=(40, 12, 1000)).cumsum(-1) * 20).clip(-3e4, 3e4).astype(np.int16)
    names = [f"r{i}" for i in range(40)]
    records = pd.DataFrame({"record_id": names, "patient_id": names, "group": names})
    text_row = np.arange(40) % 8
    text_row[::10] = -1
    return PairedRecordings(signal_uv, np.arange(40), torch.zeros(8, 16), text_row, records, states())


def run(folder: Path, **changes) -> Path:
    """Train here; `stop_after` leaves early."""
    stop_after = changes.pop("stop_after", None)
    settings = {"epochs": None, "updates": 6, "batch": 8, "learning_rate": 3e-3, "validate_every": 3, "save_every": 3}
    config = PretrainConfig(**{**settings, "validation_share": 0.2, "text_layers": 1, **changes})
    return pretrain(recordings(), MODEL, config, folder, cohort="here", progress=False, stop_after=stop_after)


def history(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "samples_per_s"} for line in lines]


def assert_same(one: Path, other: Path) -> None:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert history(one) == history(other)


def gradients() -> dict[str, torch.Tensor]:
    """Terms and gradients of one update in float64, by however many processes there are."""
    config = PretrainConfig(batch=8, epochs=None, updates=1, text_layers=1)
    tokens = states(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    signal_mv = torch.randn((8, 12, 1000), generator=generator, dtype=torch.float64)
    with joined("cpu") as world:
        model = build(MODEL, config, tokens.weights).double()
        rows = world.share(torch.tensor([0, 5, 5, 2, 7, 1, 3, 6]))
        valid = world.share(torch.arange(8) % 3 != 1)
        batch = (world.share(signal_mv), tokens.take(rows.numpy(), CPU), valid, rows)
        called = ready(model, world, False)
        terms = update_terms(called, model, batch, config, 5, world)
        total_loss(terms, config).backward()
        found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        return found | {f"term {name}": world.mean(value.detach()) for name, value in terms.items()}


@pytest.mark.parametrize("n", [2, 4])
def test_several_have_the_gradients_of_one_with_the_whole_batch(n, of_several):
    several, one = of_several(n, "gradients"), gradients()
    assert several.keys() == one.keys()
    for name, value in one.items():
        torch.testing.assert_close(several[name], value, rtol=0, atol=1e-10, msg=name)
    assert max(value.abs().max() for name, value in one.items() if name.startswith("text_tower")) > 1e-4


def test_six_updates_equal_three_and_three_and_the_layers_learn(tmp_path):
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", stop_after=3)
    assert_same(whole, run(tmp_path / "parts"))
    trained, before = load_file(whole / "model.safetensors"), states().weights
    assert all((trained[f"text_tower.{name}"] - value).abs().max() > 1e-5 for name, value in before.items())
    model, settings = checkpoint.load_model(whole)
    assert settings["pretrain"]["text_layers"] == 1
    assert model.config.text_tower == TOWER


def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    script, folder = tmp_path / "child.py", tmp_path / "killed"
    script.write_text(
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from merit.pretrain import checkpoint\n"
        "slow = checkpoint.save_state\n"
        "checkpoint.save_state = lambda *a: (slow(*a), time.sleep(0.2))\n"
        "import test_text_layers\n"
        "test_text_layers.run(Path(sys.argv[1]), updates=40)\n"
    )
    child = subprocess.Popen([sys.executable, str(script), str(folder)], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while not (folder / checkpoint.STATE).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not checkpoint.finished(folder)
    assert_same(run(tmp_path / "whole", updates=40), run(folder, updates=40))


def test_from_memory_and_from_disk_come_the_same_texts():
    data = recordings()
    assert needed_bytes(data) == needed_bytes(dataclasses.replace(data, tokens=None)) + data.tokens.n_bytes

    def at(update: int) -> np.ndarray:
        return np.random.default_rng(update).permutation(40)[:8]

    for feed in (Resident, Streamed):
        for update, (_, words, valid, _) in zip(range(2, 5), feed(data, CPU).batches(at, 2, 5), strict=True):
            _, expected, there, _ = data.take(at(update), CPU)
            assert torch.equal(words.place, expected.place)
            assert torch.equal(valid, there)
            for one, other in zip(words.groups, expected.groups, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_its_layers_learn_slowly_and_their_matrices_alone_decay():
    config = PretrainConfig(batch=8, epochs=None, updates=1, text_layers=1)
    model = build(MODEL, config)
    name_of = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for group in make_optimiser(model, config).param_groups:
        found |= {name_of[id(p)]: (group["peak_lr"], group["weight_decay"]) for p in group["params"]}
    assert found.keys() == set(name_of.values())
    slow = config.learning_rate * config.text_rate_scale
    assert found["text_tower.layer.0.output.dense.weight"] == (slow, config.weight_decay)
    assert found["text_tower.layer.0.output.dense.bias"] == (slow, 0.0)
    assert found["text_head.0.weight"] == (config.learning_rate, config.weight_decay)


def test_everything_else_starts_as_without_it():
    config = PretrainConfig(batch=8, epochs=None, updates=1)
    plain, own = build(replace(MODEL, text_tower=None), config).state_dict(), build(MODEL, config).state_dict()
    assert all(torch.equal(own[name], value) for name, value in plain.items())
    assert {name.partition(".")[0] for name in own.keys() - plain.keys()} == {"text_tower"}


def test_the_loss_is_that_of_each_text_alone():
    config = PretrainConfig(objective="cma", batch=8, epochs=None, updates=1, text_layers=1)
    tokens, world = states(dtype=torch.float64), World()
    model = build(MODEL, config, tokens.weights).double()
    rows = np.array([0, 5, 5, 2, 7, 1, 3, 6])
    signal_mv = torch.randn((8, 12, 1000), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    valid, patient = torch.ones(8, dtype=torch.bool), torch.arange(8)
    batch = (signal_mv, tokens.take(rows, CPU), valid, patient)
    found = update_terms(model, model, batch, config, 5, world)["info_nce"]
    alone = torch.cat([model.text_tower(tokens.take(rows[i : i + 1], CPU)) for i in range(8)])
    tower, model.text_tower = model.text_tower, None
    expected = update_terms(model, model, (signal_mv, alone, valid, patient), config, 5, world)["info_nce"]
    model.text_tower = tower
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_settings_that_do_not_belong_together_are_refused(tmp_path):
    with pytest.raises(ValueError, match="neither where it is 0; got text_layers 0"):
        run(tmp_path / "c", text_layers=0)
    with pytest.raises(ValueError, match="text_layers: expected a whole number from 0"):
        PretrainConfig(text_layers=-1)
    run(tmp_path / "d", stop_after=3)
    with pytest.raises(ValueError, match=r"they differ in pretrain.text_rate_scale: 0.1 there, 1.0 here"):
        run(tmp_path / "d", text_rate_scale=1.0)
