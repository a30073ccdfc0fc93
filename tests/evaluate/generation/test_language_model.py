"""The tokenizer, the tiny language model's own training, and what loading one refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merit.config import GenerationConfig, replace
from merit.evaluate.generation.language_model import (
    ECG_TOKEN,
    LLAMA_PAD,
    add_ecg_token,
    load_language_model,
    make_tokenizer,
    train_language_model,
)

ANSWERS = [
    "Sinus rhythm, 72/min. No ischaemic changes.",
    "Sinus rhythm with left axis deviation.",
    "Atrial fibrillation; the T waves are flat.",
    "Sinus bradycardia, otherwise unremarkable.",
]
CONFIG = GenerationConfig(
    lm_width=16, lm_depth=1, lm_heads=2, lm_kv_heads=1, lm_vocabulary=300, lm_updates=3, max_tokens=64
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny language model that has hardly been trained."""
    return train_language_model(ANSWERS, CONFIG, tmp_path_factory.mktemp("lm") / "lm", progress=False)


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


def test_frequent_words_are_one_piece_and_others_are_spelled():
    tokenizer = make_tokenizer(ANSWERS, 300)
    assert tokenizer.tokenize(" Sinus rhythm,") == ["ĠSinus", "Ġrhythm", ","]
    assert tokenizer.tokenize(" sinus") == ["Ġ", "s", "i", "n", "u", "s"]


def test_the_vocabulary_is_the_commonest_words_in_order():
    words = list(make_tokenizer(["b b a", "c b a"], 262).get_vocab().items())
    assert [word for word, i in sorted(words, key=lambda item: item[1])][260:] == ["Ġb", "Ġa"]
    tied = make_tokenizer(["d c", "c d"], 261).get_vocab()
    assert "Ġc" in tied
    assert "Ġd" not in tied


def test_question_words_count_around_the_placeholder():
    tokenizer = make_tokenizer([f"{ECG_TOKEN} Describe it"], 300)
    assert tokenizer.tokenize(f"{ECG_TOKEN} Describe") == [ECG_TOKEN, "ĠDescribe"]


def test_a_vocabulary_below_the_bytes_is_refused():
    with pytest.raises(ValueError, match=r"lm_vocabulary: expected at least 260.*got 100"):
        make_tokenizer(ANSWERS, 100)


def test_training_is_the_same_for_any_order_and_leaves_global_randomness_alone(folder, tmp_path):
    before = torch.random.get_rng_state()
    torch.manual_seed(11)
    other = train_language_model(ANSWERS[::-1], CONFIG, tmp_path / "lm", progress=False)
    drawn = torch.rand(1)
    torch.manual_seed(11)
    assert torch.rand(1) == drawn
    torch.random.set_rng_state(before)
    a, b = load_file(folder / "model.safetensors"), load_file(other / "model.safetensors")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (folder / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()
    assert sorted(tmp_path.iterdir()) == [other]


def test_training_makes_the_answers_likelier(folder, tmp_path):
    config = GenerationConfig(**{**vars(CONFIG), "lm_updates": 40})
    longer = train_language_model(ANSWERS, config, tmp_path / "lm", progress=False)
    losses = []
    for where in (folder, longer):
        model, tokenizer = load_language_model(where, config)
        ids = torch.tensor([tokenizer(f" {ANSWERS[0]}", add_special_tokens=False)["input_ids"]])
        losses.append(model(input_ids=ids, labels=ids).loss.item())
    assert losses[1] < losses[0] - 1


def test_a_finished_folder_is_left_as_it_is(folder):
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert train_language_model(ANSWERS, CONFIG, folder, progress=False) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_no_answers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="answers: expected at least one text"):
        train_language_model([], CONFIG, tmp_path / "lm")


def test_heads_that_do_not_divide_are_refused(tmp_path):
    with pytest.raises(ValueError, match="lm_heads: expected a divisor of lm_width = 16; got 3"):
        train_language_model(ANSWERS, GenerationConfig(**{**vars(CONFIG), "lm_heads": 3}), tmp_path / "lm")


