"""Sequences, what is a target, what is trained, and the loss against the library's own."""

from __future__ import annotations

import copy

import pytest
import torch

from merit.config import GenerationConfig, replace
from merit.evaluate.generation.conditioned import (
    NO_TARGET,
    Conditioned,
    collate,
    encode_pair,
    encode_question,
    fingerprint,
)
from merit.evaluate.generation.language_model import load_language_model, train_language_model

CONFIG = GenerationConfig(
    lm_width=16, lm_depth=2, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=2, projector_width=8, lora_rank=2,
    max_tokens=24,
)  # fmt: skip
QUESTIONS = ["<ecg> What is it?", "Describe <ecg> please."]
ANSWERS = ["Sinus rhythm.", "Atrial fibrillation, fast."]
D = 6


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "lm"
    train_language_model(ANSWERS, CONFIG, folder, progress=False, questions=QUESTIONS)
    return load_language_model(folder, CONFIG)


def build(parts, **changes) -> Conditioned:
    return Conditioned(copy.deepcopy(parts[0]), parts[1], D, replace(CONFIG, **changes))


def batch_of(model: Conditioned):
    pairs = [encode_pair(model.tokenizer, q, a, model.config) for q, a in zip(QUESTIONS, ANSWERS)]
    return collate(pairs, model.tokenizer, model.config), torch.randn(
        2, 3, D, generator=torch.Generator().manual_seed(1)
    )


def test_a_pair_is_bos_question_space_answer_eos(parts):
    tokenizer = parts[1]
    pair = encode_pair(tokenizer, QUESTIONS[1], ANSWERS[0], replace(CONFIG, ecg_tokens=3))
    assert tokenizer.decode(pair.ids) == "<bos>Describe <ecg><ecg><ecg> please. Sinus rhythm.<eos>"
    assert tokenizer.decode(pair.ids[: pair.n_question]) == "<bos>Describe <ecg><ecg><ecg> please."
    assert pair.lost == 0
    assert pair.ids[: pair.n_question] == encode_question(tokenizer, QUESTIONS[1], 3)


@pytest.mark.parametrize(("spare", "lost", "end"), [(0, 0, "<eos>"), (-1, 1, "."), (-2, 2, " rhythm")])
def test_a_long_pair_loses_the_end_of_its_answer(parts, spare, lost, end):
    tokenizer, answer = parts[1], " ".join(5 * ANSWERS[:1])
    whole = encode_pair(tokenizer, QUESTIONS[0], answer, CONFIG)
    assert len(whole.ids) < CONFIG.max_tokens
    cut = encode_pair(tokenizer, QUESTIONS[0], answer, replace(CONFIG, max_tokens=len(whole.ids) + spare))
    assert cut.lost == lost
    assert cut.ids == whole.ids[: len(whole.ids) - lost]
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
    with pytest.raises(ValueError, match=message) as caught:
        encode_pair(parts[1], question, answer, CONFIG, "p1/r7")
    assert "\n" not in str(caught.value)


def test_question_and_padding_are_no_targets(parts):
    tokenizer = parts[1]
    pairs = [encode_pair(tokenizer, q, a, CONFIG) for q, a in zip(QUESTIONS, ANSWERS)]
    batch = collate(pairs, tokenizer, CONFIG)
    for row, pair in enumerate(pairs):
        n = len(pair.ids)
        assert batch.ids[row].tolist() == pair.ids + [tokenizer.pad_token_id] * (batch.ids.shape[1] - n)
        assert batch.attention[row].sum() == n
        assert batch.labels[row, pair.n_question : n].tolist() == pair.ids[pair.n_question :]
        assert set(batch.labels[row, : pair.n_question].tolist() + batch.labels[row, n:].tolist()) <= {NO_TARGET}


def test_the_original_pads_with_eos_to_the_limit_and_trains_on_it(parts):
    tokenizer, config = parts[1], replace(CONFIG, train_on_padding=True)
    pair = encode_pair(tokenizer, QUESTIONS[0], ANSWERS[0], config)
    batch = collate([pair], tokenizer, config)
    n, rest = len(pair.ids), config.max_tokens - len(pair.ids)
    assert batch.ids[0].tolist() == pair.ids + [tokenizer.eos_token_id] * rest
    assert batch.labels[0, n:].tolist() == [tokenizer.eos_token_id] * rest
    assert batch.attention.min() == 1
    assert (batch.labels != NO_TARGET).sum() == config.max_tokens - pair.n_question


def test_the_loss_is_the_librarys_on_each_pair_alone(parts):
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


def test_before_training_the_adapter_changes_nothing(parts):
    ids = torch.tensor([[0, 5, 9, 261, 262]])
    torch.testing.assert_close(build(parts).language_model(input_ids=ids).logits, parts[0](input_ids=ids).logits)


