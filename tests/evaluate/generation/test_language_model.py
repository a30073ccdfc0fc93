"""A tiny language model, what loading refuses, sequences, what is trained, exact resume, writing, what a step takes."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit.config import GenerationConfig, replace
from merit.evaluate.generation import language_model
from merit.evaluate.generation.generator import llama_1b_step
from merit.evaluate.generation.language_model import Conditioned, encode_pair, generate, train, train_language_model
from merit.evaluate.generation.texts import ECG_TOKEN
from merit.parallel import peak_memory

CONFIG = GenerationConfig(
    lm_width=16, lm_depth=2, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=3, projector_width=8, lora_rank=2,
    max_tokens=24, max_new_tokens=10, epochs=None, updates=6, batch=4, learning_rate=1e-2, save_every=3,
)  # fmt: skip
QUESTIONS = ["<ecg> What is it?", "Describe <ecg> please."]
ANSWERS = ["Sinus rhythm, 72/min.", "Sinus rhythm with left axis deviation."]
ANSWERS += ["Atrial fibrillation; the T waves are flat.", "Sinus bradycardia, otherwise unremarkable."]
D = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny language model that has hardly been trained."""
    return train_language_model(ANSWERS, CONFIG, tmp_path_factory.mktemp("lm") / "lm", False, QUESTIONS)


@pytest.fixture(scope="module")
def parts(folder):
    return language_model.load_language_model(folder, CONFIG)


def build(parts, **changes) -> Conditioned:
    return Conditioned(copy.deepcopy(parts[0]), parts[1], D, replace(CONFIG, **changes))


def encoded(tokenizer, config=CONFIG) -> list:
    return [encode_pair(tokenizer, question, answer, config) for question, answer in zip(QUESTIONS, ANSWERS)]


def batch_of(model: Conditioned):
    ecg = torch.randn(2, 3, D, generator=torch.Generator().manual_seed(1))
    return language_model.collate(encoded(model.tokenizer, model.config), model.tokenizer, model.config), ecg


# -- a tiny language model ---------------------------------------------------------------------------------------------


def test_words_are_pieces_the_commonest_first_others_are_spelled_and_decoding_gives_the_text_back():
    make = language_model.make_tokenizer
    tokenizer = make(ANSWERS, 300)
    unseen = "A text (unseen), with “quotes”, 0.12 s and 5 mV:\n- ünïcode ♥\n- <b>HTML</b> \\alpha"
    for text in (ANSWERS[0], unseen, "Two  spaces, then a tab\tand an end. "):
        ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == f" {text}"
    assert tokenizer.tokenize(" Sinus rhythm,") == ["ĠSinus", "Ġrhythm", ","]
    assert tokenizer.tokenize(" sinus") == ["Ġ", "s", "i", "n", "u", "s"]
    assert make(["b b a", "c b a"], 262).convert_ids_to_tokens([260, 261]) == ["Ġb", "Ġa"]
    assert make(["d c", "c d"], 261).convert_ids_to_tokens(260) == "Ġc"
    around = make([f"{ECG_TOKEN} Describe it"], 300)  # a question's words count beside the placeholder
    assert around.tokenize(f"{ECG_TOKEN} Describe") == [ECG_TOKEN, "ĠDescribe"]
    with pytest.raises(ValueError, match=r"lm_vocabulary: expected at least 260.*got 100"):
        make(ANSWERS, 100)


def test_training_is_the_same_for_any_order_and_leaves_global_randomness_alone(folder, tmp_path):
    before, written = torch.random.get_rng_state(), (folder / "model.safetensors").stat().st_mtime_ns
    other = train_language_model(ANSWERS[::-1], CONFIG, tmp_path / "lm", False, QUESTIONS)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    assert sorted(tmp_path.iterdir()) == [other]
    assert train_language_model(ANSWERS, CONFIG, folder, False) == folder  # finished: left as it is
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="answers: expected at least one text"):
        train_language_model([], CONFIG, tmp_path / "none")