def test_a_folder_is_loaded_as_it_was_saved(folder):
    model, tokenizer = load_language_model(str(folder), CONFIG)
    assert not model.training
    assert model.dtype == torch.float32
    assert model.config.num_key_value_heads == 1
    assert tokenizer("<ecg> Sinus", add_special_tokens=False)["input_ids"][0] == 3
    assert tokenizer.pad_token == "<pad>"
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings


def copy(folder: Path, to: Path, without: str) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        if not file.name.startswith(without):
            (to / file.name).write_bytes(file.read_bytes())
    return to


@pytest.mark.parametrize(
    ("without", "message"),
    [("tokenizer", "no tokenizer there"), ("model", "no model there"), ("config", "no model there")],
)
def test_a_folder_that_lacks_a_part_is_refused_in_one_line(folder, tmp_path, without, message):
    with pytest.raises(FileNotFoundError, match=message) as caught:
        load_language_model(copy(folder, tmp_path / "part", without), CONFIG)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [Path("nowhere"), "/no/such/folder", "./nowhere"])
def test_a_folder_that_is_not_there_is_refused(source):
    with pytest.raises(FileNotFoundError, match="expected a folder; there is none"):
        load_language_model(source, CONFIG)


def test_a_hub_name_without_a_network_is_refused_in_one_line():
    with pytest.raises(FileNotFoundError, match="nobody/no-model: expected a local folder") as caught:
        load_language_model("nobody/no-model", CONFIG)
    assert "\n" not in str(caught.value)


def test_too_few_positions_are_refused(folder):
    config = GenerationConfig(**{**vars(CONFIG), "max_tokens": 5000})
    with pytest.raises(ValueError, match=r"at least max_tokens = 5000 positions; got 4096"):
        load_language_model(folder, config)


def foreign(pad: str | None = None, **names: str):
    """A tokenizer of somebody else's: no ECG token, no pad token in use."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    table = {"hello": 0, "<s>": 1, "</s>": 2, "<unk>": 3}
    if pad:
        table[pad] = 4
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
    tables = [
        model.get_input_embeddings().weight.detach().clone(),
        model.get_output_embeddings().weight.detach().clone(),
    ]
    add_ecg_token(model, tokenizer)
    assert tokenizer.convert_tokens_to_ids(ECG_TOKEN) == 4
    assert ECG_TOKEN in tokenizer.all_special_tokens
    now = [model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()]
    for old, new in zip(tables, now):
        assert len(new) == max(rows, 5)
        assert torch.equal(new[:4], old[:4])
        np.testing.assert_allclose(new[4].numpy(), old[:4].numpy().mean(0), rtol=1e-5, atol=1e-7)
    add_ecg_token(model, tokenizer)
    assert len(tokenizer) == 5


@pytest.mark.parametrize(("pad", "expected"), [(None, "</s>"), (LLAMA_PAD, LLAMA_PAD)])
def test_padding_falls_back_to_what_the_tokenizer_has(tmp_path, pad, expected):
    llama(5).save_pretrained(tmp_path)
    foreign(pad, eos_token="</s>").save_pretrained(tmp_path)
    assert load_language_model(tmp_path, CONFIG)[1].pad_token == expected


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    llama(5).save_pretrained(tmp_path)
    foreign().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="end-of-sequence token; it has none"):
        load_language_model(tmp_path, CONFIG)


def test_another_kind_of_model_is_refused(folder, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    copy(folder, tmp_path / "gpt", "nothing")
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=300)).save_pretrained(tmp_path / "gpt")
    with pytest.raises(ValueError, match=r"expected one of llama.*got gpt2"):
        load_language_model(tmp_path / "gpt", CONFIG)


@pytest.mark.parametrize("updates", [1, 4, 10, 20])
def test_any_number_of_updates_has_a_schedule(updates, tmp_path):
    made = train_language_model(ANSWERS, replace(CONFIG, lm_updates=updates), tmp_path / "lm", progress=False)
    assert all(value.isfinite().all() for value in load_file(made / "model.safetensors").values())
