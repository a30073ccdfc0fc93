"""A tiny language model and its tokenizer, what loading refuses, sequences, what is trained, and writing."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit.config import GenerationConfig, replace
from merit.evaluate.generation.language_model import (
    LLAMA_PAD,
    NO_TARGET,
    Conditioned,
    Projector,
    add_ecg_token,
    choose,
    collate,
    encode_pair,
    encode_question,
    fingerprint,
    generate,
    load_language_model,
    make_tokenizer,
    never_written,
    train_language_model,
)
from merit.evaluate.generation.pairs import ECG_TOKEN
from merit.evaluate.generation.training import train

CONFIG = GenerationConfig(
    lm_width=16, lm_depth=2, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=3, projector_width=8, lora_rank=2,
    max_tokens=24, max_new_tokens=10,
)  # fmt: skip
QUESTIONS = ["<ecg> What is it?", "Describe <ecg> please."]
ANSWERS = [
    "Sinus rhythm, 72/min.",
    "Sinus rhythm with left axis deviation.",
    "Atrial fibrillation; the T waves are flat.",
    "Sinus bradycardia, otherwise unremarkable.",
]
D = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny language model that has hardly been trained."""
    return train_language_model(
        ANSWERS, CONFIG, tmp_path_factory.mktemp("lm") / "lm", progress=False, questions=QUESTIONS
    )


@pytest.fixture(scope="module")
def parts(folder):
    return load_language_model(folder, CONFIG)


def build(parts, **changes) -> Conditioned:
    return Conditioned(copy.deepcopy(parts[0]), parts[1], D, replace(CONFIG, **changes))


def batch_of(model: Conditioned):
    pairs = [encode_pair(model.tokenizer, q, a, model.config) for q, a in zip(QUESTIONS, ANSWERS)]
    ecg = torch.randn(2, 3, D, generator=torch.Generator().manual_seed(1))
    return collate(pairs, model.tokenizer, model.config), ecg


# -- a tiny language model ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ANSWERS[0],
        "A text (unseen), with “quotes”, 0.12 s and 5 mV:\n- ünïcode ♥\n- <b>HTML</b> \\alpha",
        "Two  spaces, then a tab\tand an end. ",
    ],
)
def test_decoding_gives_the_text_back(text):
    tokenizer = make_tokenizer(ANSWERS, 300)
    ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == f" {text}"


def test_the_commonest_words_are_pieces_in_order_and_others_are_spelled():
    tokenizer = make_tokenizer(ANSWERS, 300)
    assert tokenizer.tokenize(" Sinus rhythm,") == ["ĠSinus", "Ġrhythm", ","]
    assert tokenizer.tokenize(" sinus") == ["Ġ", "s", "i", "n", "u", "s"]
    assert make_tokenizer(["b b a", "c b a"], 262).convert_ids_to_tokens([260, 261]) == ["Ġb", "Ġa"]
    assert make_tokenizer(["d c", "c d"], 261).convert_ids_to_tokens(260) == "Ġc"
    around = make_tokenizer([f"{ECG_TOKEN} Describe it"], 300)  # a question's words count beside the placeholder
    assert around.tokenize(f"{ECG_TOKEN} Describe") == [ECG_TOKEN, "ĠDescribe"]
    with pytest.raises(ValueError, match=r"lm_vocabulary: expected at least 260.*got 100"):
        make_tokenizer(ANSWERS, 100)


def test_training_is_the_same_for_any_order_and_leaves_global_randomness_alone(folder, tmp_path):
    before = torch.random.get_rng_state()
    other = train_language_model(ANSWERS[::-1], CONFIG, tmp_path / "lm", progress=False, questions=QUESTIONS)
    assert torch.equal(torch.random.get_rng_state(), before)
    a, b = load_file(folder / "model.safetensors"), load_file(other / "model.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (folder / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()
    assert sorted(tmp_path.iterdir()) == [other]


def test_training_makes_the_answers_likelier(folder, tmp_path):
    longer = train_language_model(ANSWERS, replace(CONFIG, lm_updates=40), tmp_path / "lm", progress=False)
    losses = []
    for where in (folder, longer):
        model, tokenizer = load_language_model(where, CONFIG)
        ids = torch.tensor([tokenizer(f" {ANSWERS[0]}", add_special_tokens=False)["input_ids"]])
        losses.append(model(input_ids=ids, labels=ids).loss.item())
    assert losses[1] < losses[0] - 1


@pytest.mark.parametrize("updates", [1, 4, 10])
def test_any_number_of_updates_has_a_schedule(updates, tmp_path):
    made = train_language_model(ANSWERS, replace(CONFIG, lm_updates=updates), tmp_path / "lm", progress=False)
    assert all(value.isfinite().all() for value in load_file(made / "model.safetensors").values())


def test_a_finished_folder_is_left_as_it_is_and_no_answers_are_refused(folder, tmp_path):
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert train_language_model(ANSWERS, CONFIG, folder, progress=False) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="answers: expected at least one text"):
        train_language_model([], CONFIG, tmp_path / "lm")