def test_training_makes_the_answers_likelier_and_any_number_of_updates_has_a_schedule(tmp_path):
    losses = []
    for updates in (1, 4, 10, 40):
        made = train_language_model(ANSWERS, replace(CONFIG, lm_updates=updates), tmp_path / f"{updates}", False)
        model, tokenizer = language_model.load_language_model(made, CONFIG)
        ids = torch.tensor([tokenizer(f" {ANSWERS[0]}", add_special_tokens=False)["input_ids"]])
        losses.append(model(input_ids=ids, labels=ids).loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 1


# -- one by hub name or folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("without tokenizer", "no tokenizer there"),
        ("without model", "no model there"),
        ("without config", "no model there"),
        (Path("nowhere"), "expected a folder; there is none"),
        ("/no/such/folder", "expected a folder; there is none"),
        ("./nowhere", "expected a folder; there is none"),
        ("nobody/no-model", "nobody/no-model: expected a local folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_one_line(folder, tmp_path, source, message):
    if str(source).startswith("without"):
        lacking = shutil.ignore_patterns(f"{source.split()[1]}*")
        source = shutil.copytree(folder, tmp_path / "part", ignore=lacking)
    with pytest.raises(FileNotFoundError, match=rf"^[^\n]*{message}[^\n]*$"):
        language_model.load_language_model(source, CONFIG)


def save_foreign(folder: Path, vocabulary: int, tied: bool = True, pad: str | None = None, **names: str):
    """Somebody else's Llama in a folder, and its tokenizer: no ECG token, no pad token in use."""
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=tied, **sizes))
    model.save_pretrained(folder)
    table = {word: i for i, word in enumerate(["hello", "<s>", "</s>", "<unk>", *([pad] if pad else [])])}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names).save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("tied", "rows", "pad"),
    [(True, 4, None), (False, 4, None), (True, 10, None), (False, 10, None), (True, 10, language_model.LLAMA_PAD)],
)
def test_a_missing_ecg_token_gets_a_row_at_the_mean_and_padding_is_what_the_tokenizer_has(tmp_path, tied, rows, pad):
    own = save_foreign(tmp_path, rows, tied, pad, eos_token="</s>")
    model, tokenizer = language_model.load_language_model(str(tmp_path), CONFIG)
    assert (model.training, model.dtype, tokenizer.pad_token) == (False, torch.float32, pad or "</s>")
    n = 4 + (pad is not None)
    assert (tokenizer.convert_tokens_to_ids(ECG_TOKEN), len(tokenizer)) == (n, n + 1)
    assert ECG_TOKEN in tokenizer.all_special_tokens
    for side in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(m, side)().weight.detach().numpy() for m in (own, model))
        assert len(new) == max(rows, 5)
        np.testing.assert_array_equal(new[:n], old[:n])
        np.testing.assert_allclose(new[n], old[:n].mean(0), rtol=1e-5, atol=1e-7)


def test_a_model_that_does_not_serve_is_refused(folder, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    with pytest.raises(ValueError, match=r"at least max_tokens = 5000 positions; got 4096"):
        language_model.load_language_model(folder, replace(CONFIG, max_tokens=5000))
    save_foreign(tmp_path / "llama", 5)
    with pytest.raises(ValueError, match="end-of-sequence token; it has none"):
        language_model.load_language_model(tmp_path / "llama", CONFIG)
    shutil.copytree(folder, tmp_path / "gpt")
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=300)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(ValueError, match=r"expected one of llama.*got gpt2"):
        language_model.load_language_model(tmp_path / "gpt", CONFIG)


# -- pairs as token ids ------------------------------------------------------------------------------------------------


def test_a_pair_is_bos_question_space_answer_eos_and_a_long_one_loses_the_end_of_its_answer(parts):
    tokenizer = parts[1]
    pair = encode_pair(tokenizer, QUESTIONS[1], "Sinus rhythm.", replace(CONFIG, ecg_tokens=3))
    question = "<bos>Describe <ecg><ecg><ecg> please."
    assert (tokenizer.decode(pair.ids), pair.lost) == (f"{question} Sinus rhythm.<eos>", 0)
    assert tokenizer.decode(pair.ids[: pair.n_question]) == question
    assert pair.ids[: pair.n_question] == language_model.encode_question(tokenizer, QUESTIONS[1], 3)
    answer = " ".join(4 * ["Sinus rhythm."])
    whole = encode_pair(tokenizer, QUESTIONS[0], answer, CONFIG)
    assert len(whole.ids) < CONFIG.max_tokens
    for lost, end in ((0, "<eos>"), (1, "."), (2, " rhythm")):
        cut = encode_pair(tokenizer, QUESTIONS[0], answer, replace(CONFIG, max_tokens=len(whole.ids) - lost))
        assert (cut.lost, cut.ids) == (lost, whole.ids[: len(whole.ids) - lost])
        assert tokenizer.decode(cut.ids[-1:]) == end


