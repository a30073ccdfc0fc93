"""The language model before any ECG: a tiny Llama trained on the answers, or one by hub name or folder.

S positions of a sequence. Transformers and tokenizers are imported inside functions: they take seconds to load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from merit.config import GenerationConfig
from merit.runs import loading, new_folder, sealed
from merit.threads import one_thread_an_operation

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ECG_TOKEN = "<ecg>"
"""What a question writes where the ECG goes."""
BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
LLAMA_PAD = "<|finetune_right_pad_id|>"
"""The token that Llama 3's tokenizer reserves for padding, and leaves unset."""
LIKE_LLAMA = ("llama", "mistral", "qwen2", "qwen3")
"""Kinds of model with the seven projections, whose loss is a plain product of last states and output embeddings."""
LM_BATCH = 32
"""Answers an update of the tiny model's own training."""
POSITIONS = 4096
"""Positions that the tiny model's configuration allows."""


class NoLanguageModel(FileNotFoundError):
    """A language model or its tokenizer is not where it was looked for, and no network brings it."""


def train_language_model(
    answers: Sequence[str],
    config: GenerationConfig,
    folder: Path,
    progress: bool = True,
    *,
    questions: Sequence[str] = (),
) -> Path:
    """Train a tiny Llama (grouped-query heads, tied embeddings) in full on `answers`, next token by next token, without
    any ECG; save it with its tokenizer and return `folder`. On the CPU the same texts, in any order, and settings give
    the same weights, bit for bit.

    questions: counted for the tokenizer's words alone, so that they are not spelled out; the weights never see them.
    ValueError where there is no answer.
    """
    if not answers:
        raise ValueError(f"answers: expected at least one text to train a language model on; got none (for {folder})")
    if sealed(folder):
        return folder
    texts = sorted(answers)
    tokenizer = make_tokenizer([*texts, *sorted(questions)], config.lm_vocabulary)
    with torch.random.fork_rng(devices=[]), one_thread_an_operation():
        torch.manual_seed(config.seed)
        model = _tiny_llama(tokenizer, config)
        _next_token_training(model, tokenizer, texts, config, progress)
    _quiet()
    with new_folder(folder) as made:
        model.save_pretrained(made)
        tokenizer.save_pretrained(made)
    return folder