# -- one by hub name or folder -----------------------------------------------------------------------------------------


def test_a_folder_is_loaded_as_it_was_saved(folder):
    model, tokenizer = load_language_model(str(folder), CONFIG)
    assert not model.training
    assert (model.dtype, model.config.num_key_value_heads) == (torch.float32, 1)
    assert tokenizer("<ecg> Sinus", add_special_tokens=False)["input_ids"][0] == 3
    assert tokenizer.pad_token == "<pad>"
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings


@pytest.mark.parametrize(
    ("without", "message"),
    [("tokenizer", "no tokenizer there"), ("model", "no model there"), ("config", "no model there")],
)
def test_a_folder_that_lacks_a_part_is_refused_in_one_line(folder, tmp_path, without, message):
    shutil.copytree(folder, tmp_path / "part", ignore=shutil.ignore_patterns(f"{without}*"))
    with pytest.raises(FileNotFoundError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_language_model(tmp_path / "part", CONFIG)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Path("nowhere"), "expected a folder; there is none"),
        ("/no/such/folder", "expected a folder; there is none"),
        ("./nowhere", "expected a folder; there is none"),
        ("nobody/no-model", "nobody/no-model: expected a local folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_one_line(source, message):
    with pytest.raises(FileNotFoundError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_language_model(source, CONFIG)


def foreign(pad: str | None = None, **names: str):
    """A tokenizer of somebody else's: no ECG token, no pad token in use."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    table = {word: i for i, word in enumerate(["hello", "<s>", "</s>", "<unk>", *([pad] if pad else [])])}
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names)


def llama(vocabulary: int, tied: bool = True):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=tied, **sizes))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [4, 10])
def test_a_missing_ecg_token_gets_a_row_at_the_mean(tied, rows):
    model, tokenizer = llama(rows, tied), foreign(eos_token="</s>")

    def tables() -> list[np.ndarray]:
        both = (model.get_input_embeddings(), model.get_output_embeddings())
        return [table.weight.detach().clone().numpy() for table in both]

    before = tables()
    add_ecg_token(model, tokenizer)
    assert tokenizer.convert_tokens_to_ids(ECG_TOKEN) == 4
    assert ECG_TOKEN in tokenizer.all_special_tokens
    for old, new in zip(before, tables()):
        assert len(new) == max(rows, 5)
        np.testing.assert_array_equal(new[:4], old[:4])
        np.testing.assert_allclose(new[4], old[:4].mean(0), rtol=1e-5, atol=1e-7)
    add_ecg_token(model, tokenizer)
    assert len(tokenizer) == 5


@pytest.mark.parametrize(("pad", "expected"), [(None, "</s>"), (LLAMA_PAD, LLAMA_PAD)])
def test_padding_falls_back_to_what_the_tokenizer_has(tmp_path, pad, expected):
    llama(5).save_pretrained(tmp_path)
    foreign(pad, eos_token="</s>").save_pretrained(tmp_path)
    assert load_language_model(tmp_path, CONFIG)[1].pad_token == expected


def test_a_model_that_does_not_serve_is_refused(folder, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    with pytest.raises(ValueError, match=r"at least max_tokens = 5000 positions; got 4096"):
        load_language_model(folder, replace(CONFIG, max_tokens=5000))
    llama(5).save_pretrained(tmp_path / "llama")
    foreign().save_pretrained(tmp_path / "llama")
    with pytest.raises(ValueError, match="end-of-sequence token; it has none"):
        load_language_model(tmp_path / "llama", CONFIG)
    shutil.copytree(folder, tmp_path / "gpt")
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=300)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(ValueError, match=r"expected one of llama.*got gpt2"):
        load_language_model(tmp_path / "gpt", CONFIG)


# -- pairs as token ids ------------------------------------------------------------------------------------------------


def test_a_pair_is_bos_question_space_answer_eos(parts):
    tokenizer = parts[1]
    pair = encode_pair(tokenizer, QUESTIONS[1], "Sinus rhythm.", replace(CONFIG, ecg_tokens=3))
    question = "<bos>Describe <ecg><ecg><ecg> please."
    assert tokenizer.decode(pair.ids) == f"{question} Sinus rhythm.<eos>"
    assert tokenizer.decode(pair.ids[: pair.n_question]) == question
    assert pair.ids[: pair.n_question] == encode_question(tokenizer, QUESTIONS[1], 3)
    assert pair.lost == 0


@pytest.mark.parametrize(("spare", "lost", "end"), [(0, 0, "<eos>"), (-1, 1, "."), (-2, 2, " rhythm")])
def test_a_long_pair_loses_the_end_of_its_answer(parts, spare, lost, end):
    tokenizer, answer = parts[1], " ".join(4 * ["Sinus rhythm."])
    whole = encode_pair(tokenizer, QUESTIONS[0], answer, CONFIG)
    assert len(whole.ids) < CONFIG.max_tokens
    cut = encode_pair(tokenizer, QUESTIONS[0], answer, replace(CONFIG, max_tokens=len(whole.ids) + spare))
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
    pairs = [encode_pair(tokenizer, q, a, config) for q, a in zip(QUESTIONS, ANSWERS)]
    batch = collate(pairs, tokenizer, config)
    length = config.max_tokens if train_on_padding else max(len(pair.ids) for pair in pairs)
    padding, target, seen = (tokenizer.eos_token_id,) * 2 + (1,) if train_on_padding else (2, NO_TARGET, 0)
    for pair, ids, attention, labels in zip(pairs, *(part.tolist() for part in batch)):
        rest = length - len(pair.ids)
        assert ids == pair.ids + [padding] * rest
        assert labels == [NO_TARGET] * pair.n_question + pair.ids[pair.n_question :] + [target] * rest
        assert attention == [1] * len(pair.ids) + [seen] * rest


# -- an ECG as tokens of the language model ----------------------------------------------------------------------------


def projector(ecg_tokens: int = 1) -> Projector:
    torch.manual_seed(3)
    return Projector(D, 7, 4, ecg_tokens).double()


def by_loops(model: Projector, ecg: np.ndarray) -> list[list[np.ndarray]]:
    """MedTVT-R1's adapter, a number at a time where that is bearable; no layer but those named has a bias."""
    w = {name: value.detach().numpy() for name, value in model.named_parameters()}
    input_to, state_to = w["recurrent.weight_ih_l0"], w["recurrent.weight_hh_l0"]
    assert not [name for name in w if "blocks" in name and "bias" in name]
    out = []
    for tokens in ecg:
        state, states = np.zeros(7), []
        for token in tokens:
            unit = token / np.sqrt((token**2).sum())
            bias = w["recurrent.bias_ih_l0"] + w["recurrent.bias_hh_l0"]
            state = np.tanh(input_to @ unit + state_to @ state + bias)
            states.append(state)
        rows = []
        for query in w["queries.weight"]:
            score = np.exp([query @ s for s in states])
            pooled = sum(a * s for a, s in zip(score / score.sum(), states))
            x = w["to_lm.weight"] @ pooled + w["to_lm.bias"]
            for k in range(3):
                r = x / np.sqrt((x**2).mean() + 1e-6) * w[f"blocks.{k}.norm.weight"]
                gate = w[f"blocks.{k}.gate.weight"] @ r
                x = x + w[f"blocks.{k}.down.weight"] @ (gate / (1 + np.exp(-gate)) * (w[f"blocks.{k}.up.weight"] @ r))
            rows.append(x)
        out.append(rows)
    return out


@pytest.mark.parametrize("ecg_tokens", [1, 3])
def test_the_projector_is_what_the_loops_give(ecg_tokens):
    model, ecg = projector(ecg_tokens), np.random.default_rng(0).normal(size=(2, 5, D))
    np.testing.assert_allclose(model(torch.from_numpy(ecg)).detach().numpy(), by_loops(model, ecg), rtol=1e-10)
    pooled = torch.from_numpy(ecg[:, 0])
    assert torch.equal(model(pooled), model(pooled[:, None])), "an embedding is a sequence of one token"


@pytest.mark.parametrize("shape", [(2, 5, D + 1), (2, D + 1), (D,)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"ecg: expected \[B, n, 6\] or \[B, 6\]; got"):
        projector()(torch.zeros(shape, dtype=torch.float64))


# -- a conditioned language model --------------------------------------------------------------------------------------


def test_the_loss_is_the_librarys_on_each_pair_alone_and_depends_on_the_ecg(parts):
    model = build(parts, ecg_tokens=2)
    batch, ecg = batch_of(model)
    total = count = 0
    for row in range(2):
        n = int(batch.attention[row].sum())
        embeddings = model.embed(batch.ids[row : row + 1, :n], ecg[row : row + 1])
        labels = batch.labels[row : row + 1, :n]
        targets = int((labels[:, 1:] != NO_TARGET).sum())
        total += model.language_model(inputs_embeds=embeddings, labels=labels).loss * targets
        count += targets
    torch.testing.assert_close(model(batch, ecg), total / count)
    assert model(batch, ecg) != model(batch, ecg.flip(0))


def test_ecg_tokens_stand_at_the_placeholder_and_nowhere_else(parts):
    model = build(parts, ecg_tokens=2)
    batch, ecg = batch_of(model)
    embeddings, table = model.embed(batch.ids, ecg), model.language_model.get_input_embeddings().weight
    projected = model.projector(ecg) + model.ecg_embedding
    for row in range(2):
        place = batch.ids[row].tolist().index(model.ecg_id)
        assert torch.equal(embeddings[row, place : place + 2], projected[row])
        others = [i for i in range(batch.ids.shape[1]) if i not in (place, place + 1)]
        assert torch.equal(embeddings[row, others], table[batch.ids[row, others]])


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
    biased = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    layers = [f"language_model.model.layers.{k}." for k in range(2)]
    rest = {name for name in moved if "lora_" not in name and not name.startswith("projector.")}
    assert rest == {
        "ecg_embedding",
        "language_model.model.norm.weight",
        *(f"{layer}{name}.base_layer.bias" for layer in layers for name in biased),
        *(f"{layer}{name}.weight" for layer in layers for name in ("input_layernorm", "post_attention_layernorm")),
    }


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


def test_what_is_kept_makes_another_model_the_same_and_must_fit(parts):
    model, other = build(parts), build(parts)
    batch, ecg = batch_of(model)
    with torch.no_grad():
        model.trained()["language_model.model.layers.0.mlp.down_proj.base_layer.bias"].fill_(0.3)
    assert model(batch, ecg) != other(batch, ecg)
    state = {name: p.detach().clone() for name, p in model.kept().items()}
    other.load_kept(state)
    assert model(batch, ecg) == other(batch, ecg)
    with pytest.raises(ValueError, match="1 differ, first ecg_embedding"):
        model.load_kept({name: p for name, p in state.items() if name != "ecg_embedding"})
    with pytest.raises(ValueError, match=r"expected .*lora_A.* of shape \[3, 16\]; got \[2, 16\]"):
        build(parts, lora_rank=3).load_kept(state)
    with pytest.raises(ValueError, match="expected one without an adapter"):
        Conditioned(model.language_model, parts[1], D, CONFIG)


def test_biases_that_a_model_has_are_trained_and_left_as_they_are(parts):
    model = copy.deepcopy(parts[0])
    layer = model.model.layers[0].self_attn.q_proj
    layer.bias = torch.nn.Parameter(torch.full((layer.out_features,), 0.5))
    found = Conditioned(model, parts[1], D, CONFIG).trained()
    assert (found["language_model.model.layers.0.self_attn.q_proj.base_layer.bias"] == 0.5).all()


def test_the_seed_fixes_the_new_weights(parts):
    model, same, other = build(parts), build(parts), build(parts, seed=1)
    assert all(torch.equal(p, same.trained()[name]) for name, p in model.trained().items())
    assert not torch.equal(model.projector.to_lm.weight, other.projector.to_lm.weight)


def test_gradient_checkpointing_gives_the_same_gradients(parts):
    gradients = []
    for checkpointing in (False, True):
        model = build(parts, gradient_checkpointing=checkpointing).train()
        assert model.language_model.is_activation_checkpointing == checkpointing
        model(*batch_of(model)).backward()
        gradients.append({name: p.grad for name, p in model.trained().items()})
    assert all(torch.allclose(gradients[0][name], gradients[1][name]) for name in gradients[0])


def test_a_bfloat16_language_model_trains_in_float32(parts):
    model = Conditioned(copy.deepcopy(parts[0]).to(torch.bfloat16), parts[1], D, CONFIG)
    loss = model(*batch_of(model))
    loss.backward()
    torch.testing.assert_close(loss, build(parts)(*batch_of(model)), rtol=0.02, atol=0)
    assert {dtype for p in model.trained().values() for dtype in (p.dtype, p.grad.dtype)} == {torch.float32}
    assert model.fingerprint == build(parts).fingerprint


def test_the_fingerprint_sees_every_row_but_the_ecg_tokens():
    table = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    changed = [table.clone() for _ in range(5)]
    for row, other in enumerate(changed):
        other[row, 1] += 1
    assert [fingerprint(other, 2) == fingerprint(table, 2) for other in changed] == [False, False, True, False, False]


# -- writing -----------------------------------------------------------------------------------------------------------

SHORT = ["Yes.", "No it is not.", "One two three four five six seven.", "It is.", "Two or three."]
PROMPTS = ["<ecg>?", "Is it <ecg> then?", "What about <ecg>, or something longer?", "<ecg> why", "A <ecg> b"]
ECG = np.random.default_rng(0).normal(size=(5, D)).astype(np.float32)
SAMPLING = replace(CONFIG, decoding="sampling")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Conditioned:
    """A model that has learnt a little, so that it writes texts of several lengths and ends them."""
    folder: Path = tmp_path_factory.mktemp("lm") / "lm"
    config = replace(
        CONFIG, lm_vocabulary=280, lm_updates=60, lm_learning_rate=1e-2, lora_rank=4, max_tokens=64, epochs=None,
        updates=100, learning_rate=2e-2, batch=5,
    )  # fmt: skip
    train_language_model(SHORT, config, folder, progress=False)
    model = Conditioned(*load_language_model(folder, config), D, config)
    train(model, PROMPTS, SHORT, ECG, config, folder.with_name("run"), progress=False)
    return model


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
    order, nucleus, total = sorted(range(len(share)), key=lambda i: -share[i]), [], 0.0
    while order and total <= top_p:
        nucleus.append(order.pop(0))
        total += share[nucleus[-1]]
    reached = np.cumsum([share[token] for token in nucleus])
    return nucleus[min(int((reached <= draw * total).sum()), len(nucleus) - 1)]


@torch.no_grad()
@pytest.mark.parametrize("decoding", ["greedy", "sampling"])
def test_a_batch_writes_what_the_slow_loop_writes(model, decoding):
    config = replace(CONFIG, decoding=decoding, temperature=1.5)
    expected = [slowly(model, q, e, config, row) for row, (q, e) in enumerate(zip(PROMPTS, ECG))]
    assert len({len(model.tokenizer(text)["input_ids"]) for text in expected}) > 1
    for batch in (1, 2, 5):
        assert generate(model, PROMPTS, ECG, config, batch=batch, progress=False) == expected


def test_sampling_follows_its_seed(model):
    first, again, other = (
        generate(model, PROMPTS, ECG, replace(SAMPLING, seed=seed), progress=False) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_text_stops_at_its_end_or_at_the_limit(model):
    texts = generate(model, PROMPTS, ECG, replace(CONFIG, max_new_tokens=2), progress=False)
    assert all(len(model.tokenizer(f" {text}")["input_ids"]) <= 2 for text in texts)
    norm = model.language_model.model.norm.weight
    before = norm.detach().clone()
    norm.data.zero_()  # all logits equal: greedy takes the first token that may be written, eos
    try:
        assert generate(model, PROMPTS, ECG, CONFIG, progress=False) == [""] * 5
    finally:
        norm.data.copy_(before)


def test_special_tokens_are_never_written(model):
    assert never_written(model) == [0, 2, 3]
    assert model.tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<bos>", "<eos>", "<pad>", "<ecg>"]


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_is_kept(model, training):
    model.train(training)
    generate(model, PROMPTS[:1], ECG[:1], CONFIG, progress=False)
    assert model.training == training


def test_no_questions_give_no_texts_and_too_few_ecgs_are_refused(model):
    assert generate(model, [], ECG[:0], CONFIG, progress=False) == []
    with pytest.raises(ValueError, match="got 5 questions and 4 ECGs"):
        generate(model, PROMPTS, ECG[:4], CONFIG, progress=False)
    with pytest.raises(ValueError, match="question of record r1: expected one <ecg>; got 2"):
        generate(model, ["<ecg><ecg>"], ECG[:1], CONFIG, progress=False, records=["r1"])


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.05, [2]), (0.45, [2]), (0.55, [2, 0]), (0.85, [2, 0, 3]), (1.0, [0, 1, 2, 3])]
)
def test_tokens_are_drawn_by_their_share_of_the_nucleus(top_p, kept):
    share = np.array([0.3, 0.05, 0.5, 0.15])
    logits, draws = torch.from_numpy(np.log(share)).float().expand(2000, -1), (np.arange(2000) + 0.5) / 2000
    drawn = choose(logits, draws, replace(SAMPLING, temperature=1.0, top_p=top_p)).numpy()
    expected = np.where(np.isin(np.arange(4), kept), share, 0)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 2000, expected / expected.sum(), atol=1e-3)


def test_a_low_temperature_is_greedy():
    logits = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    cold = replace(SAMPLING, temperature=1e-4, top_p=1.0)
    assert torch.equal(choose(logits, np.random.default_rng(0).random(50), cold), choose(logits, np.zeros(50), CONFIG))