@pytest.mark.parametrize(
    ("question", "answer", "message"),
    [
        ("What is it?", "x", r"question of record p1/r7: expected one <ecg>; got 0 in 'What is it\?'"),
        ("<ecg> and <ecg>?", "x", r"question of record p1/r7: expected one <ecg>; got 2"),
        ("<ecg>?", "an <ecg>", r"answer of record p1/r7: expected no <ecg>"),
        ("<ecg>" + "z" * 30, "x", r"question of record p1/r7: expected fewer than max_tokens = 24 tokens; got 32"),
    ],
)
def test_a_bad_pair_is_refused_in_one_line_with_its_record(parts, question, answer, message):
    with pytest.raises(ValueError, match=rf"^{message}[^\n]*$"):
        encode_pair(parts[1], question, answer, CONFIG, "p1/r7")


@pytest.mark.parametrize("train_on_padding", [False, True])
def test_the_question_is_no_target_and_padding_one_only_in_the_original(parts, train_on_padding):
    tokenizer, config = parts[1], replace(CONFIG, train_on_padding=train_on_padding)
    pairs = encoded(tokenizer, config)
    batch, nothing = language_model.collate(pairs, tokenizer, config), language_model.NO_TARGET
    length = config.max_tokens if train_on_padding else max(len(pair.ids) for pair in pairs)
    padding, target, seen = (tokenizer.eos_token_id,) * 2 + (1,) if train_on_padding else (2, nothing, 0)
    for pair, ids, attention, labels in zip(pairs, *(part.tolist() for part in batch)):
        rest = length - len(pair.ids)
        assert ids == pair.ids + [padding] * rest
        assert labels == [nothing] * pair.n_question + pair.ids[pair.n_question :] + [target] * rest
        assert attention == [1] * len(pair.ids) + [seen] * rest


# -- conditioned by an ECG ---------------------------------------------------------------------------------------------


def by_loops(model, ecg: np.ndarray) -> list[list[np.ndarray]]:
    """MedTVT-R1's adapter, a number at a time where that is bearable; no layer but those named has a bias."""
    w = {name: value.detach().numpy() for name, value in model.named_parameters()}
    assert not [name for name in w if "blocks" in name and "bias" in name]
    bias, out = w["recurrent.bias_ih_l0"] + w["recurrent.bias_hh_l0"], []
    for tokens in ecg:
        states, rows = [np.zeros(7)], []
        for token in tokens:
            unit = token / np.sqrt((token**2).sum())
            states.append(np.tanh(w["recurrent.weight_ih_l0"] @ unit + w["recurrent.weight_hh_l0"] @ states[-1] + bias))
        for query in w["queries.weight"]:
            score = np.exp([query @ s for s in states[1:]])
            x = w["to_lm.weight"] @ sum(a * s for a, s in zip(score / score.sum(), states[1:])) + w["to_lm.bias"]
            for k in range(3):
                r = x / np.sqrt((x**2).mean() + 1e-6) * w[f"blocks.{k}.norm.weight"]
                gate = w[f"blocks.{k}.gate.weight"] @ r
                x = x + w[f"blocks.{k}.down.weight"] @ (gate / (1 + np.exp(-gate)) * (w[f"blocks.{k}.up.weight"] @ r))
            rows.append(x)
        out.append(rows)
    return out


