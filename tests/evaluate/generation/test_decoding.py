"""Decoding against a slow loop without cache or batch; independence of the batch; the rule that draws a token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from merit.config import GenerationConfig, replace
from merit.evaluate.generation.conditioned import Conditioned, encode_question
from merit.evaluate.generation.decoding import choose, generate, never_written, pad_left
from merit.evaluate.generation.language_model import load_language_model, train_language_model
from merit.evaluate.generation.training import train

CONFIG = GenerationConfig(
    lm_width=16, lm_depth=2, lm_heads=2, lm_kv_heads=1, lm_vocabulary=280, lm_updates=60, lm_learning_rate=1e-2,
    projector_width=8, lora_rank=4, max_tokens=64, max_new_tokens=10, epochs=None, updates=100, learning_rate=2e-2,
    batch=5,
)  # fmt: skip
ANSWERS = ["Yes.", "No it is not.", "One two three four five six seven.", "It is.", "Two or three."]
QUESTIONS = ["<ecg>?", "Is it <ecg> then?", "What about <ecg>, or something longer?", "<ecg> why", "A <ecg> b"]
ECG = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Conditioned:
    """A model that has learnt a little, so that it writes texts of several lengths and ends them."""
    folder: Path = tmp_path_factory.mktemp("lm") / "lm"
    train_language_model(ANSWERS, CONFIG, folder, progress=False)
    made = Conditioned(*load_language_model(folder, CONFIG), 6, CONFIG)
    train(made, QUESTIONS, ANSWERS, ECG, CONFIG, folder.with_name("run"), progress=False)
    return made


def slowly(model: Conditioned, question: str, ecg: np.ndarray, config: GenerationConfig, row: int) -> str:
    """One text, the whole sequence anew for every token."""
    start = encode_question(model.tokenizer, question, model.config.ecg_tokens)
    ids, draws = list(start), np.random.default_rng([config.seed, row]).random(config.max_new_tokens)
    for step in range(config.max_new_tokens):
        embeddings = model.embed(torch.tensor([ids]), torch.from_numpy(ecg[None]))
        logits = model.language_model(inputs_embeds=embeddings).logits[0, -1].double()
        logits[never_written(model)] = -torch.inf
        share = (logits / (1 if config.decoding == "greedy" else config.temperature)).softmax(0)
        if config.decoding == "greedy":
            token = int(share.argmax())
        else:
            token = by_nucleus(share.tolist(), config.top_p, draws[step])
        if token == model.tokenizer.eos_token_id:
            break
        ids.append(token)
    return model.tokenizer.decode(ids[len(start) :], skip_special_tokens=True).strip()


def by_nucleus(share: list[float], top_p: float, draw: float) -> int:
    """The token at place `draw` of the shares of the likeliest tokens that together reach `top_p`."""
    order, kept, total = sorted(range(len(share)), key=lambda i: -share[i]), [], 0.0
    for token in order:
        if total > top_p:
            break
        kept.append(token)
        total += share[token]
    reached = 0.0
    for token in kept:
        reached += share[token]
        if draw * total < reached:
            return token
    return kept[-1]


@torch.no_grad()
@pytest.mark.parametrize("decoding", ["greedy", "sampling"])
def test_a_batch_writes_what_the_slow_loop_writes(model, decoding):
    config = replace(CONFIG, decoding=decoding, temperature=1.5)
    expected = [slowly(model, q, e, config, row) for row, (q, e) in enumerate(zip(QUESTIONS, ECG))]
    assert len(set(expected)) > 1
    assert len({len(model.tokenizer(text)["input_ids"]) for text in expected}) > 1
    for batch in (1, 2, 5):
        assert generate(model, QUESTIONS, ECG, config, batch=batch, progress=False) == expected


def test_sampling_follows_its_seed(model):
    draw = {
        seed: generate(model, QUESTIONS, ECG, replace(CONFIG, decoding="sampling", seed=seed), progress=False)
        for seed in (0, 1)
    }
    torch.manual_seed(5)
    again = generate(model, QUESTIONS, ECG, replace(CONFIG, decoding="sampling"), progress=False)
    assert draw[0] == again
    assert draw[0] != draw[1]


def test_a_text_stops_at_its_end_or_at_the_limit(model):
    texts = generate(model, QUESTIONS, ECG, replace(CONFIG, max_new_tokens=2), progress=False)
    assert all(len(model.tokenizer(f" {text}")["input_ids"]) <= 2 for text in texts)
    with torch.no_grad():
        norm = model.language_model.model.norm.weight
        kept = norm.clone()
        norm.zero_()  # all logits equal: greedy takes the first token that may be written, eos
    try:
        assert generate(model, QUESTIONS, ECG, CONFIG, progress=False) == [""] * 5
    finally:
        norm.data.copy_(kept)


def test_special_tokens_are_never_written(model):
    assert never_written(model) == [0, 2, 3]
    assert model.tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<bos>", "<eos>", "<pad>", "<ecg>"]


def test_the_mode_of_the_model_is_kept(model):
    model.train()
    generate(model, QUESTIONS[:1], ECG[:1], CONFIG, progress=False)
    assert model.training
    model.eval()
    generate(model, QUESTIONS[:1], ECG[:1], CONFIG, progress=False)
    assert not model.training


def test_no_questions_give_no_texts_and_too_few_ecgs_are_refused(model):
    assert generate(model, [], ECG[:0], CONFIG, progress=False) == []
    with pytest.raises(ValueError, match="got 5 questions and 4 ECGs"):
        generate(model, QUESTIONS, ECG[:4], CONFIG, progress=False)
    with pytest.raises(ValueError, match="question of record r1: expected one <ecg>; got 2"):
        generate(model, ["<ecg><ecg>"], ECG[:1], CONFIG, progress=False, records=["r1"])


def test_padding_stands_first():
    ids, seen = pad_left([[4, 5, 6], [7]], 9, torch.device("cpu"))
    assert ids.tolist() == [[4, 5, 6], [9, 9, 7]]
    assert seen.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.05, [2]), (0.45, [2]), (0.55, [2, 0]), (0.85, [2, 0, 3]), (1.0, [0, 1, 2, 3])]
)
def test_tokens_are_drawn_by_their_share_of_the_nucleus(top_p, kept):
    share = np.array([0.3, 0.05, 0.5, 0.15])
    config = replace(CONFIG, decoding="sampling", temperature=1.0, top_p=top_p)
    draws = (np.arange(2000) + 0.5) / 2000
    drawn = choose(torch.from_numpy(np.log(share)).float().expand(2000, -1), draws, config).numpy()
    expected = np.where(np.isin(np.arange(4), kept), share, 0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 2000, expected / expected.sum(), atol=1e-3)


def test_a_low_temperature_is_greedy():
    logits = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    draws = np.random.default_rng(0).random(50)
    cold = replace(CONFIG, decoding="sampling", temperature=1e-4, top_p=1.0)
    assert torch.equal(choose(logits, draws, cold), choose(logits, draws, CONFIG))