def make_tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A cased tokenizer of whole words with the space before them; what is rarer is spelled in bytes, and decoding
    gives the very text back. `size` pieces: 4 special ones, 256 bytes, then the commonest words, ties in order.

    It is Llama 3's kind (byte-level, whole words first) without merges. The tokenizers library's own trainers give
    another vocabulary at every run (huggingface/tokenizers#1794).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = [BOS, EOS, PAD, ECG_TOKEN]
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts: Counter[str] = Counter()
    for text in texts:
        # Answers follow a question and a space; questions stand around the placeholder.
        for part in (f" {text}",) if ECG_TOKEN not in text else text.split(ECG_TOKEN):
            counts.update(word for word, _ in split.pre_tokenize_str(part))
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    if size < len(pieces):
        raise ValueError(f"lm_vocabulary: expected at least {len(pieces)}, the special and byte pieces; got {size}")
    words = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    pieces += words[: size - len(pieces)]
    table = {piece: i for i, piece in enumerate(pieces)}
    learnt = Tokenizer(models.BPE(vocab=table, merges=[], ignore_merges=True))
    learnt.pre_tokenizer, learnt.decoder = split, decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=learnt, bos_token=BOS, eos_token=EOS, pad_token=PAD, extra_special_tokens=[ECG_TOKEN],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _tiny_llama(tokenizer: PreTrainedTokenizerFast, config: GenerationConfig) -> PreTrainedModel:
    """Llama 3.2's shape made small: four times the width inside the blocks, tied embeddings, its rotation base."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if config.lm_width % config.lm_heads or config.lm_heads % config.lm_kv_heads:
        raise ValueError(
            f"language model: expected lm_width a multiple of lm_heads, and that of lm_kv_heads; got "
            f"{config.lm_width}, {config.lm_heads} and {config.lm_kv_heads}"
        )
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=config.lm_width, intermediate_size=4 * config.lm_width,
            num_hidden_layers=config.lm_depth, num_attention_heads=config.lm_heads,
            num_key_value_heads=config.lm_kv_heads, max_position_embeddings=POSITIONS, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip


def _next_token_training(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: list[str], config: GenerationConfig,
    progress: bool,
) -> None:  # fmt: skip
    """AdamW with a one-cycle rate on bos + " " + answer + eos, cut at `max_tokens`; every update draws its answers."""
    rows = [
        np.array([tokenizer.bos_token_id, *ids, tokenizer.eos_token_id][: config.max_tokens])
        for ids in tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
    ]
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.lm_learning_rate, weight_decay=0.01)
    total = max(4, config.lm_updates)
    warm_up = max(0.1, 2 / total)  # of one step the scheduler makes a division by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.lm_learning_rate, total_steps=total, pct_start=warm_up
    )
    rng = np.random.default_rng([config.seed, 0x4C4D])
    model.train()
    for _ in tqdm(range(config.lm_updates), desc="language model", unit="update", disable=not progress, mininterval=1):
        drawn = [rows[i] for i in rng.integers(len(rows), size=LM_BATCH)]
        ids = torch.full((LM_BATCH, max(map(len, drawn))), tokenizer.pad_token_id)
        for row, values in zip(ids, drawn):
            row[: len(values)] = torch.from_numpy(values)
        # Padding stands at the end, where a causal model's earlier positions do not see it.
        labels = torch.where(ids == tokenizer.pad_token_id, -100, ids)
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()


def load_language_model(
    source: str | Path, config: GenerationConfig, device: str = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A causal language model and its tokenizer by hub name or folder; bfloat16 on a GPU, float32 on the CPU.

    `<ecg>` is added as a special token where it is missing; its embedding starts at the mean of the others. A
    tokenizer without a pad token pads with Llama 3's reserved one, else with eos: which, changes no number, since
    padding is hidden and no target. NoLanguageModel where model or tokenizer is missing; ValueError for a kind of
    model without Llama's seven projections, or with fewer positions than `max_tokens`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _quiet()
    _require_files(source)
    dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(**loading(source))
        model = AutoModelForCausalLM.from_pretrained(**loading(source), dtype=dtype)
    except (OSError, ValueError) as error:
        raise NoLanguageModel(
            f"language model {source}: expected a local folder with model and tokenizer, or a hub name and a network "
            f"to reach it; {str(error).splitlines()[0]}"
        ) from error
    if model.config.model_type not in LIKE_LLAMA:
        raise ValueError(
            f"language model {source}: expected one of {', '.join(LIKE_LLAMA)}; got {model.config.model_type}"
        )
    if config.max_tokens > model.config.max_position_embeddings:
        raise ValueError(
            f"language model {source}: expected at least max_tokens = {config.max_tokens} positions; got "
            f"{model.config.max_position_embeddings}"
        )
    if tokenizer.eos_token_id is None:
        raise ValueError(f"language model {source}: expected a tokenizer with an end-of-sequence token; it has none")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = LLAMA_PAD if LLAMA_PAD in tokenizer.get_vocab() else tokenizer.eos_token
    add_ecg_token(model, tokenizer)
    return model.eval().to(device), tokenizer


def add_ecg_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make `<ecg>` one special token of both, its rows the means of the others'; nothing where it is one already."""
    if ECG_TOKEN in tokenizer.get_vocab() and ECG_TOKEN in tokenizer.all_special_tokens:
        return
    tokenizer.add_special_tokens({"extra_special_tokens": [ECG_TOKEN]}, replace_extra_special_tokens=False)
    row, before = tokenizer.convert_tokens_to_ids(ECG_TOKEN), model.get_input_embeddings().num_embeddings
    if row >= before:
        with torch.random.fork_rng(devices=[]):
            model.resize_token_embeddings(row + 1, mean_resizing=False)
    with torch.no_grad():
        for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            table[row] = table[: min(row, before)].float().mean(0).to(table.dtype)


def _require_files(source: str | Path) -> None:
    """One line for a local folder that lacks a model or a tokenizer, before transformers writes a page."""
    folder = Path(source)
    if not folder.is_dir():
        if isinstance(source, Path) or str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
            raise NoLanguageModel(f"language model {source}: expected a folder; there is none")
        return
    if not (folder / "config.json").exists() or not any([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
        raise NoLanguageModel(f"language model {source}: expected config.json and model.safetensors; no model there")
    if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
        raise NoLanguageModel(
            f"language model {source}: expected tokenizer.json (or tokenizer.model); no tokenizer there; copy it from "
            "where the model came from"
        )


def _quiet() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