@pytest.mark.parametrize("ecg_tokens", [1, 3])
def test_the_projector_is_what_the_loops_give(ecg_tokens):
    torch.manual_seed(3)
    model, ecg = language_model.Projector(D, 7, 4, ecg_tokens).double(), np.random.default_rng(0).normal(size=(2, 5, D))
    np.testing.assert_allclose(model(torch.from_numpy(ecg)).detach().numpy(), by_loops(model, ecg), rtol=1e-10)
    pooled = torch.from_numpy(ecg[:, 0])
    assert torch.equal(model(pooled), model(pooled[:, None])), "an embedding is a sequence of one token"
    for shape in ((2, 5, D + 1), (2, D + 1), (D,)):
        with pytest.raises(ValueError, match=r"ecg: expected \[B, n, 6\] or \[B, 6\]; got"):
            model(torch.zeros(shape, dtype=torch.float64))


def test_ecg_tokens_stand_at_the_placeholder_alone_and_the_loss_is_the_librarys_on_each_pair(parts):
    model = build(parts, ecg_tokens=2)
    batch, ecg = batch_of(model)
    table = model.language_model.get_input_embeddings().weight
    embedded, projected = model.embed(batch.ids, ecg), model.projector(ecg) + model.ecg_embedding
    total = count = 0
    for row, ids in enumerate(batch.ids):
        n, place = int(batch.attention[row].sum()), ids.tolist().index(model.ecg_id)
        assert torch.equal(embedded[row, place : place + 2], projected[row])
        others = [i for i in range(len(ids)) if i not in (place, place + 1)]
        assert torch.equal(embedded[row, others], table[ids[others]])
        embeddings, labels = model.embed(ids[None, :n], ecg[row : row + 1]), batch.labels[row : row + 1, :n]
        targets = int((labels[:, 1:] != language_model.NO_TARGET).sum())
        total += model.language_model(inputs_embeds=embeddings, labels=labels).loss * targets
        count += targets
    torch.testing.assert_close(model(batch, ecg), total / count)
    assert model(batch, ecg) != model(batch, ecg.flip(0))


def test_lora_norms_biases_the_ecg_row_and_the_projector_are_trained_and_nothing_else(parts):
    model = build(parts)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):  # LoRA's A moves once B has left 0
        optimiser.zero_grad()
        model(*batch_of(model)).backward()
        optimiser.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == model.trained().keys()
    lora = [name.split(".")[-3] for name in moved if "lora_" in name]
    assert (set(lora), len(lora)) == ({"lora_A", "lora_B"}, 2 * 7 * 2)
    ends = [f"{name}_layernorm.weight" for name in ("input", "post_attention")]
    ends += [f"self_attn.{name}_proj.base_layer.bias" for name in "qo"]
    ends += [f"mlp.{name}_proj.base_layer.bias" for name in ("gate", "up", "down")]
    layers = {f"language_model.model.layers.{k}.{end}" for k in range(2) for end in ends}
    rest = {name for name in moved if "lora_" not in name and not name.startswith("projector.")}
    assert rest == {"ecg_embedding", "language_model.model.norm.weight", *layers}
    names = {id(p): name for name, p in model.trained().items()}
    groups = language_model.make_optimiser(model, CONFIG).param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    decayed, plain = ({names[id(p)] for p in group["params"]} for group in groups)
    assert {"ecg_embedding", "projector.to_lm.bias", "language_model.model.norm.weight"} <= plain
    assert not [name for name in decayed if "norm" in name or "bias" in name]
    assert decayed | plain == moved


def test_the_adapter_changes_nothing_at_first_and_merged_later_gives_the_same(parts):
    ids, model = torch.tensor([[0, 5, 9, 261, 262]]), build(parts)
    assert all(not p.any() for name, p in model.trained().items() if name.endswith("base_layer.bias"))
    lora = [layer for layer in model.language_model.modules() if hasattr(layer, "merge")]
    assert len(lora) == 2 * 7
    assert {layer.scaling["default"] for layer in lora} == {1.0}

    def merged() -> torch.Tensor:
        for layer in lora:
            layer.merge()
        logits = model.language_model(input_ids=ids).logits
        for layer in lora:
            layer.unmerge()
        return logits

    first = parts[0](input_ids=ids).logits
    torch.testing.assert_close(model.language_model(input_ids=ids).logits, first)
    assert torch.equal(merged(), first)
    with torch.no_grad():
        for p in model.trained().values():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(merged(), model.language_model(input_ids=ids).logits)
    assert not torch.equal(merged(), first)


