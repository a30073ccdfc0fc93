"""The language model that writes about an ECG: made or loaded, conditioned by an ECG, adapted, and how it writes.

After stage 1 of MedTVT-R1 (App. A.2.2): the language model is frozen; LoRA, biases, norms, the ECG token's row and a
projector are trained. B batch, S positions, E ECG tokens, n encoder tokens, D encoder width, P width inside the
projector, H width of the language model, V vocabulary. Attention 1 = a token is seen; label -100 = no target.
Transformers, tokenizers and peft are imported inside functions: they take seconds to load.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from merit import runs
from merit.config import GenerationConfig
from merit.evaluate.generation.texts import ECG_TOKEN
from merit.parallel import one_thread_an_operation
from merit.runs import loading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# -- a tiny language model ---------------------------------------------------------------------------------------------

BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"
LM_BATCH = 32
"""Answers an update of the tiny model's own training."""
POSITIONS = 4096
"""Positions that the tiny model's configuration allows."""
NO_TARGET = -100


def train_language_model(
    answers: Sequence[str], config: GenerationConfig, folder: Path, progress: bool = True, questions: Sequence[str] = ()
) -> Path:
    """Train a tiny Llama in full on `answers`, next token by next token, without any ECG; save it with its tokenizer
    and return `folder`. On the CPU the same texts, in any order, and settings give the same weights, bit for bit.

    Llama 3.2's shape made small: grouped-query heads, four times the width inside the blocks, tied embeddings, its
    rotation base. questions: counted for the tokenizer's words alone, so that they are not spelled out; the weights
    never see them. ValueError where there is no answer.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    if not answers:
        raise ValueError(f"answers: expected at least one text to train a language model on; got none (for {folder})")
    if runs.sealed(folder):
        return folder
    texts = sorted(answers)
    tokenizer = make_tokenizer([*texts, *sorted(questions)], config.lm_vocabulary)
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    shape = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=config.lm_width, intermediate_size=4 * config.lm_width,
        num_hidden_layers=config.lm_depth, num_attention_heads=config.lm_heads, num_key_value_heads=config.lm_kv_heads,
        max_position_embeddings=POSITIONS, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0}, **special,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), one_thread_an_operation():
        torch.manual_seed(config.seed)
        model = LlamaForCausalLM(shape).train()

        # AdamW with a one-cycle rate on bos + " " + answer + eos, cut at `max_tokens`.
        rows = [
            torch.tensor([tokenizer.bos_token_id, *ids, tokenizer.eos_token_id][: config.max_tokens])
            for ids in tokenizer([f" {text}" for text in texts], add_special_tokens=False)["input_ids"]
        ]
        rate, total = config.lm_learning_rate, max(4, config.lm_updates)
        warm_up = max(0.1, 2 / total)  # of one step the scheduler makes a division by zero
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=total, pct_start=warm_up)
        rng = np.random.default_rng([config.seed, 0x4C4D])
        updates = range(config.lm_updates)
        for _ in tqdm(updates, desc="language model", unit="update", disable=not progress, mininterval=1):
            drawn = [rows[i] for i in rng.integers(len(rows), size=LM_BATCH)]
            ids = nn.utils.rnn.pad_sequence(drawn, batch_first=True, padding_value=tokenizer.pad_token_id)
            # Padding stands at the end, where a causal model's earlier positions do not see it.
            labels = torch.where(ids == tokenizer.pad_token_id, NO_TARGET, ids)
            loss = model(input_ids=ids, labels=labels).loss
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    _quiet()
    with runs.new_folder(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return folder


def make_tokenizer(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """A cased tokenizer of whole words with the space before them; what is rarer is spelled in bytes, and decoding
    gives the very text back. `size` pieces: 4 special ones, 256 bytes, then the commonest words, ties in order.

    It is Llama 3's kind (byte-level, whole words first) without merges. The tokenizers library's own trainers give
    another vocabulary at every run (huggingface/tokenizers#1794).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts: Counter[str] = Counter()
    for text in texts:
        # Answers follow a question and a space; questions stand around the placeholder.
        for part in (f" {text}",) if ECG_TOKEN not in text else text.split(ECG_TOKEN):
            counts.update(word for word, _ in split.pre_tokenize_str(part))
    pieces = [BOS, EOS, PAD, ECG_TOKEN, *sorted(pre_tokenizers.ByteLevel.alphabet())]
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


# -- one by hub name or folder -----------------------------------------------------------------------------------------

LLAMA_PAD = "<|finetune_right_pad_id|>"
"""The token that Llama 3's tokenizer reserves for padding, and leaves unset."""
LIKE_LLAMA = ("llama", "mistral", "qwen2", "qwen3")
"""Kinds of model with the seven projections, whose loss is a plain product of last states and output embeddings."""


class NoLanguageModel(FileNotFoundError):
    """A language model or its tokenizer is not where it was looked for, and no network brings it."""


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
    what, folder = f"language model {source}", Path(source)
    if folder.is_dir():  # one line for what is missing, before transformers writes a page
        if not (folder / "config.json").exists() or not any([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            raise NoLanguageModel(f"{what}: expected config.json and model.safetensors; no model there")
        if not any((folder / name).exists() for name in ("tokenizer.json", "tokenizer.model")):
            advice = "no tokenizer there; copy it from where the model came from"
            raise NoLanguageModel(f"{what}: expected tokenizer.json (or tokenizer.model); {advice}")
    elif isinstance(source, Path) or str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise NoLanguageModel(f"{what}: expected a folder; there is none")
    dtype = torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(**loading(source))
        model = AutoModelForCausalLM.from_pretrained(**loading(source), dtype=dtype)
    except (OSError, ValueError) as error:
        expected = "expected a local folder with model and tokenizer, or a hub name and a network to reach it"
        raise NoLanguageModel(f"{what}: {expected}; {str(error).splitlines()[0]}") from error
    if model.config.model_type not in LIKE_LLAMA:
        raise ValueError(f"{what}: expected one of {', '.join(LIKE_LLAMA)}; got {model.config.model_type}")
    if config.max_tokens > (there := model.config.max_position_embeddings):
        raise ValueError(f"{what}: expected at least max_tokens = {config.max_tokens} positions; got {there}")
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{what}: expected a tokenizer with an end-of-sequence token; it has none")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = LLAMA_PAD if LLAMA_PAD in tokenizer.get_vocab() else tokenizer.eos_token

    # `<ecg>` as one special token of both, its rows the means of the others'.
    if ECG_TOKEN not in tokenizer.get_vocab() or ECG_TOKEN not in tokenizer.all_special_tokens:
        tokenizer.add_special_tokens({"extra_special_tokens": [ECG_TOKEN]}, replace_extra_special_tokens=False)
        row, before = tokenizer.convert_tokens_to_ids(ECG_TOKEN), model.get_input_embeddings().num_embeddings
        if row >= before:
            with torch.random.fork_rng(devices=[]):
                model.resize_token_embeddings(row + 1, mean_resizing=False)
        with torch.no_grad():
            for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
                table[row] = table[: min(row, before)].float().mean(0).to(table.dtype)
    return model.eval().to(device), tokenizer


def _quiet() -> None:
    """No warnings and bars of transformers."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


# -- pairs as token ids ------------------------------------------------------------------------------------------------


class Encoded(NamedTuple):
    """A pair as token ids: bos + question + " " + answer + eos, the ECG token repeated E times."""

    ids: list[int]
    n_question: int
    """Positions before the answer, which are no targets."""
    lost: int
    """Tokens cut from the end of the answer, eos among them; 0 where the pair fits."""


class Batch(NamedTuple):
    """int64 [B, S] each; attention 1 = seen, labels -100 = no target (a label stands at its own token's position)."""

    ids: Tensor
    attention: Tensor
    labels: Tensor


def encode_question(tokenizer: PreTrainedTokenizerFast, question: str, ecg_tokens: int, record: str = "") -> list[int]:
    """Token ids of bos + question, its placeholder as `ecg_tokens` ECG tokens; ValueError unless it holds just one."""
    if (count := question.count(ECG_TOKEN)) != 1:
        what = f"question of record {record}" if record else "question"
        raise ValueError(f"{what}: expected one {ECG_TOKEN}; got {count} in {question[:80]!r}; correct the pair")
    ecg = tokenizer.convert_tokens_to_ids(ECG_TOKEN)
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = tokenizer(question, add_special_tokens=False)["input_ids"]
    place = ids.index(ecg)
    return [*start, *ids[:place], *[ecg] * ecg_tokens, *ids[place + 1 :]]


def encode_pair(
    tokenizer: PreTrainedTokenizerFast, question: str, answer: str, config: GenerationConfig, record: str = ""
) -> Encoded:
    """A pair in at most `max_tokens` tokens; one that is longer loses the end of its answer, never of its question.

    No chat template, as in MedTVT-R1. ValueError for a placeholder in the answer, none or two in the question, or a
    question that leaves no room for an answer; each names the record.
    """
    head = encode_question(tokenizer, question, config.ecg_tokens, record)
    where, most = f" of record {record}" if record else "", config.max_tokens
    if ECG_TOKEN in answer:
        raise ValueError(f"answer{where}: expected no {ECG_TOKEN}; got it in {answer[:80]!r}; correct the pair")
    if (room := most - len(head)) < 1:
        raise ValueError(f"question{where}: expected fewer than max_tokens = {most} tokens; got {len(head)}")
    tail = [*tokenizer(f" {answer}", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return Encoded([*head, *tail[:room]], len(head), max(0, len(tail) - room))


def collate(pairs: Sequence[Encoded], tokenizer: PreTrainedTokenizerFast, config: GenerationConfig) -> Batch:
    """Pairs as one batch, padded at the end up to the longest; padding is hidden and no target.

    `train_on_padding`: padded with eos up to `max_tokens`, seen and a target everywhere (MedTVT-R1's code).
    """
    length = config.max_tokens if config.train_on_padding else max(len(pair.ids) for pair in pairs)
    filler = tokenizer.eos_token_id if config.train_on_padding else tokenizer.pad_token_id
    ids = torch.tensor([pair.ids + [filler] * (length - len(pair.ids)) for pair in pairs])
    n_question, n_all = (torch.tensor(n)[:, None] for n in zip(*((pair.n_question, len(pair.ids)) for pair in pairs)))
    place = torch.arange(length)
    seen = (place < n_all) | config.train_on_padding
    return Batch(ids, seen.long(), ids.where(seen & (place >= n_question), NO_TARGET))


# -- conditioned by an ECG ---------------------------------------------------------------------------------------------

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The layers that get LoRA (MedTVT-R1: wq wk wv wo w1 w2 w3)."""
BIASED = ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Those of them that get a bias where they have none (MedTVT-R1: wq wo w1 w3 w2); Llama's have none."""
N_BLOCKS = 3
"""Residual blocks of the projector after the projection to H (MedTVT-R1's code)."""


class GatedBlock(nn.Module):
    """x + down(silu(gate(r)) * up(r)) with r = RMSNorm(x), without biases and as wide inside as outside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.gate, self.up, self.down = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """[..., H] -> [..., H]."""
        r = self.norm(x)
        return x + self.down(nn.functional.silu(self.gate(r)) * self.up(r))


class Projector(nn.Module):
    """Unit-length encoder tokens -> recurrent layer -> attention pooling to E tokens -> Linear -> gated blocks.

    The recurrent layer is MedTVT-R1's plain one (tanh). Each of the E tokens has a query of its own, a softmax over the
    n tokens; E = 1 is the original. A pooled embedding [B, D] is a sequence of one token.
    """

    def __init__(self, encoder_width: int, width: int, lm_width: int, ecg_tokens: int = 1) -> None:
        super().__init__()
        self.recurrent = nn.RNN(encoder_width, width, batch_first=True)
        self.queries = nn.Linear(width, ecg_tokens, bias=False)  # a softmax would not see a bias
        self.to_lm = nn.Linear(width, lm_width)
        self.blocks = nn.Sequential(*(GatedBlock(lm_width) for _ in range(N_BLOCKS)))

    def forward(self, ecg: Tensor) -> Tensor:
        """[B, E, H] from [B, n, D] or [B, D]; a ValueError for another width."""
        width = self.recurrent.input_size
        if ecg.ndim not in (2, 3) or ecg.shape[-1] != width:
            raise ValueError(f"ecg: expected [B, n, {width}] or [B, {width}]; got {[*ecg.shape]}")
        tokens = ecg[:, None] if ecg.ndim == 2 else ecg
        states, _ = self.recurrent(nn.functional.normalize(tokens, dim=-1))
        shares = self.queries(states).softmax(1)  # [B, n, E]
        return self.blocks(self.to_lm(torch.einsum("bne,bnp->bep", shares, states)))


class Conditioned(nn.Module):
    """A language model with its adapter and projector; everything that is not trained is frozen.

    LoRA without scaling (alpha = rank) and without dropout, and biases that start at 0, as in the original: at first
    nothing is changed. The original overwrites the embedding at the placeholder and trains the whole table of
    embeddings (262 million numbers); here the one row of the ECG token is trained, as what all ECGs share: an ECG
    token's embedding is that row plus the projector's output. Gradients, weights that are trained, and the optimiser
    are float32 whatever the language model's own type.
    """

    def __init__(
        self, llm: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, ecg_width: int, config: GenerationConfig
    ) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        super().__init__()
        if any("lora_" in name for name, _ in llm.named_parameters()):
            raise ValueError("language model: expected one without an adapter; this one has one already; load it again")
        self.config, self.tokenizer, self.ecg_width = config, tokenizer, ecg_width
        self.ecg_id: int = tokenizer.convert_tokens_to_ids(ECG_TOKEN)
        table = llm.get_input_embeddings().weight
        # Sixteen digits of the embeddings in bfloat16, the same on a CPU and a GPU, without the ECG token's row.
        numbers = table.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
        others = numbers[: self.ecg_id].tobytes() + numbers[self.ecg_id + 1 :].tobytes()
        self.fingerprint = hashlib.sha256(others).hexdigest()[:16]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            for name, layer in llm.named_modules():
                if name.rpartition(".")[2] in BIASED and layer.bias is None:
                    layer.bias = nn.Parameter(layer.weight.new_zeros(layer.out_features))
            lora = LoraConfig(r=config.lora_rank, lora_alpha=config.lora_rank, target_modules=list(PROJECTIONS))
            self.language_model = inject_adapter_in_model(lora, llm.requires_grad_(False))
            self.projector = Projector(ecg_width, config.projector_width, table.shape[1], config.ecg_tokens)
        self.projector.to(table.device)
        self.register_buffer("ecg_centre", torch.zeros(ecg_width, device=table.device))
        self.register_buffer("ecg_scale", torch.ones(ecg_width, device=table.device))
        self.ecg_embedding = nn.Parameter(table[self.ecg_id].detach().float().clone())
        for name, parameter in self.language_model.named_parameters():
            if "lora_" in name or "norm" in name or name.endswith(".bias"):
                parameter.requires_grad_(True)
                parameter.data = parameter.data.float()
        if config.gradient_checkpointing:
            self.language_model.activation_checkpointing_enable({"use_reentrant": False})

    @property
    def device(self) -> torch.device:
        """Where the weights lie, and where batches must."""
        return self.ecg_embedding.device

    def autocast(self) -> torch.autocast:
        """bfloat16 arithmetic where the language model is bfloat16, as on a GPU; nothing where it is float32."""
        half = self.language_model.dtype == torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def embed(self, ids: Tensor, ecg: Tensor) -> Tensor:
        """[B, S, H] embeddings of ids [B, S], at whose ECG tokens `ecg` ([B, n, D] or [B, D]) stands."""
        embeddings = self.language_model.get_input_embeddings()(ids)
        with torch.autocast(self.device.type, enabled=False):
            tokens = self.projector((ecg - self.ecg_centre) / self.ecg_scale) + self.ecg_embedding
        return embeddings.masked_scatter((ids == self.ecg_id)[..., None], tokens.to(embeddings.dtype))

    def forward(self, batch: Batch, ecg: Tensor) -> Tensor:
        """Mean cross-entropy of the next token over the targets, nats; logits are computed at targets alone."""
        with self.autocast():
            states = self.language_model.get_decoder()(
                inputs_embeds=self.embed(batch.ids, ecg), attention_mask=batch.attention, use_cache=False
            ).last_hidden_state
            targets = batch.labels[:, 1:]
            wanted = targets != NO_TARGET
            logits = self.language_model.get_output_embeddings()(states[:, :-1][wanted]).float()
        return nn.functional.cross_entropy(logits, targets[wanted])

    def trained(self) -> dict[str, nn.Parameter]:
        """What training changes, by name: LoRA, norms, biases, the ECG token's row, the projector."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def adapter(self) -> dict[str, Tensor]:
        """All that makes this model another than its language model: what is trained, and how ECGs are scaled."""
        return {**self.trained(), "ecg_centre": self.ecg_centre, "ecg_scale": self.ecg_scale}

    def load_adapter(self, state: dict[str, Tensor]) -> None:
        """Take over what `adapter` names; a ValueError for names or shapes that differ."""
        own = self.adapter()
        if names := sorted(own.keys() ^ state.keys()):
            raise ValueError(f"adapter: expected the weights of this model; {len(names)} differ, first {names[0]}")
        for name, parameter in own.items():
            if (expected := [*parameter.shape]) != (got := [*state[name].shape]):
                raise ValueError(f"adapter: expected {name} of shape {expected}; got {got}; other sizes?")
            parameter.data.copy_(state[name])


# -- adapting it -------------------------------------------------------------------------------------------------------
# Resume is exact because nothing random has a state: the order of an epoch follows from (seed, epoch) alone, so a
# checkpoint is the trained weights, the optimiser, a number and the losses since the last line of the history.

STATE = "training_state.pt"
ADAPTER = "adapter.safetensors"
LINE_EVERY = 20
"""Updates between two lines of the history."""
DECODING = ("decoding", "temperature", "top_p", "max_new_tokens")
"""Settings that a generator takes over from its run, and its user may change."""
NOT_OF_TRAINING = (*DECODING, "test_pairs", "bert", "bert_layers", "save_every")
"""Settings that a trained adapter does not depend on."""
MAY_DIFFER = ("language_model.source",)
"""Where the language model lies; its fingerprint may not."""


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient is not a number; the message names it and the update."""


@one_thread_an_operation()
def train(
    model: Conditioned, questions: Sequence[str], answers: Sequence[str], ecg: np.ndarray, config: GenerationConfig,
    folder: Path, *, records: Sequence[str] = (), source: str | Path = "", progress: bool = True,
    stop_after: int | None = None,
) -> Path:  # fmt: skip
    """Train what `model.trained()` names on the pairs into `folder`, continuing what is there; return `folder`.

    ecg: float32 [N, n, D] or [N, D], one row per pair. records: names of the pairs, for messages. source: where the
    language model came from, for `load_adapted`. stop_after: leave after that many updates, with a checkpoint.
    A finished folder is loaded into `model`. Left behind: adapter.safetensors (what is trained alone), config.json
    (settings; pairs and how many of them were truncated), history.jsonl. ValueError for a folder of other settings or
    pairs, NonFiniteLoss (the last checkpoint stays) where the loss is none.
    """
    if not len(questions) == len(answers) == len(ecg) or not len(answers):
        n = f"{len(questions)}, {len(answers)} and {len(ecg)}"
        raise ValueError(f"pairs: expected as many questions, answers and ECGs, at least one; got {n}")
    given = zip(questions, answers, records or [""] * len(answers), strict=True)
    pairs = [encode_pair(model.tokenizer, question, answer, config, name) for question, answer, name in given]
    total = total_updates(config, len(pairs))
    ids, ecg_digest = [pair.ids for pair in pairs], hashlib.sha256(np.ascontiguousarray(ecg)).hexdigest()
    settings = {
        "generation": {k: v for k, v in runs.plain(asdict(config)).items() if k not in NOT_OF_TRAINING},
        "language_model": {"source": str(source), "fingerprint": model.fingerprint},
        "ecg_width": model.ecg_width,
        "pairs": {
            "n": len(pairs),
            "truncated": sum(pair.lost > 0 for pair in pairs),
            "tokens_lost": sum(pair.lost for pair in pairs),
            "tokens": sum(map(len, ids)),
            "digest": runs.digest([ids, ecg_digest]),
        },
        "total_updates": total,
    }
    if config.standardise:  # from now on, by the training ECGs
        flat = np.asarray(ecg, np.float64).reshape(-1, model.ecg_width)
        model.ecg_centre.copy_(torch.from_numpy(flat.mean(0)))
        model.ecg_scale.copy_(torch.from_numpy(np.maximum(flat.std(0), 1e-6)))

    # -- read what is finished, or go on with what is not
    if runs.sealed(folder):
        there = runs.read_json(runs.check(folder) / "config.json")
        there = {name: there.get(name) for name in settings}
        runs.require_same_settings(folder / "config.json", there, settings, MAY_DIFFER)
        model.load_adapter(load_file(folder / ADAPTER))
        return folder
    optimiser = make_optimiser(model, config)
    update, since, lines, before = 0, [], [], 0.0
    if state := runs.read_state(folder / STATE, settings, MAY_DIFFER, device=model.device):
        model.load_adapter(state["kept"])
        optimiser.load_state_dict(state["optimiser"])
        update, since, lines, before = (state[name] for name in ("update", "since", "history", "seconds"))

    # -- update by update
    bar = tqdm(total=total, initial=update, unit="update", desc="adapting", disable=not progress, mininterval=1.0)
    model.train()
    began, done = time.perf_counter(), 0
    while update < total and (stop_after is None or done < stop_after):
        # A cosine from `learning_rate` to `min_learning_rate`, without warm-up (App. A.2.2)
        low, high = config.min_learning_rate, config.learning_rate
        rate = low + (high - low) * 0.5 * (1 + math.cos(math.pi * update / total))
        for group in optimiser.param_groups:
            group["lr"] = rate
        rows = positions(len(pairs), update, config)
        batch = Batch(*(part.to(model.device) for part in collate([pairs[i] for i in rows], model.tokenizer, config)))
        signal = torch.from_numpy(np.ascontiguousarray(ecg[rows], np.float32)).to(model.device)
        loss = model(batch, signal)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.trained().values(), config.clip_norm)
        for name, value in (("loss", loss.item()), ("gradient", norm.item())):
            if not math.isfinite(value):
                advice = "lower the learning rate or look at the embeddings of this update"
                what = f"update {update + 1}: expected a finite {name}; got {value}"
                raise NonFiniteLoss(f"{what}; the last good checkpoint is kept; {advice}")
        optimiser.step()
        update, done = update + 1, done + 1
        since.append(loss.item())
        bar.update()

        # -- a line of the history, a checkpoint
        if update % LINE_EVERY == 0 or update == total:
            mean = math.fsum(since) / len(since)
            lines.append(json.dumps({"update": update, "learning_rate": rate, "loss": mean}))
            bar.set_postfix(loss=f"{mean:.3f}")
            since = []
        if update % config.save_every == 0 or update == total or done == stop_after:
            seconds = before + time.perf_counter() - began
            runs.write_text(folder / "history.jsonl", "".join(f"{line}\n" for line in lines))
            if update < total:
                state = {"update": update, "since": since, "seconds": seconds, "history": lines}
                state |= {"kept": {name: p.detach() for name, p in model.adapter().items()}}
                runs.write_state(folder / STATE, settings, state | {"optimiser": optimiser.state_dict()})
    bar.close()

    # -- what stays; the digests last: they say that the run is finished
    if update == total:
        about = {"seconds": round(seconds, 1), "commit": runs.commit(), "versions": runs.versions()}
        runs.write_json(folder / "config.json", settings | about)
        with runs.written(folder / ADAPTER) as temporary:
            save_file({name: p.detach().cpu().contiguous() for name, p in model.adapter().items()}, temporary)
        runs.seal(folder, ("config.json", "history.jsonl", ADAPTER))
        (folder / STATE).unlink(missing_ok=True)
    return folder


def make_optimiser(model: Conditioned, config: GenerationConfig) -> torch.optim.AdamW:
    """AdamW; no decay on vectors: biases, norms, the ECG token's embedding."""
    weights = list(model.trained().values())
    groups = [
        {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)


def total_updates(config: GenerationConfig, n_pairs: int) -> int:
    """Updates of a run: `updates`, or epochs times the whole batches of an epoch, at least one."""
    if config.updates is not None:
        return config.updates
    return max(1, round(config.epochs * max(1, n_pairs // config.batch)))


def positions(n_pairs: int, update: int, config: GenerationConfig) -> np.ndarray:
    """Which pairs an update uses: its slice of the epoch's permutation, drawn from (seed, epoch).

    An epoch has whole batches, the rest left out of it; one where there are fewer pairs than `batch`.
    """
    epoch, place = divmod(update, max(1, n_pairs // config.batch))
    order = np.random.default_rng([config.seed, epoch]).permutation(n_pairs)
    return order[place * config.batch : (place + 1) * config.batch]


def load_adapted(folder: Path, source: str | Path | None = None, device: str = "cpu") -> Conditioned:
    """The model of a finished run, for decoding: its language model from where it came from, or from `source`.

    FileNotFoundError where the run is not finished or the language model is gone; ValueError for another one than the
    adapter was trained with.
    """
    if not runs.sealed(folder):
        raise FileNotFoundError(f"{folder}: expected a finished adapter ({ADAPTER}, config.json and SHA256SUMS)")
    settings = runs.read_json(runs.check(folder) / "config.json")
    known = settings["generation"]
    config = GenerationConfig(**{**known, "betas": tuple(known["betas"])})
    where = source or settings["language_model"]["source"]
    model = Conditioned(*load_language_model(where, config, device), settings["ecg_width"], config)
    if model.fingerprint != settings["language_model"]["fingerprint"]:
        raise ValueError(f"{folder}: expected the language model that it was trained with; {where} is another")
    model.load_adapter(load_file(folder / ADAPTER))
    return model.eval()


# -- writing -----------------------------------------------------------------------------------------------------------


@one_thread_an_operation()
@torch.inference_mode()
def generate(
    model: Conditioned, questions: Sequence[str], ecg: np.ndarray, config: GenerationConfig, batch: int = 32,
    progress: bool = True, *, records: Sequence[str] = (),
) -> list[str]:  # fmt: skip
    """An answer to each question about its ECG, up to `max_new_tokens` tokens or the end that the model writes.

    ecg: float32 [N, n, D] or [N, D], one row per question. records: names for messages. Questions of like length share
    a batch, which has no influence on a text: padding is hidden, and a random draw belongs to (seed, number of the
    text, position). ValueError where a question has not just one placeholder, or questions and ECGs differ in number.
    """
    from transformers import DynamicCache

    if len(questions) != len(ecg):
        raise ValueError(f"generate: expected an ECG a question; got {len(questions)} questions and {len(ecg)} ECGs")
    tokenizer, device, was_training = model.tokenizer, model.device, model.training
    asked = zip(questions, records or [""] * len(questions), strict=True)
    prompts = [encode_question(tokenizer, question, model.config.ecg_tokens, name) for question, name in asked]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    forbidden = torch.tensor(never_written(model), device=device)
    written: list[list[int]] = [[] for _ in prompts]
    model.eval()
    starts = range(0, len(order), batch)
    for start in tqdm(starts, desc="writing", unit="batch", disable=not progress, mininterval=1.0):
        rows = order[start : start + batch]  # of the texts at work: one that has ended leaves the batch
        draws = {row: np.random.default_rng([config.seed, row]).random(config.max_new_tokens) for row in rows}
        length = max(len(prompts[row]) for row in rows)
        padding = [length - len(prompts[row]) for row in rows]  # first, so that all prompts end together
        ids = [[tokenizer.pad_token_id] * n + prompts[row] for n, row in zip(padding, rows)]
        attention = torch.tensor([[0] * n + [1] * (length - n) for n in padding], device=device)
        signal = torch.from_numpy(np.ascontiguousarray(ecg[rows], np.float32)).to(device)
        embeddings = model.embed(torch.tensor(ids, device=device), signal)
        position = (attention.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=model.language_model.config)
        for step in range(config.max_new_tokens):
            with model.autocast():
                states = model.language_model.get_decoder()(
                    inputs_embeds=embeddings, attention_mask=attention, position_ids=position, past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state  # fmt: skip
                logits = model.language_model.get_output_embeddings()(states[:, -1]).float()
                logits = logits.index_fill(1, forbidden, -torch.inf)
            chosen = choose(logits, np.array([draws[row][step] for row in rows]), config)
            going = [k for k, token in enumerate(chosen.tolist()) if token != tokenizer.eos_token_id]
            for k in going:
                written[rows[k]].append(int(chosen[k]))
            if len(going) < len(rows):
                rows = [rows[k] for k in going]
                if not going:
                    break
                keep = torch.tensor(going, device=device)
                cache.batch_select_indices(keep)
                chosen, attention, position = chosen[keep], attention[keep], position[keep]
            attention = torch.cat([attention, attention.new_ones(len(rows), 1)], 1)
            position = position[:, -1:] + 1
            embeddings = model.language_model.get_input_embeddings()(chosen[:, None])
    model.train(was_training)
    return [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written]


def never_written(model: Conditioned) -> list[int]:
    """Tokens that no text may hold: the ECG's, bos and padding (unless padding is eos)."""
    tokens = model.tokenizer
    return sorted({model.ecg_id, tokens.bos_token_id, tokens.pad_token_id} - {None, tokens.eos_token_id})


def choose(logits: Tensor, draws: np.ndarray, config: GenerationConfig) -> Tensor:
    """int64 [B], the next token from logits [B, V]: the likeliest, or by `draws` [B] (uniform, 0 to 1) one of the
    likeliest that together reach `top_p` at `temperature` (nucleus sampling; MedTVT-R1's code: 0.6 and 0.9).
    """
    if config.decoding == "greedy":
        return logits.argmax(-1)
    share, token = (logits.double() / config.temperature).softmax(-1).sort(dim=-1, descending=True, stable=True)
    share = share.masked_fill(share.cumsum(-1) - share > config.top_p, 0.0)
    reached = share.cumsum(-1)
    drawn = torch.from_numpy(draws).to(reached)[:, None] * reached[:, -1:]
    place = torch.searchsorted(reached, drawn, right=True).clamp(max=logits.shape[-1] - 1)
    return token.gather(1, place)[:, 0]
