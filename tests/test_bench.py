"""What `make bench` measures: the loop's own update, the same batches on every feed, ratios that outlast a drift. No
test asserts on time.
"""

from __future__ import annotations

import json
from contextlib import closing

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit.bench import measure
from merit.bench.measure import VARIANTS, FullSize, Pace, Plan, Trainee, Turn
from merit.config import DecoderConfig, EncoderConfig, ModelConfig, PretrainConfig, profile, replace
from merit.data.batches import hold_out_patients
from merit.parallel import one_thread_an_operation
from merit.pretrain.loaders import ResidentLoader
from merit.pretrain.train import positions, pretrain
from merit.report import cost

CPU = torch.device("cpu")
MODEL = ModelConfig(
    encoder=EncoderConfig(patch=100, width=16, depth=1, heads=2), decoder=DecoderConfig(width=16, depth=1, heads=2),
    text_width=16, shared_width=16,
)  # fmt: skip
CONFIG = PretrainConfig(
    epochs=None, updates=3, batch=8, learning_rate=3e-3, validate_every=3, save_every=3, validation_share=0.2
)
ONCE = Pace(warmup=1, lead=0, updates=1, rounds=2)
TINY = Plan(
    pace=ONCE, few=ONCE, slow=ONCE, alone=ONCE, records=40, sizes=(20, 40), batches=(2, 4), widths=(16, 32),
    published_batch=2, workers=(0,), product=8,
)  # fmt: skip