def test_the_seed_fixes_new_weights_and_the_adapter_makes_another_model_the_same_and_must_fit(parts):
    model, same, other = build(parts), build(parts), build(parts, seed=1, gradient_checkpointing=True)
    assert [m.language_model.is_activation_checkpointing for m in (model, other)] == [False, True]
    assert all(torch.equal(p, same.trained()[name]) for name, p in model.trained().items())
    assert not torch.equal(model.projector.to_lm.weight, other.projector.to_lm.weight)
    batch, ecg = batch_of(model)
    bias = "language_model.model.layers.0.{}.base_layer.bias"
    with torch.no_grad():
        model.trained()[bias.format("mlp.down_proj")].fill_(0.3)
    assert model(batch, ecg) != same(batch, ecg)
    state = {name: p.detach().clone() for name, p in model.adapter().items()}
    same.load_adapter(state)
    assert model(batch, ecg) == same(batch, ecg)
    with pytest.raises(ValueError, match="1 differ, first ecg_embedding"):
        model.load_adapter({name: p for name, p in state.items() if name != "ecg_embedding"})
    with pytest.raises(ValueError, match=r"expected .*lora_A.* of shape \[3, 16\]; got \[2, 16\]"):
        build(parts, lora_rank=3).load_adapter(state)
    with pytest.raises(ValueError, match="expected one without an adapter"):
        Conditioned(model.language_model, parts[1], D, CONFIG)
    biased = copy.deepcopy(parts[0])
    layer = biased.model.layers[0].self_attn.q_proj
    layer.bias = torch.nn.Parameter(torch.full((layer.out_features,), 0.5))
    found = Conditioned(biased, parts[1], D, CONFIG).trained()
    assert (found[bias.format("self_attn.q_proj")] == 0.5).all(), "biases that a model has stay"


def test_a_bfloat16_model_trains_in_float32_and_its_fingerprint_sees_every_row_but_the_ecg_tokens(parts):
    model, plain = Conditioned(copy.deepcopy(parts[0]).to(torch.bfloat16), parts[1], D, CONFIG), build(parts)
    loss = model(*batch_of(model))
    loss.backward()
    torch.testing.assert_close(loss, plain(*batch_of(model)), rtol=0.02, atol=0)
    assert {dtype for p in model.trained().values() for dtype in (p.dtype, p.grad.dtype)} == {torch.float32}
    assert model.fingerprint == plain.fingerprint
    for row in (2, 3, 4, 299):
        changed = copy.deepcopy(parts[0])
        changed.get_input_embeddings().weight.data[row % len(parts[1]), 1] += 1
        assert (Conditioned(changed, parts[1], D, CONFIG).fingerprint == plain.fingerprint) == (row == 3)


# -- adapting it -------------------------------------------------------------------------------------------------------