def test_lora_norms_the_ecg_row_and_the_projector_are_trained_and_nothing_else(parts):
    model = build(parts)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(2):  # LoRA's A moves once B has left 0
        optimiser.zero_grad()
        model(*batch_of(model)).backward()
        optimiser.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == model.trained().keys()
    kinds = {name.split(".")[-3] for name in moved if "lora_" in name}
    assert kinds == {"lora_A", "lora_B"}
    assert sum("lora_" in name for name in moved) == 2 * 7 * 2
    biases = {name for name in moved if name.endswith(".bias") and not name.startswith("projector.")}
    assert biases == {
        f"language_model.model.layers.{k}.{name}.base_layer.bias"
        for k in range(2)
        for name in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    }
    rest = {name for name in moved - biases if "lora_" not in name and not name.startswith("projector.")}
    assert rest == {"ecg_embedding", "language_model.model.norm.weight"} | {
        f"language_model.model.layers.{k}.{name}.weight"
        for k in range(2)
        for name in ("input_layernorm", "post_attention_layernorm")
    }


def test_merging_lora_and_biases_at_the_start_changes_nothing_and_later_gives_the_same(parts):
    ids = torch.tensor([[0, 5, 9, 261, 262]])
    model = build(parts)
    assert all(not p.any() for name, p in model.trained().items() if name.endswith("base_layer.bias"))

    def merged() -> torch.Tensor:
        lora = [layer for layer in model.language_model.modules() if hasattr(layer, "merge")]
        assert len(lora) == 2 * 7
        for layer in lora:
            layer.merge()
        logits = model.language_model(input_ids=ids).logits
        for layer in lora:
            layer.unmerge()
        return logits

    assert torch.equal(merged(), parts[0](input_ids=ids).logits)
    with torch.no_grad():
        for p in model.trained().values():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(merged(), model.language_model(input_ids=ids).logits)
    assert not torch.equal(merged(), parts[0](input_ids=ids).logits)


def test_a_bias_acts_on_the_output_and_is_kept(parts):
    one, other = build(parts), build(parts)
    name = "language_model.model.layers.0.mlp.down_proj.base_layer.bias"
    assert name in one.kept()
    with torch.no_grad():
        one.trained()[name].fill_(0.3)
    other.load_kept({name: p.detach().clone() for name, p in one.kept().items()})
    batch, ecg = batch_of(one)
    assert one(batch, ecg) == other(batch, ecg)
    assert one(batch, ecg) != build(parts)(batch, ecg)


def test_biases_that_a_model_has_are_trained_and_left_as_they_are(parts):
    model = copy.deepcopy(parts[0])
    layer = model.model.layers[0].self_attn.q_proj
    layer.bias = torch.nn.Parameter(torch.full((layer.out_features,), 0.5))
    found = Conditioned(model, parts[1], D, CONFIG).trained()
    assert (found["language_model.model.layers.0.self_attn.q_proj.base_layer.bias"] == 0.5).all()


def test_lora_has_no_scaling(parts):
    layer = build(parts).language_model.model.layers[0].self_attn.q_proj
    assert layer.scaling == {"default": 1.0}


def test_the_loss_depends_on_the_ecg(parts):
    model = build(parts)
    batch, ecg = batch_of(model)
    assert model(batch, ecg) != model(batch, ecg.flip(0))


def test_the_seed_fixes_the_new_weights(parts):
    one, same, other = build(parts), build(parts), build(parts, seed=1)
    assert all(torch.equal(p, same.trained()[name]) for name, p in one.trained().items())
    assert not torch.equal(one.projector.to_lm.weight, other.projector.to_lm.weight)


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
    assert {p.dtype for p in model.trained().values()} == {p.grad.dtype for p in model.trained().values()}
    assert {p.dtype for p in model.trained().values()} == {torch.float32}
    assert model.fingerprint == build(parts).fingerprint


def test_a_second_adapter_on_the_same_model_is_refused(parts):
    with pytest.raises(ValueError, match="expected one without an adapter"):
        Conditioned(build(parts).language_model, parts[1], D, CONFIG)


def test_weights_of_another_model_are_refused(parts):
    model = build(parts)
    state = {name: p.detach() + 1 for name, p in build(parts).kept().items()}
    model.load_kept(state)
    assert all(torch.equal(p, state[name]) for name, p in model.kept().items())
    with pytest.raises(ValueError, match="1 differ, first ecg_embedding"):
        model.load_kept({name: p for name, p in state.items() if name != "ecg_embedding"})
    with pytest.raises(ValueError, match=r"expected .*lora_A.* of shape \[3, 16\]; got \[2, 16\]"):
        build(parts, lora_rank=3).load_kept(state)


def test_the_fingerprint_sees_every_row_but_the_ecg_tokens():
    table = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    changed = [table.clone() for _ in range(5)]
    for row, other in enumerate(changed):
        other[row, 1] += 1
    assert [fingerprint(other, 2) == fingerprint(table, 2) for other in changed] == [False, False, True, False, False]
