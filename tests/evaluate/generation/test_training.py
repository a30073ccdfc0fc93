"""The adaptation loop: exact resume, what is refused, what is left behind, and that it learns to look at the ECG."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit.config import GenerationConfig, replace
from merit.evaluate.generation import training
from merit.evaluate.generation.generator import llama_1b_step
from merit.evaluate.generation.language_model import (
    Conditioned,
    collate,
    encode_pair,
    generate,
    load_language_model,
    train_language_model,
)
from merit.evaluate.generation.training import NonFiniteLoss, learning_rate, load_adapter, positions, train
from merit.parallel import peak_memory

CONFIG = GenerationConfig(
    lm_width=16, lm_depth=1, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=2, projector_width=8, lora_rank=2,
    max_tokens=24, epochs=None, updates=6, batch=4, learning_rate=1e-2, save_every=3, max_new_tokens=6,
)  # fmt: skip
QUESTIONS = ["<ecg> What is it?", "Describe <ecg> please."] * 5
ANSWERS = ["Sinus rhythm.", "Atrial fibrillation, fast, and more words than fit in here."] * 5
ECG = np.random.default_rng(0).normal(size=(10, 3, 6)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def lines_in_between():
    """A line of the history at every second update, so that a state holds some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "LINE_EVERY", 2)
        yield


@pytest.fixture(scope="module")
def lm(tmp_path_factory) -> Path:
    return train_language_model(ANSWERS, CONFIG, tmp_path_factory.mktemp("lm") / "lm", progress=False)


def model_of(lm: Path, config: GenerationConfig = CONFIG, width: int = 6) -> Conditioned:
    return Conditioned(*load_language_model(lm, config), width, config)


def run(lm: Path, folder: Path, ecg: np.ndarray = ECG, stop_after: int | None = None, **changes) -> Conditioned:
    config = replace(CONFIG, **changes)
    model = model_of(lm, config)
    train(model, QUESTIONS, ANSWERS, ecg, config, folder, source=lm, progress=False, stop_after=stop_after)
    return model