ASKED = QUESTIONS * 5
ANSWERED = ["Sinus rhythm.", "Atrial fibrillation, fast, and more words than fit in here."] * 5
TRAINED_ON = np.random.default_rng(0).normal(size=(10, 3, D)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def lines_in_between():
    """A line of the history at every second update, so that a state holds some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language_model, "LINE_EVERY", 2)
        yield


def run(lm: Path, folder: Path, ecg: np.ndarray = TRAINED_ON, stop_after: int | None = None, **changes) -> Conditioned:
    config = replace(CONFIG, **changes)
    model = Conditioned(*language_model.load_language_model(lm, config), D, config)
    train(model, ASKED, ANSWERED, ecg, config, folder, source=lm, progress=False, stop_after=stop_after)
    return model


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("run") / "whole"
    run(folder, where)
    return where


@pytest.mark.parametrize("stops", [[3], [2, 1], [5]])
def test_six_updates_equal_parts_of_them(folder, whole, tmp_path, stops):
    for stop in stops:
        run(folder, tmp_path, stop_after=stop)
        assert not (tmp_path / "adapter.safetensors").exists()
    run(folder, tmp_path)
    for name in ("adapter.safetensors", "history.jsonl"):
        assert (whole / name).read_bytes() == (tmp_path / name).read_bytes()


def test_what_is_left_behind_is_loaded_and_not_run_again(folder, whole):
    files = {"adapter.safetensors", "config.json", "history.jsonl", "SHA256SUMS"}
    assert {path.name for path in whole.iterdir()} == files
    settings = json.loads((whole / "config.json").read_text())
    assert (settings["total_updates"], settings["pairs"]["n"], settings["pairs"]["truncated"]) == (6, 10, 5)
    lines = [json.loads(text) for text in (whole / "history.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [2, 4, 6]
    assert all(line["loss"] > 0 for line in lines)
    # along a cosine from the first update on, without warm-up
    rates = [1e-6 + (1e-2 - 1e-6) * (1 + np.cos(np.pi * update / 6)) / 2 for update in (1, 3, 5)]
    assert [line["learning_rate"] for line in lines] == pytest.approx(rates)
    written = (whole / "adapter.safetensors").stat().st_mtime_ns
    model = run(folder, whole, temperature=0.1, max_new_tokens=3, decoding="sampling")
    kept = load_file(whole / "adapter.safetensors")
    assert kept.keys() == model.adapter().keys()
    assert all(torch.equal(p, kept[name]) for name, p in model.trained().items())
    assert (whole / "adapter.safetensors").stat().st_mtime_ns == written
    loaded = language_model.load_adapted(whole)  # from its folder alone
    assert not loaded.training
    texts = [generate(m, ASKED[:4], TRAINED_ON[:4], CONFIG, progress=False) for m in (model, loaded)]
    assert texts[0] == texts[1]


def test_standardised_ecgs_are_scaled_by_the_training_ones_and_loaded_so(folder, tmp_path):
    shifted = 3 * TRAINED_ON + 5
    model = run(folder, tmp_path, ecg=shifted, standardise=True)
    np.testing.assert_allclose(model.ecg_centre.numpy(), shifted.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(model.ecg_scale.numpy(), shifted.std((0, 1)), rtol=1e-5)
    other = run(folder, tmp_path / "as-it-was", standardise=True)
    texts = [generate(m, ASKED, z, CONFIG, progress=False) for m, z in ((model, shifted), (other, TRAINED_ON))]
    assert texts[0] == texts[1]  # gain and offset of an embedding make no difference
    assert torch.equal(language_model.load_adapted(tmp_path).ecg_scale, model.ecg_scale)


def test_other_models_settings_and_pairs_are_refused(folder, whole, tmp_path, parts):
    other = train_language_model(ANSWERS, replace(CONFIG, seed=1), tmp_path / "other", False)
    with pytest.raises(ValueError, match=r"the language model that it was trained with; .* is another"):
        language_model.load_adapted(whole, other)
    with pytest.raises(FileNotFoundError, match="expected a finished adapter"):
        language_model.load_adapted(tmp_path)
    with pytest.raises(ValueError, match=r"differ in generation.learning_rate: 0.01 there, 0.02 here"):
        run(folder, whole, learning_rate=0.02)
    run(folder, tmp_path / "begun", stop_after=1)
    with pytest.raises(ValueError, match=r"training_state.pt: expected a run of these .* pairs.digest"):
        run(folder, tmp_path / "begun", ecg=TRAINED_ON[::-1])
    with pytest.raises(ValueError, match="question of record r2: expected one <ecg>; got 0"):
        train(build(parts), ["<ecg>?", "?"], ["a", "b"], TRAINED_ON[:2], CONFIG, tmp_path, records=["r1", "r2"])
    with pytest.raises(ValueError, match="got 2, 2 and 3"):
        train(build(parts), ["<ecg>?"] * 2, ["a"] * 2, TRAINED_ON[:3], CONFIG, tmp_path)


def test_a_loss_that_is_not_finite_stops_with_its_update(folder, tmp_path):
    bad = next(row for row in range(10) if row not in language_model.positions(10, 0, CONFIG))
    first = next(u for u in range(6) if bad in language_model.positions(10, u, CONFIG))
    ecg = TRAINED_ON.copy()
    ecg[bad] = np.nan
    with pytest.raises(language_model.NonFiniteLoss, match=rf"update {first + 1}: expected a finite loss; got nan"):
        run(folder, tmp_path, ecg=ecg, save_every=1)
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["update"] == first
    assert all(value.isfinite().all() for value in state["kept"].values())


def test_an_epoch_uses_every_pair_once_and_needs_no_history():
    taken = np.concatenate([language_model.positions(8, update, CONFIG) for update in (0, 1)])
    assert sorted(taken) == list(range(8))
    assert list(language_model.positions(8, 1, CONFIG)) == list(taken[4:])
    assert sorted(language_model.positions(8, 2, CONFIG)) != sorted(language_model.positions(8, 0, CONFIG))
    assert len(language_model.positions(3, 7, CONFIG)) == 3
    epochs = replace(CONFIG, epochs=20.0, updates=None, batch=16)
    assert [language_model.total_updates(epochs, n) for n in (8331, 5)] == [20 * 520, 20]


# -- writing -----------------------------------------------------------------------------------------------------------

SHORT = ["Yes.", "No it is not.", "One two three four five six seven.", "It is.", "Two or three."]
PROMPTS = ["<ecg>?", "Is it <ecg> then?", "What about <ecg>, or something longer?", "<ecg> why", "A <ecg> b"]
ECG = np.random.default_rng(0).normal(size=(5, D)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Conditioned:
    """A model that has learnt a little, so that it writes texts of several lengths and ends them."""
    rates = {"lm_updates": 60, "lm_learning_rate": 1e-2, "updates": 100, "learning_rate": 2e-2}
    config = replace(CONFIG, lm_vocabulary=280, lora_rank=4, max_tokens=64, batch=5, **rates)
    folder = train_language_model(SHORT, config, tmp_path_factory.mktemp("lm") / "lm", progress=False)
    model = Conditioned(*language_model.load_language_model(folder, config), D, config)
    train(model, PROMPTS, SHORT, ECG, config, folder.with_name("run"), progress=False)
    return model


def slowly(model: Conditioned, question: str, ecg: np.ndarray, config: GenerationConfig, row: int) -> str:
    """One text, the whole sequence anew for every token."""
    start = language_model.encode_question(model.tokenizer, question, model.config.ecg_tokens)
    ids, draws = list(start), np.random.default_rng([config.seed, row]).random(config.max_new_tokens)
    for draw in draws:
        embeddings = model.embed(torch.tensor([ids]), torch.from_numpy(ecg[None]))
        logits = model.language_model(inputs_embeds=embeddings).logits[0, -1].double()
        logits[language_model.never_written(model)] = -torch.inf
        if config.decoding == "greedy":
            token = int(logits.argmax())
        else:
            token = by_nucleus((logits / config.temperature).softmax(0).tolist(), config.top_p, draw)
        if token == model.tokenizer.eos_token_id:
            break
        ids.append(token)
    return model.tokenizer.decode(ids[len(start) :], skip_special_tokens=True).strip()


def by_nucleus(share: list[float], top_p: float, draw: float) -> int:
    """The token at place `draw` of the shares of the likeliest tokens that together reach `top_p`."""
    order, nucleus, total = sorted(range(len(share)), key=lambda i: -share[i]), [], 0.0
    while order and total <= top_p:
        nucleus.append(order.pop(0))
        total += share[nucleus[-1]]
    reached = np.cumsum([share[token] for token in nucleus])
    return nucleus[min(int((reached <= draw * total).sum()), len(nucleus) - 1)]


def test_it_learns_to_look_at_the_ecg(tmp_path):
    sizes = {"lm_depth": 1, "lm_width": 32, "projector_width": 32, "lora_rank": 8, "save_every": 1000}
    config = replace(CONFIG, lm_updates=60, lm_learning_rate=1e-2, updates=120, learning_rate=2e-2, **sizes)
    answers = ["Sinus rhythm.", "Sinus bradycardia.", "Atrial fibrillation.", "Paced rhythm."]
    questions, ecg = ["<ecg>?"] * 4, np.eye(4, dtype=np.float32)
    lm = train_language_model(answers, config, tmp_path / "lm", False, questions)
    model = Conditioned(*language_model.load_language_model(lm, config), ecg.shape[-1], config)
    train(model, questions, answers, ecg, config, tmp_path / "run", progress=False)
    pairs = [encode_pair(model.tokenizer, q, a, config) for q, a in zip(questions, answers)]
    batch, signal = language_model.collate(pairs, model.tokenizer, config), torch.from_numpy(ecg)
    with torch.no_grad():
        assert model(batch, signal) < 0.5 * model(batch, signal.roll(1, 0))


@torch.no_grad()
@pytest.mark.parametrize("decoding", ["greedy", "sampling"])
def test_a_batch_writes_what_the_slow_loop_writes_whatever_the_models_mode(model, decoding):
    config = replace(CONFIG, decoding=decoding, temperature=1.5)
    expected = [slowly(model, q, e, config, row) for row, (q, e) in enumerate(zip(PROMPTS, ECG))]
    assert len({len(model.tokenizer(text)["input_ids"]) for text in expected}) > 1
    for batch in (1, 2, 5):
        model.train(batch == 2)
        assert generate(model, PROMPTS, ECG, config, batch=batch, progress=False) == expected
        assert model.training == (batch == 2)
    if decoding == "sampling":
        assert generate(model, PROMPTS, ECG, replace(config, seed=1), progress=False) != expected


def test_a_text_stops_at_its_end_or_at_the_limit_and_questions_that_do_not_fit_are_refused(model):
    texts = generate(model, PROMPTS, ECG, replace(CONFIG, max_new_tokens=2), progress=False)
    assert all(len(model.tokenizer(f" {text}")["input_ids"]) <= 2 for text in texts)
    norm = model.language_model.model.norm.weight
    before = norm.detach().clone()
    norm.data.zero_()  # all logits equal: greedy takes the first token that may be written, eos
    try:
        assert generate(model, PROMPTS, ECG, CONFIG, progress=False) == [""] * 5
    finally:
        norm.data.copy_(before)
    assert model.tokenizer.convert_ids_to_tokens(language_model.never_written(model)) == ["<bos>", "<pad>", "<ecg>"]
    assert generate(model, [], ECG[:0], CONFIG, progress=False) == []
    with pytest.raises(ValueError, match="got 5 questions and 4 ECGs"):
        generate(model, PROMPTS, ECG[:4], CONFIG, progress=False)
    with pytest.raises(ValueError, match="question of record r1: expected one <ecg>; got 2"):
        generate(model, ["<ecg><ecg>"], ECG[:1], CONFIG, progress=False, records=["r1"])


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.05, [2]), (0.45, [2]), (0.55, [2, 0]), (0.85, [2, 0, 3]), (1.0, [0, 1, 2, 3])]
)
def test_tokens_are_drawn_by_their_share_of_the_nucleus(top_p, kept):
    share, warm = np.array([0.3, 0.05, 0.5, 0.15]), replace(CONFIG, decoding="sampling", temperature=1.0, top_p=top_p)
    logits, draws = torch.from_numpy(np.log(share)).float().expand(2000, -1), (np.arange(2000) + 0.5) / 2000
    drawn, greedy = (language_model.choose(logits, draws, config) for config in (warm, CONFIG))
    expected = np.where(np.isin(np.arange(4), kept), share, 0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 2000, expected / expected.sum(), atol=1e-3)
    cold = replace(warm, temperature=1e-4)
    assert torch.equal(language_model.choose(logits, draws, cold), greedy)  # a low temperature is greedy


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_step_runs_at_a_small_shape():
    sizes = {"vocab_size": 400, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    found = llama_1b_step(16, **sizes, num_attention_heads=2, num_key_value_heads=1)
    assert (found["tokens"], found["batch"], found["dtype"], found["loss"] > 0) == (16, 1, "bfloat16", True)
    assert 0 < found["trained"] < found["parameters"]
    assert abs(peak_memory() - found["peak_bytes"]) < 2**26  # the test takes a little; the kernel counts in batches


@pytest.mark.slow
def test_the_whole_model_fits_in_eight_gigabytes():
    call = [sys.executable, "-m", "merit.evaluate.generation.generator"]
    found = json.loads(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
    assert found["parameters"] > 1.2e9
    assert found["peak_bytes"] < 8e9