@one_thread_an_operation()
def test_an_update_is_the_loops_bit_for_bit(paired, tmp_path):
    folder = pretrain(paired, MODEL, CONFIG, tmp_path / "loop", cohort="here", progress=False)
    training, _ = hold_out_patients(paired, CONFIG.validation_share, CONFIG.seed)
    trainee, resident = Trainee(MODEL, CONFIG, len(training), CPU), ResidentLoader(training, CPU)
    for update in range(CONFIG.updates):
        trainee.step(resident.take(positions(len(training), update, CONFIG)))
    theirs, ours = load_file(folder / "model.safetensors"), trainee.model.state_dict()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_every_loader_gives_the_same_batches(paired):
    """Signals, texts, which recordings have one, patients: also by the peers' way, one by one."""
    with measure.every_loader(paired, CONFIG, CPU, (0,)) as loaders:
        assert list(loaders) == ["resident", "streamed", "loader_0"]
        for _ in range(7):  # into the second epoch
            first, *others = (next(batches) for batches in loaders.values())
            for other in others:
                assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_set_larger_than_its_noise_goes_through_it_in_turn(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "DISTINCT", 5)
    data = measure.noise(12, MODEL)
    assert len(data) == 12
    assert data.rows.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert np.array_equal(measure.noise(5, MODEL, tmp_path / "x.npy").signal_uv, data.signal_uv)
    with closing(ResidentLoader(data, CPU).batches(lambda update: np.array([0, 5]), 0, measure.ENDLESS)) as batches:
        signal_mv, _, valid, patient = next(batches)
    assert torch.equal(signal_mv[0], signal_mv[1])
    assert valid.all()
    assert patient[0] == patient[1]


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that passes as it is set."""
    seconds = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: seconds[0])
    return seconds


def test_a_drift_of_the_machine_leaves_ratios_alone(clock):
    def costing(cost: float) -> Turn:
        def go(updates: int) -> None:
            clock[0] += updates * cost * (1 + clock[0] / 1e5)

        return Turn(go, 4)

    found = measure.compare({"a": costing(1.0), "b": costing(2.0)}, Pace(rounds=6), CPU)
    found = measure.beside(found, "a")
    assert found["a"]["ratio"] == found["a"]["ratio_low"] == found["a"]["ratio_high"] == 1
    assert found["b"]["ratio"] == pytest.approx(0.5, rel=1e-3)
    assert found["a"]["samples_per_s"] == pytest.approx(4, rel=1e-2)
    found = measure.beside({"a": [1.0, 2.0, 4.0], "b": [2.0, 2.0, 2.0]}, "a")  # the spread is that of the rounds
    assert found["b"] == {"samples_per_s": 0.5, "ratio": 1.0, "ratio_low": 0.5, "ratio_high": 2.0}


def test_the_order_turns_and_what_was_read_ahead_is_not_timed(clock):
    asked = []
    turns = {name: Turn(lambda updates, name=name: asked.append((name, updates)), 1) for name in "ab"}
    measure.compare(turns, Pace(warmup=5, lead=3, updates=2, rounds=2), CPU)
    rounds = [[("a", 3), ("a", 2), ("b", 3), ("b", 2)], [("b", 3), ("b", 2), ("a", 3), ("a", 2)]]
    assert asked == [("a", 5), ("b", 5), *rounds[0], *rounds[1]]


def test_utilisation_counts_three_forwards_and_no_bias_columns():
    about = {"flops": {"pretraining": {"encoder": {"all": 100, "biases": 10}, "decoder": {"all": 20, "biases": 0}}}}
    found = measure.use(about, own=[1.0, 2.0, 4.0], products=[0.5, 1.0, 1.0], size=10)
    assert found["forward_flops"] == 110
    assert found["product"] == {"size": 10, "flops_per_s": 2000.0}
    assert found["utilisation"] == pytest.approx(330 / 2000 / 2)  # of the rounds: 1/2, 1/2 and 1/4 of 330 / 2000


def test_the_projection_of_the_papers_run_by_networks_that_share_everything_but_the_encoder():
    found = measure.projection({"batch": 8, "samples_per_s": 100.0, "utilisation": 0.25}, price_per_hour=2.0)
    assert found["hours"] == pytest.approx(200 * 745_916 / 100 / 3600)
    assert (found["price"], found["arithmetic_h"]) == (2 * found["hours"], found["hours"] / 4)
    assert [round(goal["samples_per_s"]) for goal in found["goals"]] == [10_360, 20_720]
    vit, tiny = (measure.published()[name] for name in ("vit", "tiny_vit"))
    assert (vit, tiny.encoder.kind) == (profile("paper").model, "tiny_vit")
    assert replace(tiny, encoder=vit.encoder) == vit


ONE_EACH = Pace(warmup=0, lead=1, updates=1, rounds=2)
FULL = FullSize(records=40, model=MODEL, config=CONFIG, seconds=20.0, settle_s=0.0, pace=ONE_EACH, product=8)


def test_the_full_size_is_measured_by_every_way_that_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "VARIANTS", {name: way for name, way in VARIANTS.items() if name != "compiled"})
    said, out = [], tmp_path / "bench.json"
    measure.run(out, stages=["full"], size=FULL, log=said.append)
    found = json.loads(out.read_text())
    assert set(found) == {"about", "full"}
    full = found["full"]
    assert {*full["paths"], *full["skipped"], "compiled"} == {"eager", *VARIANTS}
    assert full["paths"]["eager"]["ratio"] == 1
    assert full["skipped"]["graphs"] == "graphs: CUDA graphs need a GPU; got device cpu; leave --graphs out"
    assert full["skipped"]["flex"].startswith("attention: FlexAttention has gradients on a GPU alone; got device")
    assert (full["records"], full["batch"], full["rounds"]) == (40, 8, 2)
    for part in ("40 recordings take 0.0 GB and an update 0.0 GB; cpu has", "left out: graphs: CUDA graphs need a GPU"):
        assert part in "\n".join(said)


def test_the_full_size_is_rejected_with_the_memory_that_it_needs(monkeypatch):
    monkeypatch.setattr(measure, "free_bytes", lambda device: 2e9)
    size = replace(FULL, records=200_000)
    with pytest.raises(ValueError, match=r"full: expected 4\.8 GB of free memory; cpu has 2\.0 GB"):
        measure.run(stages=["full"], size=size, log=lambda text: None)
    with pytest.raises(ValueError, match="full: expected a GPU, whose memory holds 745,916 recordings; got a CPU"):
        measure.run(stages=["full"], log=lambda text: None)


def test_without_time_nothing_more_is_compiled_and_what_fails_is_said():
    def make(way: dict) -> Turn:
        if "graphs" in way:
            raise RuntimeError("no such kernel\nand more lines")
        return Turn(lambda updates: None, 1)

    turns, skipped = measure.able(VARIANTS, make)
    assert list(turns) == ["compiled", "flex"]
    assert set(skipped.values()) == {"no such kernel"}
    assert measure.able(VARIANTS, make, lambda: True)[1] == dict.fromkeys(VARIANTS, "no time was left to compile it")


def test_a_run_writes_and_says_every_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "profile", lambda name: profile("smoke"))
    monkeypatch.setattr(measure, "published", lambda: {"vit": MODEL})
    out, lines = tmp_path / "bench.json", []
    found = measure.run(out, stages=["updates"], plan=TINY, log=lines.append)
    assert json.loads(out.read_text()) == found
    about, updates = found.pop("about"), found.pop("updates")
    assert not found
    assert (about["kind"], about["synthetic"], bool(about["device"])) == ("cpu", None, True)
    assert set(updates) == {"networks", "growth", "published", "projection"}
    demo = updates["networks"]["demo"]
    assert set(demo["parts_s"]) == set(cost.PARTS)
    assert set(demo["paths"]) == set(demo["feeds_alone"]) == {"resident", "streamed", "loader_0"}
    assert demo["paths"]["resident"]["ratio"] == 1
    assert demo["update_s"] == pytest.approx(demo["batch"] / demo["paths"]["resident"]["samples_per_s"])
    rows = {name: [row["value"] for row in rows] for name, rows in updates["growth"].items()}
    objectives = ["merit", "cma", "ib", "mse"]
    assert rows == {"records": [20, 40], "batch": [2, 4], "width": [16, 32], "objective": objectives}
    assert updates["published"][0]["peak_mb"] is None
    for text in ("the demo's network, batch 16, 40 recordings", "torch's DataLoader", "for 4 h, 10,360", str(out)):
        assert text in "\n".join(lines)