@pytest.fixture(scope="module")
def whole(lm, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "whole"
    run(lm, folder)
    return folder


# -- what a run leaves, and goes on from -------------------------------------------------------------------------------


@pytest.mark.parametrize("stops", [[3], [2, 1], [5]])
def test_six_updates_equal_parts_of_them(lm, whole, tmp_path, stops):
    for stop in stops:
        run(lm, tmp_path, stop_after=stop)
        assert not (tmp_path / "adapter.safetensors").exists()
    run(lm, tmp_path)
    for name in ("adapter.safetensors", "history.jsonl"):
        assert (whole / name).read_bytes() == (tmp_path / name).read_bytes()


def test_what_is_left_behind(lm, whole):
    names = {"adapter.safetensors", "config.json", "history.jsonl", "SHA256SUMS"}
    assert {path.name for path in whole.iterdir()} == names
    assert load_file(whole / "adapter.safetensors").keys() == model_of(lm).kept().keys()
    settings = json.loads((whole / "config.json").read_text())
    assert (settings["total_updates"], settings["pairs"]["n"], settings["pairs"]["truncated"]) == (6, 10, 5)
    lines = [json.loads(text) for text in (whole / "history.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [2, 4, 6]
    assert all(line["loss"] > 0 for line in lines)


def test_a_finished_run_is_loaded_and_not_run_again(lm, whole):
    written = (whole / "adapter.safetensors").stat().st_mtime_ns
    model = run(lm, whole, temperature=0.1, max_new_tokens=3, decoding="sampling")
    kept = load_file(whole / "adapter.safetensors")
    assert all(torch.equal(p, kept[name]) for name, p in model.trained().items())
    assert (whole / "adapter.safetensors").stat().st_mtime_ns == written
    loaded = load_adapter(whole)  # from its folder alone
    assert not loaded.training
    texts = [generate(m, QUESTIONS[:4], ECG[:4], CONFIG, progress=False) for m in (model, loaded)]
    assert texts[0] == texts[1]


def test_standardised_ecgs_are_scaled_by_the_training_ones_and_loaded_so(lm, tmp_path):
    shifted = 3 * ECG + 5
    model = run(lm, tmp_path, ecg=shifted, standardise=True)
    np.testing.assert_allclose(model.ecg_centre.numpy(), shifted.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(model.ecg_scale.numpy(), shifted.std((0, 1)), rtol=1e-5)
    other = run(lm, tmp_path / "as-it-was", standardise=True)
    texts = [generate(m, QUESTIONS, z, CONFIG, progress=False) for m, z in ((model, shifted), (other, ECG))]
    assert texts[0] == texts[1]  # gain and offset of an embedding make no difference
    assert torch.equal(load_adapter(tmp_path).ecg_scale, model.ecg_scale)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_another_language_model_other_settings_and_other_pairs_are_refused(lm, whole, tmp_path):
    other = train_language_model(ANSWERS, replace(CONFIG, seed=1), tmp_path / "other", progress=False)
    with pytest.raises(ValueError, match=r"the language model that it was trained with; .* is another"):
        load_adapter(whole, other)
    with pytest.raises(FileNotFoundError, match="expected a finished adapter"):
        load_adapter(tmp_path)
    with pytest.raises(ValueError, match=r"differ in generation.learning_rate: 0.01 there, 0.02 here"):
        run(lm, whole, learning_rate=0.02)
    run(lm, tmp_path / "begun", stop_after=1)
    with pytest.raises(ValueError, match=r"training_state.pt: expected a run of these .* pairs.digest"):
        run(lm, tmp_path / "begun", ecg=ECG[::-1])


def test_a_bad_pair_is_named(lm, tmp_path):
    with pytest.raises(ValueError, match="question of record r2: expected one <ecg>; got 0"):
        train(model_of(lm), ["<ecg>?", "What?"], ["a", "b"], ECG[:2], CONFIG, tmp_path, records=["r1", "r2"])
    with pytest.raises(ValueError, match="got 2, 2 and 3"):
        train(model_of(lm), ["<ecg>?"] * 2, ["a"] * 2, ECG[:3], CONFIG, tmp_path)


def test_a_loss_that_is_not_finite_stops_with_its_update(lm, tmp_path):
    bad = next(row for row in range(10) if row not in positions(10, 0, CONFIG))
    first = next(u for u in range(6) if bad in positions(10, u, CONFIG))
    ecg = ECG.copy()
    ecg[bad] = np.nan
    with pytest.raises(NonFiniteLoss, match=rf"update {first + 1}: expected a finite loss; got nan"):
        run(lm, tmp_path, ecg=ecg, save_every=1)
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["update"] == first
    assert all(value.isfinite().all() for value in state["kept"].values())


# -- schedule and order ------------------------------------------------------------------------------------------------


def test_the_rate_falls_along_a_cosine_without_warm_up():
    config = replace(CONFIG, learning_rate=1e-4, min_learning_rate=1e-6)
    rates = [learning_rate(update, 100, config) for update in range(101)]
    assert [rates[0], rates[50], rates[100]] == pytest.approx([1e-4, (1e-4 + 1e-6) / 2, 1e-6])
    assert all(a > b for a, b in itertools.pairwise(rates))


def test_an_epoch_uses_every_pair_once_and_needs_no_history():
    taken = np.concatenate([positions(8, update, CONFIG) for update in (0, 1)])
    assert sorted(taken) == list(range(8))
    assert list(positions(8, 1, CONFIG)) == list(taken[4:])
    assert sorted(positions(8, 2, CONFIG)) != sorted(positions(8, 0, CONFIG))
    assert len(positions(3, 7, CONFIG)) == 3
    epochs = replace(CONFIG, epochs=20.0, updates=None, batch=16)
    assert [training.total_updates(epochs, n) for n in (8331, 5)] == [20 * 520, 20]


def test_biases_norms_and_embeddings_do_not_decay(lm):
    model = model_of(lm)
    decayed, plain = training.make_optimiser(model, CONFIG).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    names = {id(p): name for name, p in model.trained().items()}
    decayed, plain = ({names[id(p)] for p in group["params"]} for group in (decayed, plain))
    assert {"ecg_embedding", "projector.to_lm.bias", "language_model.model.norm.weight"} <= plain
    assert not [name for name in decayed if "norm" in name or "bias" in name]
    assert len(decayed) + len(plain) == len(names)


# -- what is learnt ----------------------------------------------------------------------------------------------------

RHYTHMS = ["Sinus rhythm", "Sinus bradycardia", "Atrial fibrillation", "Paced rhythm"]
AXES = ["The axis is normal.", "There is left axis deviation.", "Right axis deviation is seen.", "Vertical axis."]
BLOCKS = ["No conduction delay.", "Complete left bundle branch block.", "First degree AV block.", "Narrow QRS."]
REST = ["No ischaemic changes.", "Inferior ST elevation suggests an acute infarction.", "Flat T waves.", "Old Q waves."]


def adapted(tmp_path: Path, questions: list[str], answers: list[str], ecg: np.ndarray, config: GenerationConfig):
    folder = train_language_model(answers, config, tmp_path / "lm", progress=False, questions=questions)
    model = model_of(folder, config, ecg.shape[-1])
    train(model, questions, answers, ecg, config, tmp_path / "run", progress=False)
    return model


def test_it_learns_to_look_at_the_ecg(tmp_path):
    config = replace(
        CONFIG, lm_width=32, lm_updates=60, lm_learning_rate=1e-2, projector_width=32, lora_rank=8, updates=120,
        learning_rate=2e-2, save_every=1000,
    )  # fmt: skip
    questions, answers, ecg = ["<ecg>?"] * 4, [f"{name}." for name in RHYTHMS], np.eye(4, dtype=np.float32)
    model = adapted(tmp_path, questions, answers, ecg, config)
    pairs = [encode_pair(model.tokenizer, q, a, config) for q, a in zip(questions, answers)]
    batch, signal = collate(pairs, model.tokenizer, config), torch.from_numpy(ecg)
    with torch.no_grad():
        assert model(batch, signal) < 0.5 * model(batch, signal.roll(1, 0))


@pytest.mark.slow
def test_it_learns_sixty_four_pairs_at_the_demo_size(tmp_path):
    config = GenerationConfig(
        lm_updates=200, projector_width=128, updates=400, epochs=None, learning_rate=3e-3, min_learning_rate=3e-5,
        max_tokens=128, max_new_tokens=60,
    )  # fmt: skip
    # Distinct answers of four sentences, and ECG embeddings that say nothing but which one it is.
    rng = np.random.default_rng(0)
    every = [" ".join([f"{a}.", b, c, d]) for a, b, c, d in itertools.product(RHYTHMS, AXES, BLOCKS, REST)]
    questions = [["<ecg> What is seen?", "Describe <ecg> in words.", "Interpret: <ecg>"][i % 3] for i in range(64)]
    answers = [every[i] for i in rng.permutation(len(every))[:64]]
    ecg = rng.normal(size=(64, 32)).astype(np.float32)
    model = adapted(tmp_path, questions, answers, ecg, config)
    # A shift by three keeps the wording of the question, so that every pair but three is one that was trained on.
    own, shuffled = (np.array(generate(model, questions, e, config, progress=False)) for e in (ecg, np.roll(ecg, 3, 0)))
    assert (own == answers).mean() >= 0.9
    assert (shuffled == answers).mean() <= 0.1
    assert (shuffled == np.roll(answers, 3)).mean() >= 0.9


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_step_runs_at_a_small_shape():
    sizes = {"vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    found = llama_1b_step(16, **sizes, num_attention_heads=2, num_key_value_heads=1)
    assert (found["tokens"], found["batch"], found["dtype"]) == (16, 1, "bfloat16")
    assert 0 < found["trained"] < found["parameters"]
    assert found["loss"] > 0
    assert abs(peak_memory() - found["peak_bytes"]) < 2**26  # the test takes a little; the kernel counts in batches


@pytest.mark.slow
def test_the_whole_model_fits_in_eight_gigabytes():
    call = [sys.executable, "-m", "merit.evaluate.generation.generator"]
    found = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert found["parameters"] > 1.2e9
    assert found["peak_bytes"] < 8e9
